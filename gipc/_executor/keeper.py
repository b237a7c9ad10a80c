"""Starts children, notices their ends, and sends them away, off the path of calls."""

from __future__ import annotations

import contextlib
from multiprocessing.forkserver import ForkServer
from typing import TYPE_CHECKING, Any

import gevent
from gevent.lock import BoundedSemaphore

from gipc._exceptions import ChildDied, OffloadError
from gipc._executor.child import Child
from gipc._executor.launch import (
    forget_fork_server,
    forget_parents_directory,
    make_fork_server,
    server_pid,
    stop_fork_server,
)
from gipc._executor.protocol import READY, decode_error, describe
from gipc._executor.settings import Settings
from gipc._executor.thread import HubThread
from gipc._exitstatus import open_pidfd
from gipc._gevent import close_fd, original
from gipc._ready import remaining, wait_for

if TYPE_CHECKING:
    from gipc._executor.pool import Pool

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
        self._servers: list[ForkServer] = []  # the last one forks
        self._count = 0
        self._starts: Any = None
        self._expiring = False
        self.post = self._thread.post

    @property
    def has_begun(self) -> bool:
        """Whether there may be anything to finish. From Python 3.12 on, an interpreter
        that ends could not start the thread for it.
        """
        return self._thread.started

    def start_child(self) -> None:
        """Start one child, give it to the pool, and stay until it ends."""
        if self._starts is None:
            self._starts = BoundedSemaphore(_STARTS_AT_ONCE)
        with self._starts:
            try:
                child = self._launch()
                self._wait_until_ready(child)
            except Exception as error:
                self._pool.start_failed(_start_error(error))
                return
        self._pool.add(child)
        if self._settings.idle_timeout is not None and not self._expiring:
            self._expiring = True
            self.post(self._expire, self._settings.idle_timeout)
        child.process.join()
        child.kill_offspring()
        self._pool.ended(child)

    def retry(self, when: float) -> None:
        """Have the pool try again to start children, at *when*."""
        gevent.sleep(remaining(when))
        self._pool.retry()

    def _wait_until_ready(self, child: Child) -> None:
        try:
            kind, parts = child.receive(None)
        except EOFError:
            child.process.join()
            error = ChildDied(
                f"child {child.pid} {child.fate()} before it was ready",
                exitcode=child.process.exitcode,
                pid=child.pid,
            )
            child.close()
            raise error from None
        if kind != READY:
            child.process.join()
            child.close()
            raise _Unfit(decode_error(parts))

    def _launch(self) -> Child:
        settings = self._settings
        self._count += 1
        name = f"gipc-{self._count}"
        if settings.method != "forkserver":
            return Child(settings.orders, settings.method, None, name)
        if not self._servers:
            self._servers.append(make_fork_server(settings.orders.preload))
        server = self._servers[-1]
        try:
            return Child(settings.orders, settings.method, server, name)
        except (ChildProcessError, EOFError, ConnectionError):
            # The server was killed, and somebody else may know its end already.
            lost = True
        except FileNotFoundError:
            # Its socket was removed. It can still tell how its children end.
            lost = False
        if self._servers[-1] is server:  # otherwise another start has replaced it
            if lost:
                self._servers.pop()
                self.post(self._end_server, server)
            self._servers.append(make_fork_server(settings.orders.preload))
        return Child(settings.orders, settings.method, self._servers[-1], name)

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

    def finish(self) -> None:
        """End the fork servers and the thread, when no child is left."""
        while self._servers:
            self._end_server(self._servers.pop())
        self._pool.finished()
        self._thread.stop()

    def _end_server(self, server: ForkServer) -> None:
        pid = server_pid(server)
        stop_fork_server(server)
        if pid is None:
            return
        pidfd = open_pidfd(pid)
        if pidfd is not None:
            wait_for(pidfd)
            close_fd(pidfd)
        with contextlib.suppress(ChildProcessError):
            original("os", "waitpid")(pid, 0)
        forget_fork_server(server)

    def abandon(self) -> None:
        """Let go of the fork servers, in a process that was forked."""
        for server in self._servers:
            stop_fork_server(server)
            forget_parents_directory()


class _Unfit(Exception):
    """A child's initializer raised the exception that this one holds."""


def _start_error(error: Exception) -> Exception:
    if isinstance(error, _Unfit):
        problem: Exception = error.args[0]
        return problem
    if isinstance(error, OffloadError):
        return error
    problem = OffloadError(f"no child could be started: {describe(error)}")
    problem.__cause__ = error
    return problem
