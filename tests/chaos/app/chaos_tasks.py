"""What the children of the chaos suite's server do."""

import os
import resource
import signal
import stat
import subprocess
import time
from collections.abc import Iterator


def square(n: int, seconds: float) -> dict[str, int]:
    """Work for a moment; whether the result is right is easy to see."""
    time.sleep(seconds)
    return {"square": n * n, "pid": os.getpid()}


def sleep(seconds: float) -> dict[str, float | int]:
    """Sleep without gevent."""
    time.sleep(seconds)
    return {"slept": seconds, "pid": os.getpid()}


def spin() -> None:
    """Be busy in Python, for ever."""
    while True:
        pass


def hold() -> None:
    """Be busy in C code that holds the GIL, for hours."""
    sum(range(10**13))


def spawn() -> None:
    """Sleep, and have a program of one's own sleep too."""
    subprocess.run(["sleep", "600"], check=True)


def eat(megabytes: int) -> int:
    """Have so much memory resident, also afterwards."""
    global _eaten
    _eaten = b"x" * (megabytes << 20)
    return len(_eaten)


def eat_too_much() -> None:
    """Ask the kernel for more memory than it gives to this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, hard))
    try:
        bytearray(2 << 30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def die(number: int) -> None:
    """End as by a signal of the kernel: SIGKILL when memory is short, and others."""
    os.kill(os.getpid(), number)
    time.sleep(600)


def garble(data: bytes) -> None:
    """Write into every pipe that this process can write to, except for its output."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            if fd > 2 and stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.write(fd, data)
        except OSError:  # it is for reading, or it was the listing's
            continue
    signal.pause()


def count(items: int, pause: float) -> Iterator[str]:
    """Yield lines, each with this process's id."""
    for item in range(items):
        yield f"{item} {os.getpid()}\n"
        time.sleep(pause)
