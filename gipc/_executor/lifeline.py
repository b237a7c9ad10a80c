"""Children that end with the server, whatever either of them is doing.

What their tasks have started ends with them: it is the process group that is killed.

The server holds the write end of a pipe, the child the read end. Nothing is ever
written: the pipe ends when the server does.
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


def hold(fd: int) -> None:
    """Have this process's group killed when the other end of the pipe *fd* is closed.

    The group must not be the server's any more.
    """
    if sys.platform == "linux":
        # The kernel does it: also while C code keeps the interpreter busy, and
        # whoever is the parent of this process.
        fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
        if is_readable(fd):  # it ended before it was watched
            _end()
    else:
        os.set_blocking(fd, True)
        start_new_thread(_wait_for_end, (fd,))


def _wait_for_end(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.read(fd, 1)
    _end()


def _end() -> None:
    os.killpg(0, signal.SIGKILL)
