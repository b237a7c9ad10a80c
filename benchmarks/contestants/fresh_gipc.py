"""A fresh child for every call, by this version's executor: ``fresh_gipc.py lone|rate``."""

import sys
import time

import gevent
import tasks
from turn import serve, timed

import gipc

PAUSE = 0.08  # between lone calls


def lone(units):
    spent = 0.0
    for _ in range(units):
        gevent.sleep(PAUSE)
        begun = time.perf_counter()
        executor.offload(tasks.square, 7)
        spent += time.perf_counter() - begun
    return spent / units


def calls(count):
    for _ in range(count):
        executor.offload(tasks.square, 7)


def rate(units):
    share = max(1, units // 2)
    gevent.joinall([gevent.spawn(calls, share) for _ in range(2)], raise_error=True)


if __name__ == "__main__":
    executor = gipc.ProcessPoolExecutor(2, max_tasks_per_child=1)
    executor.warm_up()
    serve(lone if sys.argv[1] == "lone" else timed(rate))
