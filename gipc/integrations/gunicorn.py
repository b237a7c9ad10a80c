"""gunicorn hooks: children that are ready before the first request.

In ``gunicorn.conf.py``, this is all that is needed::

    from gipc.integrations.gunicorn import post_fork

    worker_class = "gevent"

Each worker gets its share of the processors as children, unless ``max_workers`` is
set. They are started when the worker has loaded its app, and end with the worker,
however it ends. Works with and without ``preload_app``.

An app that is not a Flask app offloads with :func:`offload`::

    from gipc.integrations import gunicorn

    def app(environ, start_response):
        body = gunicorn.offload(render, environ["PATH_INFO"], timeout=10)
        ...
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from gipc import ProcessPoolExecutor
from gipc._executor.executor import INHERIT, Timeout
from gipc._executor.settings import usable_cpus
from gipc._gevent import allocate_lock
from gipc.integrations import _shared

if TYPE_CHECKING:
    from gipc._executor.engine import Stream
    from gipc._executor.stats import Stats

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

log = logging.getLogger("gipc")

_guard = allocate_lock()
_executor: ProcessPoolExecutor | None = None
_arguments: dict[str, Any] = {}


def post_fork(server: Any, worker: Any) -> None:
    """gunicorn's ``post_fork`` hook. A hook of your own may call it."""
    share = max(1, usable_cpus() // max(1, server.num_workers))
    _shared.set_default("max_workers", share)
    _log_to(worker.log)
    hook = worker.cfg.post_worker_init

    def post_worker_init(worker: Any) -> None:
        hook(worker)
        _warm_up(worker)

    worker.cfg.set("post_worker_init", post_worker_init)


def configure(**arguments: Any) -> None:
    """Set the arguments of the executor behind :func:`offload`; for ``gunicorn.conf.py``.

    A Flask app has its configuration instead.

    :param arguments: as for :class:`gipc.ProcessPoolExecutor`.
    :raises TypeError: there is no such argument, or it is of the wrong type.
    :raises ValueError: an argument is out of its range.
    """
    ProcessPoolExecutor(**arguments)  # bad arguments fail here; nothing is started
    _arguments.update(arguments)


def offload(
    func: Callable[[*Ts], T],
    /,
    *args: *Ts,
    timeout: Timeout = INHERIT,
) -> T:
    """Run ``func(*args)`` in a child; see :meth:`gipc.ProcessPoolExecutor.offload`."""
    return executor().offload(func, *args, timeout=timeout)


def stream(
    genfunc: Callable[[*Ts], Iterable[T]],
    /,
    *args: *Ts,
    timeout: Timeout = INHERIT,
) -> Stream[T]:
    """Iterate over what a child yields; see :meth:`gipc.ProcessPoolExecutor.stream`."""
    return executor().stream(genfunc, *args, timeout=timeout)


def stats() -> Stats:
    """A snapshot; see :meth:`gipc.ProcessPoolExecutor.stats`."""
    return executor().stats()


def executor() -> ProcessPoolExecutor:
    """The executor behind :func:`offload`, one for each worker process."""
    global _executor
    with _guard:
        if _executor is None:
            _executor = ProcessPoolExecutor(**_shared.with_defaults(_arguments))
        return _executor


def _warm_up(worker: Any) -> None:
    """Start the children that this worker's app will want."""
    executors = [warmable.executor for warmable in _shared.warmables] or [executor()]
    # Until this returns the worker gives no sign of life to gunicorn's arbiter.
    patience = worker.timeout or None
    for each in executors:
        try:
            each.warm_up(patience)
        except Exception:  # it will be told to the calls, too
            log.exception("children could not be started before the first request")


def _log_to(gunicorn_log: Any) -> None:
    """Have gipc's log lines written by gunicorn, unless somebody takes them already."""
    if not log.handlers:
        error_log = gunicorn_log.error_log
        log.handlers[:] = error_log.handlers
        log.setLevel(error_log.level)
        log.propagate = False
