"""What a child that is not forked has to know before anything can be unpickled in it."""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
import sysconfig
from multiprocessing import process, spawn, util
from typing import Any

#: What tells a child how to import the main module.
_MAIN_KEYS = ("init_main_from_name", "init_main_from_path")


# How the main module was to be imported when that could be seen last.
_main: dict[str, str] = {}


def preparation_data() -> dict[str, Any]:
    """What :func:`multiprocessing.spawn.prepare` takes in a child.

    Unlike multiprocessing's own, it does not fix the start method, nor ask for the working
    directory, which may have been removed: a child has it already.

    :raises RuntimeError: this process is importing the main module as a child does.
    """
    _spawn: Any = spawn
    _util: Any = util
    _spawn._check_not_importing_main()
    data: dict[str, Any] = {
        "authkey": bytes(process.current_process().authkey),
        "log_to_stderr": _util._log_to_stderr,
        "sys_path": [entry or _original_directory() or "" for entry in sys.path],
        "sys_argv": list(sys.argv),
        "orig_dir": _original_directory(),
    }
    if _util._logger is not None:
        data["log_level"] = _util._logger.getEffectiveLevel()
    method = multiprocessing.get_start_method(allow_none=True)
    if method is not None:
        data["start_method"] = method
    return data | remember_main()


def only_main(data: dict[str, Any]) -> dict[str, Any]:
    """The part of *data* that tells how to import the main module."""
    return {key: data[key] for key in _MAIN_KEYS if key in data}


def without_main(data: dict[str, Any]) -> dict[str, Any]:
    """*data* for a process that shall not import the main module."""
    return {key: value for key, value in data.items() if key not in _MAIN_KEYS}


def remember_main() -> dict[str, str]:
    """How a child imports the main module, for :func:`multiprocessing.spawn.prepare`.

    What Python knows of its file is gone when the program has run to its end, and children
    may still be wanted then: that is remembered from the last call of this.
    """
    how = _how_to_import_main()
    if how or hasattr(sys.modules["__main__"], "__file__"):
        _main.clear()
        _main.update(how)
    return dict(_main)


def _how_to_import_main() -> dict[str, str]:
    # An installed command such as gunicorn or flask defines no tasks: to import it in each
    # child would cost time and memory for nothing.
    main: Any = sys.modules["__main__"]
    name = getattr(main.__spec__, "name", None)
    if name is not None:
        return {"init_main_from_name": name}
    path = getattr(main, "__file__", None)
    if path is None:
        return {}
    directory = _original_directory()
    if not os.path.isabs(path) and directory is not None:
        path = os.path.join(directory, path)
    path = os.path.normpath(path)
    if os.path.dirname(path) == _scripts():
        return {}
    return {"init_main_from_path": path}


def _original_directory() -> Any:
    _process: Any = process
    return _process.ORIGINAL_DIR


@functools.cache
def _scripts() -> str:
    """The directory of installed commands. It takes a while to find out."""
    return sysconfig.get_path("scripts")
