"""Descriptors that a forked process has got with the rest, and is not to use."""

from __future__ import annotations

import os
from collections.abc import Iterable

from gipc._gevent import close_fd


def blank(fds: Iterable[int]) -> None:
    """Have *fds* stand for nothing at all."""
    # They are replaced, not closed: objects of the parent live on in this process,
    # and when one is collected it must not close a descriptor that is of use here.
    null = os.open(os.devnull, os.O_RDWR)
    for fd in fds:
        if fd != null:
            os.dup2(null, fd, inheritable=False)
    close_fd(null)


def open_descriptors() -> set[int]:
    """All descriptors of this process, and perhaps one that was open just before."""
    listing = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    return set(map(int, os.listdir(listing)))
