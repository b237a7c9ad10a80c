"""The exit status of one child, found without touching any other.

``waitid`` on a pidfd collects just that child. A SIGCHLD handler of gevent's, which
collects every child there is, can come first: a watcher of gevent's is kept to be
told by it. Where there cannot be one the kernel is asked, from Linux 6.15 on.
"""

from __future__ import annotations

import os
import struct
import sys
import time

from gipc._gevent import original, watch_child
from gipc._ready import close_watcher, open_mailbox

if sys.platform == "linux":
    import fcntl

#: What multiprocessing reports, too, when a child's status cannot be known.
UNKNOWN = 255

#: Seconds in which gevent must have told of a child that it seems to have collected.
_PATIENCE = 1.0

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
        self._told: int | None = None
        self._give_up: float | None = None
        self._hub_and_watcher = watch_child(pid, self._on_collected)
        if self._hub_and_watcher is not None:
            open_mailbox(self._hub_and_watcher[0])

    def _on_collected(self) -> None:
        if self._hub_and_watcher is not None:
            self._told = os.waitstatus_to_exitcode(self._hub_and_watcher[1].rstatus)
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

    def _lost(self) -> int | None:
        """The exit code of a child that somebody else has collected."""
        if self._hub_and_watcher is not None:
            watcher = self._hub_and_watcher[1]
            if watcher.rpid:  # told, but its callback is still to run
                return os.waitstatus_to_exitcode(watcher.rstatus)
        code = UNKNOWN if self._pidfd is None else status_of_the_dead(self._pidfd)
        if code == UNKNOWN and self._hub_and_watcher is not None:
            # libuv's loop tells its watchers only after it has collected all children.
            if self._give_up is None:
                self._give_up = time.monotonic() + _PATIENCE
            if time.monotonic() < self._give_up:
                return None
        return code

    def release(self) -> None:
        """Let go of the watcher."""
        hub_and_watcher, self._hub_and_watcher = self._hub_and_watcher, None
        if hub_and_watcher is not None:
            close_watcher(*hub_and_watcher)
