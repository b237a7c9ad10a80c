"""What gipc needs from gevent's inside, in one place."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import gevent

# The types that are known of gevent do not go this far.
_hub: Any = importlib.import_module("gevent.hub")
_hub_local: Any = importlib.import_module("gevent._hub_local")
get_hub_if_exists = _hub_local.get_hub_if_exists


def original(module: str, name: str) -> Any:
    """The real thing, whether or not the process has been monkey-patched."""
    monkey = sys.modules.get("gevent.monkey")  # nothing is patched before it is imported
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(importlib.import_module(module), name)


allocate_lock = original("_thread", "allocate_lock")
new_rlock = original("_thread", "RLock")
start_new_thread = original("_thread", "start_new_thread")
get_thread_ident = original("_thread", "get_ident")
# gevent's own close leaves the descriptor open until the event loop runs again.
close_fd = original("os", "close")

# Hubs of a forked child's parent. They must never run again, and must never be
# collected either: that would unwind their greenlets, in the wrong process.
_inherited: list[Any] = []


def in_main_thread() -> bool:
    """Whether this is the native thread that gevent takes for the main one."""
    return bool(get_thread_ident() == _hub.MAIN_THREAD_IDENT)


def import_before_fork() -> None:
    """Import what :func:`replace_hub_after_fork` needs.

    In the child an import would wait for ever if another thread was at it.
    """
    _signal_watcher_class()


@contextlib.contextmanager
def quiet_fork_hooks() -> Iterator[None]:
    """Fork within this block, so that gevent's hooks do not run the event loop.

    Those of gevent 24.10 sleep in the child, in a hub that is still the parent's, when
    several greenlets are known to :mod:`threading`.
    """
    thread: Any = sys.modules.get("gevent.thread")
    if thread is None:
        yield
        return
    sleep, thread.sleep = thread.sleep, bool
    try:
        yield
    finally:
        thread.sleep = sleep


def replace_hub_after_fork() -> None:
    """Give a forked child a hub and a default event loop of its own.

    Nothing of the inherited hub is run or unwound. Must be called in the thread
    that forked, before anything in the child touches gevent.
    """
    inherited = get_hub_if_exists()
    if inherited is None and in_main_thread():
        return
    _hub_local.set_hub(None)
    _hub_local.set_loop(None)
    hub_class = _hub_local.get_hub_class()
    loop_class: Any = gevent.config.loop
    if inherited is not None:
        _inherited.append((inherited, inherited.loop))
    if loop_class.__module__.startswith("gevent.libuv"):
        # libuv cannot close a default loop that is in use: it is left alone, and
        # another one stands in for it.
        for loop in _inherited_loops(inherited, loop_class):
            loop.reset_sigchld()
        _stop_signal_watchers(inherited)
        loop = loop_class(default=False)
        loop._default = True
        _hub_local.set_hub(hub_class(loop))
        return
    # libev has one default loop for each process, whichever thread's hub it serves:
    # the inherited one is freed, so that the next hub makes it anew.
    if inherited is not None and inherited.loop.default:
        loop = inherited.loop
    else:
        loop = loop_class(default=True)
        _inherited.append((None, loop))
    loop.reset_sigchld()
    _stop_signal_watchers(inherited)
    loop.break_(0)  # the main thread's may have been waiting: libev would still see that
    loop.destroy()
    if not in_main_thread():  # otherwise made when it is needed
        _hub_local.set_hub(hub_class(default=True))


def release_signals() -> None:
    """Have this thread's event loop, if there is one, let go of the signals that it handles.

    Watchers that are made later install their handlers again.
    """
    hub = get_hub_if_exists()
    if hub is not None and sys.platform != "win32":
        hub.loop.reset_sigchld()
        _stop_signal_watchers(hub)


def make_and_destroy_a_hub() -> None:
    """Have the event library open what it keeps open (libuv: a pipe for signals)."""
    if gevent.config.loop.__module__.startswith("gevent.libuv"):
        gevent.get_hub().destroy(destroy_loop=True)


def destroy_unused_hub() -> bool:
    """Destroy this thread's hub if nobody uses it. Return whether there is one left.

    In a monkey-patched process the import of many a module makes one, to try something out.
    """
    hub = get_hub_if_exists()
    if hub is None:
        return False
    if hub or any(not _is_thread_local(each) for each in gc.get_referrers(hub)):
        return True  # it has run, or something waits to use it
    hub.destroy(destroy_loop=True)
    return False


def _is_thread_local(referrer: Any) -> bool:
    """Whether *referrer* is where gevent keeps a thread's hub."""
    return type(referrer) is dict and {"Hub", "hub", "loop"} <= referrer.keys()


def _inherited_loops(hub: Any, loop_class: Any) -> list[Any]:
    if in_main_thread():
        return [hub.loop]
    # Those of other threads are known to nobody.
    return [thing for thing in gc.get_objects() if isinstance(thing, loop_class) and thing.ptr]


def _stop_signal_watchers(inherited: Any) -> None:
    # Both event libraries install a signal's handler with its first watcher only:
    # an inherited watcher would keep the child's own from ever firing.
    if not has_hidden_signal_handler():
        return
    # The C loop keeps no list of its watchers, and a hub of another thread cannot be
    # asked: the heap is searched then.
    started = getattr(inherited.loop, "_keepaliveset", None) if in_main_thread() else None
    signal_watcher = _signal_watcher_class()
    for watcher in list(started or gc.get_objects()):
        if type(watcher) is signal_watcher:
            watcher.stop()


def _signal_watcher_class() -> Any:
    module = gevent.config.loop.__module__
    if not module.endswith(".corecext"):
        module = module.rpartition(".")[0] + ".watcher"
    return importlib.import_module(module).signal


def caught_signals() -> int:
    """Bit mask of the signals for which the process has a handler (Linux; else 0)."""
    try:
        with open("/proc/self/status", "rb") as status:
            for line in status:
                if line.startswith(b"SigCgt:"):
                    return int(line.split()[1], 16)
    except OSError:
        pass
    return 0


def watch_child(pid: int, callback: Callable[[], None]) -> Any:
    """Have gevent tell of a child, should it ever collect all there are.

    Return the hub and the started watcher; None where there can be none.

    A child watcher brings a SIGCHLD handler that collects every child of the process,
    plain multiprocessing's too. That is for those to decide who want it, such as
    gevent.subprocess: unless they have, the handler is removed again at once.
    """
    if sys.platform != "linux" or not in_main_thread():
        return None
    if original("_thread", "get_native_id")() != os.getpid():
        return None  # gevent's main thread is not the one that may set signal handlers
    handler = original("signal", "getsignal")(signal.SIGCHLD)
    installed = bool(caught_signals() >> (signal.SIGCHLD - 1) & 1)
    if handler is None or callable(handler):
        return None  # whose handler it is cannot be known: nothing is touched
    hub: Any = gevent.get_hub()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    try:
        watcher = hub.loop.child(pid, ref=False)
        watcher.start(callback)
        if not installed:
            hub.loop.reset_sigchld()
            original("signal", "signal")(signal.SIGCHLD, handler)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return hub, watcher


def has_hidden_signal_handler() -> bool:
    """Whether a signal other than SIGCHLD has a handler that Python knows nothing of."""
    caught = caught_signals()
    return any(
        caught >> (number - 1) & 1
        for number in signal.valid_signals() - {signal.SIGCHLD}
        if signal.getsignal(number) in (signal.SIG_DFL, None)
    )
