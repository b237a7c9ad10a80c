"""A fresh child for every call, as one does it with gipc 1.8: ``fresh_gipc18.py lone|rate``."""

import sys
import time

import gevent
import tasks
from turn import serve, timed

import gipc

PAUSE = 0.08  # between lone calls


def child(replies, function, args):
    replies.put(function(*args))


def call(function, *args):
    with gipc.pipe() as (reader, writer):
        process = gipc.start_process(child, (writer, function, args))
        result = reader.get()
        process.join()
    return result


def lone(units):
    spent = 0.0
    for _ in range(units):
        gevent.sleep(PAUSE)
        begun = time.perf_counter()
        call(tasks.square, 7)
        spent += time.perf_counter() - begun
    return spent / units


def calls(count):
    for _ in range(count):
        call(tasks.square, 7)


def rate(units):
    share = max(1, units // 2)
    gevent.joinall([gevent.spawn(calls, share) for _ in range(2)], raise_error=True)


if __name__ == "__main__":
    serve(lone if sys.argv[1] == "lone" else timed(rate))
