"""Child processes for gevent servers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import gevent  # noqa: F401  # it takes the thread that imports it first for the main one

from gipc._exceptions import (
    ChildDied,
    GIPCClosed,
    GIPCError,
    GIPCLocked,
    OffloadError,
    OffloadTimeout,
    QueueFull,
)

if TYPE_CHECKING:  # and for PyInstaller, which finds modules by their imports
    from gipc._executor.executor import ProcessPoolExecutor
    from gipc._handles import pipe
    from gipc._process import start_process

__all__ = [
    "ChildDied",
    "GIPCClosed",
    "GIPCError",
    "GIPCLocked",
    "OffloadError",
    "OffloadTimeout",
    "ProcessPoolExecutor",
    "QueueFull",
    "pipe",
    "start_process",
]

# Imported when they are first asked for, so that a program that has gipc beside gevent
# among its imports starts as fast as without.
_HOMES = {
    "ProcessPoolExecutor": "gipc._executor.executor",
    "pipe": "gipc._handles",
    "start_process": "gipc._process",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
