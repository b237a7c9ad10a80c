"""Child processes next to gevent."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from multiprocessing import process as process_module
from multiprocessing.context import BaseContext
from typing import Any

from gipc._core.interpreter import start_turn
from gipc._core.patience import Patience
from gipc._fresh import start_afresh
from gipc._handles import find_handles, settle_in_child
from gipc._popen import launcher


class _GProcess(multiprocessing.Process):
    """A :class:`multiprocessing.Process` that is safe next to gevent.

    Made by :func:`.start_process`. ``join`` waits cooperatively, also for a child
    that was started in another native thread; ``exitcode``, ``is_alive`` and
    ``sentinel`` tell of the child's end without a join. All other methods and
    attributes are multiprocessing's.
    """

    _gipc_method: str | None = None
    _fork_server: Any = None  # one of its own, else the one that all share
    _signal_mask: Collection[int] | None = None  # of the parent, in a forked child

    # Of multiprocessing's process, where its stubs do not tell.
    _args: tuple[Any, ...]
    _kwargs: dict[str, Any]
    _popen: Any
    _check_closed: Callable[[], None]

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802
        return launcher(process_obj._gipc_method)(process_obj)

    def start(self) -> None:
        """Start the child. Called by :func:`.start_process`, and only once.

        Handles among the arguments are closed in this process then.

        :raises GIPCLocked: a handle among the arguments is in use.
        :raises GIPCClosed: a handle among the arguments is closed.
        :raises AssertionError: the process was started already.
        :raises ValueError: the process object is closed.
        """
        self._check_closed()
        with contextlib.ExitStack() as reservations:
            handles = []
            if self._popen is None:  # otherwise refused below
                handles = find_handles(self._args, self._kwargs)
            for handle in handles:
                reservations.enter_context(handle._reserved())
            children = vars(process_module)["_children"]
            with start_turn:
                super().start()
                children.discard(self)  # until it is really there
            launched: Any = self._popen
            try:
                self._finish_start()
            except BaseException:
                launched.give_up()
                raise
            children.add(self)
            for handle in handles:
                handle._release()
        launched.watch()

    def _finish_start(self) -> None:
        self._popen.finish(None, Patience(None))
        self._sentinel = self._popen.sentinel

    def _bootstrap(self, parent_sentinel: int | None = None) -> int:
        start_afresh(self._signal_mask)
        settle_in_child(find_handles(self._args, self._kwargs))
        exitcode: int = super()._bootstrap(parent_sentinel)  # type: ignore[misc]
        return exitcode


# Children of the process that this one was forked from. They are never collected, as
# their watchers belong to event loops of that process.
_of_parent: list[_GProcess] = []


def _forget_children() -> None:
    # At its end multiprocessing would ask each of them, terminate the daemons, and join
    # the others. And another thread may have been about to start one, or to ask.
    start_turn.reset()
    children: set[Any] = vars(process_module)["_children"]
    _of_parent.extend(child for child in children if isinstance(child, _GProcess))
    children.difference_update(_of_parent)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_children)


def start_process(
    target: Callable[..., object],
    args: Iterable[Any] = (),
    kwargs: Mapping[str, Any] = {},
    daemon: bool | None = None,
    name: str | None = None,
    *,
    mp_context: BaseContext | str | None = None,
) -> _GProcess:
    """Start a child process that executes ``target(*args, **kwargs)``.

    The child starts with an event loop of its own: gevent works in it, and no
    greenlet of this process ever runs in it. All signals have their default
    disposition in it, except SIGPIPE, whose one is inherited.

    Handles of :func:`.pipe` among the arguments, also in tuples, lists, sets and
    dictionaries, are passed on to the child and closed in this process. All other
    handles are closed in the child.

    May be called from any greenlet and any native thread.

    :param target: the function to call. Unless the child is forked, it and the
        arguments are pickled.
    :param args: positional arguments for *target*, a tuple.
    :param kwargs: keyword arguments for *target*, a dictionary.
    :param daemon: see :attr:`multiprocessing.Process.daemon`. Default: inherited.
    :param name: see :attr:`multiprocessing.Process.name`.
    :param mp_context: how the child is started: ``"fork"``, ``"spawn"``,
        ``"forkserver"``, or a context of :func:`multiprocessing.get_context`.
        Default: what :func:`multiprocessing.set_start_method` chose, else the
        system's default. ``fork`` is unsafe in a process with several threads,
        and Python 3.12 and newer warn of it; ``forkserver`` avoids that.
    :returns: the running process.
    :raises TypeError: an argument is of the wrong type.
    :raises ValueError: *mp_context* is not known to this system.
    :raises GIPCLocked: a handle among the arguments is in use.
    :raises GIPCClosed: a handle among the arguments is closed.
    :raises pickle.PicklingError: an argument cannot be pickled, and has to be. As
        with :func:`pickle.dumps`, that may be a TypeError or AttributeError too.
    :raises ChildProcessError: the fork server could not be started, as when
        ``sys.executable`` is no Python interpreter.
    :raises OSError: the system has no descriptors or processes left.
    :raises DeprecationWarning: from Python 3.15 on, if warnings are errors: of a fork in
        a process that has threads. No child is left then.
    """
    if not callable(target):
        raise TypeError(f"target must be callable, not {target!r}")
    if not isinstance(args, tuple):
        raise TypeError(f"args must be a tuple, not {type(args).__name__}")
    if not isinstance(kwargs, dict):
        raise TypeError(f"kwargs must be a dict, not {type(kwargs).__name__}")
    process = _GProcess(target=target, name=name, args=args, kwargs=kwargs, daemon=daemon)
    process._gipc_method = start_method_of(mp_context)
    process.start()
    return process


def start_method_of(mp_context: BaseContext | str | None) -> str | None:
    """The name of the start method that *mp_context* stands for; None for the default.

    :raises TypeError: it is no context and no name.
    :raises ValueError: there is no such method on this system.
    """
    if mp_context is None:
        return None
    if isinstance(mp_context, BaseContext):
        method: str | None = mp_context.get_start_method(allow_none=True)
        return method
    if not isinstance(mp_context, str):
        raise TypeError(
            f"mp_context must be a multiprocessing context or its name, not {mp_context!r}"
        )
    known = multiprocessing.get_all_start_methods()
    if mp_context not in known:
        raise ValueError(f"mp_context must be one of {', '.join(known)}, not {mp_context!r}")
    return mp_context
