"""One child, as the server sees it."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from typing import Any

from gipc._exceptions import signal_of
from gipc._executor import protocol
from gipc._executor.launch import PoolProcess
from gipc._executor.protocol import Parts
from gipc._executor.worker import Orders, resident_memory, work
from gipc._frames import FrameReader, FrameWriter
from gipc._handles import pipe

# Children whose pipes this process holds.
_living: set[Child] = set()


class Expired(Exception):
    """The deadline of an exchange with a child passed."""


class Undelivered(Exception):
    """The child was dead before it could take the request."""


class Child:
    """A child process and the pipes to it. Held by one call at a time."""

    def __init__(self, orders: Orders, method: str, server: Any, name: str) -> None:
        """Start the process. It is of no use before :meth:`wait_until_ready`.

        :raises OSError: the system has no descriptors or processes left.
        """
        with contextlib.ExitStack() as undo:
            undo.callback(_living.discard, self)
            far_requests, self._requests = undo.enter_context(pipe())
            self._replies, far_replies = undo.enter_context(pipe())
            far_life, self._life = undo.enter_context(pipe())
            _living.add(self)
            self.process = PoolProcess(
                target=work, args=(far_requests, far_replies, far_life, orders), name=name
            )
            self.process.daemon = False  # so that a task may start processes of its own
            self.process._gipc_method = method
            self.process._server = server
            self.process.start()
            undo.pop_all()
        assert self.process.pid is not None
        self.pid: int = self.process.pid
        self._writer: FrameWriter = self._requests._frames
        self._reader: FrameReader = self._replies._frames
        self.started = time.monotonic()
        self.since = self.started  # when it took up what it does now
        self.function: Callable[..., Any] | None = None  # of the call that holds it
        self.tasks = 0
        self.lent = False
        self.leaving = False  # it is to serve no further call
        self.killed = False
        self.ended = False  # noticed by the pool

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
        """Wait for the child's next reply.

        :raises Expired: *deadline* came first.
        :raises EOFError: the child died.
        :raises NotAFrame: what came is none.
        """
        message = protocol.receive(self._reader, deadline)
        if message is None:
            raise Expired
        return message

    def kill(self) -> None:
        """End the child, and all that its task started, at once."""
        self.killed = True
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
        return resident_memory(self.pid)

    def fate(self) -> str:
        """How a child that has ended did so, in words."""
        code = self.process.exitcode
        number = signal_of(code)
        if number is not None:
            return f"was killed by {number.name}"
        if code is not None and code < 0:
            return f"was killed by signal {-code}"
        return f"exited with code {code}"


def abandon_all() -> None:
    """Let go of all children, in a process that was forked from their server."""
    while _living:
        _living.pop().abandon()
