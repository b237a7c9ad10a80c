"""Calls to warm children: ``calls.py LIBRARY one|crowd|array``.

All run in a process that gevent has monkey-patched, as a server would.
"""

from gevent import monkey

monkey.patch_all()

import atexit
import sys
import time

import gevent
import tasks
from turn import serve, timed

CHILDREN = 2
GREENLETS = 16
ARRAY_BYTES = 100_000_000


def with_gipc():
    import gipc

    executor = gipc.ProcessPoolExecutor(CHILDREN)
    executor.warm_up()
    return executor.offload


def with_futures():
    from concurrent.futures import ProcessPoolExecutor

    executor = ProcessPoolExecutor(CHILDREN)
    return lambda function, *args: executor.submit(function, *args).result()


def with_loky():
    import loky

    executor = loky.get_reusable_executor(max_workers=CHILDREN, timeout=None)
    atexit.register(executor.shutdown, kill_workers=True)
    return lambda function, *args: executor.submit(function, *args).result()


def with_threadpool():
    pool = gevent.get_hub().threadpool
    pool.maxsize = CHILDREN
    return lambda function, *args: pool.apply(function, args)


def one(units):
    for _ in range(units):
        call(tasks.square, 7)


def crowd(units):
    share = max(1, units // GREENLETS)

    def some():
        for _ in range(share):
            call(tasks.square, 7)

    begun = time.perf_counter()
    gevent.joinall([gevent.spawn(some) for _ in range(GREENLETS)], raise_error=True)
    return (time.perf_counter() - begun) / (share * GREENLETS)


def array(units):
    for _ in range(units):
        assert call(tasks.same, big).nbytes == ARRAY_BYTES


if __name__ == "__main__":
    library, work = sys.argv[1:]
    call = globals()[f"with_{library}"]()
    if work == "array":
        import numpy

        big = numpy.arange(ARRAY_BYTES // 8, dtype=numpy.int64)
    gevent.joinall([gevent.spawn(call, tasks.square, 7) for _ in range(8)], raise_error=True)
    serve({"one": timed(one), "crowd": crowd, "array": timed(array)}[work])
