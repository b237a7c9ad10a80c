"""gipc's pipes, of this version or of 1.8: ``pipe_gipc.py one_way|round_trip SIZE``."""

import sys

from turn import serve, timed

import gipc


def sink(messages, done):
    while True:
        for _ in range(messages.get()):
            messages.get()
        done.put(True)


def echo(messages, replies):
    while True:
        replies.put(messages.get())


def one_way(units):
    there.put(units)
    for _ in range(units):
        there.put(message)
    back.get()


def round_trip(units):
    for _ in range(units):
        there.put(message)
        back.get()


if __name__ == "__main__":
    work, size = sys.argv[1], int(sys.argv[2])
    message = b"x" * size
    far_end, there = gipc.pipe()
    back, far_back = gipc.pipe()
    target = {"one_way": sink, "round_trip": echo}[work]
    child = gipc.start_process(target, (far_end, far_back), daemon=True)
    serve(timed({"one_way": one_way, "round_trip": round_trip}[work]))
    child.terminate()
