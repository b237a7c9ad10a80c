"""The public face of the executor."""

from __future__ import annotations

import concurrent.futures
import enum
import itertools
import logging
import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing import util
from multiprocessing.context import BaseContext
from typing import Any, Final, Literal, TypeVar, TypeVarTuple

from gipc._exceptions import QueueFull
from gipc._executor.child import abandon_all
from gipc._executor.engine import Engine, Stream
from gipc._executor.futures import Future
from gipc._executor.settings import check_seconds, check_settings
from gipc._executor.stats import Stats
from gipc._executor.thread import forget_threads, join_threads
from gipc._executor.worker import run_chunk

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Inherit(enum.Enum):
    """The type of :data:`INHERIT`."""

    INHERIT = "the executor's"

    def __repr__(self) -> str:
        return "<the executor's>"


#: Stands for "the executor's own time-out".
INHERIT: Final = Inherit.INHERIT
Timeout = float | Literal[Inherit.INHERIT] | None

log = logging.getLogger("gipc")

#: Seconds that a process's exit waits, at most, for calls that were submitted, and again for
#: children to end.
_LAST_WAIT = 10.0
#: Among the finalizers of multiprocessing: before those that it has itself.
_FIRST = 100

# All executors of this process that are in use somewhere.
_executors: weakref.WeakSet[ProcessPoolExecutor] = weakref.WeakSet()


class ProcessPoolExecutor(concurrent.futures.Executor):
    """Runs calls in warm child processes, for a server that runs on gevent.

    A call takes an idle child, sends it the function and the arguments, and waits
    cooperatively for what comes back. No child serves two calls at a time. One
    whose call was not answered, because its deadline passed, its caller was killed
    or the child died, is killed and replaced: the next call is never affected.

    May be used by any greenlet and any native thread. Children are started when
    calls need them, up to *max_workers*; :meth:`warm_up` starts them at once. In a
    process that was forked, the executor starts afresh with children of its own.
    Children do not outlive the process that made the executor, however it ends.

    :param max_workers: children that serve calls at the same time, an integer.
        Default: the number of processors that this process may use.
    :param mp_context: how children are started: ``"forkserver"``, ``"spawn"``,
        ``"fork"``, or a context of :func:`multiprocessing.get_context`. Default:
        ``"forkserver"`` where there is one, else ``"spawn"``.
    :param initializer: called in each child before its first call. When it raises,
        calls that wait for a child raise that error, and no other child is started
        for a while.
    :param initargs: positional arguments for *initializer*.
    :param max_tasks_per_child: a child is replaced after so many calls, an integer.
        Its successor is started while it serves its last one. 1 means a fresh child
        for each call. Default: no limit.
    :param max_memory_per_child: a child that has more than so many bytes of memory
        resident after a call is replaced. Default: no limit.
    :param max_queue: calls that may wait for a child while *max_workers* others
        run, an integer; one more raises :exc:`QueueFull` at once. Default: no limit.
    :param timeout: seconds that a call may take, the wait for a child included.
        Default: no limit.
    :param idle_timeout: a child that was idle for so many seconds is let go.
        Default: it stays.
    :param nice: added to the niceness of the children, so that a busy machine
        serves this process first.
    :param preload: names of modules that are imported before the children are
        made: once for all of them with ``forkserver``, in each of them otherwise. One
        whose import leaves threads or an event loop of gevent behind cannot be shared:
        each child imports it. Descriptors that it opens are shared. What calls have
        needed so far is imported before a child is ready in any case.
    :param start_timeout: seconds that a child may take to become ready, from its
        launch to the end of *initializer*. Then it is killed, and another one is tried
        after a pause. The fork server may take as long to start, and for each import.
        Default: 300. None for no limit.
    :raises TypeError: an argument is of the wrong type.
    :raises ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | str | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        *,
        max_tasks_per_child: int | None = None,
        max_memory_per_child: int | None = None,
        max_queue: int | None = None,
        timeout: float | None = None,
        idle_timeout: float | None = None,
        nice: int | None = None,
        preload: Iterable[str] = (),
        start_timeout: float | None = 300.0,
    ) -> None:
        self._settings = check_settings(
            max_workers,
            mp_context,
            initializer,
            initargs,
            max_tasks_per_child,
            max_memory_per_child,
            max_queue,
            timeout,
            idle_timeout,
            nice,
            preload,
            start_timeout,
        )
        self._engine = Engine(self._settings)
        _executors.add(self)
        weakref.finalize(self, self._engine.pool.close_lost).atexit = False

    def offload(
        self,
        func: Callable[[*Ts], T],
        /,
        *args: *Ts,
        timeout: Timeout = INHERIT,
    ) -> T:
        """Run ``func(*args)`` in a child and return what it returns, cooperatively.

        Keyword arguments for *func* go through :func:`functools.partial`. When the
        greenlet that calls this is killed, or a :class:`gevent.Timeout` of its own
        hits it, the child is killed.

        What *func* prints goes where this process's output goes. ``SystemExit`` and
        its like, raised by *func*, come back as an :exc:`OffloadError`.

        :param func: a function that can be pickled: defined at the top level of a
            module that the children can import.
        :param args: its arguments. They are pickled, as is the result.
        :param timeout: seconds that the call may take, the wait for a child
            included; None for no limit. Default: the executor's.
        :raises OffloadTimeout: *timeout* passed; the child was killed.
        :raises ChildDied: the child died in the middle of the call.
        :raises QueueFull: ``max_queue`` calls wait already.
        :raises OffloadError: what came back cannot be unpickled, or no child could
            be started.
        :raises pickle.PicklingError: *func*, an argument or the result cannot be
            pickled. As with :func:`pickle.dumps`, that may be a TypeError or an
            AttributeError too.
        :raises RuntimeError: the executor was shut down.
        :raises Exception: what *func* raised, of its own type, with the child's
            traceback as its ``__cause__``.
        """
        _require_callable(func)
        return self._engine.call(func, args, self._seconds(timeout))  # type: ignore[no-any-return]

    def stream(
        self,
        genfunc: Callable[[*Ts], Iterable[T]],
        /,
        *args: *Ts,
        timeout: Timeout = INHERIT,
    ) -> Stream[T]:
        """Iterate over what ``genfunc(*args)`` yields in a child, as it comes.

        A slow consumer stops the producer as soon as the pipe between them is full.
        An exception in *genfunc* is raised in its place among the items. Closing
        the iterator, explicitly, as a context manager or by dropping it, kills the
        child unless *genfunc* has ended.

        :param genfunc: a generator function, or another that returns an iterable.
        :param timeout: seconds that the whole stream may take, the wait for a child
            and the consumer's pauses included. Default: the executor's.
        :returns: an iterator, that has a ``close`` method and is a context manager.
        :raises Exception: as :meth:`offload`; what concerns the child's work, when
            the iterator is asked for an item.
        """
        _require_callable(genfunc)
        return self._engine.stream(genfunc, args, self._seconds(timeout))

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Schedule ``fn(*args, **kwargs)`` and return a future of its result.

        The executor's own time-out applies. Callbacks of the future run in a thread
        of the executor.

        :raises QueueFull: ``max_queue`` calls wait already.
        :raises OffloadError: the system has no threads left for the executor.
        :raises RuntimeError: the executor was shut down.
        """
        _require_callable(fn)
        function = partial(fn, **kwargs) if kwargs else fn
        return self._engine.submit(function, args, self._settings.timeout)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[T]:
        """Like ``map(fn, *iterables)``, in the children, with results in order.

        As with :meth:`concurrent.futures.Executor.map` the iterables are consumed
        at once; with ``max_queue``, as fast as calls are let in.

        :param timeout: seconds from now, after which asking for a result that is
            not there raises TimeoutError. Default: no limit.
        :param chunksize: so many items travel to a child together.
        :raises ValueError: *chunksize* is below 1.
        """
        if chunksize < 1:
            raise ValueError(f"chunksize must be at least 1, not {chunksize}")
        deadline = None if timeout is None else time.monotonic() + timeout
        items = zip(*iterables, strict=False)
        futures: deque[Future[list[T]]] = deque()
        try:
            while chunk := tuple(itertools.islice(items, chunksize)):
                futures.append(self._submit_chunk(partial(run_chunk, fn), chunk, futures))
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return _results(futures, deadline)

    def _submit_chunk(
        self,
        function: Callable[..., list[T]],
        chunk: tuple[Any, ...],
        earlier: Iterable[Future[list[T]]],
    ) -> Future[list[T]]:
        while True:
            try:
                return self.submit(function, chunk)
            except QueueFull:
                unfinished = next((future for future in earlier if not future.done()), None)
                if unfinished is None:
                    raise
                unfinished.wait()

    def warm_up(self, timeout: float | None = None) -> None:
        """Start all children now and wait, cooperatively, until they are ready.

        :param timeout: seconds to wait. Default: no limit.
        :raises TimeoutError: they are not ready by then; they go on starting.
        :raises Exception: no child could be started; see :meth:`offload`.
        """
        seconds = check_seconds("timeout", timeout)
        deadline = None if seconds is None else time.monotonic() + seconds
        if not self._engine.pool.warm_up(deadline):
            raise TimeoutError(f"the children are not ready after {timeout:g} s")

    def stats(self) -> Stats:
        """A snapshot of the children, the calls and their times."""
        return self._engine.pool.stats()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let no further call in, and end the children when the last call has ended.

        May be called from any greenlet, and more than once.

        Children that are starting are killed, unless calls wait for them.

        :param wait: return only when all is over. Otherwise that goes on in the
            background.
        :param cancel_futures: calls that still wait for a child end as cancelled:
            futures say so, ``offload`` raises
            :exc:`concurrent.futures.CancelledError`.
        """
        self._engine.pool.close(cancel_futures)
        if wait:
            self._engine.pool.wait_until_over()
            self._engine.finish_futures()

    def _seconds(self, timeout: Timeout) -> float | None:
        if timeout is INHERIT:
            return self._settings.timeout
        return check_seconds("timeout", timeout)


def _require_callable(function: object) -> None:
    if not callable(function):
        raise TypeError(f"a callable is needed, not {function!r}")


def _results(futures: deque[Future[list[T]]], deadline: float | None) -> Iterator[T]:
    try:
        while futures:
            left = None if deadline is None else deadline - time.monotonic()
            yield from futures.popleft().result(left)
    finally:
        for future in futures:
            future.cancel()


def _shut_down_all() -> None:
    executors = list(_executors)
    deadline = time.monotonic() + _LAST_WAIT
    for executor in executors:
        unfinished = executor._engine.finish_futures(deadline)
        if unfinished:  # a start that hangs is not to hold the program up
            log.warning("calls are cut off at the end of the program: %d", unfinished)
    deadline = time.monotonic() + _LAST_WAIT
    for executor in executors:
        executor._engine.pool.terminate(deadline)
    join_threads(deadline)


def _start_all_afresh() -> None:
    abandon_all()
    forget_threads()
    for executor in list(_executors):
        executor._engine.start_afresh()
    _shut_down_all_at_exit()


def _shut_down_all_at_exit(_: object = None) -> None:
    # Multiprocessing joins the children after that, in its own processes too.
    util.Finalize(None, _shut_down_all, exitpriority=_FIRST)


_shut_down_all_at_exit()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_all_afresh)
# A child of multiprocessing forgets what its parent's finalizers are.
util.register_after_fork(_shut_down_all_at_exit, _shut_down_all_at_exit)
