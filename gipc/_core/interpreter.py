"""New interpreters, started as multiprocessing starts them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable
from multiprocessing import resource_tracker, spawn, util
from typing import Any

from gipc._gevent import original
from gipc._ready import Turn, is_broken

#: One start at a time: in a monkey-patched process, the locks that multiprocessing has for
#: that fail when native threads contend for them.
start_turn = Turn()

_waitpid = original("os", "waitpid")

# Resource trackers that were started since an interpreter did last what it should.
_unproven: list[int] = []


def launch(passed: Iterable[int], request: int, label: str = "") -> int:
    """Start an interpreter that unpickles from *request* what it is to be. Return its pid.

    :param passed: more descriptors that it inherits.
    :param label: what the list of processes shows of it.
    :raises ChildProcessError: no interpreter is known.
    :raises OSError: the system has no processes left.
    """
    executable = _executable()
    tracker = fd_of_tracker()
    _util: Any = util
    command = spawn.get_command_line(tracker_fd=tracker, pipe_handle=request)
    if label and not getattr(sys, "frozen", False):  # a frozen program reads all that follows
        command.append(label)
    pid: int = _util.spawnv_passfds(executable, command, (*passed, request, tracker))
    return pid


def fd_of_tracker() -> int:
    """The descriptor of this process's resource tracker. To be called in its turn."""
    tracker: Any = resource_tracker
    fd: int | None = tracker._resource_tracker._fd
    if fd is None or is_broken(fd):
        # It writes to the tracker to see whether that lives, which wakes it each time.
        fd = tracker.getfd()
        _unproven.append(tracker._resource_tracker._pid)
    assert fd is not None
    return fd


def praise() -> None:
    """Take note that an interpreter did what it should."""
    _unproven.clear()


def complaint(how: str) -> str:
    """What to say of an interpreter that did not get as far as it should.

    A resource tracker that was started since one did is ended: it runs in such a one, too.
    """
    tracker: Any = resource_tracker
    while _unproven:
        pid = _unproven.pop()
        if pid == tracker._resource_tracker._pid:
            tracker._resource_tracker._pid = None
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                _waitpid(pid, 0)
    path = os.fsdecode(_executable())
    if not os.access(path, os.X_OK):
        how = "cannot be executed"
    return (
        f"{path} {how}. If it is no Python interpreter, "
        f"tell multiprocessing.set_executable which one to use"
    )


def _executable() -> str | bytes:
    executable: str | bytes | None = spawn.get_executable()
    if not executable:  # as in a program that embeds Python
        raise ChildProcessError(
            "sys.executable is not set: tell multiprocessing.set_executable which Python to use"
        )
    return executable
