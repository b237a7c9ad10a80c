"""A Flask extension: offload the CPU-heavy part of a view to a child process.

    from flask import Flask, current_app
    from gipc.integrations.flask import GIPC

    app = Flask(__name__)
    GIPC(app)

    @app.get("/primes/<int:n>")
    def primes(n):
        return str(current_app.extensions["gipc"].offload(count_primes, n))

Works under gunicorn's gevent worker (see :mod:`gipc.integrations.gunicorn`), under
:mod:`gevent.pywsgi` and under ``flask run``.

Every argument of :class:`gipc.ProcessPoolExecutor` has a configuration key, in upper
case and with the prefix ``GIPC_``; a key that is missing or None means the argument's
default:

``GIPC_MAX_WORKERS``
    int. Children that serve calls at the same time. Default: the processors that the
    server process may use; under gunicorn, its worker's share of them.
``GIPC_MP_CONTEXT``
    str. How children are started: ``"forkserver"`` (default), ``"spawn"``, ``"fork"``.
``GIPC_INITIALIZER``, ``GIPC_INITARGS``
    callable, tuple. Called in each child before its first call.
``GIPC_MAX_TASKS_PER_CHILD``
    int. A child is replaced after so many calls. Default: never.
``GIPC_MAX_MEMORY_PER_CHILD``
    int, bytes. A child that is larger after a call is replaced. Default: never.
``GIPC_MAX_QUEUE``
    int. Calls that may wait for a child; more are refused. Default: no limit.
``GIPC_TIMEOUT``
    float, seconds. Deadline of a call, its wait included. Default: none.
``GIPC_IDLE_TIMEOUT``
    float, seconds. A child that idles longer is let go. Default: never.
``GIPC_NICE``
    int. Added to the children's niceness. Default: 0.
``GIPC_PRELOAD``
    sequence of str. Modules that are imported before a child is ready: once for all
    children by the fork server, in each child with another start method. What calls
    have needed so far is imported in the same way, without being named.
``GIPC_START_TIMEOUT``
    float, seconds. A child that is not ready by then is killed, and another one is
    tried. None: no limit. Default: 300.

One more is about the clients:

``GIPC_CANCEL_ON_DISCONNECT``
    bool. When the client closes its connection while a view waits for a child, the
    call is cancelled within a second and the child is replaced: nobody works for
    nobody. The view sees :exc:`ClientDisconnected`, which becomes a response with
    status 499 for the log. A client that only shuts down its sending side counts as
    gone, one that sends its next request early does not. Under gunicorn with gevent
    workers and :mod:`gevent.pywsgi`; in a thread that has no event loop, as under
    plain ``flask run``, the call goes on. Default: True.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from flask import Flask, current_app, has_request_context, request
from werkzeug.exceptions import (
    GatewayTimeout,
    HTTPException,
    InternalServerError,
    ServiceUnavailable,
)

from gipc import ChildDied, OffloadError, OffloadTimeout, ProcessPoolExecutor, QueueFull
from gipc._executor.executor import INHERIT, Timeout
from gipc._gevent import allocate_lock
from gipc.integrations import _shared
from gipc.integrations._disconnect import (
    ClientDisconnected,
    Watch,
    WatchedStream,
    connection_of,
)

if TYPE_CHECKING:
    from gipc._executor.stats import Stats

__all__ = ["GIPC", "AppExecutor", "ClientDisconnected"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_PREFIX = "GIPC_"
_ARGUMENTS = tuple(inspect.signature(ProcessPoolExecutor).parameters)
_CANCEL_ON_DISCONNECT = "GIPC_CANCEL_ON_DISCONNECT"

#: Seconds after which a client that was refused may try again.
_RETRY_AFTER = 1


class AppExecutor:
    """One app's executor: what ``app.extensions["gipc"]`` is."""

    def __init__(self, app: Flask) -> None:
        self._config = app.config
        self._executor: ProcessPoolExecutor | None = None
        self._guard = allocate_lock()

    @property
    def executor(self) -> ProcessPoolExecutor:
        """The app's :class:`gipc.ProcessPoolExecutor`.

        It is made, from the app's configuration, when it is first asked for. Its
        children start with the first call.

        :raises TypeError: a configuration value is of the wrong type.
        :raises ValueError: a configuration value is out of its range, or there is
            no such key.
        """
        with self._guard:
            if self._executor is None:
                self._executor = ProcessPoolExecutor(
                    **_shared.with_defaults(_arguments(self._config))
                )
            return self._executor

    def offload(
        self,
        func: Callable[[*Ts], T],
        /,
        *args: *Ts,
        timeout: Timeout = INHERIT,
    ) -> T:
        """Run ``func(*args)`` in a child; see :meth:`gipc.ProcessPoolExecutor.offload`.

        :raises ClientDisconnected: the client of the current request has gone.
        """
        with Watch(self._client()):
            return self.executor.offload(func, *args, timeout=timeout)

    def stream(
        self,
        genfunc: Callable[[*Ts], Iterable[T]],
        /,
        *args: *Ts,
        timeout: Timeout = INHERIT,
    ) -> WatchedStream[T]:
        """Iterate over what a child yields; see :meth:`gipc.ProcessPoolExecutor.stream`.

        :raises ClientDisconnected: the client of the request that asked for the
            stream has gone; also when the iterator is asked for an item.
        """
        client = self._client()
        with Watch(client):
            return WatchedStream(self.executor.stream(genfunc, *args, timeout=timeout), client)

    def _client(self) -> Any:
        """The connection of the current request's client, if calls end with it."""
        if not self._config.get(_CANCEL_ON_DISCONNECT, True) or not has_request_context():
            return None
        return connection_of(request.environ)

    def stats(self) -> Stats:
        """A snapshot; see :meth:`gipc.ProcessPoolExecutor.stats`."""
        return self.executor.stats()


class GIPC:
    """The extension. ``GIPC(app)``, or ``GIPC()`` and ``init_app(app)`` later.

    Nothing is started by that. In a view, its methods and ``executor`` are those of
    the current app's :class:`AppExecutor`.

    Errors become responses, unless the app handles them itself:
    :exc:`gipc.OffloadTimeout` is 504, :exc:`gipc.QueueFull` is 503 with
    ``Retry-After``, :exc:`gipc.ChildDied` is 500, :exc:`ClientDisconnected` is 499.
    They pass through the app's handlers for HTTP errors, which find the original in
    ``original_exception``.
    """

    def __init__(self, app: Flask | None = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Give *app* an executor, in ``app.extensions["gipc"]``.

        :raises RuntimeError: the app has one already.
        """
        if "gipc" in app.extensions:
            raise RuntimeError("this app has the gipc extension already")
        app_executor = AppExecutor(app)
        app.extensions["gipc"] = app_executor
        _shared.warmables.add(app_executor)
        handled = app.error_handler_spec[None][None]
        for error_class in (OffloadTimeout, QueueFull, ChildDied, ClientDisconnected):
            if error_class not in handled:
                app.register_error_handler(error_class, _respond)

    @property
    def _current(self) -> AppExecutor:
        app_executor: AppExecutor = current_app.extensions["gipc"]
        return app_executor

    @property
    def executor(self) -> ProcessPoolExecutor:
        """The current app's executor."""
        return self._current.executor

    def offload(
        self,
        func: Callable[[*Ts], T],
        /,
        *args: *Ts,
        timeout: Timeout = INHERIT,
    ) -> T:
        """Run ``func(*args)`` in a child; see :meth:`gipc.ProcessPoolExecutor.offload`."""
        return self._current.offload(func, *args, timeout=timeout)

    def stream(
        self,
        genfunc: Callable[[*Ts], Iterable[T]],
        /,
        *args: *Ts,
        timeout: Timeout = INHERIT,
    ) -> WatchedStream[T]:
        """Iterate over what a child yields; see :meth:`gipc.ProcessPoolExecutor.stream`."""
        return self._current.stream(genfunc, *args, timeout=timeout)

    def stats(self) -> Stats:
        """A snapshot; see :meth:`gipc.ProcessPoolExecutor.stats`."""
        return self._current.stats()


def _arguments(config: dict[str, Any]) -> dict[str, Any]:
    keys = {_PREFIX + name.upper(): name for name in _ARGUMENTS}
    known = [*keys, _CANCEL_ON_DISCONNECT]
    for key in config:
        if key.startswith(_PREFIX) and key not in known:
            raise ValueError(f"{key} is no configuration key; there are {', '.join(known)}")
    return {name: config[key] for key, name in keys.items() if key in config}


class _ClientClosedRequest(HTTPException):
    """What nginx's log says of a client that did not wait. Nobody receives it."""

    code = 499


def _respond(error: OffloadError) -> Any:
    """The response that HTTP has for *error*."""
    response: HTTPException
    if isinstance(error, OffloadTimeout):
        response = GatewayTimeout(str(error))
    elif isinstance(error, QueueFull):
        response = ServiceUnavailable(str(error), retry_after=_RETRY_AFTER)
    elif isinstance(error, ClientDisconnected):
        response = _ClientClosedRequest(error.strerror)
    else:
        response = InternalServerError(str(error))
    response.original_exception = error  # type: ignore[union-attr]
    return current_app.handle_http_exception(response)
