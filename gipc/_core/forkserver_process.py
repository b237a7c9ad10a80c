"""One fork server process, as the process that has started it sees it."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import time
from _socket import SCM_RIGHTS, SOL_SOCKET, socketpair
from array import array
from multiprocessing import util
from typing import Any, NamedTuple

from gipc._core.descriptors import close_fds
from gipc._core.interpreter import complaint, fd_of_tracker, launch, praise, start_turn
from gipc._core.lifeline import tie
from gipc._core.patience import Patience
from gipc._core.preparation import only_main, preparation_data, without_main
from gipc._core.traces import MAIN, Trace, describe
from gipc._core.writing import write_all
from gipc._core.zygote import DIRECTORY, LIFE, LOAD, MOST_INHERITED, NUMBER, REQUEST, START, Zygote
from gipc._exceptions import fate_of
from gipc._exitstatus import ExitStatus, open_pidfd
from gipc._gevent import close_fd, original
from gipc._ready import WRITE, Descriptor, Turn, is_past, wait_for

#: What modules change when they are imported.
_CHANGEABLE = {"sys_path", "sys_argv"}

_LABEL = "gipc-forkserver"

#: Seconds that a process that was killed, or has closed its socket, is given to be gone.
_DYING = 1.0
#: Seconds between two looks at a process that has no descriptor.
_NAP = 0.01
_sleep = original("time", "sleep")

_DIRECTORY_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC


class ServerLost(Exception):
    """The process ended, and did not do what it was asked for."""


class Forked(NamedTuple):
    """A child that was forked."""

    pid: int
    status: int  # descriptor from which its exit code will be read
    request: int  # descriptor from which it reads what it is to be
    environment: dict[bytes, bytes | None]  # what it is to change of its environment
    data: dict[str, Any]  # what it has to be prepared by, beyond the fork server


class ForkServerProcess:
    """A fork server process. It ends with this one, whatever it is importing.

    :param own_session: whether it leaves the session of this process.
    :param seconds: that it may take to start, and each import in it; None for no limit.
    :raises TimeoutError: it was not there by then.
    :raises ServerLost: it was killed.
    :raises ChildProcessError: it ended by itself, or there is no interpreter for it.
    :raises OSError: the system has no descriptors or processes left.
    """

    def __init__(self, own_session: bool, seconds: float | None) -> None:
        self._data = without_main(preparation_data())  # first, as it may be refused
        self.loaded: set[str] = set()  # modules that it has been asked to import
        self._has_main = False
        self._own_session = own_session
        self._seconds = seconds
        self._exitcode: int | None = None
        self._environment = dict(os.environb)
        self._changed: set[bytes] = set()  # variables that it, or a child, was told of
        self._sending = Turn()
        self._closed = False
        with contextlib.ExitStack() as passed, contextlib.ExitStack() as undo:
            self._control, far_control = socketpair()
            undo.callback(self._control.close)
            passed.callback(far_control.close)
            far_life, life = _pipe(passed, undo)
            rest, request = _pipe(passed, undo)
            self._control.setblocking(False)
            with start_turn:
                self.pid = _launch_unharmed((far_control.fileno(), far_life), rest)
            # Its interpreter may take its time before it runs a line of Python.
            tie(far_life, self.pid)
            zygote = Zygote(far_control.fileno(), far_life, own_session)
            undo.pop_all()
        # At the end of the program, but after what the children are waited for.
        util.Finalize(self, self._control.close, exitpriority=-10)
        self._life: int | None = life
        self._pidfd = open_pidfd(self.pid)
        self._exit = ExitStatus(self.pid, self._pidfd)
        try:
            self._introduce(pickle.dumps(self._data) + pickle.dumps(zygote), request)
        except BaseException:
            self.kill()
            self.bury(wait=True)
            raise
        finally:
            close_fd(request)

    def _introduce(self, introduction: bytes, request: int) -> None:
        patience = Patience(self._seconds)
        try:
            write_all(request, introduction, patience.deadline)
            self._load([], patience, "an interpreter for the fork server has been starting")
            praise()
        except ServerLost:
            problem = complaint(f"{self.fate()} before it was ready")
            if self._exitcode is not None and self._exitcode < 0:  # it may live the next time
                raise ServerLost(problem) from None
            raise ChildProcessError(problem) from None
        except TimeoutError:
            raise TimeoutError(
                complaint(f"was not ready after {self._seconds:g} s (start_timeout)")
            ) from None

    # What it is asked for

    def load(self, name: str) -> Trace:
        """Have it import a module, :data:`.MAIN` for the main one.

        :raises ServerLost: it ended.
        :raises TimeoutError: it took too long.
        """
        self.loaded.add(name)
        what = f"the fork server has been importing {describe(name)}"
        (trace,) = self._load([name], Patience(self._seconds), what)
        if name == MAIN:
            self._has_main = trace.imported
        return trace

    def _load(self, names: list[str], patience: Patience, what: str) -> list[Trace]:
        data = preparation_data()
        news = self._news(without_main(data))
        self._data = without_main(data)
        rest = pickle.dumps((self._changes(), news, only_main(data), names))
        answer, request = self._ask(LOAD, None, [])
        try:
            try:
                write_all(request, rest, patience.deadline)  # how it went, the answer tells
            finally:
                close_fd(request)
            if not wait_for(answer, patience.tell_at):
                patience.tell(what)
            answered = _read_all(answer, patience.deadline)
        finally:
            close_fd(answer)
        if not answered:
            raise ServerLost
        traces: list[Trace] = pickle.loads(answered)
        return traces

    def fork(self, life: int | None, inherited: list[int], patience: Patience) -> Forked:
        """Have it fork a child. The child ends unless it is told what to be.

        :param life: the child's lifeline, when it is to lead a process group of its own.
        :param inherited: further descriptors for the child.
        :raises ServerLost: the process ended.
        :raises TimeoutError: there was no child in time.
        :raises OSError: the system has no descriptors or processes left.
        """
        if len(inherited) > MOST_INHERITED:
            raise ValueError(f"{len(inherited)} descriptors are too many for a child to inherit")
        status, request = self._ask(START, life, inherited)
        try:
            if not wait_for(status, patience.next) and not patience.told:
                patience.tell("the fork server has not answered")
            if not wait_for(status, patience.deadline):
                raise TimeoutError(
                    f"the fork server did not answer within {patience.seconds:g} s (start_timeout)"
                )
            answer = os.read(status, NUMBER.size)
            if not answer:
                raise ServerLost
            (number,) = NUMBER.unpack(answer)
            if number < 0:
                raise OSError(-number, os.strerror(-number))
        except BaseException:
            close_fds(status, request)
            raise
        data = preparation_data()
        if self._has_main:
            data = without_main(data)
        return Forked(number, status, request, self._changes(), self._news(data))

    def _ask(self, kind: int, life: int | None, inherited: list[int]) -> tuple[int, int]:
        """Send a request. Return where the answer is read, and where the rest is written."""
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as sent:
            answer, far_answer = os.pipe()
            undo.callback(close_fd, answer)
            sent.callback(close_fd, far_answer)
            far_request, request = _pipe(sent, undo)
            with start_turn:
                tracker = fd_of_tracker()
            fds = [far_answer, far_request, _output(1, sent), _output(2, sent), tracker]
            options = 0
            with contextlib.suppress(OSError):  # one that this process may not look into
                fds.append(os.open(".", _DIRECTORY_FLAGS))
                sent.callback(close_fd, fds[-1])
                options |= DIRECTORY
            if life is not None:
                fds.append(life)
                options |= LIFE
            self._send(REQUEST.pack(kind, options, len(inherited)), [*fds, *inherited])
            undo.pop_all()
        return answer, request

    def _send(self, data: bytes, fds: list[int]) -> None:
        with self._sending:
            writable = Descriptor(self._control.fileno(), WRITE)
            try:
                while True:
                    if self._closed:
                        raise ServerLost
                    try:
                        self._control.sendmsg([data], [(SOL_SOCKET, SCM_RIGHTS, array("i", fds))])
                        return
                    except BlockingIOError:  # it is importing, and many have asked since
                        writable.wait()
                    except (BrokenPipeError, ConnectionResetError):
                        raise ServerLost from None
            finally:
                writable.release()

    def _changes(self) -> dict[bytes, bytes | None]:
        """What in the environment is not, or may not be, as it was when this began."""
        now = dict(os.environb)
        if now != self._environment:
            before = self._environment
            names = now.keys() | before.keys()
            self._changed |= {name for name in names if now.get(name) != before.get(name)}
        return {name: now.get(name) for name in self._changed}

    def _news(self, data: dict[str, Any]) -> dict[str, Any]:
        """What in *data* it has not been told yet, or modules may have changed."""
        return {
            key: value
            for key, value in data.items()
            if key in _CHANGEABLE or value != self._data.get(key)
        }

    # Its end

    def dismiss(self) -> None:
        """Let it end when its last child has."""
        with self._sending:
            if not self._closed:
                self._closed = True
                self._control.close()

    def kill(self) -> None:
        """End it now, with what its modules have started. Its children go on."""
        if not self._has_ended():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if self._own_session:
                    os.killpg(self.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def fate(self) -> str:
        """How it ended, in words."""
        self._wait_for_end()
        return "closed its socket" if self._exitcode is None else fate_of(self._exitcode)

    def bury(self, wait: bool = False) -> bool:
        """Close what is left of it, if it has ended. With *wait* give it time to do so.

        Nobody may use it any more.
        """
        if wait:
            self._wait_for_end()
        if not self._has_ended():
            return False
        self.dismiss()
        self._release()
        return True

    def _has_ended(self) -> bool:
        if self._exitcode is None:
            self._exitcode = self._exit.collect()
        return self._exitcode is not None

    def _wait_for_end(self) -> None:
        deadline = time.monotonic() + _DYING
        if self._pidfd is not None:
            wait_for(self._pidfd, deadline)
        while not self._has_ended() and not is_past(deadline):
            _sleep(_NAP)

    def abandon(self) -> None:
        """Let go of it, in a process that was forked from its server."""
        self._sending.reset()
        self.dismiss()
        self._release()

    def _release(self) -> None:
        if self._life is not None:
            close_fd(self._life)
            self._life = None
            if self._pidfd is not None:
                close_fd(self._pidfd)


def _launch_unharmed(passed: tuple[int, ...], request: int) -> int:
    # What a terminal sends to the whole process group must not end it before it is ready.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        return launch(passed, request, _LABEL)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _pipe(passed: contextlib.ExitStack, undo: contextlib.ExitStack) -> tuple[int, int]:
    """Make a pipe whose read end is for another process."""
    far_end, end = os.pipe()
    passed.callback(close_fd, far_end)
    undo.callback(close_fd, end)
    return far_end, end


def _output(fd: int, undo: contextlib.ExitStack) -> int:
    """The descriptor of an output, or of nothing when this process has closed it."""
    try:
        os.fstat(fd)
    except OSError:
        fd = os.open(os.devnull, os.O_WRONLY)
        undo.callback(close_fd, fd)
    return fd


def _read_all(fd: int, deadline: float | None) -> bytes:
    """What comes from a pipe until its end.

    :raises TimeoutError: *deadline* came first.
    """
    parts: list[bytes] = []
    while True:
        if not wait_for(fd, deadline):
            raise TimeoutError
        part = os.read(fd, 1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)
