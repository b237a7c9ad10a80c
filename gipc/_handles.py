"""Pipe handles: Python objects in, Python objects out."""

from __future__ import annotations

import contextlib
import os
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, overload

import gevent

from gipc._exceptions import GIPCClosed, GIPCError, GIPCLocked
from gipc._frames import FrameReader, FrameWriter
from gipc._gevent import new_rlock
from gipc._ready import WRITE, Turn, close_watcher, io_watcher
from gipc._transport import Reader, Writer, duplicate_for_child, open_pipe, receive, starting_child

_dumps = pickle.dumps
_PROTOCOL = pickle.HIGHEST_PROTOCOL

Encoder = Callable[[Any], bytes]
Decoder = Callable[[bytes], Any]
First = TypeVar("First")
Second = TypeVar("Second")

# Kinds of frames between two handles.
_MESSAGE = 0
_BYTES = 1  # the message itself, which default codecs do not pickle

# The open handles of this process, oldest first.
_open_handles: dict[int, _GIPCHandle] = {}
# Held while descriptors and the record of them change, and by every fork: a child has
# to find a true record, whatever other threads are doing. Reentrant, since a collected
# object may close handles at any time.
_record = new_rlock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_record.acquire, after_in_parent=_record.release, after_in_child=_record.release
    )

# To ask the system costs more than the rest of a check.
_this_process = os.getpid()


def _note_fork() -> None:
    global _this_process
    _this_process = os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


class _GIPCHandle:
    """One end of a pipe. Made by :func:`.pipe`."""

    _frames: Any  # a FrameReader or a FrameWriter
    _codec: Callable[[Any], Any] | None

    def __init__(self, frames: FrameReader | FrameWriter, codec: Any) -> None:
        self._frames = frames
        self._codec = codec
        self._closed = False
        self._own()

    def _own(self) -> None:
        self._pid = _this_process
        self._turn = Turn()
        _open_handles[id(self)] = self

    @property
    def _fd(self) -> int:
        fd: int = self._frames.fd
        return fd

    def close(self) -> None:
        """Close the descriptor. Called on context exit.

        A message whose ``put`` was killed and that is not complete yet is lost.

        :raises GIPCClosed: the handle is closed already.
        :raises GIPCLocked: the handle is being read from or written to.
        :raises GIPCError: the handle belongs to another process.
        """
        self._require_open()
        if not self._turn.take_now():
            raise GIPCLocked(f"cannot close {self}: it is in use")
        try:
            self._release()
        finally:
            self._turn.give_back()  # whoever came to wait meanwhile learns that it is closed

    def _require_open(self) -> None:
        if self._closed:
            raise GIPCClosed(f"{self} is closed")
        if self._pid != _this_process:
            raise GIPCError(f"{self} belongs to process {self._pid}")

    @contextlib.contextmanager
    def _reserved(self) -> Iterator[None]:
        # While a child is started with this handle, nobody may use it.
        self._require_open()
        if not self._turn.take_now():
            raise GIPCLocked(f"cannot pass {self} to a child: it is in use")
        try:
            self._frames.require_idle()
            yield
        finally:
            self._turn.give_back()

    def _release(self) -> None:
        """Close the descriptor, by whoever holds the lock."""
        with _record:
            self._frames.close()
            self._closed = True
            _open_handles.pop(id(self), None)

    def _adopt(self) -> None:
        """Take over the handle, in a forked child that it was passed to."""
        self._frames.forget()
        self._own()

    def _resume(self) -> None:
        """Go on, in a child, with what the parent left unfinished."""

    def _abandon(self) -> None:
        """Close the descriptor, in a forked child that has no use for it."""
        self._frames.forget()
        self._release()

    def __reduce__(self) -> Any:
        launcher = starting_child()
        if launcher is None:
            raise GIPCError(f"{self} can be passed to a child only when it is started")
        self._require_open()
        if not getattr(launcher, "takes_handles", False):
            # As with a fork: a process that gipc did not start gets a useless handle.
            return _rebuild_foreign, (type(self), self._fd, self._pid)
        self._check_codec()
        descriptor = duplicate_for_child(self._fd, isinstance(self, _GIPCReader))
        return _rebuild, (type(self), descriptor, self._frames.state(), self._codec)

    def _check_codec(self) -> None:
        try:
            pickle.dumps(self._codec)
        except Exception as error:
            kind = "decoder" if isinstance(self, _GIPCReader) else "encoder"
            raise pickle.PicklingError(
                f"the {kind} of {self} cannot be passed to a child that is not forked: {error}. "
                f"Define it at the top level of a module, or use the start method 'fork'"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Closed in the block, or passed to a child: that is fine.
        with contextlib.suppress(GIPCClosed):
            self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"fd={self._fd}"
        return f"<{type(self).__name__} {state}>"


class _GIPCWriter(_GIPCHandle):
    """The end of a pipe that messages go into. Made by :func:`.pipe`."""

    _frames: FrameWriter

    def __init__(self, frames: FrameWriter, codec: Encoder | None) -> None:
        super().__init__(frames, codec)

    def _own(self) -> None:
        super()._own()
        # The hub and the watcher that finish a message whose put was killed.
        self._finisher: tuple[Any, Any] | None = None

    def put(self, o: Any) -> None:
        """Encode *o* and write it to the pipe, cooperatively.

        A message arrives whole or not at all, also when the greenlet that puts it
        is killed: once begun, it is finished in the background. May be used by any
        greenlet and any native thread of the process; messages do not mix.

        :raises GIPCClosed: the handle is closed.
        :raises GIPCError: the handle belongs to another process.
        :raises OSError: the reading end is closed (:exc:`BrokenPipeError`).
        :raises TypeError: what the encoder returned is not :class:`bytes`.
        :raises pickle.PicklingError: *o* cannot be pickled. As with
            :func:`pickle.dumps`, that may be a TypeError or an AttributeError too.
        """
        if self._closed or self._pid != _this_process:
            self._require_open()
        kind = _MESSAGE
        if self._codec is _pickle:
            if type(o) is bytes:
                kind, data = _BYTES, o
            else:
                data = _dumps(o, _PROTOCOL)
        else:
            data = o if self._codec is None else self._codec(o)
            if not isinstance(data, bytes):
                raise TypeError(f"a message must be encoded as bytes, not {type(data).__name__}")
        self._turn.take()
        try:
            if self._closed:  # meanwhile, or by the encoder
                self._require_open()
            try:
                self._frames.write(kind, data)
            except OSError:
                raise
            except BaseException:
                self._finish_later()
                raise
        finally:
            self._turn.give_back()

    def _finish_later(self) -> None:
        """Let the event loop write the rest of a message, by whoever holds the lock."""
        self._stop_finishing()
        if self._frames.unfinished:
            hub = gevent.get_hub()
            watcher = io_watcher(hub, self._fd, WRITE)
            self._finisher = hub, watcher
            watcher.start(self._finish_some, watcher)

    def _finish_some(self, watcher: Any) -> None:
        # Runs in the hub. When the lock is taken, its holder does the work.
        if self._turn.take_now():
            try:
                if not self._closed and not self._frames.push():
                    return  # to be called again when there is room
            except OSError:
                pass  # the next put will raise it
            finally:
                self._turn.give_back()
        watcher.close()

    def _stop_finishing(self) -> None:
        finisher, self._finisher = self._finisher, None
        if finisher is not None:
            close_watcher(*finisher)

    def _resume(self) -> None:
        self._finish_later()

    def _release(self) -> None:
        self._stop_finishing()
        super()._release()

    def _adopt(self) -> None:
        self._finisher = None  # the parent's
        super()._adopt()

    def _abandon(self) -> None:
        self._finisher = None  # the parent's
        super()._abandon()


class _GIPCReader(_GIPCHandle):
    """The end of a pipe that messages come out of. Made by :func:`.pipe`."""

    _frames: FrameReader

    def __init__(self, frames: FrameReader, codec: Decoder | None) -> None:
        super().__init__(frames, codec)

    def get(self, timeout: gevent.Timeout | float | None = None) -> Any:
        """Receive, decode and return the next message, cooperatively.

        A greenlet that is killed or timed out meanwhile loses nothing: the next
        call returns that message, whole.

        :param timeout: None (default) to wait for ever. A number of seconds: the
            message has to be there by then, or :exc:`gevent.Timeout` is raised.
            Or a :class:`gevent.Timeout`: it must have been started, and it is
            cancelled when the first byte of a message arrives, so that the call
            may take longer than it says.
        :raises gevent.Timeout: *timeout* expired.
        :raises EOFError: the writing end is closed and all messages were received.
        :raises GIPCClosed: the handle is closed.
        :raises GIPCError: the handle belongs to another process, or the data is no
            message.
        :raises pickle.UnpicklingError: the message cannot be unpickled. As with
            :func:`pickle.loads`, that may be another error too.
        :raises OSError: *timeout* was given where pipes cannot be polled (Windows).
        """
        if timeout is None:
            kind, data = self._receive()
        elif isinstance(timeout, gevent.Timeout):
            kind, data = self._receive(timeout)
        else:
            kind, data = self._receive_within(timeout)
        return data if self._codec is None or kind == _BYTES else self._codec(data)

    def _receive(self, until_first_byte: gevent.Timeout | None = None) -> tuple[int, bytes]:
        if self._closed or self._pid != _this_process:
            self._require_open()
        self._turn.take()
        try:
            if self._closed:  # meanwhile
                self._require_open()
            if until_first_byte is not None:
                self._frames.require_polling()
                self._frames.wait()
                until_first_byte.cancel()
            frame = self._frames.read()
            assert frame is not None  # there is no deadline
            return frame
        finally:
            self._turn.give_back()

    def _receive_within(self, seconds: float) -> tuple[int, bytes]:
        deadline = time.monotonic() + seconds
        self._require_open()
        self._frames.require_polling()
        frame = None
        if self._turn.take(deadline):
            try:
                self._require_open()
                frame = self._frames.read(deadline)
            finally:
                self._turn.give_back()
        if frame is None:
            timeout = gevent.Timeout(seconds)
            # It has a timer: one of libuv's, left to the collector, corrupts memory.
            timeout.close()
            raise timeout
        return frame


class _GIPCDuplexHandle:
    """One end of a bidirectional message channel. Made by :func:`.pipe`."""

    def __init__(self, reader: _GIPCReader, writer: _GIPCWriter) -> None:
        self._reader = reader
        self._writer = writer

    def put(self, o: Any) -> None:
        """Send a message. See :meth:`_GIPCWriter.put`."""
        self._writer.put(o)

    def get(self, timeout: gevent.Timeout | float | None = None) -> Any:
        """Receive a message. See :meth:`_GIPCReader.get`."""
        return self._reader.get(timeout)

    def close(self) -> None:
        """Close both directions. Called on context exit.

        :raises GIPCClosed: the handle is closed already.
        :raises GIPCLocked: a direction is in use. The other one is closed then.
        :raises GIPCError: the handle belongs to another process.
        """
        if self._reader._closed and self._writer._closed:
            raise GIPCClosed(f"{self} is closed")
        _close_all((self._writer, self._reader))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(GIPCClosed):
            self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._reader} {self._writer}>"


class _HandlePair(tuple[First, Second], Generic[First, Second]):
    """What :func:`.pipe` returns. As a context manager it closes both handles."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        first, second = self
        _close_all((second, first))  # type: ignore[arg-type]


def _close_all(handles: Iterable[_GIPCHandle | _GIPCDuplexHandle]) -> None:
    # One that cannot be closed must not keep the others open.
    error: GIPCError | None = None
    for handle in handles:
        try:
            handle.close()
        except GIPCClosed:
            pass
        except GIPCError as this_error:
            error = error or this_error
    if error is not None:
        raise error


@overload
def pipe(
    duplex: Literal[False] = False,
    encoder: Encoder | Literal["default"] | None = "default",
    decoder: Decoder | Literal["default"] | None = "default",
) -> _HandlePair[_GIPCReader, _GIPCWriter]: ...
@overload
def pipe(
    duplex: Literal[True],
    encoder: Encoder | Literal["default"] | None = "default",
    decoder: Decoder | Literal["default"] | None = "default",
) -> _HandlePair[_GIPCDuplexHandle, _GIPCDuplexHandle]: ...
@overload
def pipe(
    duplex: bool,
    encoder: Encoder | Literal["default"] | None = "default",
    decoder: Decoder | Literal["default"] | None = "default",
) -> _HandlePair[Any, Any]: ...
def pipe(
    duplex: bool = False,
    encoder: Encoder | Literal["default"] | None = "default",
    decoder: Decoder | Literal["default"] | None = "default",
) -> _HandlePair[Any, Any]:
    """Create a channel for messages and return the pair of its handles.

    A message can go from any greenlet to any other, within a process or between
    two. Handles are passed to a child as arguments of :func:`.start_process`. The
    pair is a tuple, and a context manager that closes both handles.

    :param duplex: False (default) for a channel with one direction: the pair is a
        :class:`._GIPCReader` and a :class:`._GIPCWriter`. True for one with both,
        made of two pipes: the pair is two :class:`._GIPCDuplexHandle`.
    :param encoder: turns what is put into :class:`bytes`. ``"default"`` pickles
        it. None for no encoding: only bytes can be put then.
    :param decoder: turns :class:`bytes` into what ``get`` returns. ``"default"``
        unpickles. None for no decoding: bytes are returned.
    :raises GIPCError: *encoder* or *decoder* is none of these.
    :raises OSError: the system has no descriptors left.
    """
    encode = _codec("encoder", encoder, _pickle)
    decode = _codec("decoder", decoder, pickle.loads)
    if not duplex:
        return _HandlePair(_one_way(encode, decode))
    reader, far_writer = _one_way(encode, decode)
    try:
        far_reader, writer = _one_way(encode, decode)
    except BaseException:
        _close_all((reader, far_writer))
        raise
    return _HandlePair(
        (_GIPCDuplexHandle(reader, writer), _GIPCDuplexHandle(far_reader, far_writer))
    )


def _one_way(encode: Encoder | None, decode: Decoder | None) -> tuple[_GIPCReader, _GIPCWriter]:
    if encode is _pickle and decode is not pickle.loads:
        encode = _pickle_all  # a decoder of the user's is to see what it always saw
    with _record:
        reader, writer = open_pipe()
        return _GIPCReader(reader, decode), _GIPCWriter(writer, encode)


def _pickle(o: Any) -> bytes:
    return _dumps(o, _PROTOCOL)


def _pickle_all(o: Any) -> bytes:
    return _pickle(o)


def _codec(name: str, codec: Any, default: Callable[[Any], Any]) -> Callable[[Any], Any] | None:
    if codec == "default":
        return default
    if codec is None or callable(codec):
        chosen: Callable[[Any], Any] | None = codec
        return chosen
    raise GIPCError(f"{name} must be a callable, 'default' or None, not {codec!r}")


def _rebuild(
    handle_class: type[_GIPCReader | _GIPCWriter], descriptor: Any, state: bytes, codec: Any
) -> _GIPCHandle:
    """Make a handle again in the child that it was passed to."""
    if handle_class is _GIPCReader:
        return _GIPCReader(Reader(receive(descriptor), state), codec)
    return _GIPCWriter(Writer(receive(descriptor), state), codec)


def _rebuild_foreign(
    handle_class: type[_GIPCReader | _GIPCWriter], fd: int, pid: int
) -> _GIPCHandle:
    handle = handle_class.__new__(handle_class)
    frames: Any = FrameReader(fd)
    handle._frames = frames  # never used: every operation is refused
    handle._codec = None
    handle._closed = False
    handle._pid = pid
    return handle


def find_handles(*values: Any) -> list[_GIPCHandle]:
    """All handles in *values*, in duplex handles and in containers among them."""
    found: dict[int, _GIPCHandle] = {}
    seen: set[int] = set()
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, _GIPCHandle):
            found[id(value)] = value
        elif isinstance(value, _GIPCDuplexHandle):
            waiting += (value._reader, value._writer)
        elif isinstance(value, (tuple, list, set, frozenset, dict)) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value
    return list(found.values())


def settle_in_child(passed: Iterable[_GIPCHandle]) -> None:
    """Take over the handles in *passed*, and close all other ones of the parent."""
    passed = list(passed)
    kept = {id(handle) for handle in passed}
    for handle in open_handles():
        if handle._pid != _this_process:
            if id(handle) in kept:
                handle._adopt()
            else:
                handle._abandon()
    for handle in passed:
        handle._resume()


def open_handles() -> list[_GIPCHandle]:
    """The open handles of this process, oldest first."""
    return list(_open_handles.values())


def set_open_handles(handles: Iterable[_GIPCHandle]) -> None:
    """Replace the record of open handles, for test suites written for gipc 1.x."""
    _open_handles.clear()
    _open_handles.update((id(handle), handle) for handle in handles)
