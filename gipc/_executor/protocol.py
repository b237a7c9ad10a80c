"""What the server and a child say to each other: kinds of frames, and their pickles."""

from __future__ import annotations

import enum
import functools
import pickle
import traceback
from collections.abc import Callable
from typing import Any

from gipc._exceptions import OffloadError, RemoteTraceback


class Request(enum.IntEnum):
    """Frames that the server sends."""

    CALL = 1  # (function, args, kwargs): answered by RESULT or ERROR
    STREAM = 2  # the same: answered by ITEMs, and END or ERROR


class Reply(enum.IntEnum):
    """Frames that a child sends."""

    READY = 1  # the child is initialised
    RESULT = 2
    ERROR = 3
    ITEM = 4
    END = 5
    UNFIT = 6  # the child could not be initialised; same body as an ERROR


#: Added to the last reply of a task when the child wants to be replaced.
LEAVING = 8

# The C functions take plain integers faster than members of an enumeration.
CALL, STREAM = int(Request.CALL), int(Request.STREAM)
READY, RESULT, ERROR = int(Reply.READY), int(Reply.RESULT), int(Reply.ERROR)
ITEM, END, UNFIT = int(Reply.ITEM), int(Reply.END), int(Reply.UNFIT)

_PROTOCOL = pickle.HIGHEST_PROTOCOL


def encode(value: Any) -> bytes:
    """Pickle a request or a result."""
    return pickle.dumps(value, _PROTOCOL)


def encode_error(error: BaseException) -> bytes:
    """Pickle an exception that was raised in a child, with its traceback as text.

    One that does not survive pickling, and one that would stop the server if it
    were raised there (:exc:`SystemExit` and its like), is told by its text alone.
    """
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    pickled = None
    if isinstance(error, Exception):
        try:
            pickled = encode(error)
            pickle.loads(pickled)
        except Exception:
            pickled = None
    return encode((pickled, describe(error), "".join(lines)))


def decode_error(body: bytes) -> Exception:
    """The exception that :func:`encode_error` pickled, its traceback as its cause."""
    pickled, description, remote_traceback = pickle.loads(body)
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
