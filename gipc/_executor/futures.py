"""Futures that greenlets can wait for, in a monkey-patched process and in any other."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import gevent

from gipc._gevent import allocate_lock, get_hub_if_exists, new_rlock
from gipc._ready import Ticket, send

T = TypeVar("T")


class Future(concurrent.futures.Future[T]):
    """A :class:`concurrent.futures.Future` that is waited for cooperatively.

    ``result`` and ``exception`` let other greenlets of the thread run meanwhile,
    and :func:`gevent.wait` and :func:`gevent.iwait` accept it.
    """

    def __init__(self) -> None:
        super().__init__()
        # Two threads use it, for moments only. A monkey-patched one would have one of
        # them wait until the hub of the other runs again.
        self._condition = threading.Condition(new_rlock())
        self._on_cancel: Callable[[], object] | None = None
        self._links: dict[Any, Any] = {}
        self._keep_loop_alive()

    def _keep_loop_alive(self) -> None:
        # Another thread finishes the call. gevent would take a loop in which
        # nothing else happens for one that waits for ever.
        hub = get_hub_if_exists()
        if hub is not None:
            watcher = hub.loop.async_()
            watcher.start(watcher.close)
            self.add_done_callback(lambda _: send(watcher))

    def on_cancel(self, callback: Callable[[], object] | None) -> None:
        """Have *callback* called when :meth:`cancel` succeeds; for the executor."""
        self._on_cancel = callback

    def cancel(self) -> bool:
        """Cancel the call if it has not begun; see :meth:`concurrent.futures.Future.cancel`."""
        first = not self.cancelled()
        done = super().cancel()
        if done and first and self._on_cancel is not None:
            self._on_cancel()
        return done

    def result(self, timeout: float | None = None) -> T:
        """The call's result; see :meth:`concurrent.futures.Future.result`."""
        self.wait(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The call's exception; see :meth:`concurrent.futures.Future.exception`."""
        self.wait(timeout)
        return super().exception(0)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the call is over, or for *timeout* seconds, cooperatively."""
        if self.done():
            return
        guard = allocate_lock()
        ticket = Ticket()
        over = False

        def wake(_: object) -> None:
            with guard:
                if not over:
                    ticket.wake()

        self.add_done_callback(wake)
        try:
            ticket.wait(None if timeout is None else time.monotonic() + timeout)
        finally:
            with guard:
                over = True
                ticket.close()

    # What gevent.wait and gevent.iwait ask of an object.

    def ready(self) -> bool:
        """Whether the call is over; the same as :meth:`done`."""
        return self.done()

    def rawlink(self, callback: Callable[[Any], object]) -> None:
        """Have *callback* called in this thread's hub when the call is over."""
        hub = gevent.get_hub()
        # Unlike a callback, this watcher keeps the loop from ending meanwhile.
        watcher: Any = hub.loop.async_()
        guard = allocate_lock()
        watcher.start(self._follow, callback)
        self._links[callback] = (watcher, guard)

        def follow(_: object) -> None:
            with guard:
                if watcher.active:
                    send(watcher)

        self.add_done_callback(follow)

    def unlink(self, callback: Callable[[Any], object]) -> None:
        """Take back :meth:`rawlink`, in the same thread."""
        watcher, guard = self._links.pop(callback, (None, None))
        if watcher is not None:
            with guard:
                watcher.stop()
                watcher.close()

    def _follow(self, callback: Callable[[Any], object]) -> None:
        self.unlink(callback)
        callback(self)
