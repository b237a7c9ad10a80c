"""Frames: byte strings that cross a pipe whole, each with a small number, its kind.

A frame is one byte for the kind, eight for the length, and the body. A frame that
was begun is finished before the next one starts, on both sides, whatever happens
to the greenlet that began it.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import sys
from typing import Any

from gipc import _memory
from gipc._exceptions import GIPCError
from gipc._gevent import close_fd
from gipc._ready import READ, WRITE, Descriptor

if sys.platform != "win32":
    import fcntl

HEADER = struct.Struct("<BQ")
_HEADER_SIZE = HEADER.size
# Looked up once: what every small message needs.
_pack, _unpack_from = HEADER.pack, HEADER.unpack_from
_read, _write = os.read, os.write

#: Bytes that are asked for at a time while frames are small: a pipe's usual capacity.
CHUNK = 1 << 16
#: So many small frames that come at once are a stream.
_MANY = 16
_FEW = _MANY * _HEADER_SIZE
#: Bodies up to this size are joined to their header, larger ones are not copied.
_JOIN_LIMIT = 1 << 14
#: Larger bodies widen the pipe, so that both sides take turns less often: to this if
#: a processor's cache may hold what is on its way, and to that if it cannot.
_WIDE_PIPE, _WIDEST_PIPE = 1 << 17, 1 << 20
#: No more memory than this is reserved on the word of a header alone. None of it is
#: resident before bytes have come to fill it.
_TRUSTED_SIZE = 1 << 28
#: No frame can be this long: the header is not one.
_IMPOSSIBLE_SIZE = 1 << 48
_NOTHING = memoryview(b"")
#: The kind of a body that its reader may write to, when it is large.
BUFFER = 7
#: More kinds than this are not in use: the header is not one.
_KIND_LIMIT = 32


class NotAFrame(GIPCError):
    """What was read is no frame."""


class FrameWriter:
    """Writes frames to a non-blocking pipe. Not to be used by two at a time."""

    __slots__ = ("_capacity", "_ready", "_rest", "fd")

    def __init__(self, fd: int, state: bytes = b"") -> None:
        self.fd = fd
        self._rest = memoryview(state)
        self._ready = Descriptor(fd, WRITE)
        self._capacity = CHUNK  # that was asked for

    @property
    def unfinished(self) -> bool:
        """Whether the writer of a frame was interrupted after its first byte."""
        return bool(self._rest)

    def require_idle(self) -> None:
        """Raise GIPCLocked while a thread that cannot be stopped uses the descriptor."""

    def state(self) -> bytes:
        """What a writer in another process needs besides the descriptor."""
        return bytes(self._rest)

    def write(self, kind: int, body: bytes | memoryview, deadline: float | None = None) -> bool:
        """Write one frame; False when *deadline* came first.

        When this is interrupted after the first byte, the frame stays begun:
        :meth:`finish`, or the next call, writes the rest of it first.
        """
        if self._rest and not self.finish(deadline):
            return False
        size = len(body)
        header = _pack(kind, size)
        if size <= _JOIN_LIMIT:
            frame = header + body
            try:
                sent = _write(self.fd, frame)
            except BlockingIOError:
                sent = 0
            if sent == len(frame):
                return True
            return self._write_rest(memoryview(frame), sent, deadline)
        self._widen(_WIDE_PIPE if size <= CHUNK else _WIDEST_PIPE)
        while True:
            try:
                sent = os.writev(self.fd, (header, body))
                break
            except BlockingIOError:
                if not self._ready.wait(deadline):
                    return False
        if sent >= _HEADER_SIZE:
            return self._write_rest(memoryview(body), sent - _HEADER_SIZE, deadline)
        return self._write_rest(memoryview(header + bytes(body)), sent, deadline)

    def finish(self, deadline: float | None = None) -> bool:
        """Write the rest of a frame that was begun; False when *deadline* came first."""
        rest, self._rest = self._rest, _NOTHING
        return self._write_rest(rest, 0, deadline, begun=True)

    def push(self) -> bool:
        """Write what fits of a frame that was begun; True when all of it is written."""
        try:
            while self._rest:
                self._rest = self._rest[os.write(self.fd, self._rest) :]
        except BlockingIOError:
            return False
        return True

    def _write_rest(
        self, data: memoryview, sent: int, deadline: float | None, begun: bool = False
    ) -> bool:
        begun = begun or sent > 0
        try:
            while sent < len(data):
                try:
                    sent += os.write(self.fd, data[sent:])
                    begun = True
                except BlockingIOError:
                    if not self._ready.wait(deadline):
                        return False
            return True
        finally:
            if begun:
                # An empty view of it would keep the body from being resized by its owner.
                self._rest = data[sent:] if sent < len(data) else _NOTHING

    def _widen(self, capacity: int) -> None:
        if capacity <= self._capacity:
            return
        self._capacity = capacity
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # the user's share may be used up
                fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, capacity)

    def forget(self) -> None:
        """Drop what belongs to the parent's event loop, in a forked child."""
        self._ready.forget()

    def close(self) -> None:
        """Close the descriptor. A frame that was begun stays incomplete."""
        self._ready.release()
        close_fd(self.fd)


class FrameReader:
    """Reads frames from a non-blocking pipe. Not to be used by two at a time."""

    __slots__ = (
        "_body",
        "_buffer",
        "_filled",
        "_full",
        "_kind",
        "_position",
        "_ready",
        "_size",
        "_streaming",
        "fd",
    )

    def __init__(self, fd: int, state: bytes = b"") -> None:
        self.fd = fd
        self._ready = Descriptor(fd, READ)
        # Bytes that were read and not yet returned.
        self._buffer = state
        self._position = 0
        # Whether the last read may have left something in the pipe.
        self._full = False
        # Whether the last read brought many frames.
        self._streaming = False
        # A large frame that is being read, and how much of it is there.
        self._body: _memory.Body | None = None
        self._kind = self._size = self._filled = 0

    def require_idle(self) -> None:
        """Raise GIPCLocked while a thread that cannot be stopped uses the descriptor."""

    def state(self) -> bytes:
        """What a reader in another process needs besides the descriptor."""
        if self._body is None:
            return self._buffer[self._position :]
        body = bytes(_memory.view_of(self._body)[: self._filled])
        return HEADER.pack(self._kind, self._size) + body

    def require_polling(self) -> None:
        """Raise OSError where one cannot wait for a limited time."""

    def wait(self, deadline: float | None = None) -> bool:
        """Wait for the first byte of the next frame; False when *deadline* came first."""
        if self._body is not None or self._position < len(self._buffer):
            return True
        return self._ready.wait(deadline)

    def read(self, deadline: float | None = None) -> tuple[int, Any] | None:
        """Read one frame, its kind and its body; None when *deadline* came first.

        The body is :class:`bytes`, or a writable memoryview if it is a large BUFFER.

        When this is interrupted, the next call goes on where it stopped.

        :raises EOFError: the pipe ended.
        :raises NotAFrame: what was read is none.
        """
        while True:
            if self._body is not None:
                return self._read_body(deadline)
            buffer = self._buffer
            begin = self._position + _HEADER_SIZE
            if len(buffer) >= begin:
                kind, size = _unpack_from(buffer, self._position)
                end = begin + size
                if end <= len(buffer):
                    self._position = end
                    return kind, buffer[begin:end]
                if kind >= _KIND_LIMIT or size >= _IMPOSSIBLE_SIZE:
                    raise NotAFrame(f"not a frame: kind {kind}, {size} bytes")
                if size > _JOIN_LIMIT:
                    self._begin_body(kind, size, buffer[begin:])
                    continue
            if not self._fill(deadline):
                return None

    def _fill(self, deadline: float | None) -> bool:
        chunk = self._receive(deadline)
        if chunk is None:
            return False
        if not chunk:
            raise EOFError("the other end of the pipe is closed")
        if self._position == len(self._buffer):
            self._buffer = chunk
        else:
            self._buffer = self._buffer[self._position :] + chunk
        self._position = 0
        received = len(chunk)
        self._streaming = _FEW < received <= CHUNK // 4 and self._is_stream(received)
        return True

    def _is_stream(self, received: int) -> bool:
        size: int = _unpack_from(self._buffer)[1]
        return received > _MANY * (_HEADER_SIZE + size)

    def _receive(self, deadline: float | None) -> bytes | None:
        while True:
            if not self._full and not self._ready.wait(deadline, self._streaming):
                return None
            try:
                chunk = _read(self.fd, CHUNK)
            except BlockingIOError:
                self._full = False
                continue
            self._full = len(chunk) == CHUNK
            return chunk

    def _receive_into(self, view: memoryview, deadline: float | None) -> int | None:
        while True:
            try:
                return os.readv(self.fd, (view,))
            except BlockingIOError:
                if not self._ready.wait(deadline):
                    return None

    def _begin_body(self, kind: int, size: int, start: bytes) -> None:
        body: _memory.Body
        if kind == BUFFER and size <= _TRUSTED_SIZE:
            body = _memory.buffer(size)
        else:
            body = _memory.growable(min(size, _TRUSTED_SIZE))
        body.write(start)
        self._kind, self._size, self._filled = kind, size, len(start)
        self._body = body
        self._buffer, self._position = b"", 0

    def _read_body(self, deadline: float | None) -> tuple[int, Any] | None:
        body = self._body
        assert body is not None
        while self._filled < self._size:
            room = min(self._size, max(_TRUSTED_SIZE, 2 * self._filled))
            if room > _TRUSTED_SIZE:
                body.seek(room - 1)
                body.write(b"\0")
            with _memory.view_of(body) as whole:
                while self._filled < room:
                    # Released in any case: the traceback of an interrupted call may
                    # live on, and a body with views on it cannot grow.
                    with whole[self._filled : room] as view:
                        count = self._receive_into(view, deadline)
                    if count is None:
                        return None
                    if not count:
                        raise EOFError("the other end of the pipe is closed")
                    self._filled += count
        self._body = None
        # The memory itself in both cases, not a copy.
        if self._kind == BUFFER:
            return self._kind, _memory.view_of(body)
        assert isinstance(body, io.BytesIO)
        return self._kind, body.getvalue()

    def forget(self) -> None:
        """Drop what belongs to the parent's event loop, in a forked child."""
        self._ready.forget()

    def close(self) -> None:
        """Close the descriptor."""
        self._ready.release()
        close_fd(self.fd)
