"""What makes a child independent of the process that it comes from."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Collection
from typing import Any

from gipc._gevent import original, release_signals, replace_hub_after_fork

#: The signals that get their default disposition in a child. SIGPIPE does not: a
#: child that writes to a vanished reader is to see an error, as its parent does.
SIGNALS_TO_RESET = sorted(
    signal.valid_signals()
    - {getattr(signal, name, None) for name in ("SIGPIPE", "SIGKILL", "SIGSTOP")}
)

# Past the enumerations of the signal module, which take longer than the rest of it.
set_handler = original("_signal", "signal")
DEFAULT, IGNORE = original("_signal", "SIG_DFL"), original("_signal", "SIG_IGN")


def start_afresh(signal_mask: Collection[int] | None) -> None:
    """Make this child independent. To be called first of all, in its main thread.

    :param signal_mask: for a child that was forked from its parent. It takes effect when the
        signals have their dispositions. None for any other child: the event loop that it
        has, if any, was made by its own import of modules.
    """
    if signal_mask is not None:
        replace_hub_after_fork()
        _forget_fork_server()
        _make_this_thread_the_main_one()
    else:
        release_signals()
    signal.set_wakeup_fd(-1)  # the parent's, if any
    for number in SIGNALS_TO_RESET:
        set_handler(number, DEFAULT)
    if signal_mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, signal_mask)


def reseed() -> None:
    """Have NumPy's global random numbers differ from those of other children.

    Those of the module random do by themselves. Generators that a module has made are
    known to nobody.
    """
    module: Any = sys.modules.get("numpy.random")
    if module is not None:
        module.seed()


def _make_this_thread_the_main_one() -> None:
    # Before Python 3.13, a forked child of a thread that threading has met, but not
    # started, has no main thread, and ends in an AssertionError.
    module: Any = threading
    if isinstance(module.main_thread(), module._DummyThread):
        module._main_thread = module._MainThread()


def _forget_fork_server() -> None:
    # multiprocessing would take the parent's fork server for this process's own
    # child, and fail when it is not.
    module: Any = sys.modules.get("multiprocessing.forkserver")
    if module is not None and module._forkserver._forkserver_pid is not None:
        module._forkserver._forkserver_pid = None
        module._forkserver._forkserver_address = None
