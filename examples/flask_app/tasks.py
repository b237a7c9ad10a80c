"""The work. Everything here runs in child processes, and is ordinary Python."""

import os
import signal
import time
from collections.abc import Iterator

BLOCK = 4_000_000  # numbers that are looked at between two items of a stream


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


def count_primes_in_blocks(blocks: int) -> Iterator[dict[str, int]]:
    """Count primes block by block, and tell after each how many there are so far."""
    divisors = [2, *range(3, int((blocks * BLOCK) ** 0.5) + 1, 2)]
    count = -2  # 0 and 1 stay in the first block's sieve
    for done in range(blocks):
        low, high = done * BLOCK, (done + 1) * BLOCK
        is_prime = bytearray([1]) * BLOCK
        for divisor in divisors:
            if divisor * divisor >= high:
                break
            first = max(divisor * divisor, -(-low // divisor) * divisor) - low
            is_prime[first::divisor] = bytes(len(range(first, BLOCK, divisor)))
        count += sum(is_prime)
        yield {"done": done + 1, "blocks": blocks, "below": high, "count": count}


def sleep(seconds: float) -> dict[str, float | int]:
    """Sleep as a call that blocks would: without gevent."""
    time.sleep(seconds)
    return {"slept": seconds, "pid": os.getpid()}


def crash() -> None:
    """End this process as the kernel does when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)
