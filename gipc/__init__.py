"""Child processes for gevent servers."""

from gipc._exceptions import (
    ChildDied,
    GIPCClosed,
    GIPCError,
    GIPCLocked,
    OffloadError,
    OffloadTimeout,
    QueueFull,
)
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
