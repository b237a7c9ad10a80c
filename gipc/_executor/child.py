"""One child, as the server sees it."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from typing import Any

from gipc._core.forkserver import ForkServer
from gipc._core.patience import Patience
from gipc._exceptions import fate_of
from gipc._executor import protocol
from gipc._executor.launch import PoolProcess
from gipc._executor.protocol import NEEDS, Parts, name_of
from gipc._executor.worker import Orders, resident_memory, work
from gipc._frames import FrameReader, FrameWriter
from gipc._handles import pipe

# Children whose pipes this process holds.
_living: set[Child] = set()


class Expired(Exception):
    """The deadline of an exchange with a child passed."""


class Undelivered(Exception):
    """The child was dead before it could take the request."""


#: What a child is doing until it says something else, by start method.
_AT_FIRST = {
    "fork": "starting",
    "forkserver": "importing the main program",
    "spawn": "starting an interpreter, or importing the main program",
}


class Child:
    """A child process and the pipes to it. Held by one call at a time."""

    def __init__(
        self,
        orders: Orders,
        method: str,
        server: ForkServer | None,
        name: str,
        learn: Callable[[str], object],
    ) -> None:
        """Make a child that is not started yet.

        :param server: the fork server that forks it, if its start method needs one.
        :param learn: called with the name of each module that a call makes it import.
        :raises OSError: the system has no descriptors left.
        """
        self._learn = learn
        self._orders = orders
        self.pid: int | None = None  # until it is started
        with contextlib.ExitStack() as undo:
            far_requests, self._requests = undo.enter_context(pipe())
            self._replies, far_replies = undo.enter_context(pipe())
            far_life, self._life = undo.enter_context(pipe())
            undo.pop_all()
        self._far_ends = (far_requests, far_replies, far_life)  # until it is started
        _living.add(self)
        self.process = PoolProcess(
            target=work, args=(far_requests, far_replies, far_life, orders), name=name
        )
        self.process.daemon = False  # so that a task may start processes of its own
        self.process._gipc_method = method
        self.process._fork_server = server
        self.process.life = far_life._fd
        self._writer: FrameWriter = self._requests._frames
        self._reader: FrameReader = self._replies._frames
        self.since = time.monotonic()  # when it took up what it does now
        self.function: Callable[..., Any] | None = None  # of the call that holds it
        self.initializing = False
        self.importing: str | None = None
        self.doing = _AT_FIRST[method]  # until it is ready
        self.tasks = 0
        self.lent = False
        self.leaving = False  # it is to serve no further call
        self.killed = False
        self.ended = False  # noticed by the pool

    def start(self, patience: Patience) -> None:
        """Start the process. It is of no use before it says that it is ready.

        :raises TimeoutError: it took too long.
        :raises OSError: the system has no descriptors or processes left.
        """
        self.process.patience = patience
        try:
            self.process.start()
        finally:
            for handle in self._far_ends:
                self._close(handle)
        self.pid = self.process.pid
        if self.killed:  # meanwhile
            self.kill()

    def note(self, what: str) -> None:
        """Take note of what the child says that it does before it is ready."""
        self.initializing, self.importing = not what, what or None
        self.doing = f"importing {what}" if what else f"running the initializer {self.task}"

    def send(self, kind: int, request: Parts, deadline: float | None) -> None:
        """Give the child a request.

        :raises Expired: *deadline* came first.
        :raises Undelivered: the child was dead before.
        :raises EOFError: the child died meanwhile.
        """
        try:
            if not protocol.send(self._writer, kind, request, deadline):
                raise Expired
        except BrokenPipeError:
            if self._writer.unfinished:  # it may have died of this very request
                raise EOFError from None
            raise Undelivered from None

    def receive(self, deadline: float | None) -> tuple[int, Parts]:
        """Wait for the child's next reply. What it tells before of modules is taken note of.

        :raises Expired: *deadline* came first.
        :raises EOFError: the child died.
        :raises NotAFrame: what came is none.
        """
        while True:
            message = protocol.receive(self._reader, deadline)
            if message is None:
                raise Expired
            if message[0] != NEEDS:
                return message
            self._learn(bytes(message[1][0]).decode())

    def kill(self) -> None:
        """End the child, and all that its task started, at once."""
        self.killed = True
        if self.process._popen is not None:
            self.process.kill()
            self.kill_offspring()

    def kill_offspring(self) -> None:
        """End what the child's task started."""
        self.process._popen.signal_group(signal.SIGKILL)

    def dismiss(self) -> None:
        """Let the child end by itself."""
        self._close(self._requests)

    def close(self) -> None:
        """Close all descriptors, of a child that has ended."""
        for handle in (self._requests, self._replies, self._life):
            self._close(handle)
        if self.pid is not None:
            self.process.close()
        _living.discard(self)

    def abandon(self) -> None:
        """Let go of the child, in a process that was forked from its server."""
        for handle in (self._requests, self._replies, self._life):
            if not handle._closed:
                handle._abandon()

    @staticmethod
    def _close(handle: Any) -> None:
        if not handle._closed:
            handle._release()

    @property
    def resident_memory(self) -> int:
        """Bytes of memory that the child has resident; 0 when that is unknown."""
        return 0 if self.pid is None else resident_memory(self.pid)

    @property
    def task(self) -> str | None:
        """The name of the function that it runs, the initializer included, or None."""
        function = self.function
        if function is None and self.initializing:
            function = self._orders.initializer
        return None if function is None else name_of(function)

    @property
    def has_read(self) -> bool:
        """Whether the process has begun to read what it is to be."""
        read: bool = self.process._popen.has_read
        return read

    def fate(self) -> str:
        """How a child that has ended did so, in words."""
        return fate_of(self.process.exitcode)


def abandon_all() -> None:
    """Let go of all children, in a process that was forked from their server."""
    while _living:
        _living.pop().abandon()
