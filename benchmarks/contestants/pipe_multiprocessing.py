"""multiprocessing.Pipe: ``pipe_multiprocessing.py one_way|round_trip SIZE``."""

import multiprocessing
import sys

from turn import serve, timed


def sink(messages, done):
    while True:
        for _ in range(messages.recv()):
            messages.recv()
        done.send(True)


def echo(messages, replies):
    while True:
        replies.send(messages.recv())


def one_way(units):
    there.send(units)
    for _ in range(units):
        there.send(message)
    back.recv()


def round_trip(units):
    for _ in range(units):
        there.send(message)
        back.recv()


if __name__ == "__main__":
    work, size = sys.argv[1], int(sys.argv[2])
    message = b"x" * size
    far_end, there = multiprocessing.Pipe(duplex=False)
    back, far_back = multiprocessing.Pipe(duplex=False)
    target = {"one_way": sink, "round_trip": echo}[work]
    child = multiprocessing.Process(target=target, args=(far_end, far_back), daemon=True)
    child.start()
    serve(timed({"one_way": one_way, "round_trip": round_trip}[work]))
    child.terminate()
