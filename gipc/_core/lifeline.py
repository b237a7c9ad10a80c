"""Processes that end with the one that needs them, whatever either of them is doing.

That one holds the write end of a pipe, the other the read end. Nothing is ever written:
the pipe ends when its holder does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from gipc._gevent import start_new_thread
from gipc._ready import is_readable

if sys.platform == "linux":
    import fcntl


def lead_group(away: bool) -> None:
    """Lead a process group, to be killed with all that this process will start.

    :param away: whether this process has left the holder's session. Another one would take
        Linux a millisecond, as it schedules each session by itself.
    """
    if away:
        os.setpgid(0, 0)
    else:
        os.setsid()


def tie(fd: int, owner: int) -> None:
    """Have *owner* killed when the other end of the pipe *fd* is closed (Linux; else nothing).

    *owner* is a process, or a process group as a negative number. The kernel does it: also
    before that process runs its first line of Python, while C code keeps the interpreter
    busy, and whoever its parent is. It holds for as long as anybody has *fd* open.
    """
    if sys.platform == "linux":
        fcntl.fcntl(fd, fcntl.F_SETOWN, owner)
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)


def hold(fd: int, group: bool = True) -> None:
    """Have this process be killed when the other end of the pipe *fd* is closed.

    With *group* its whole group is, which must not be the holder's any more.
    """
    if sys.platform == "linux":
        tie(fd, -os.getpgrp() if group else os.getpid())
        if is_readable(fd):  # it ended before it was watched
            _end(group)
    else:
        os.set_blocking(fd, True)
        start_new_thread(_wait_for_end, (fd, group))


def _wait_for_end(fd: int, group: bool) -> None:
    with contextlib.suppress(OSError):
        os.read(fd, 1)
    _end(group)


def _end(group: bool) -> None:
    if group:
        os.killpg(0, signal.SIGKILL)
    else:
        os.kill(os.getpid(), signal.SIGKILL)
