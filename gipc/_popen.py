"""How a child of each start method is launched, watched and ended.

These stand in for multiprocessing's own ``Popen`` classes, in gipc's processes
only: what they wait for, they wait for cooperatively.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing import util
from typing import Any, NoReturn

from gipc._core.descriptors import close_fds
from gipc._core.patience import Patience
from gipc._gevent import (
    close_fd,
    get_hub_if_exists,
    import_before_fork,
    new_rlock,
    original,
    quiet_fork_hooks,
)
from gipc._ready import READ, close_watcher, io_watcher, is_broken, is_past, is_readable, wait_for


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

    def finish(self, life: int | None, patience: Patience) -> None:
        """Do what remains to be done for the start, cooperatively.

        :param life: the child's lifeline, if it has one.
        :param patience: for the child to be there, and to take what is sent to it.
        :raises TimeoutError: it was not, or has not.
        """

    @property
    def has_read(self) -> bool:
        """Whether the child has begun to read what it is to be."""
        return True

    def give_up(self) -> None:
        """End a child that could not be started to the end, if there is one."""

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
                if not self._wait_for_news(deadline) and is_past(deadline):
                    return self.poll()
            return self.returncode

    def _wait_for_news(self, deadline: float | None) -> bool:
        """Wait for what may be the child's end, until *deadline* or for a shorter time."""
        return wait_for(self._exit_fd, deadline)

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
    import fcntl
    import termios
    from multiprocessing import popen_fork, popen_forkserver, popen_spawn_posix

    from gipc._core.forkserver import ForkServer, shared_fork_server
    from gipc._core.interpreter import launch
    from gipc._core.lifeline import tie
    from gipc._core.newborn import end_with
    from gipc._core.pickles import pickled_for
    from gipc._core.preparation import preparation_data
    from gipc._core.tracker import kept_by_fork
    from gipc._core.writing import write_all
    from gipc._core.zygote import NUMBER
    from gipc._exitstatus import UNKNOWN, ExitStatus, open_pidfd, status_of_the_dead

    #: A flag of pidfd_send_signal, from linux/pidfd.h.
    _PROCESS_GROUP = 4
    #: Seconds in which a fork server must have told how a child of it has ended.
    _REPORT = 1.0

    class _PidfdPopen(_CooperativePopen):
        """A child that has a pidfd, where the system knows such a thing."""

        _pid: Any = None  # until it is launched
        _pidfd: int | None = None

        @property
        def pid(self) -> int:
            pid: int = self._pid
            return pid

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
            if self._pid is None or self.poll() is not None:
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
            if self._pid is None:
                return
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
                with quiet_fork_hooks(), kept_by_fork():
                    self.pid = original("os", "fork")()
            except BaseException:  # a warning may be raised as an error, after the fork
                close_fds(child_end, parent_sentinel, parent_end)
                _collect_unknown(sentinel)
                close_fds(sentinel)
                raise
            finally:
                if self.pid != 0:
                    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            if self.pid == 0:
                process_obj._signal_mask = mask
                close_fds(sentinel, parent_end)
                _live(process_obj, parent_sentinel, child_end)
            os.write(parent_end, b"x")  # now the child may end
            close_fds(child_end, parent_sentinel)
            self.sentinel = sentinel
            self.finalizer = util.Finalize(self, close_fds, (sentinel, parent_end))

    def _live(process_obj: Any, parent_sentinel: int, sentinel: int) -> NoReturn:
        """Be the forked child, to its end."""
        if not os.read(parent_sentinel, 1):  # the parent does not know of it, or is dead
            with contextlib.suppress(BrokenPipeError):
                os.write(sentinel, NUMBER.pack(os.getpid()))
            os._exit(1)
        end_with(partial(process_obj._bootstrap, parent_sentinel=parent_sentinel))

    def _collect_unknown(sentinel: int) -> None:
        """Collect the child whose number was lost, if there is one."""
        wait_for(sentinel, time.monotonic() + _REPORT)
        if is_readable(sentinel) and (number := os.read(sentinel, NUMBER.size)):
            with contextlib.suppress(ChildProcessError):
                original("os", "waitpid")(*NUMBER.unpack(number), 0)

    class SpawnPopen(_DirectPopen, popen_spawn_posix.Popen):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Launches a child as a new interpreter."""

        _fds: list[int]

        def _launch(self, process_obj: Any) -> None:
            self._payload = pickle.dumps(preparation_data()) + pickled_for(self, process_obj)
            with contextlib.ExitStack() as passed, contextlib.ExitStack() as undo:
                sentinel, child_end = os.pipe()
                undo.callback(close_fd, sentinel)
                passed.callback(close_fd, child_end)
                request, self._request = os.pipe()
                undo.callback(close_fd, self._request)
                passed.callback(close_fd, request)
                self.pid = launch((*self._fds, child_end), request)
                undo.pop_all()
            self.sentinel = sentinel
            # The child's parent_process() ends when the second one is closed.
            self.finalizer = util.Finalize(self, close_fds, (sentinel, self._request))

        def finish(self, life: int | None, patience: Patience) -> None:
            if life is not None:
                tie(life, self.pid)  # already while it imports the main module
            self._written = _hand_over(self._request, self._payload, patience)
            self._payload = b""

        @property
        def has_read(self) -> bool:
            unread = fcntl.ioctl(self._request, termios.FIONREAD, bytes(4))
            return int.from_bytes(unread, sys.byteorder) < self._written

        def give_up(self) -> None:
            self._send_signal(signal.SIGKILL)
            self.wait()
            self.close()

    class ForkServerPopen(_PidfdPopen, popen_forkserver.Popen):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Launches a child through a fork server, which reports its end."""

        _fds: list[int]
        _server_lost = False
        _give_up: float | None = None  # when no report is expected any more

        def _launch(self, process_obj: Any) -> None:
            self._server: ForkServer = process_obj._fork_server or shared_fork_server()
            self._payload = pickled_for(self, process_obj)
            self.sentinel = -1  # until it is launched

        def finish(self, life: int | None, patience: Patience) -> None:
            child = self._server.fork(life, self._fds, patience)
            self.sentinel = child.status
            # The child's parent_process() ends when the second one is closed.
            self.finalizer = util.Finalize(self, close_fds, (child.status, child.request))
            self.pid = child.pid
            payload = pickle.dumps((child.environment, child.data)) + self._payload
            self._payload = b""
            _hand_over(child.request, payload, patience)

        def give_up(self) -> None:
            if self._pid is not None:
                self._send_signal(signal.SIGKILL)
            self.close()

        def _collect(self) -> int | None:
            if self._pid is None:
                return None
            if not self._server_lost and is_readable(self.sentinel):
                answer = os.read(self.sentinel, NUMBER.size)
                if answer:
                    code: int
                    (code,) = NUMBER.unpack(answer)
                    return code
                self._server_lost = True
            if self._pidfd is None:
                return UNKNOWN if self._server_lost else None
            if not is_readable(self._pidfd):
                return None
            if not self._server_lost:  # it may have been stopped
                if self._give_up is None:
                    self._give_up = time.monotonic() + _REPORT
                if not is_past(self._give_up):
                    return None
            return status_of_the_dead(self._pidfd)

        @property
        def _exit_fd(self) -> int:
            if self._server_lost and self._pidfd is not None:
                return self._pidfd
            return self.sentinel

        def _wait_for_news(self, deadline: float | None) -> bool:
            if self._pidfd is None or self._server_lost:
                return wait_for(self._exit_fd, deadline)
            if self._give_up is None:
                return wait_for(self._pidfd, deadline)
            return wait_for(
                self.sentinel, self._give_up if deadline is None else min(deadline, self._give_up)
            )

    def _hand_over(fd: int, payload: bytes, patience: Patience) -> int:
        written = write_all(fd, payload, patience.deadline)
        # A child that is dead has an exit code to say so.
        if written < len(payload) and not is_broken(fd):
            raise TimeoutError("the child did not take its arguments in time")
        return written

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
