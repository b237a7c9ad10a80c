"""Use the first results of a long job while the child works on the next ones.

python streaming.py [how many primes]
"""

import sys
from itertools import count, islice

import gipc


def primes():
    """All of them."""
    found = []
    for number in count(2):
        if all(number % prime for prime in found if prime * prime <= number):
            found.append(number)
            yield number


def main(wanted):
    with (
        gipc.ProcessPoolExecutor(max_workers=1) as executor,
        executor.stream(primes, timeout=60) as stream,
    ):
        for prime in islice(stream, wanted):
            print(prime)
    # The stream was left before its end, which it does not have: the child is gone.


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
