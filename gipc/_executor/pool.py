"""Lends children to calls: who holds which, who waits, and how many there should be."""

from __future__ import annotations

import copy
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

from gipc._exceptions import OffloadError, QueueFull
from gipc._executor.child import Child
from gipc._executor.keeper import Keeper
from gipc._executor.settings import Settings
from gipc._executor.stats import ChildStats, Figures, Stats
from gipc._executor.worker import resident_memory
from gipc._gevent import allocate_lock
from gipc._ready import Ticket, is_past

if TYPE_CHECKING:
    from gipc._executor.engine import Call

log = logging.getLogger("gipc")

#: Seconds without another try after children could not be started: at first, at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 30.0

#: Seconds between two lines of the log about calls that are refused.
_REPORT_PAUSE = 10.0

# Keepers of a forked process's parent: their greenlets must not be collected, which
# would unwind them.
_forgotten: list[Keeper] = []


def _again(problem: Exception | None) -> Exception:
    """The same error for another caller, who gets a traceback of its own."""
    assert problem is not None
    try:
        error = copy.copy(problem)
    except Exception:  # its class does not allow that
        return problem
    error.__cause__ = problem.__cause__
    return error


class Pool:
    """The children of one executor.

    All state is guarded by one lock, that is held for moments and never while
    anything waits. A child is lent to one call at a time. A call is *admitted*
    from its beginning to its end, and holds a child for a part of that time.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reset()

    def _reset(self) -> None:
        self._guard = allocate_lock()
        self._keeper = Keeper(self, self._settings)
        self.children: list[Child] = []  # ready, and not known to have ended
        self._newborn: list[Child] = []  # not ready yet
        self._idle: list[Child] = []  # the one that was used last comes last
        self._waiting: deque[Ticket] = deque()
        self._watching: list[Ticket] = []  # wakened by any change
        self._admitted = 0
        self._lent = 0
        self._starting = 0
        self._died = 0  # children that none was started for yet
        self._target = 0  # how many children there should be
        self._problem: Exception | None = None  # why none could be started
        self._pause = _FIRST_PAUSE
        self._retry_at = 0.0
        self._retrying = False  # the keeper will come back at that time
        self._refused = 0  # calls that the log does not know of
        self._report_at = 0.0  # when it may be told next
        self._closed = False
        self._cancelled = False  # calls that wait are
        self._finishing = False
        self._over = False
        self._figures = Figures()
        self.post = self._keeper.post

    # Calls

    def admit(self, log_refusal: bool = True) -> None:
        """Let a call in, or refuse it.

        :raises QueueFull: enough calls wait already.
        :raises RuntimeError: the pool is closed.
        """
        settings = self._settings
        with self._guard:
            if self._closed:
                raise RuntimeError("cannot schedule new calls after shutdown")
            self._figures.submitted += 1
            limit = settings.max_queue
            if limit is None or self._admitted < settings.max_workers + limit:
                self._admitted += 1
                return
            self._figures.outcomes["refused"] += 1
            self._refused += 1
            refused = 0
            if log_refusal and time.monotonic() >= self._report_at:
                self._report_at = time.monotonic() + _REPORT_PAUSE
                refused, self._refused = self._refused, 0
        if refused:  # not with the guard held: a handler may wait
            log.warning("calls were refused: %d, as max_queue is %d", refused, limit)
        raise QueueFull(f"{limit} calls wait for a child already", max_queue=limit)

    def leave(self, call: Call) -> None:
        """The end of an admitted call. Its child, if it still holds one, is idle again."""
        now = time.monotonic()
        figures = self._figures
        with self._guard:
            if call.child is not None:
                self._take_back(call.child)
                call.child = None
            self._admitted -= 1
            figures.outcomes[call.outcome] += 1
            if call.outcome == "completed":
                self._pause = _FIRST_PAUSE
            if call.ran is not None:
                figures.waiting_time.add(call.ran - call.begun)
                figures.running_time.add(now - call.ran)
            if self._waiting or self._watching or self._closed:
                self._settle()

    def take(self, deadline: float | None) -> Child | Exception | None:
        """Wait for a child, first come, first served; None when *deadline* came first.

        An exception is returned, not raised, when there will be none: CancelledError
        when the pool was closed, and waiting calls with it; another when no child
        could be started. What is raised comes from outside.
        """
        if not self._keeper.has_begun:
            try:
                self.begin()
            except OffloadError as error:
                return error
        with self._guard:
            if self._cancelled:
                return CancelledError("the executor was shut down")
            if self._idle and not self._waiting and self._lent < self._settings.max_workers:
                child = self._lend(self._idle.pop())
                if child.leaving:
                    self._settle()
                return child
            if self._hopeless() and self._pausing():
                return _again(self._problem)
            ticket = Ticket()
            self._waiting.append(ticket)
            wanted = min(self._settings.max_workers, self._lent + len(self._waiting))
            self._target = max(self._target, wanted)
            self._settle()
        try:
            ticket.wait(deadline)
        except BaseException:
            with self._guard:
                ticket.close()
                if isinstance(ticket.granted, Child):
                    self._take_back(ticket.granted)
                elif ticket.granted is None:
                    self._waiting.remove(ticket)
                self._settle()
            raise
        with self._guard:
            ticket.close()
            if ticket.granted is None:
                self._waiting.remove(ticket)
            elif isinstance(ticket.granted, Child) and is_past(deadline):
                self._take_back(ticket.granted)
                self._settle()
                ticket.granted = None
        granted: Child | Exception | None = ticket.granted
        return granted

    def begin(self) -> None:
        """Have somebody who starts children.

        :raises OffloadError: that cannot be. It may be tried again.
        """
        try:
            self._keeper.begin()
        except Exception as error:
            raise OffloadError(f"the executor could not start its thread: {error}") from error

    def _lend(self, child: Child) -> Child:
        self._lent += 1
        child.lent = True
        child.tasks += 1
        # The successor of a child that takes its last task starts while it works.
        child.leaving = child.tasks == self._settings.max_tasks
        return child

    def kill_held(self, call: Call) -> None:
        """Kill the child that a call of another greenlet holds, if it still does."""
        with self._guard:
            if call.child is not None:
                call.child.leaving = True
                call.child.kill()

    def discard(self, child: Child) -> None:
        """Return a child that did not answer: it is killed, and replaced."""
        with self._guard:
            child.leaving = True
        child.kill()
        with self._guard:
            self._take_back(child)
            self._settle()

    def _take_back(self, child: Child) -> None:
        self._lent -= 1
        child.lent = False
        child.function = None
        child.since = time.monotonic()
        if child.ended:
            self._keeper.post(child.close)
        elif not child.leaving:
            self._idle.append(child)
        elif not child.killed:
            self._keeper.post(self._keeper.retire, child)

    # Children

    @property
    def closed(self) -> bool:
        """Whether no call is let in any more, and children are started for few."""
        return self._closed

    def begin_start(self, child: Child) -> None:
        """A child is about to be started."""
        with self._guard:
            self._newborn.append(child)
            self._settle()

    def add(self, child: Child) -> None:
        """A child is ready."""
        with self._guard:
            self._starting -= 1
            self._newborn.remove(child)
            self._figures.started += 1
            self._problem = None
            self.children.append(child)
            child.since = time.monotonic()
            self._idle.insert(0, child)  # those that have served are warmer
            healed = self._died > 0
            self._died -= healed
            self._settle()
        if healed:
            log.info("child %d was started in place of one that died", child.pid)

    def start_over(self, child: Child) -> None:
        """A child could not be started, and another one is started in its place."""
        with self._guard:
            self._newborn.remove(child)

    def start_failed(self, child: Child | None, problem: Exception, reason: str) -> None:
        """A child could not be started. None: nor made.

        :param problem: what calls that wait for a child raise.
        :param reason: what the log says.
        """
        with self._guard:
            wanted = bool(self._waiting) or not self._closed
            if wanted:
                self._hold_off()
            pause = self._retry_at - time.monotonic()
        if wanted:  # not with the guard held: a handler may wait
            log.error(
                "no child could be started, next try in %.2g s at the earliest: %s", pause, reason
            )
        with self._guard:
            self._starting -= 1
            if child is not None:
                self._newborn.remove(child)
            if wanted:
                self._problem = problem
            if self._hopeless():
                while self._waiting:
                    self._grant(_again(problem))
            self._settle()

    def retry(self) -> None:
        """The pause after children could not be started is over."""
        with self._guard:
            self._retrying = False
            self._settle()

    def ended(self, child: Child) -> None:
        """A child ended, in whatever way."""
        with self._guard:
            child.ended = True
            self.children.remove(child)
            if child in self._idle:
                self._idle.remove(child)
            if not child.lent:
                self._keeper.post(child.close)
            expected = child.leaving or child.lent  # whoever holds it will tell
            if not expected and child.tasks == 0:
                self._hold_off()  # it seems that they cannot live
            self._figures.replaced += not self._closed
            self._died += not child.leaving or child.process.exitcode != 0
            self._settle()
        if not expected:
            log.warning("child %d %s; it is replaced", child.pid, child.fate())

    def expire(self, idle_timeout: float) -> float:
        """Retire children that idle too long; return when to look again."""
        now = time.monotonic()
        with self._guard:
            for child in list(self._idle):
                if now - child.since >= idle_timeout:
                    self._idle.remove(child)
                    child.leaving = True
                    self._target = max(0, self._target - 1)
                    self._keeper.post(self._keeper.retire, child)
            return min((child.since for child in self._idle), default=now) + idle_timeout

    # What follows is called with the guard held.

    def _settle(self) -> None:
        """Do all that the present state asks for."""
        while self._waiting and self._idle and self._lent < self._settings.max_workers:
            self._grant(self._lend(self._idle.pop()))
        shortage = self._shortage()
        if shortage and self._pausing():
            if not self._retrying:
                self._retrying = True
                self._keeper.post(self._keeper.retry, self._retry_at)
        else:
            self._starting += shortage
            for _ in range(shortage):
                self._keeper.post(self._keeper.start_child)
        if self._closed and not self._waiting:
            for child in self._newborn:
                child.kill()
        if self._closed and self._admitted <= 0:
            self._wind_up()
        for ticket in self._watching:
            ticket.wake()
        self._watching.clear()

    def _grant(self, what: Child | Exception) -> None:
        ticket = self._waiting.popleft()
        ticket.granted = what
        ticket.wake()

    def _shortage(self) -> int:
        staying = [child for child in self.children if not child.leaving]
        wanted = self._target
        if self._closed:  # only those that somebody waits for
            busy = sum(child.lent for child in staying)
            wanted = min(wanted, busy + len(self._waiting))
        return max(0, wanted - len(staying) - self._starting)

    def _pausing(self) -> bool:
        return time.monotonic() < self._retry_at

    def _hold_off(self) -> None:
        if not self._pausing():  # failures at the same time are one failure
            self._retry_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _hopeless(self) -> bool:
        return self._problem is not None and not self.children and not self._starting

    def _wind_up(self) -> None:
        while self._idle:
            child = self._idle.pop()
            child.leaving = True
            self._keeper.post(self._keeper.retire, child)
        if not self.children and self._starting:
            self._keeper.stop_starting()
        if not self.children and not self._starting and not self._finishing:
            self._finishing = True
            if self._keeper.has_begun:
                self._keeper.post(self._keeper.finish)
            else:
                self._over = True

    # Life and death of the pool

    def warm_up(self, deadline: float | None) -> bool:
        """Start all children and wait until they are ready; False at *deadline*.

        :raises Exception: no child could be started.
        """
        while True:
            with self._guard:
                if self._closed:
                    raise RuntimeError("cannot start children after shutdown")
            self.begin()
            with self._guard:
                self._target = self._settings.max_workers
                self._settle()
                if self._problem is not None and not self._starting:
                    raise _again(self._problem)
                if self._is_warm():
                    return True
            if not self._wait_for_change(deadline, unless=self._is_warm):
                return False

    def _is_warm(self) -> bool:
        ready = sum(not child.leaving for child in self.children)
        return ready >= self._target or (self._problem is not None and not self._starting)

    def close(self, cancel: bool) -> None:
        """Let no call in any more. Waiting ones end as cancelled if *cancel* says so."""
        with self._guard:
            self._closed = True
            if cancel:
                self._cancel_waiting()
            self._settle()

    def _cancel_waiting(self) -> None:
        self._cancelled = True
        while self._waiting:
            self._grant(CancelledError("the executor was shut down"))

    def close_lost(self) -> None:
        """Close the pool of an executor that was collected."""
        # Not here: the lock may be held by this very thread.
        if not self._over:  # otherwise the keeper's thread would start again, and stay
            self._keeper.post(self.close, False)

    def finished(self) -> None:
        """The keeper has ended all that there was."""
        with self._guard:
            self._over = True
            self._settle()

    def wait_until_over(self, deadline: float | None = None, block: bool = False) -> None:
        """Wait until the pool is closed, all calls have ended, and all children."""
        while not self._over:
            if not self._wait_for_change(deadline, unless=self._is_over, block=block):
                return

    def _is_over(self) -> bool:
        return self._over

    def terminate(self, deadline: float) -> None:
        """Close the pool, kill children that are busy, and wait for all to end.

        For the interpreter's exit: no other greenlet runs meanwhile.
        """
        with self._guard:
            self._closed = True
            self._cancel_waiting()  # no child shall be started for them
            for child in self.children:
                if child.lent:
                    child.leaving = True
                    child.kill()
            self._admitted = 0  # nobody will run the greenlets of other calls again
            if self._starting:
                self._keeper.stop_starting()
            self._settle()
        self.wait_until_over(deadline, block=True)

    def _wait_for_change(
        self, deadline: float | None, unless: Callable[[], bool], block: bool = False
    ) -> bool:
        ticket = Ticket(block)
        with self._guard:
            if unless():  # it came before we looked
                ticket.close()
                return True
            self._watching.append(ticket)
        try:
            return ticket.wait(deadline)
        finally:
            with self._guard:
                ticket.close()
                if ticket in self._watching:
                    self._watching.remove(ticket)

    def abandon(self) -> None:
        """Start afresh, in a process that was forked from the one of the pool."""
        _forgotten.append(self._keeper)
        closed = self._closed
        self._reset()
        self._closed = self._over = closed

    # Figures

    def stats(self) -> Stats:
        """A snapshot of all."""
        now = time.monotonic()
        with self._guard:
            figures = self._figures
            children = [
                (child, "leaving" if child.leaving else "busy" if child.lent else "idle")
                for child in self.children
            ] + [(child, "starting") for child in self._newborn]
            return Stats(
                max_workers=self._settings.max_workers,
                children=tuple(
                    ChildStats(
                        pid=child.pid,
                        state=state,
                        function=child.task,
                        seconds=now - child.since,
                        tasks=child.tasks,
                        resident_memory=resident_memory(child.pid),
                    )
                    for child, state in children
                    if child.pid is not None
                ),
                starting=self._starting,
                running=self._lent,
                queued=self._admitted - self._lent,
                submitted=figures.submitted,
                **figures.outcomes,
                started=figures.started,
                replaced=figures.replaced,
                waiting_time=figures.waiting_time.snapshot(),
                running_time=figures.running_time.snapshot(),
            )
