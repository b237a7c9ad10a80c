"""A native thread that runs greenlets in a hub of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent.pool import Group

from gipc._gevent import allocate_lock, original, start_new_thread
from gipc._ready import Mailbox, Ticket, remaining

# Locks that running threads hold until they end.
_running: set[Any] = set()


class HubThread:
    """Runs functions, each in a greenlet, apart from the threads that post them.

    The thread starts with :meth:`begin` and ends after :meth:`stop`. What is posted before
    waits for it, what is posted later is dropped.
    """

    def __init__(self) -> None:
        # Reentrant, since a collected object may post while its thread is posting.
        self._guard = original("_thread", "RLock")()
        self._pending: deque[tuple[Any, ...]] = deque()
        self.started = self._stopped = False
        self._mailbox: Mailbox | None = None
        self._greenlets = Group()
        self._end: Ticket | None = None

    def begin(self) -> None:
        """Start the thread, unless it was started. If that fails, it can be tried again.

        :raises RuntimeError: the system has no threads left.
        :raises Exception: there can be no event loop in it.
        """
        with self._guard:
            if self.started:
                return
            running, ready = allocate_lock(), allocate_lock()
            running.acquire()
            ready.acquire()
            failures: list[BaseException] = []
            start_new_thread(self._run, (running, ready, failures))
            ready.acquire()  # for a moment only
            if failures:
                raise failures[0]
            self.started = True
            _running.add(running)
            self._wake()

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Have ``function(*args)`` run soon. May be called from any thread."""
        with self._guard:
            if self._stopped:
                return
            self._pending.append((function, *args))
            if self.started:
                self._wake()

    def _wake(self) -> None:
        assert self._mailbox is not None
        self._mailbox.post(self._spawn_pending)

    def stop(self) -> None:
        """Let the thread end. To be called by one of its greenlets, once."""
        assert self._end is not None
        with self._guard:
            self._stopped = True
        self._end.wake()

    def _run(self, running: Any, ready: Any, failures: list[BaseException]) -> None:
        try:
            hub = gevent.get_hub()
            hub.name = "gipc"
            self._end = Ticket()
            self._mailbox = Mailbox(hub, ref=True)
        except BaseException as error:  # the system has no descriptors left
            failures.append(error)
            return
        finally:
            ready.release()
        self._end.wait()
        self._end.close()
        self._mailbox.close()
        # Under libuv, a hub goes on for as long as one of its greenlets sleeps.
        self._greenlets.kill()
        hub.destroy(destroy_loop=True)
        _running.discard(running)
        running.release()

    def _spawn_pending(self) -> None:
        while self._pending:
            self._greenlets.spawn(*self._pending.popleft())


def join_threads(deadline: float) -> None:
    """Block until all threads that are ending have ended, or until *deadline*.

    The interpreter must not go while one of them is at it.
    """
    for running in list(_running):
        running.acquire(True, remaining(deadline))


def forget_threads() -> None:
    """Wait for no thread of the process that this one was forked from."""
    _running.clear()
