"""What runs in a fork server: it imports modules, and forks children that have them.

Each request is a few bytes that come with descriptors: where the answer goes, where the rest
of the request is read, and what of the server shall be there. The rest of a request to load
is read by the fork server, that of a request to start by the child.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import signal
import struct
import sys
from _socket import CMSG_SPACE, socket
from multiprocessing import resource_tracker, spawn, util
from typing import Any, NoReturn

from gipc._core import lifeline
from gipc._core.descriptors import close_fds
from gipc._core.newborn import change_environment, flush, live
from gipc._core.traces import import_and_trace
from gipc._core.tracker import kept_by_fork
from gipc._fresh import DEFAULT, IGNORE, set_handler
from gipc._gevent import close_fd, make_and_destroy_a_hub, original, quiet_fork_hooks

#: Kinds of requests.
LOAD, START = 1, 2
#: A request: its kind, which of the options are there, and how many more descriptors.
REQUEST = struct.Struct("=BBB")
#: Every request has these descriptors: answer, rest, stdout, stderr, resource tracker.
_ALWAYS = 5
#: Options, a descriptor each: the working directory, and the child's lifeline.
DIRECTORY, LIFE = 1, 2
#: The kernel passes no more than 253 at once.
MOST_INHERITED = 253 - _ALWAYS - 2
#: The answer to START, a process id or an errno as a negative number; later the exit code.
NUMBER = struct.Struct("=q")

# Sent to every process of a service at once, by a terminal or a service manager. The server
# may still want children then. A fork server ends with its server.
_SERVICE_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)

# The real ones: what is imported later may patch them.
_fork, _waitpid = original("os", "fork"), original("os", "waitpid")
_poll, _POLLIN = original("select", "poll"), 1

_ROOM = CMSG_SPACE(4 * 253)
_MSG_CMSG_CLOEXEC = 0x40000000 if sys.platform == "linux" else 0


class Zygote:
    """A fork server. Its server pickles it, and it runs in a new interpreter."""

    def __init__(self, control: int, life: int, own_session: bool) -> None:
        self._control = control
        self._life = life
        self._own_session = own_session

    def _bootstrap(self, parent_sentinel: int) -> NoReturn:
        """Serve until the server has closed its end, and the last child has ended.

        multiprocessing calls this, as that of a process object.
        """
        if self._own_session:
            os.setsid()
        if sys.platform == "linux":
            lifeline.hold(self._life, self._own_session)
        _detach_from_input()
        gc.disable()  # a collection would touch the pages that are shared with children
        self._wakeup, self._alarm = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(self._alarm, False)
        self._own = (parent_sentinel, self._control, self._life, self._wakeup, self._alarm)
        make_and_destroy_a_hub()  # or a module would seem to have opened that
        self._children: dict[int, int] = {}  # and where the end of each is reported
        self._take_signals()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self._socket = socket(fileno=self._control)
        self._serve(self._socket)
        os._exit(0)  # modules are not to do what they have for the end of a program

    def _take_signals(self) -> None:
        # After each import, too: a module may have set handlers.
        for number in _SERVICE_SIGNALS:
            set_handler(number, IGNORE)
        set_handler(signal.SIGCHLD, _be_woken)
        signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)

    def _serve(self, control: socket) -> None:
        poll = _poll()
        poll.register(control, _POLLIN)
        poll.register(self._wakeup, _POLLIN)
        wanted = True
        while wanted or self._children:
            for fd, _ in poll.poll():
                if fd == self._wakeup:
                    self._report_ends()
                elif not self._answer(control):
                    poll.unregister(control)
                    wanted = False

    def _report_ends(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wakeup, 1 << 12):
                pass
        # Each by its number: what a module has started is for that module to collect.
        for pid, answer in list(self._children.items()):
            try:
                ended, status = _waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                ended = pid  # the server will have to ask the kernel
            else:
                if ended:
                    _tell(answer, os.waitstatus_to_exitcode(status))
            if ended:
                close_fd(self._children.pop(pid))

    def _answer(self, control: socket) -> bool:
        """Answer one request; False when there are no more."""
        data, ancillary, _, _ = control.recvmsg(REQUEST.size, _ROOM, _MSG_CMSG_CLOEXEC)
        if not data:
            return False
        fds = [fd for _, _, part in ancillary for (fd,) in struct.iter_unpack("=i", part)]
        kind, options, extra = REQUEST.unpack(data)
        if len(fds) != _ALWAYS + options.bit_count() + extra:  # there is no room for them here
            close_fds(*fds)
            return True
        answer, rest, *given = fds[: len(fds) - extra]
        life = given.pop() if options & LIFE else None
        self._resemble(*given)
        if kind == LOAD:
            self._load(answer, rest)
        else:
            self._start(answer, rest, life, fds[len(fds) - extra :])
        return True

    @staticmethod
    def _resemble(stdout: int, stderr: int, tracker: int, directory: int | None = None) -> None:
        """Have what the server has now. Children inherit it."""
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.dup2(tracker, _fd_of_tracker(), inheritable=False)
        close_fds(stdout, stderr, tracker)
        if directory is not None:
            with contextlib.suppress(OSError):
                os.fchdir(directory)
            close_fd(directory)

    def _load(self, answer: int, rest: int) -> None:
        with open(rest, "rb") as request:
            try:
                environment, data, main, names = pickle.load(request)
            except EOFError:  # the server gave it up
                close_fd(answer)
                return
        change_environment(environment)
        spawn.prepare(data)
        traces = [import_and_trace(name, main) for name in names]
        self._take_signals()
        flush()  # or each child would write it
        gc.collect()
        gc.freeze()
        with contextlib.suppress(BrokenPipeError), open(answer, "wb") as file:
            pickle.dump(traces, file)

    def _start(self, answer: int, rest: int, life: int | None, inherited: list[int]) -> None:
        # A signal to the child waits until it is not ignored any more.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            with quiet_fork_hooks(), kept_by_fork():
                pid = _fork()
        except OSError as error:
            pid = -(error.errno or 1)
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for number in (*_SERVICE_SIGNALS, signal.SIGCHLD):
                set_handler(number, DEFAULT)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            close_fds(*self._own, answer, *self._children.values())
            live(rest, life, inherited, self._own_session)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        close_fds(rest, *inherited)
        if life is not None:
            close_fd(life)
        _tell(answer, pid)
        if pid > 0:
            self._children[pid] = answer
        else:
            close_fd(answer)


def _detach_from_input() -> None:
    """Have no part in what the server reads. Neither have children."""
    _util: Any = util
    _util._close_stdin()  # which leaves the descriptor open
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    close_fd(null)


def _be_woken(number: int, frame: object) -> None:
    pass


def _fd_of_tracker() -> int:
    tracker: Any = resource_tracker
    fd: int = tracker._resource_tracker._fd
    return fd


def _tell(answer: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
        os.write(answer, NUMBER.pack(number))
