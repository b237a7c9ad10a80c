"""What differs between the systems when bytes go through a pipe.

Elsewhere pipes are non-blocking and the event loop says when they are ready. On
Windows that cannot be had: there a thread pool blocks in the greenlet's stead.
``GIPC_TRANSPORT=threadpool`` in the environment chooses that everywhere.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from gipc._frames import FrameReader, FrameWriter

_IN_THREADS = sys.platform == "win32" or os.environ.get("GIPC_TRANSPORT") == "threadpool"

Reader: type[FrameReader] = FrameReader
Writer: type[FrameWriter] = FrameWriter
if _IN_THREADS:
    from gipc._threads import ThreadReader as Reader
    from gipc._threads import ThreadWriter as Writer


def open_pipe() -> tuple[FrameReader, FrameWriter]:
    """Make a pipe and return its two ends."""
    read_fd, write_fd = os.pipe()
    if not _IN_THREADS:
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)
    return Reader(read_fd), Writer(write_fd)


def starting_child() -> Any:
    """The launcher of the child that arguments are being pickled for, or None."""
    context = sys.modules.get("multiprocessing.context")
    return None if context is None else context.get_spawning_popen()


def duplicate_for_child(fd: int, readable: bool) -> Any:
    """What stands for *fd* in the pickle that a starting child receives."""
    from multiprocessing import reduction

    if sys.platform == "win32":
        import _winapi
        import msvcrt

        access = _winapi.GENERIC_READ if readable else _winapi.GENERIC_WRITE
        return reduction.DupHandle(msvcrt.get_osfhandle(fd), access)
    return reduction.DupFd(fd)


def receive(descriptor: Any) -> int:
    """Take what :func:`duplicate_for_child` made, in the child."""
    if sys.platform == "win32":
        import msvcrt

        return msvcrt.open_osfhandle(descriptor.detach(), os.O_BINARY)
    fd: int = descriptor.detach()
    os.set_inheritable(fd, False)
    return fd
