"""Frames through a thread pool, for pipes that can only block (Windows)."""

from __future__ import annotations

import errno
import os
from typing import Any

from gevent.threadpool import ThreadPool

from gipc._exceptions import GIPCLocked
from gipc._frames import CHUNK, HEADER, FrameReader, FrameWriter
from gipc._gevent import close_fd


class _Job:
    """One blocking call at a time, in a thread. An interrupted wait leaves it running."""

    def __init__(self) -> None:
        self._pool: Any = None
        self._running: Any = None

    def start(self, function: Any, *args: Any) -> None:
        if self._pool is None:
            self._pool = ThreadPool(1)
        self._running = self._pool.spawn(function, *args)

    @property
    def started(self) -> bool:
        return self._running is not None

    def finish(self) -> Any:
        running = self._running
        result = running.get()  # a killed greenlet leaves here, and the job stays
        self._running = None
        return result

    def forget(self) -> None:
        self._pool = self._running = None

    def close(self) -> None:
        if self._running is not None and not self._running.ready():
            raise GIPCLocked("cannot close a pipe while a thread blocks on it")
        if self._pool is not None:
            self._pool.kill()
        self.forget()


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class ThreadWriter(FrameWriter):
    """A :class:`FrameWriter` for blocking pipes. Deadlines are not kept."""

    __slots__ = ("_job",)

    def __init__(self, fd: int, state: bytes = b"") -> None:
        super().__init__(fd, state)
        self._job = _Job()

    @property
    def unfinished(self) -> bool:
        return self._job.started

    def write(self, kind: int, body: bytes, deadline: float | None = None) -> bool:
        self.finish()
        frame = HEADER.pack(kind, len(body)) + body
        self._job.start(_write_all, self.fd, frame)
        self._job.finish()
        return True

    def finish(self, deadline: float | None = None) -> bool:
        if self._job.started:
            self._job.finish()
        return True

    def forget(self) -> None:
        self._job.forget()

    def close(self) -> None:
        self._job.close()
        close_fd(self.fd)


class ThreadReader(FrameReader):
    """A :class:`FrameReader` for blocking pipes. Deadlines are not kept."""

    __slots__ = ("_job",)

    def __init__(self, fd: int, state: bytes = b"") -> None:
        super().__init__(fd, state)
        self._job = _Job()

    def require_polling(self) -> None:
        raise OSError(errno.ENOTSUP, "a pipe cannot be waited for with a time-out here")

    def _receive(self, deadline: float | None) -> bytes:
        if not self._job.started:
            self._job.start(os.read, self.fd, CHUNK)
        chunk: bytes = self._job.finish()
        return chunk

    def _receive_into(self, view: memoryview, deadline: float | None) -> int:
        if not self._job.started:
            self._job.start(os.read, self.fd, min(len(view), 1 << 20))
        chunk: bytes = self._job.finish()
        view[: len(chunk)] = chunk
        return len(chunk)

    def forget(self) -> None:
        self._job.forget()

    def close(self) -> None:
        self._job.close()
        close_fd(self.fd)
