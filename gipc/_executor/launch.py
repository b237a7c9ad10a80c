"""How the executor's children are started."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import sysconfig
from multiprocessing import forkserver, process, reduction, spawn, util
from multiprocessing.context import set_spawning_popen
from multiprocessing.forkserver import ForkServer, read_signed
from typing import Any

from gipc._executor.descriptors import blank, open_descriptors
from gipc._gevent import close_fd
from gipc._popen import ForkServerPopen, close_fds, launcher
from gipc._process import _GProcess
from gipc._ready import WRITE, Descriptor, wait_for

#: In the environment of a starting fork server: how to import the main module.
MAIN = "_GIPC_MAIN"
_MAIN_KEYS = ("sys_path", "sys_argv", "init_main_from_name", "init_main_from_path")


class PoolProcess(_GProcess):
    """A child of an executor."""

    _server: ForkServer | None = None

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802
        if process_obj._server is not None:
            return _OwnForkServerPopen(process_obj)
        return launcher(process_obj._gipc_method)(process_obj)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_server"}

    def _bootstrap(self, parent_sentinel: int | None = None) -> int:
        if self._gipc_method == "fork":
            own = {handle._fd for handle in self._args[:3]}
            blank(open_descriptors() - own - {0, 1, 2, parent_sentinel})
        elif self._gipc_method == "forkserver":
            # Its server alone decides how long it lives. Whatever a task leaves behind
            # would keep it.
            stop_fork_server(forkserver._forkserver)
        return super()._bootstrap(parent_sentinel)


class _OwnForkServerPopen(ForkServerPopen):
    """Launches a child through a fork server that belongs to one executor."""

    _fds: list[int]

    def _launch(self, process_obj: Any) -> None:
        server: ForkServer = process_obj._server
        data = io.BytesIO()
        set_spawning_popen(self)
        try:
            reduction.dump(_preparation_data(process_obj._name), data)
            reduction.dump(process_obj, data)
        finally:
            set_spawning_popen(None)
        self.sentinel, data_end = server.connect_to_new_process(self._fds)
        # The child's parent_process() ends when this duplicate is closed.
        self.finalizer = util.Finalize(self, close_fds, (self.sentinel, os.dup(data_end)))
        # Cooperatively: the fork server may take a while to import what it preloads.
        try:
            _write_all(data_end, data.getbuffer())
        finally:
            close_fd(data_end)
        wait_for(self.sentinel)
        self.pid = read_signed(self.sentinel)


def _write_all(fd: int, data: memoryview) -> None:
    os.set_blocking(fd, False)
    ready = Descriptor(fd, WRITE)
    try:
        while data:
            # Before the first write too: a monkey-patched process closes its far ends of
            # both pipes not before the event loop has polled, and should the fork server
            # have been killed, they end only then.
            ready.wait()
            data = data[os.write(fd, data) :]
    finally:
        ready.release()


def _preparation_data(name: str) -> dict[str, Any]:
    """What a child has to do before anything can be unpickled in it."""
    data: dict[str, Any] = spawn.get_preparation_data(name)
    main = data.get("init_main_from_path")
    if main is not None and os.path.dirname(main) == _scripts():
        # An installed command such as gunicorn or flask defines no tasks: to import
        # it in each child would cost time and memory for nothing.
        del data["init_main_from_path"]
    return data


@functools.cache
def _scripts() -> str:
    """The directory of installed commands. It takes a while to find out."""
    return sysconfig.get_path("scripts")


class _ForkServer(ForkServer):
    """A fork server that imports the program's main module, as each child would.

    Multiprocessing's own finds neither that one nor, by the server's path, any other
    before Python 3.13.
    """

    _forkserver_pid: int | None
    _forkserver_address: str | None

    def ensure_running(self) -> None:
        if self._is_running():
            return
        former = self._forkserver_address
        _forget_lost_directory()
        data = _preparation_data("")
        os.environ[MAIN] = json.dumps({key: data[key] for key in _MAIN_KEYS if key in data})
        try:
            super().ensure_running()
        finally:
            os.environ.pop(MAIN, None)
        if former != self._forkserver_address:
            _remove_socket(former)

    def _is_running(self) -> bool:
        pid = self._forkserver_pid
        if pid is None or not hasattr(os, "waitid"):  # then it is asked above
            return False
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def make_fork_server(preload: tuple[str, ...]) -> ForkServer:
    """A fork server that has the given modules, and what a child needs, imported."""
    server = _ForkServer()
    server.set_forkserver_preload(["gipc._executor.zygote", *preload])
    return server


def server_pid(server: Any) -> int | None:
    """The process id of a fork server, None when it was not needed yet."""
    pid: int | None = server._forkserver_pid
    return pid


def forget_fork_server(server: Any) -> None:
    """Clear away what a fork server that has ended has left."""
    _remove_socket(server._forkserver_address)


def forget_parents_directory() -> None:
    """Have multiprocessing make a directory for sockets, in a process that was forked.

    The parent removes the other one at its end.
    """
    _configuration().pop("tempdir", None)


def _forget_lost_directory() -> None:
    # Whatever tidies temporary directories up may have removed it.
    directory = _configuration().get("tempdir")
    if directory is not None and not os.path.isdir(directory):
        _configuration().pop("tempdir")


def _configuration() -> dict[str, Any]:
    current: Any = process.current_process()
    config: dict[str, Any] = current._config
    return config


def _remove_socket(path: str | None) -> None:
    # Multiprocessing leaves it until the program ends.
    if path is not None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def stop_fork_server(server: Any) -> None:
    """Let a fork server end as soon as its last child has."""
    fd, server._forkserver_alive_fd = server._forkserver_alive_fd, None
    if fd is not None:
        close_fd(fd)
