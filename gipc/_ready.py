"""Waiting that fits every caller.

A greenlet waits in the hub of its thread. A thread without a hub has nobody else
to serve, so that it just blocks, and no hub is made for it.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from gevent.hub import Waiter

from gipc._gevent import allocate_lock, get_hub_if_exists, original

READ = 1
WRITE = 2

# The real ones, also if the process is patched later. To look them up takes longer.
_sleep, _poll = original("time", "sleep"), original("select", "poll")
#: Seconds. No system call takes more; nobody waits longer.
_VERY_LONG = 2_000_000.0
#: Seconds. The system makes some 50 µs of it.
_NAP = 1e-6

_POLL_EVENTS = {READ: 0x001, WRITE: 0x004}  # POLLIN, POLLOUT


def remaining(deadline: float) -> float:
    """Seconds left until *deadline* (of :func:`time.monotonic`), at least 0."""
    left = min(deadline - time.monotonic(), _VERY_LONG)
    # Whole milliseconds: libuv counts in them, and gevent warns of less.
    return max(0.0, math.ceil(1000 * left) / 1000)


def is_past(deadline: float | None) -> bool:
    """Whether *deadline* has come; None never does."""
    return deadline is not None and time.monotonic() >= deadline


class Descriptor:
    """Waits for one descriptor, as often as needed, with one watcher kept for it."""

    __slots__ = ("_events", "_hub", "_poll", "_watcher", "fd")

    def __init__(self, fd: int, events: int) -> None:
        self.fd = fd
        self._events = events
        self._hub: Any = None
        self._watcher: Any = None
        self._poll: Any = None

    def wait(self, deadline: float | None = None, nap: bool = False) -> bool:
        """Wait until the descriptor is ready; False when *deadline* came first.

        *nap* tells that much is coming. A thread that has nobody else to serve lets it
        gather for a moment then, as to be woken for each bit takes both sides longer.
        """
        hub = get_hub_if_exists()
        if hub is None:
            if nap:
                _sleep(_NAP)
            return self._block(deadline)
        if hub is not self._hub:
            self.release()
            self._watcher = io_watcher(hub, self.fd, self._events)
            self._hub = hub
        if deadline is None:
            hub.wait(self._watcher)
            return True
        waiter = Waiter(hub)
        with _alarm(hub, waiter, deadline):
            self._watcher.start(waiter.switch, True)
            try:
                # A loop may look at its timers first.
                return bool(waiter.get()) or self._block(0.0)
            finally:
                self._watcher.stop()

    def _block(self, deadline: float | None) -> bool:
        if self._poll is None:
            self._poll = _poll()
            self._poll.register(self.fd, _POLL_EVENTS[self._events])
        timeout = None if deadline is None else 1000 * remaining(deadline)
        return bool(self._poll.poll(timeout))

    def release(self) -> None:
        """Let go of the watcher. Call this before the descriptor is closed."""
        if self._watcher is not None:
            close_watcher(self._hub, self._watcher)
            self._watcher = self._hub = None

    def forget(self) -> None:
        """Drop what belongs to the parent's event loop, in a forked child."""
        self._watcher = self._hub = self._poll = None


class Ticket:
    """One wait for one event that may come from any thread.

    Its owner calls :meth:`wake` and :meth:`close` under one lock, so that a wait
    that was given up is never woken.
    """

    __slots__ = ("_async", "_hub", "_lock", "_waiter", "granted")

    def __init__(self, block: bool = False) -> None:
        """Make a ticket. With *block* the thread blocks, even if it runs a hub."""
        self.granted: Any = None  # for the owner's use: what the wait was for
        self._hub = None if block else get_hub_if_exists()
        if self._hub is None:
            self._lock = allocate_lock()
            self._lock.acquire()
        else:
            self._waiter = Waiter(self._hub)
            # Unlike a callback, this watcher keeps the loop from ending meanwhile.
            self._async = self._hub.loop.async_()
            self._async.start(self._waiter.switch, True)

    def wake(self) -> None:
        """Let the waiting side go on. To be called once, from any thread."""
        if self._hub is None:
            self._lock.release()
        else:
            send(self._async)

    def wait(self, deadline: float | None = None) -> bool:
        """Wait to be woken; False when *deadline* came first. To be called once."""
        if self._hub is None:
            return bool(self._lock.acquire(True, -1 if deadline is None else remaining(deadline)))
        with _alarm(self._hub, self._waiter, deadline):
            return bool(self._waiter.get())

    def close(self) -> None:
        """End the wait, by the side that waited."""
        if self._hub is not None:
            self._async.stop()
            self._async.close()


class Turn:
    """A lock for blocks that may switch greenlets, fair between all threads.

    Whoever takes the key out of its list holds the lock: to pop an item, and to append it,
    is atomic and quicker than any lock.
    """

    __slots__ = ("_guard", "_key", "_waiting")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget who holds it and who waits, in a forked child."""
        self._key = [True]
        self._waiting: deque[Ticket] = deque()
        self._guard = allocate_lock()

    def take_now(self) -> bool:
        """Take the lock if it is free."""
        try:
            return self._key.pop()
        except IndexError:
            return False

    def take(self, deadline: float | None = None) -> bool:
        """Wait for the lock, first come, first served; False when *deadline* came first."""
        try:
            return self._key.pop()
        except IndexError:
            ticket = Ticket()
        with self._guard:
            self._waiting.append(ticket)
        try:
            self._pass_on()  # it may have been given back before this ticket was there
            ticket.wait(deadline)
        except BaseException:
            if self._end(ticket):
                self.give_back()
            raise
        return self._end(ticket)

    def _end(self, ticket: Ticket) -> bool:
        """End a wait, and tell whether the lock was got."""
        with self._guard:
            ticket.close()
            if ticket.granted is None:
                self._waiting.remove(ticket)
            return ticket.granted is not None

    def give_back(self) -> None:
        """Let the next one have the lock."""
        self._key.append(True)
        if self._waiting:
            self._pass_on()

    def _pass_on(self) -> None:
        """Give the lock, if it is free, to the one that has waited longest."""
        with self._guard:
            if self._waiting and self.take_now():
                ticket = self._waiting.popleft()
                ticket.granted = True
                ticket.wake()

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *exc_info: object) -> None:
        self.give_back()


class Mailbox:
    """Has functions called in a hub, asked for by any thread.

    gevent's own ``run_callback_threadsafe`` changes the event loop in the thread that
    calls it, while the loop's thread may be changing it too.
    """

    def __init__(self, hub: Any, ref: bool) -> None:
        """To be called in the hub's thread. With *ref* the loop does not end meanwhile."""
        self._pending: deque[Callable[[], object]] = deque()
        self._async = hub.loop.async_(ref=ref)
        self._async.start(self._call_all)

    def post(self, function: Callable[[], object]) -> None:
        """Have *function* called soon. Nothing happens when the hub has ended."""
        self._pending.append(function)
        send(self._async)

    def _call_all(self) -> None:
        while self._pending:
            self._pending.popleft()()

    def close(self) -> None:
        """Take no more. To be called in the hub's thread."""
        self._async.close()


def send(watcher: Any) -> None:
    """Have an async watcher called, unless its hub is ending."""
    # Event loops differ in what they raise then, and it may begin to end at any moment.
    with contextlib.suppress(Exception):
        watcher.send()


def io_watcher(hub: Any, fd: int, events: int, ref: bool = True) -> Any:
    """Make a watcher that :func:`close_watcher` takes, in the thread of *hub*."""
    open_mailbox(hub)
    return hub.loop.io(fd, events, ref=ref)


def open_mailbox(hub: Any) -> None:
    """Let :func:`close_watcher` serve this hub. To be called in its thread."""
    if getattr(hub, "gipc_mailbox", None) is None:
        hub.gipc_mailbox = Mailbox(hub, ref=False)


def close_watcher(hub: Any, watcher: Any) -> None:
    """Close a watcher, from any thread. Its hub has an open mailbox."""
    if hub is get_hub_if_exists():
        watcher.close()
    else:
        hub.gipc_mailbox.post(watcher.close)


def is_readable(fd: int) -> bool:
    """Whether *fd* is readable now, or at its end."""
    poll = _poll()
    poll.register(fd, _POLL_EVENTS[READ])
    return bool(poll.poll(0))


def is_broken(fd: int) -> bool:
    """Whether nobody reads any more what is written to the pipe *fd*."""
    poll = _poll()
    poll.register(fd, 0)  # what is wrong with it is told in any case
    return bool(poll.poll(0))


def wait_for(fd: int, deadline: float | None = None) -> bool:
    """Wait once until *fd* is readable; False when *deadline* came first."""
    descriptor = Descriptor(fd, READ)
    try:
        return descriptor.wait(deadline)
    finally:
        descriptor.release()


@contextlib.contextmanager
def _alarm(hub: Any, waiter: Any, deadline: float | None) -> Iterator[None]:
    """Wake *waiter* with False at *deadline*."""
    if deadline is None:
        yield
        return
    timer = hub.loop.timer(remaining(deadline))
    timer.start(waiter.switch, False, update=True)
    try:
        yield
    finally:
        timer.stop()
        timer.close()
