"""What the server and a child say to each other: kinds of frames, and their pickles."""

from __future__ import annotations

import enum
import functools
import io
import pickle
import sys
import traceback
from collections.abc import Callable
from types import FunctionType
from typing import Any

from gipc._exceptions import OffloadError, RemoteTraceback
from gipc._frames import BUFFER, CHUNK, FrameReader, FrameWriter


class Request(enum.IntEnum):
    """Frames that the server sends."""

    CALL = 1  # a function and its arguments: answered by RESULT or ERROR
    STREAM = 2  # the same: answered by ITEMs, and END or ERROR


class Reply(enum.IntEnum):
    """Frames that a child sends."""

    READY = 1  # the child is initialised
    RESULT = 2
    ERROR = 3
    ITEM = 4
    END = 5
    UNFIT = 6  # the child could not be initialised; same body as an ERROR
    DOING = 8  # before READY: the module that is imported now; "": the initializer runs
    NEEDS = 9  # before the reply to a request: a module that it makes the child import


#: Added to the last reply of a task when the child wants to be replaced.
LEAVING = 16

# The C functions take plain integers faster than members of an enumeration.
CALL, STREAM = int(Request.CALL), int(Request.STREAM)
READY, RESULT, ERROR = int(Reply.READY), int(Reply.RESULT), int(Reply.ERROR)
ITEM, END, UNFIT = int(Reply.ITEM), int(Reply.END), int(Reply.UNFIT)
DOING, NEEDS = int(Reply.DOING), int(Reply.NEEDS)

#: The kind of a buffer that nobody may write to.
CONSTANT = 0
_BUFFERS = (BUFFER, CONSTANT)
#: A message: the buffers that its pickle leaves out, each in a frame before it, and the pickle.
Parts = list[Any]

_PROTOCOL = pickle.HIGHEST_PROTOCOL
#: Smaller buffers stay in the pickle.
_LARGE = CHUNK + 1


def encode(value: Any) -> Parts:
    """Pickle a request or a result, as it is now."""
    return [pickle.dumps(value, _PROTOCOL)]


def encode_in_place(value: Any) -> Parts:
    """Pickle a request or a result. Its large buffers are read when it is sent."""
    parts: Parts = []

    def is_small(buffer: pickle.PickleBuffer) -> bool:
        try:
            view = buffer.raw()
        except BufferError:  # it is scattered
            return True
        if view.nbytes < _LARGE:
            return True
        parts.append(view)
        return False

    parts.append(pickle.dumps(value, _PROTOCOL, buffer_callback=is_small))
    return parts


def decode(parts: Parts) -> Any:
    """What was pickled. Takes the parts away, so that nothing but the value keeps them."""
    try:
        return pickle.loads(parts.pop(), buffers=parts)
    finally:
        parts.clear()


def call_of(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
    """What to encode for a call.

    A function that its name leads to goes as that name. So it does in a pickle, which
    takes longer than the rest of a small call to see to it.
    """
    if type(function) is FunctionType:
        module, name = function.__module__, function.__qualname__
        if getattr(sys.modules.get(module), name, None) is function:
            return module, name, args
    return function, args


def decode_call(parts: Parts) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The function and the arguments that :func:`call_of` was given."""
    *function, args = decode(parts)
    if len(function) == 1:
        return function[0], args
    module, name = function
    found = getattr(sys.modules.get(module), name, None)
    if found is None:  # not imported yet, or not there: as when it is unpickled
        found = pickle.Unpickler(io.BytesIO()).find_class(module, name)
    return found, args


def send(writer: FrameWriter, kind: int, parts: Parts, deadline: float | None = None) -> bool:
    """Write a message; False when *deadline* came first.

    :raises BrokenPipeError: the other side is gone.
    :raises EOFError: it went after a part of the message.
    """
    if len(parts) == 1:
        return writer.write(kind, parts[0], deadline)
    begun = False
    *buffers, pickled = parts
    try:
        for buffer in buffers:
            kind_of_buffer = CONSTANT if buffer.readonly else BUFFER
            if not writer.write(kind_of_buffer, buffer, deadline):
                return False
            begun = True
        return writer.write(kind, pickled, deadline)
    except BrokenPipeError:
        if begun:
            raise EOFError from None
        raise


def receive(reader: FrameReader, deadline: float | None = None) -> tuple[int, Parts] | None:
    """Read a message, its kind and its parts; None when *deadline* came first."""
    parts: Parts = []
    while True:
        frame = reader.read(deadline)
        if frame is None:
            return None
        kind, body = frame
        if kind == BUFFER and type(body) is bytes:  # it came together with others
            body = bytearray(body)
        parts.append(body)
        if kind not in _BUFFERS:
            return kind, parts


def encode_error(error: BaseException) -> Parts:
    """Pickle an exception that was raised in a child, with its traceback as text.

    One that does not survive pickling, and one that would stop the server if it
    were raised there (:exc:`SystemExit` and its like), is told by its text alone.
    """
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    pickled = None
    if isinstance(error, Exception):
        try:
            (pickled,) = encode(error)
            pickle.loads(pickled)
        except Exception:
            pickled = None
    return encode((pickled, describe(error), "".join(lines)))


def decode_error(parts: Parts) -> Exception:
    """The exception that :func:`encode_error` pickled, its traceback as its cause."""
    pickled, description, remote_traceback = decode(parts)
    error: Exception | None = None
    if pickled is not None:
        try:
            error = pickle.loads(pickled)
        except Exception:  # its class is not to be had in this process
            error = None
    if not isinstance(error, Exception):
        error = OffloadError(f"the task raised {description}")
    error.__cause__ = RemoteTraceback(remote_traceback)
    return error


def describe(error: BaseException) -> str:
    """The last line of an exception's traceback."""
    return "".join(traceback.format_exception_only(type(error), error)).strip()


def name_of(function: Callable[..., Any]) -> str:
    """A function's name for messages, logs and statistics."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    module = getattr(function, "__module__", None)
    return f"{module}.{name}" if module else str(name)
