"""Imports a module and tells what that has left in the process, besides modules."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import stat
import sys
import threading
import time
import warnings
from collections.abc import Callable
from multiprocessing import process, spawn
from typing import Any, NamedTuple

from gipc._core.descriptors import open_descriptors
from gipc._gevent import destroy_unused_hub, original, quiet_fork_hooks

if sys.platform != "win32":
    import fcntl

#: Seconds.
_MOMENT = 0.1
_sleep = original("time", "sleep")

#: libffi keeps its own file open, to map it.
_LIBRARY = re.compile(r"\.so(\.\d+)*$")

#: Stands for the main module.
MAIN = "__main__"


class Trace(NamedTuple):
    """What the import of a module has left."""

    name: str
    imported: bool
    threads: int  # native ones that do not end before a fork
    hub: bool
    descriptors: tuple[str, ...]  # what the new ones stand for

    def problem(self, descriptors: bool) -> str:
        """What of it forked children cannot share, in words; "" if there is nothing.

        :param descriptors: whether those count.
        """
        left = []
        if self.threads:
            left.append("a thread" if self.threads == 1 else f"{self.threads} threads")
        if self.hub:
            left.append("an event loop of gevent")
        elif descriptors and self.descriptors:  # those of an event loop go without saying
            left.append(f"open descriptors ({', '.join(self.descriptors)})")
        return " and ".join(left)


def describe(name: str) -> str:
    """A module's name for messages."""
    return "the main program" if name == MAIN else name


def import_and_trace(name: str, main: dict[str, str]) -> Trace:
    """Import a module, or the main module as *main* says, and tell what it has left.

    One that cannot be imported is no error here: whoever needs it will find out.
    """
    imported = False
    descriptors, threads = _descriptors(), _count_threads()
    with contextlib.suppress(BaseException):
        if name == MAIN:
            _import_main(main)
        else:
            importlib.import_module(name)
        imported = True
    hub = destroy_unused_hub()
    if _count_threads() > threads:
        # Threads that know of forks, such as those of BLAS libraries, end before one.
        _fork_in_vain()
        _wait_until(lambda: _count_threads() <= threads)
    new = _descriptors().items() - descriptors.items()
    return Trace(
        name,
        imported,
        max(0, _count_threads() - threads),
        hub,
        tuple(sorted(what for _, what in new)),
    )


def _import_main(data: dict[str, str]) -> None:
    current: Any = process.current_process()
    current._inheriting = True  # it is not to start processes
    try:
        spawn.prepare(dict(data))
    finally:
        del current._inheriting


def _wait_until(condition: Callable[[], bool]) -> None:
    """Give threads that have ended the moment that the system takes to forget them."""
    deadline = time.monotonic() + _MOMENT
    while not condition() and time.monotonic() < deadline:
        _sleep(0.001)


def _count_threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return threading.active_count()


def _descriptors() -> dict[int, str]:
    """What those descriptors stand for that two processes cannot share without harm."""
    found = {}
    for fd in open_descriptors():
        with contextlib.suppress(OSError):  # the one of the listing
            name = _name_of(fd)
            if not _is_log(fd) and not _LIBRARY.search(name):
                found[fd] = name
    return found


def _is_log(fd: int) -> bool:
    return stat.S_ISREG(os.fstat(fd).st_mode) and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND != 0


def _name_of(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return str(fd)


def _fork_in_vain() -> None:
    with warnings.catch_warnings(), quiet_fork_hooks():
        warnings.simplefilter("ignore")  # the threads that are looked for are no news
        pid = original("os", "fork")()
    if pid == 0:
        os._exit(0)
    original("os", "waitpid")(pid, 0)
