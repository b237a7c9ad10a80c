"""Starts children, notices their ends, and sends them away, off the path of calls."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import gevent
from gevent.lock import BoundedSemaphore

from gipc._core.forkserver import ForkServer
from gipc._core.interpreter import complaint, praise
from gipc._core.patience import Patience
from gipc._core.preparation import remember_main
from gipc._core.traces import MAIN
from gipc._exceptions import ChildDied, OffloadError
from gipc._executor.child import Child, Expired
from gipc._executor.launch import PoolProcess
from gipc._executor.protocol import DOING, READY, decode_error, describe
from gipc._executor.settings import Settings
from gipc._executor.thread import HubThread
from gipc._executor.worker import work
from gipc._ready import remaining

if TYPE_CHECKING:
    from gipc._executor.pool import Pool

log = logging.getLogger("gipc")

#: Children that may be starting at the same time.
_STARTS_AT_ONCE = 4
#: Seconds that a child is given to end by itself.
_GRACE = 5.0


class Keeper:
    """Does a pool's housekeeping, in a thread of its own."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._thread = HubThread()
        self._fork_server: ForkServer | None = None
        if settings.method == "forkserver":
            # What a child is unpickled with, and what runs in it, so that none has to
            # import it; then what its tasks will want.
            modules = (PoolProcess.__module__, work.__module__, MAIN, *settings.orders.preload)
            self._fork_server = ForkServer(modules, True, settings.start_timeout)
        remember_main()
        self._needed: dict[str, None] = {}  # modules, in the order in which calls needed them
        self._harmful: set[str] = set()  # those that a child did not survive
        self._count = 0
        self._starts: Any = None
        self._expiring = False
        self.post = self._thread.post
        self.begin = self._thread.begin

    @property
    def has_begun(self) -> bool:
        """Whether there may be anything to finish."""
        return self._thread.started

    def learn(self, module: str) -> None:
        """Have children that are started from now on import *module* before they are ready."""
        if module in self._harmful:
            return
        self._needed[module] = None
        if self._fork_server is not None:
            self._fork_server.want(module)

    def _unlearn(self, module: str | None) -> bool:
        """Have no child import *module* before it is needed. False if none would have."""
        if module is None or module not in self._needed:
            return False
        del self._needed[module]
        self._harmful.add(module)
        log.warning(
            "a child did not survive the import of %s, which calls have needed. Children "
            "that are started from now on import it when a call needs it",
            module,
        )
        return True

    def start_child(self) -> None:
        """Start one child, give it to the pool, and stay until it ends."""
        if self._starts is None:
            self._starts = BoundedSemaphore(_STARTS_AT_ONCE)
        child = None
        with self._starts:
            try:
                if self._fork_server is not None:
                    self._fork_server.make_ready()
                child = self._new_child()
                self._pool.begin_start(child)
                self._start(child)
            except Exception as error:
                if child is not None:
                    child.kill()
                    self.post(self._bury, child)
                    if not self._pool.closed and self._unlearn(child.importing):
                        self._pool.start_over(child)
                        self.post(self.start_child)
                        return
                self._pool.start_failed(child, *_start_error(error))
                return
        self._pool.add(child)
        if self._settings.idle_timeout is not None and not self._expiring:
            self._expiring = True
            self.post(self._expire, self._settings.idle_timeout)
        child.process.join()
        child.kill_offspring()
        self._pool.ended(child)

    @staticmethod
    def _bury(child: Child) -> None:
        if child.pid is not None:
            child.process.join()
            child.kill_offspring()
        child.close()

    def retry(self, when: float) -> None:
        """Have the pool try again to start children, at *when*."""
        gevent.sleep(remaining(when))
        self._pool.retry()

    def _new_child(self) -> Child:
        self._count += 1
        return Child(
            dataclasses.replace(self._settings.orders, needed=tuple(self._needed)),
            self._settings.method,
            self._fork_server,
            f"gipc-{self._count}",
            self.learn,
        )

    def _start(self, child: Child) -> None:
        patience = Patience(self._settings.start_timeout)
        try:
            child.start(patience)
            kind, parts = self._first_words(child, patience)
            praise()
        except EOFError:
            raise self._death(child) from None
        except Expired:
            what = (
                f"child {child.pid} was not ready after {patience.seconds:g} s (start_timeout): "
                f"it was {child.doing}, and was killed"
            )
            if not child.has_read:
                what += f". {complaint('has not started')}"
            child.kill()
            child.process.join(_GRACE)
            raise OffloadError(what) from None
        if kind != READY:
            child.process.join(_GRACE)
            raise _Unfit(decode_error(parts))

    def _first_words(self, child: Child, patience: Patience) -> tuple[int, Any]:
        """What the child says of itself when it is ready, or knows that it never will be."""
        while True:
            try:
                kind, parts = child.receive(patience.next)
            except Expired:
                if patience.told:
                    raise
                patience.tell(f"child {child.pid} has been {child.doing}")
                continue
            if kind != DOING:
                return kind, parts
            child.note(bytes(parts[0]).decode())

    def _death(self, child: Child) -> OffloadError:
        child.process.join(_GRACE)
        how = child.fate()
        what = f"child {child.pid} {how} before it was ready"
        if not child.has_read:
            what += f". {complaint(how)}"
        return ChildDied(what, exitcode=child.process.exitcode, pid=child.pid)

    def retire(self, child: Child) -> None:
        """Let a child end by itself, and make sure of it."""
        child.dismiss()
        child.process.join(_GRACE)
        if not child.ended and child.process.is_alive():
            child.kill()

    def _expire(self, idle_timeout: float) -> None:
        while True:
            next_look = self._pool.expire(idle_timeout)
            gevent.sleep(remaining(next_look))

    def stop_starting(self) -> None:
        """Have no child started any more. May be called by any thread."""
        if self._fork_server is not None:
            self._fork_server.stop()

    def finish(self) -> None:
        """End the fork server and the thread, when no child is left."""
        if self._fork_server is not None:
            self._fork_server.stop()
            self._fork_server.bury()
        self._pool.finished()
        self._thread.stop()


class _Unfit(Exception):
    """A child's initializer raised the exception that this one holds."""


def _start_error(error: Exception) -> tuple[Exception, str]:
    """What calls raise, and what the log says, when a child could not be started."""
    if isinstance(error, _Unfit):
        problem: Exception = error.args[0]
        return problem, describe(problem)
    if isinstance(error, OffloadError):
        return error, str(error)
    # One without a number is told in gipc's own words.
    plain = isinstance(error, (ChildProcessError, TimeoutError)) and error.errno is None
    reason = str(error) if plain else describe(error)
    problem = OffloadError(f"no child could be started: {reason}")
    problem.__cause__ = error
    return problem, reason
