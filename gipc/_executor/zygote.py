"""Imported by an executor's fork server, first of all: makes it fit to serve.

The fork server must outlive what is sent to every process of a service at once, a
terminal's Ctrl-C or a service manager's SIGTERM, for the server may still want
children then. It ends when the server does.
"""

import json
import multiprocessing.forkserver
import os
import signal
import types
from multiprocessing import process, spawn
from typing import Any

# So that no child has to import them: what unpickles a child, and what runs in it.
import gipc._executor.launch
import gipc._executor.worker


def _keep_unpatched(module: Any, *names: str) -> None:
    # Should what is imported below monkey-patch the process: with gevent's fork the
    # fork server would remember every child that it ever had.
    for name in names:
        setattr(module, name, types.SimpleNamespace(**vars(getattr(module, name))))


def _import_main(data: dict[str, Any]) -> None:
    current: Any = process.current_process()
    current._inheriting = True  # it is not to start processes
    try:
        spawn.prepare(data)
    except BaseException:  # each child will fail likewise, and tell
        pass
    finally:
        del current._inheriting


os.setsid()
gipc._executor.worker.apart = True
for _number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
    signal.signal(_number, signal.SIG_IGN)
_keep_unpatched(multiprocessing.forkserver, "os", "selectors", "signal", "socket")
_import_main(json.loads(os.environ.pop(gipc._executor.launch.MAIN)))
