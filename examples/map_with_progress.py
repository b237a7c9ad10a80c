"""Work through a list in children and show how far that is.

python map_with_progress.py [number of items]
"""

import sys

import gipc

WIDTH = 40  # characters


def bits_of_factorial(n):
    product = 1
    for factor in range(2, n + 1):
        product *= factor
    return product.bit_length()


def show(done, of):
    filled = WIDTH * done // of
    end = "\n" if done == of else ""
    print(f"\r[{'#' * filled:{WIDTH}}] {done} of {of}", end=end, file=sys.stderr, flush=True)


def main(count):
    longest = 0
    with gipc.ProcessPoolExecutor(timeout=60) as executor:
        results = executor.map(bits_of_factorial, range(count), chunksize=10)
        for done, bits in enumerate(results, 1):  # in order, each when it is there
            longest = max(longest, bits)
            show(done, count)
    print(f"the longest of {count} factorials has {longest} bits")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
