"""Frames through helper threads, for pipes that can only block (Windows)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from gipc._exceptions import GIPCLocked
from gipc._frames import CHUNK, HEADER, FrameReader, FrameWriter
from gipc._gevent import allocate_lock, close_fd, start_new_thread
from gipc._memory import view_of
from gipc._ready import Ticket


class _Job:
    """One blocking call at a time on a descriptor, in a thread.

    An interrupted wait leaves the call running. Nothing can stop it, so that it is
    the thread that closes the descriptor when that was asked for meanwhile.

    gevent's own thread pool belongs to one hub and waits for its threads when it is
    closed. Handles are used from several hubs, and must not wait for that.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.forget()

    def forget(self) -> None:
        """Drop the parent's thread, in a forked child."""
        self.started = False  # and its outcome was not fetched
        self._lock = allocate_lock()
        self._blocking = self._closed = False
        self._outcome: tuple[Any, Exception | None] = (None, None)
        self._ticket: Ticket | None = None

    def start(self, function: Callable[..., Any], *args: Any) -> None:
        self.started = self._blocking = True
        try:
            start_new_thread(self._run, (function, args))
        except BaseException:
            self.started = self._blocking = False
            raise

    def _run(self, function: Callable[..., Any], args: Any) -> None:
        result = failure = None
        try:
            result = function(self._fd, *args)
        except Exception as error:
            failure = error
        with self._lock:
            self._outcome = result, failure
            self._blocking = False
            if self._closed:
                close_fd(self._fd)
            if self._ticket is not None:
                self._ticket.wake()

    def finish(self, deadline: float | None = None) -> bool:
        """Wait for the call's end; False when *deadline* came first."""
        with self._lock:
            if not self._blocking:
                return True
            self._ticket = ticket = Ticket()
        try:
            return ticket.wait(deadline)
        finally:
            with self._lock:
                self._ticket = None
                ticket.close()

    def fetch(self) -> Any:
        """What the call that has ended returned or raised."""
        self.started = False
        (result, error), self._outcome = self._outcome, (None, None)
        if error is not None:
            raise error
        return result

    def require_idle(self) -> None:
        if self._blocking:
            raise GIPCLocked("a handle cannot be passed on while a thread blocks on its pipe")

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if not self._blocking:
                close_fd(self._fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class ThreadWriter(FrameWriter):
    """A :class:`FrameWriter` for blocking pipes."""

    __slots__ = ("_job",)

    def __init__(self, fd: int, state: bytes = b"") -> None:
        super().__init__(fd, state)
        self._job = _Job(fd)

    def require_idle(self) -> None:
        self._job.require_idle()

    def write(self, kind: int, body: bytes | memoryview, deadline: float | None = None) -> bool:
        if not self.finish(deadline):
            return False
        self._job.start(_write_all, HEADER.pack(kind, len(body)) + bytes(body))
        return self.finish(deadline)

    def finish(self, deadline: float | None = None) -> bool:
        if self._job.started:
            if not self._job.finish(deadline):
                return False
            self._job.fetch()
        return True

    def forget(self) -> None:
        self._job.forget()

    def close(self) -> None:
        self._job.close()


class ThreadReader(FrameReader):
    """A :class:`FrameReader` for blocking pipes."""

    __slots__ = ("_job",)

    def __init__(self, fd: int, state: bytes = b"") -> None:
        super().__init__(fd, state)
        self._job = _Job(fd)

    def require_idle(self) -> None:
        self._job.require_idle()
        if self._job.started:  # a read whose greenlet was killed: its bytes are kept
            chunk = self._job.fetch()
            if self._body is None:
                self._buffer = self._buffer[self._position :] + chunk
                self._position = 0
            else:
                with view_of(self._body) as whole:
                    whole[self._filled : self._filled + len(chunk)] = chunk
                self._filled += len(chunk)

    def require_polling(self) -> None:
        raise OSError(errno.ENOTSUP, "a pipe cannot be waited for with a time-out here")

    def _receive(self, deadline: float | None) -> bytes | None:
        return self._read(CHUNK, deadline)

    def _receive_into(self, view: memoryview, deadline: float | None) -> int | None:
        chunk = self._read(min(len(view), 1 << 20), deadline)
        if chunk is None:
            return None
        view[: len(chunk)] = chunk
        return len(chunk)

    def _read(self, size: int, deadline: float | None) -> bytes | None:
        if not self._job.started:
            self._job.start(os.read, size)
        if not self._job.finish(deadline):
            return None
        chunk: bytes = self._job.fetch()
        return chunk

    def forget(self) -> None:
        self._job.forget()

    def close(self) -> None:
        self._job.close()
