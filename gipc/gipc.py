"""The import path of gipc 1.x."""

from gipc._exceptions import GIPCClosed, GIPCError, GIPCLocked
from gipc._fresh import SIGNALS_TO_RESET as _signals_to_reset
from gipc._handles import (
    _GIPCDuplexHandle,
    _GIPCHandle,
    _GIPCReader,
    _GIPCWriter,
    pipe,
)
from gipc._handles import open_handles as _get_all_handles
from gipc._handles import set_open_handles as _set_all_handles
from gipc._process import _GProcess, start_process

__all__ = [
    "GIPCClosed",
    "GIPCError",
    "GIPCLocked",
    "_GIPCDuplexHandle",
    "_GIPCHandle",
    "_GIPCReader",
    "_GIPCWriter",
    "_GProcess",
    "_get_all_handles",
    "_set_all_handles",
    "_signals_to_reset",
    "pipe",
    "start_process",
]
