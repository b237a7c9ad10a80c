"""The exit status of one child, found without touching any other.

``waitid`` on a pidfd collects just that child. Two things can come first, though:
a SIGCHLD handler of gevent's (which collects every child there is), so that a
watcher of gevent's is kept to be told by it; and, before that watcher could be
made, the same handler installed late: then the kernel is asked, from Linux 6.15 on.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import Any

from gipc._gevent import get_hub_if_exists, original, sigchld_is_caught
from gipc._ready import close_watcher

if sys.platform == "linux":
    import fcntl

#: What multiprocessing reports, too, when a child's status cannot be known.
UNKNOWN = 255

# struct pidfd_info and its ioctl, from linux/pidfd.h.
_PIDFD_GET_INFO = 0xC040FF0B
_PIDFD_INFO_EXIT = 1 << 3
_PIDFD_INFO = struct.Struct("=Q52xi")


def open_pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None if there is none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # no Linux, an old one, or no descriptors left
        return None


def status_of_the_dead(pidfd: int) -> int:
    """The exit code of a process that somebody else has collected already."""
    if sys.platform == "linux":
        info = bytearray(_PIDFD_INFO.size)
        _PIDFD_INFO.pack_into(info, 0, _PIDFD_INFO_EXIT, 0)
        try:
            fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info, True)
        except OSError:
            return UNKNOWN
        known, status = _PIDFD_INFO.unpack(info)
        if known & _PIDFD_INFO_EXIT:
            return os.waitstatus_to_exitcode(status)
    return UNKNOWN


class ExitStatus:
    """Collects the exit status of a child of this process."""

    def __init__(self, pid: int, pidfd: int | None) -> None:
        self._pid = pid
        self._pidfd = pidfd
        self._watcher: Any = None
        self._told: int | None = None
        self._hub = get_hub_if_exists()
        if self._hub is not None and self._hub.loop.default and sigchld_is_caught():
            self._watcher = self._hub.loop.child(pid, ref=False)
            self._watcher.start(self._on_collected)

    def _on_collected(self) -> None:
        self._told = os.waitstatus_to_exitcode(self._watcher.rstatus)
        self.release()

    def collect(self) -> int | None:
        """The exit code when the child has ended, else None. Never blocks."""
        if self._told is not None:
            return self._told
        try:
            if self._pidfd is None:
                pid, status = original("os", "waitpid")(self._pid, os.WNOHANG)
                code = os.waitstatus_to_exitcode(status) if pid else None
            else:
                code = self._collect_by_pidfd(self._pidfd)
        except ChildProcessError:
            code = self._lost()
        if code is not None:
            self.release()
        return code

    def _collect_by_pidfd(self, pidfd: int) -> int | None:
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
        if result is None:
            return None
        return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status

    def _lost(self) -> int:
        watcher = self._watcher
        if watcher is not None and watcher.rpid:  # told, but its callback is still to run
            return os.waitstatus_to_exitcode(watcher.rstatus)
        return UNKNOWN if self._pidfd is None else status_of_the_dead(self._pidfd)

    def release(self) -> None:
        """Let go of the watcher."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            close_watcher(self._hub, watcher)
