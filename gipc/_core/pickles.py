"""Pickles for a child that is being started, in which multiprocessing's objects may be."""

from __future__ import annotations

import io
from multiprocessing import reduction
from multiprocessing.context import set_spawning_popen
from typing import Any


def pickled_for(popen: Any, value: Any) -> bytes:
    """Pickle *value* for the child that *popen* launches, which gathers the descriptors in it."""
    buffer = io.BytesIO()
    set_spawning_popen(popen)
    try:
        reduction.dump(value, buffer)
    finally:
        set_spawning_popen(None)
    return buffer.getvalue()


class Rehearsal:
    """Stands for the launcher of a child, to see beforehand whether a pickle succeeds."""

    @staticmethod
    def duplicate_for_child(fd: int) -> int:
        """Called for each descriptor."""
        return fd

    DupFd = int
