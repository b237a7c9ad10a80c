"""A call's way: pickle it, take a child, one message there, one message back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any, TypeVar

import gevent

from gipc._exceptions import ChildDied, OffloadError, OffloadTimeout
from gipc._executor.child import Child, Expired, Undelivered
from gipc._executor.futures import Future
from gipc._executor.pool import Pool
from gipc._executor.protocol import (
    CALL,
    ERROR,
    ITEM,
    LEAVING,
    RESULT,
    STREAM,
    Parts,
    call_of,
    decode,
    decode_error,
    describe,
    encode,
    encode_in_place,
    name_of,
)
from gipc._executor.settings import Settings
from gipc._frames import NotAFrame
from gipc._ready import is_past, remaining

log = logging.getLogger("gipc")

T = TypeVar("T")

#: Seconds that a child whose pipe has ended is given to be found dead.
_DYING = 1.0


class Call:
    """One call, from its beginning to its end."""

    __slots__ = ("alarm", "begun", "child", "deadline", "function", "outcome", "ran", "timeout")

    def __init__(self, function: Callable[..., Any], timeout: float | None) -> None:
        self.begun = time.monotonic()
        self.function = function
        self.timeout = timeout
        self.deadline = None if timeout is None else self.begun + timeout
        self.child: Child | None = None  # while it holds one
        self.ran: float | None = None  # since when a child has been at it
        self.outcome = "cancelled"  # unless something else is found out
        self.alarm: gevent.Greenlet | None = None  # ends a stream at its deadline

    def expired(self, child: Child | None) -> OffloadTimeout:
        self.outcome = "timed_out"
        name = name_of(self.function)
        if child is None:
            what = f"{name} got no child within {self.timeout:g} s"
        else:
            what = f"{name} took longer than {self.timeout:g} s: child {child.pid} was killed"
            log.warning("%s", what)
        return OffloadTimeout(
            what,
            function=name,
            seconds=self.timeout or 0.0,
            pid=None if child is None else child.pid,
        )


class Engine:
    """Carries out the calls of one executor."""

    def __init__(self, settings: Settings) -> None:
        self.pool = Pool(settings)
        self._futures: set[Future[Any]] = set()

    # One call, by the greenlet that makes it

    def call(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        timeout: float | None,
    ) -> Any:
        """Run ``function(*args)`` in a child and return what it returns."""
        call = Call(function, timeout)
        request = encode_in_place(call_of(function, args))
        self.pool.admit()
        try:
            kind, parts = self._converse(call, CALL, request)
            return self._finish(call, kind, parts)
        finally:
            self.pool.leave(call)

    def _converse(
        self,
        call: Call,
        kind: int,
        request: Parts,
        may_start: Callable[[], bool] | None = None,
    ) -> tuple[int, Parts]:
        """Take a child, give it the request, and return its first reply."""
        while True:
            child = self._take(call)
            if may_start is not None and not may_start():
                raise CancelledError
            try:
                child.send(kind, request, call.deadline)
            except Undelivered:  # it died while it was idle: no harm is done
                self._discard(call, child)
                may_start = None
                continue
            except Expired:
                self._discard(call, child)
                raise call.expired(child) from None
            except EOFError:
                raise self._death(call, child) from None
            except BaseException:
                self._discard(call, child)
                raise
            request.clear()  # its buffers are free for whoever owns them
            return self._receive(call, child)

    def _take(self, call: Call) -> Child:
        child = self.pool.take(call.deadline)
        if isinstance(child, CancelledError):
            raise child
        if isinstance(child, Exception):  # none could be started
            call.outcome = "failed"
            raise child
        if child is None:
            raise call.expired(None)
        call.child = child
        call.ran = child.since = time.monotonic()
        child.function = call.function
        return child

    def _receive(self, call: Call, child: Child) -> tuple[int, Parts]:
        """The child's next reply. In case of an error the child is discarded."""
        try:
            kind, parts = child.receive(call.deadline)
        except Expired:
            self._discard(call, child)
            raise call.expired(child) from None
        except EOFError:
            raise self._death(call, child) from None
        except NotAFrame as error:  # a GIPCError may be the caller's, thrown into its greenlet
            call.outcome = "died"
            self._discard(call, child)
            raise OffloadError(
                f"child {child.pid} was killed: its reply to {name_of(call.function)} "
                f"was unreadable: {error}"
            ) from error
        except BaseException:
            self._discard(call, child)
            raise
        if kind & LEAVING:
            child.leaving = True
            kind &= ~LEAVING
            log.warning(
                "child %d is above max_memory_per_child after %s, with %d MB; it is replaced",
                child.pid,
                name_of(call.function),
                child.resident_memory >> 20,
            )
        return kind, parts

    def _death(self, call: Call, child: Child) -> OffloadError:
        if child.killed and is_past(call.deadline):
            self._discard(call, child)
            return call.expired(child)
        call.outcome = "died"
        killed = child.killed  # by this process, which is ending, or by a stream's close
        try:
            child.process.join(_DYING)
        finally:
            exitcode = child.process.exitcode
            fate = child.fate() if exitcode is not None else "closed its pipe"
            self._discard(call, child)  # closes the process object, sooner or later
        name = name_of(call.function)
        seconds = time.monotonic() - (call.ran or call.begun)
        what = f"child {child.pid} {fate} after {seconds:.3g} s in {name}"
        if not killed:
            log.warning("%s; it is replaced", what)
        return ChildDied(
            what,
            exitcode=exitcode,
            function=name,
            pid=child.pid,
        )

    def _discard(self, call: Call, child: Child) -> None:
        call.child = None
        self.pool.discard(child)

    def _finish(self, call: Call, kind: int, parts: Parts) -> Any:
        """What a call's last reply stands for: a result, or an exception."""
        if kind == ERROR:
            call.outcome = "failed"
            raise decode_error(parts)
        result = self._decode(call, parts) if kind == RESULT else None
        call.outcome = "completed"
        return result

    def _decode(self, call: Call, parts: Parts) -> Any:
        try:
            return decode(parts)
        except Exception as error:
            call.outcome = "failed"
            raise OffloadError(
                f"what {name_of(call.function)} returned cannot be unpickled: {describe(error)}"
            ) from error

    # A stream of items

    def stream(
        self, function: Callable[..., Any], args: tuple[Any, ...], timeout: float | None
    ) -> Stream[Any]:
        """Run a generator function in a child and iterate over what it yields."""
        call = Call(function, timeout)
        request = encode_in_place(call_of(function, args))
        self.pool.admit()
        try:
            return Stream(self, call, request)
        except BaseException:
            self.pool.leave(call)
            raise

    # Calls that a future stands for

    def submit(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        timeout: float | None,
    ) -> Future[Any]:
        """Have ``function(*args)`` run in a child by the keeper's thread."""
        call = Call(function, timeout)
        self.pool.admit(log_refusal=False)  # a map is refused again and again
        try:
            self.pool.begin()
        except OffloadError:
            call.outcome = "failed"
            self.pool.leave(call)
            raise
        future: Future[Any] = Future()
        try:
            request = encode(call_of(function, args))
        except Exception as error:
            call.outcome = "failed"
            self.pool.leave(call)
            future.set_exception(error)
            return future
        self._futures.add(future)
        self.pool.post(self._run, future, call, request)
        return future

    def _run(self, future: Future[Any], call: Call, request: Parts) -> None:
        greenlet: Any = gevent.getcurrent()
        error: BaseException | None = None
        result = None
        future.on_cancel(lambda: self.pool.post(greenlet.kill))
        try:
            if future.cancelled():  # before it could be told above
                raise CancelledError
            kind, parts = self._converse(call, CALL, request, future.set_running_or_notify_cancel)
            result = self._finish(call, kind, parts)
        except BaseException as problem:
            error = problem
        future.on_cancel(None)
        held = call.child is not None
        # Before the future's callbacks, which may shut the executor down.
        self.pool.leave(call)
        cancelled = isinstance(error, (CancelledError, gevent.GreenletExit))
        if error is None:
            future.set_result(result)
        elif not (cancelled and (future.cancelled() or future.cancel())):
            future.set_exception(error)
        elif not held:  # otherwise it was told so before its start
            future.set_running_or_notify_cancel()
        self._futures.discard(future)

    # The end, and a new beginning

    def finish_futures(self, deadline: float | None = None) -> int:
        """Wait until all calls that were submitted have told their futures, or *deadline*.

        Return how many have not.
        """
        for future in list(self._futures):
            future.wait(None if deadline is None else remaining(deadline))
        return len(self._futures)

    def start_afresh(self) -> None:
        """Forget all calls and children, in a process that was forked."""
        self._futures.clear()
        self.pool.abandon()


class Stream(Iterator[T]):
    """Iterates over what a generator yields in a child. Made by ``stream``.

    Closing it, which leaving it to the garbage collector does too, ends the
    child's work. It is a context manager that closes it.
    """

    def __init__(self, engine: Engine, call: Call, request: Parts) -> None:
        self._engine = engine
        self._call = call
        self._busy = False
        self._over = False  # no item is to be had any more
        self._ended = True  # until there is a child: the call is not to leave twice
        self._finished = False  # the generator has ended
        self._reply: tuple[int, Parts] | None = engine._converse(call, STREAM, request)
        self._ended = False  # the call has not left
        if call.timeout is not None:
            engine.pool.post(_end_in_time, engine.pool, call)

    def __iter__(self) -> Stream[T]:
        return self

    def __next__(self) -> T:
        if self._busy:
            raise ValueError("the stream is being iterated by another greenlet")
        if self._over:
            self._end()
            raise StopIteration
        self._busy = True
        try:
            item = self._next_item()
        except BaseException as error:
            closed, self._over = self._over, True
            if closed:
                self._call.outcome = "cancelled"
            self._end()
            if closed and isinstance(error, OffloadError):
                raise StopIteration from None
            raise
        finally:
            self._busy = False
        if self._over:  # closed by another greenlet, meanwhile
            self._end()
            raise StopIteration
        return item

    def _next_item(self) -> T:
        call = self._call
        if self._reply is not None:
            (kind, parts), self._reply = self._reply, None
        else:
            assert call.child is not None
            kind, parts = self._engine._receive(call, call.child)
        if kind == ITEM:
            item: T = self._engine._decode(call, parts)
            return item
        self._finished = True
        self._engine._finish(call, kind, parts)
        raise StopIteration

    def close(self) -> None:
        """End the stream. The child is killed unless the generator has ended.

        A greenlet that waits for an item meanwhile finds the stream at its end.
        """
        if self._over:
            return
        self._over = True
        if self._busy:
            self._engine.pool.kill_held(self._call)
        else:
            self._end()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        _leave(self._engine, self._call, self._finished)

    def __enter__(self) -> Stream[T]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_ended", True):
            # Not here: the pool's lock may be held by this very thread.
            self._ended = True
            self._engine.pool.post(_leave, self._engine, self._call, self._finished)


def _leave(engine: Engine, call: Call, finished: bool) -> None:
    if call.child is not None and not finished:
        engine._discard(call, call.child)
    if call.timeout is not None:
        engine.pool.post(_forget_deadline, call)
    engine.pool.leave(call)


def _end_in_time(pool: Pool, call: Call) -> None:
    # A consumer that is busy elsewhere does not keep the child beyond the deadline.
    assert call.deadline is not None
    call.alarm = gevent.spawn_later(remaining(call.deadline), pool.kill_held, call)


def _forget_deadline(call: Call) -> None:
    if call.alarm is not None:
        call.alarm.kill(block=False)
