"""Calls that end when the client that they work for has gone."""

from __future__ import annotations

import errno
import select
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import gevent

from gipc import OffloadError
from gipc._gevent import get_hub_if_exists, original

if TYPE_CHECKING:
    from gipc._executor.engine import Stream

T = TypeVar("T")

#: Seconds between two looks at a connection. A call that is shorter costs no look.
_PAUSE = 0.25
# A request that the client sends early is none of these, and nothing is taken from
# the socket. Where there is no POLLRDHUP, a reset and a hang-up are seen.
_GONE = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class ClientDisconnected(OffloadError, ConnectionResetError):
    """The client closed its connection while a call worked for it.

    It is a :exc:`ConnectionResetError`, so that a server to which it comes takes it
    for what it is.
    """

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the client has gone: its call was cancelled")


def connection_of(environ: dict[str, Any]) -> Any:
    """The client's connection, something with a ``fileno``; None where it is unknown."""
    for key in ("gunicorn.socket", "werkzeug.socket"):
        if key in environ:
            return environ[key]
    # gevent.pywsgi: the file that it reads requests from.
    return getattr(environ.get("wsgi.input"), "rfile", None)


class Watch:
    """While it is entered, the greenlet that did so learns when a client has gone."""

    __slots__ = ("_connection", "_timer")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._timer: Any = None

    def __enter__(self) -> None:
        hub = get_hub_if_exists()
        # A thread without a hub cannot be interrupted.
        if hub is not None and self._connection is not None:
            self._timer = hub.loop.timer(_PAUSE, _PAUSE)
            self._timer.start(self._look, gevent.getcurrent())

    def __exit__(self, *exc_info: object) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _look(self, greenlet: Any) -> None:
        if _has_gone(self._connection):
            self._timer.stop()
            greenlet.throw(ClientDisconnected())


def _has_gone(connection: Any) -> bool:
    poll = original("select", "poll")()
    try:
        poll.register(connection.fileno(), _GONE)
    except ValueError:  # the server itself has closed it
        return True
    return bool(poll.poll(0))


class WatchedStream(Iterator[T]):
    """What ``stream`` returns, ended when the client has gone."""

    def __init__(self, stream: Stream[T], connection: Any) -> None:
        self._stream = stream
        self._connection = connection

    def __next__(self) -> T:
        with Watch(self._connection):
            return next(self._stream)

    def close(self) -> None:
        """End the stream. The child is killed unless the generator has ended."""
        self._stream.close()

    def __enter__(self) -> WatchedStream[T]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
