"""What a child does between its fork from a fork server and the function that it is for."""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing import forkserver, process, spawn, util
from typing import Any, NoReturn

from gipc._core import lifeline
from gipc._fresh import reseed


def live(request: int, life: int | None, inherited: list[int], away: bool) -> NoReturn:
    """Become what the pipe *request* says, do that, and end.

    :param life: the lifeline of a child that leads a group of its own, else None.
    :param inherited: the descriptors that a pickle tells by their position.
    :param away: whether this process is in another session than the server.
    """
    if life is not None:
        lifeline.lead_group(away)
        if sys.platform == "linux":  # elsewhere a thread does it, later
            lifeline.hold(life)
        os.close(life)
    gc.enable()
    _forkserver: Any = forkserver
    _forkserver._forkserver._inherited_fds = inherited
    end_with(functools.partial(_become, request))


def end_with(function: Callable[[], int]) -> NoReturn:
    """End this process, that was forked, with *function* and the exit code that it returns."""
    code = 1
    _util: Any = util
    _atexit: Any = atexit
    try:
        _atexit._clear()  # what is there is for the end of the parent
        atexit.register(_util._exit_function)
        code = function()
    except BaseException:
        traceback.print_exc()
    finally:
        _atexit._run_exitfuncs()
        flush()
        os._exit(code)


def _become(request: int) -> int:
    reseed()
    parent_sentinel = os.dup(request)
    current: Any = process.current_process()
    with open(request, "rb") as file:
        current._inheriting = True  # until then it is not to start processes
        try:
            try:
                environment, data = pickle.load(file)
            except EOFError:  # the server gave it up
                return 1
            change_environment(environment)
            spawn.prepare(data)
            child = pickle.load(file)
        finally:
            del current._inheriting
    code: int = child._bootstrap(parent_sentinel)
    return code


def change_environment(changes: Mapping[bytes, bytes | None]) -> None:
    """Set variables of the environment, or remove those that are None."""
    for name, value in changes.items():
        if value is None:
            os.environb.pop(name, None)
        else:
            os.environb[name] = value
    if b"TZ" in changes:
        time.tzset()


def flush() -> None:
    """Write out what standard output and error still hold."""
    _util: Any = util
    with contextlib.suppress(Exception):  # a module may have closed or replaced them
        _util._flush_std_streams()
