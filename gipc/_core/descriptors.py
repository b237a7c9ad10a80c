"""Descriptors that a process is done with, or has got with the rest and is not to use."""

from __future__ import annotations

import os
from collections.abc import Iterable

from gipc._gevent import close_fd

#: Where a process finds the list of its descriptors.
_LISTINGS = ("/proc/self/fd", "/dev/fd")
#: Without such a list, each number up to this is tried; what is above is closed.
_TRIED = 1 << 16


def close_fds(*fds: int) -> None:
    """Close descriptors at once, whether or not the process is monkey-patched."""
    for fd in fds:
        close_fd(fd)


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
    for listing in _LISTINGS:
        try:
            return set(map(int, os.listdir(listing)))
        except OSError:  # as in a container without /proc
            continue
    limit = os.sysconf("SC_OPEN_MAX")
    os.closerange(_TRIED, limit)
    return set(filter(_is_open, range(min(_TRIED, limit))))


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
