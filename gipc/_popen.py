"""How a child of each start method is launched, watched and ended.

These stand in for multiprocessing's own ``Popen`` classes, in gipc's processes
only: what they wait for, they wait for cooperatively.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing import util
from typing import Any

from gipc._gevent import (
    close_fd,
    get_hub_if_exists,
    import_before_fork,
    new_rlock,
    original,
    quiet_fork_hooks,
)
from gipc._ready import READ, close_watcher, io_watcher, is_readable, wait_for


def close_fds(*fds: int) -> None:
    """Close descriptors at once, whether or not the process is monkey-patched."""
    for fd in fds:
        close_fd(fd)


class _CooperativePopen:
    """What the launchers of all start methods share."""

    pid: int
    sentinel: int
    returncode: int | None
    takes_handles = True

    def __init__(self, process_obj: Any) -> None:
        super().__init__(process_obj)  # type: ignore[call-arg]  # of the stock Popen
        self._collecting = new_rlock()
        self._waiting = 0  # in how many calls
        self._closing = False
        self._hub: Any = None
        self._watcher: Any = None
        self._set_up_collecting()

    def _set_up_collecting(self) -> None:
        raise NotImplementedError

    def _collect(self) -> int | None:
        """The exit code when the child has ended, else None. Never blocks."""
        raise NotImplementedError

    @property
    def _exit_fd(self) -> int:
        """The descriptor that becomes readable when the child has ended."""
        return self.sentinel

    def watch(self) -> None:
        """Let the event loop of this thread, if it has one, notice the child's end."""
        self._hub = get_hub_if_exists()
        if self._hub is not None:
            # The watcher must not keep a loop alive that has nothing else to do.
            self._watcher = io_watcher(self._hub, self._exit_fd, READ, ref=False)
            self._watcher.start(self._on_end)

    def _on_end(self) -> None:
        if self.poll() is None:  # the descriptor ended, but not the child
            self._release_watcher()
            self.watch()

    def _release_watcher(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            close_watcher(self._hub, watcher)

    def poll(self, flag: int = os.WNOHANG if sys.platform != "win32" else 0) -> int | None:
        """The exit code when the child has ended, else None. Never blocks."""
        with self._collecting:
            if self.returncode is None:
                code = self._collect()
                if self.returncode is None:  # or a signal handler came in between
                    self.returncode = code
                if self.returncode is not None:
                    self._release_watcher()
            return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the child's end, cooperatively, and return its exit code."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._in_use():
            while self.poll() is None:
                if not wait_for(self._exit_fd, deadline):
                    return self.poll()
            return self.returncode

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        """Keep the descriptors from being closed."""
        with self._collecting:
            self._waiting += 1
        try:
            yield
        finally:
            with self._collecting:
                self._waiting -= 1
                last = self._closing and not self._waiting
            if last:
                self._close_descriptors()

    def close(self) -> None:
        """Close all descriptors, as soon as nobody waits for them.

        While somebody does, an event loop watches them. It would take a new
        descriptor of the same number for the old one.
        """
        self._release_watcher()
        with self._collecting:
            self._closing = True
            unused = not self._waiting
        if unused:
            self._close_descriptors()

    def _close_descriptors(self) -> None:
        super().close()  # type: ignore[misc]  # of the stock Popen


if sys.platform == "win32":
    from multiprocessing import popen_spawn_win32

    class SpawnPopen(_CooperativePopen, popen_spawn_win32.Popen):
        """Launches a child by CreateProcess, and has a thread wait for it."""

        def _set_up_collecting(self) -> None:
            pass

        def _collect(self) -> int | None:
            return popen_spawn_win32.Popen.wait(self, 0)

        def watch(self) -> None:
            pass

        def wait(self, timeout: float | None = None) -> int | None:
            hub = get_hub_if_exists()
            if hub is None:
                return popen_spawn_win32.Popen.wait(self, timeout)
            return hub.threadpool.apply(popen_spawn_win32.Popen.wait, (self, timeout))

    LAUNCHERS: dict[str, Any] = {"spawn": SpawnPopen}

else:
    from multiprocessing import popen_fork, popen_forkserver, popen_spawn_posix
    from multiprocessing.forkserver import read_signed

    from gipc._exitstatus import UNKNOWN, ExitStatus, open_pidfd, status_of_the_dead

    #: A flag of pidfd_send_signal, from linux/pidfd.h.
    _PROCESS_GROUP = 4

    class _PidfdPopen(_CooperativePopen):
        """A child that has a pidfd, where the system knows such a thing."""

        _pidfd: int | None = None

        @property
        def pid(self) -> int:
            return self._pid

        @pid.setter
        def pid(self, pid: int) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
            # The launchers set this first of all. Later somebody else may have
            # collected the child, so that there is nothing to open any more.
            self._pid = pid
            if pid > 0:
                self._pidfd = open_pidfd(pid)
                if self._pidfd is not None:
                    self._close_pidfd = util.Finalize(self, close_fd, (self._pidfd,))

        def _set_up_collecting(self) -> None:
            pass

        def _send_signal(self, number: int) -> None:
            if self.poll() is not None:
                return
            try:
                if self._pidfd is None:
                    os.kill(self.pid, number)
                else:  # which cannot hit another process that got the same pid
                    signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                pass

        def signal_group(self, number: int) -> None:
            """Send a signal to the process group that the child leads, or led."""
            with contextlib.suppress(ProcessLookupError):  # there is no such group
                if self._pidfd is not None:
                    try:
                        signal.pidfd_send_signal(self._pidfd, number, None, _PROCESS_GROUP)
                        return
                    except OSError as error:
                        if error.errno != errno.EINVAL:  # Linux before 6.9
                            raise
                # While the group lasts no new process gets its number: one that has
                # it after the child's end shows that the group is no more.
                if self.poll() is None or not _exists(self.pid):
                    os.killpg(self.pid, number)

        def _close_descriptors(self) -> None:
            super()._close_descriptors()
            if self._pidfd is not None:
                self._close_pidfd()

    class _DirectPopen(_PidfdPopen):
        """A child of this very process, that has to collect its exit status."""

        def _set_up_collecting(self) -> None:
            self._status = ExitStatus(self.pid, self._pidfd)

        def _collect(self) -> int | None:
            return self._status.collect()

        @property
        def _exit_fd(self) -> int:
            return self.sentinel if self._pidfd is None else self._pidfd

        def _close_descriptors(self) -> None:
            self._status.release()
            super()._close_descriptors()

    class ForkPopen(_DirectPopen, popen_fork.Popen):
        """Launches a child by fork, past gevent's patched one.

        That one would have gevent collect the exit status of every child.
        """

        def _launch(self, process_obj: Any) -> None:
            import_before_fork()
            sentinel, child_end = os.pipe()
            try:
                parent_sentinel, parent_end = os.pipe()
            except OSError:
                close_fds(sentinel, child_end)
                raise
            # A signal to the child waits until the parent's handlers are gone from it.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            self.pid = -1
            try:
                with quiet_fork_hooks():
                    self.pid = original("os", "fork")()
            except OSError:
                close_fds(sentinel, child_end, parent_sentinel, parent_end)
                raise
            finally:
                if self.pid != 0:
                    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            if self.pid == 0:
                code = 1
                process_obj._signal_mask = mask
                try:
                    atexit._clear()
                    atexit.register(util._exit_function)  # type: ignore[attr-defined]
                    close_fds(sentinel, parent_end)
                    os.read(parent_sentinel, 1)
                    code = process_obj._bootstrap(parent_sentinel=parent_sentinel)
                finally:
                    atexit._run_exitfuncs()
                    os._exit(code)
            os.write(parent_end, b"x")  # now the child may end
            close_fds(child_end, parent_sentinel)
            self.sentinel = sentinel
            self.finalizer = util.Finalize(self, close_fds, (sentinel, parent_end))

    class SpawnPopen(_DirectPopen, popen_spawn_posix.Popen):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Launches a child as a new interpreter."""

    class ForkServerPopen(_PidfdPopen, popen_forkserver.Popen):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Launches a child through multiprocessing's fork server, which reports its end."""

        _server_lost = False

        def _collect(self) -> int | None:
            if not self._server_lost:
                if not is_readable(self.sentinel):
                    return None
                try:
                    code: int = read_signed(self.sentinel)
                    return code
                except (OSError, EOFError):
                    self._server_lost = True
            if self._pidfd is None:
                return UNKNOWN
            return status_of_the_dead(self._pidfd) if is_readable(self._pidfd) else None

        @property
        def _exit_fd(self) -> int:
            if self._server_lost and self._pidfd is not None:
                return self._pidfd
            return self.sentinel

    LAUNCHERS = {"fork": ForkPopen, "spawn": SpawnPopen, "forkserver": ForkServerPopen}


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def launcher(method: str | None) -> Any:
    """The class that launches a child by *method*; None for multiprocessing's choice."""
    if method is None:
        method = multiprocessing.get_start_method(allow_none=True)
    if method is None:  # no choice was made; unlike asking, this does not make one
        method = multiprocessing.get_all_start_methods()[0]
    return LAUNCHERS[method]
