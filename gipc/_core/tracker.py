"""multiprocessing's resource tracker, which processes share that were forked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import Any


@contextlib.contextmanager
def kept_by_fork() -> Iterator[None]:
    """Fork within this block, so that the child keeps the tracker of its parent.

    From Python 3.14.8 on, one that multiprocessing has not forked loses it, would start its
    own, and that would remove the parent's shared memory when it ends (gh-146313).
    """
    intent: Any = getattr(resource_tracker, "_fork_intent", None)
    if intent is None:
        yield
        return
    intent.preserve_fd = True
    try:
        yield
    finally:
        intent.preserve_fd = False
