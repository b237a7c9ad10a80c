"""The work. Everything here runs in child processes, and is ordinary Python."""

import os
import signal
import time


def count_primes(n: int) -> dict[str, float | int]:
    """Count the primes below n with the sieve of Eratosthenes."""
    begun = time.perf_counter()
    is_prime = bytearray([1]) * n
    is_prime[:2] = bytes(min(n, 2))
    for i in range(2, int(n**0.5) + 1):
        if is_prime[i]:
            is_prime[i * i :: i] = bytes(len(range(i * i, n, i)))
    return {
        "n": n,
        "count": sum(is_prime),
        "pid": os.getpid(),
        "seconds": round(time.perf_counter() - begun, 6),
    }


def sleep(seconds: float) -> dict[str, float | int]:
    """Sleep as a call that blocks would: without gevent."""
    time.sleep(seconds)
    return {"slept": seconds, "pid": os.getpid()}


def crash() -> None:
    """End this process as the kernel does when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)
