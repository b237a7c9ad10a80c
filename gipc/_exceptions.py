"""Every error that gipc raises on its own account."""

from __future__ import annotations

import signal as _signal


class GIPCError(Exception):
    """Base of all errors of this package."""


class GIPCClosed(GIPCError):
    """An operation on a handle that is closed, or was passed on to a child."""


class GIPCLocked(GIPCError):
    """An attempt to close or pass on a handle that is in use."""


class OffloadError(GIPCError):
    """Base of what can go wrong with a call that was offloaded to a child."""


class OffloadTimeout(OffloadError, TimeoutError):
    """The deadline of an offloaded call passed.

    :ivar function: name of the function that was called.
    :ivar seconds: the time-out of the call, in seconds.
    :ivar pid: process id of the child that was killed, or None when the call
        was still waiting for a child.
    """

    def __init__(
        self, message: str, *, function: str = "", seconds: float = 0.0, pid: int | None = None
    ) -> None:
        super().__init__(message)
        self.function = function
        self.seconds = seconds
        self.pid = pid


class ChildDied(OffloadError):
    """The child that held a call ended before it answered.

    :ivar exitcode: exit code of the child as in
        :attr:`multiprocessing.Process.exitcode`, or None when it is unknown.
    :ivar signal: the :class:`signal.Signals` that killed it, or None.
    :ivar function: name of the function that was called.
    :ivar pid: process id of the child.
    """

    def __init__(
        self,
        message: str,
        *,
        exitcode: int | None = None,
        function: str = "",
        pid: int | None = None,
    ) -> None:
        super().__init__(message)
        self.exitcode = exitcode
        self.signal = signal_of(exitcode)
        self.function = function
        self.pid = pid


class QueueFull(OffloadError):
    """A call was refused: as many calls as ``max_queue`` allows wait already.

    :ivar max_queue: the limit that was reached.
    """

    def __init__(self, message: str, *, max_queue: int = 0) -> None:
        super().__init__(message)
        self.max_queue = max_queue


def signal_of(exitcode: int | None) -> _signal.Signals | None:
    """The signal that an exit code stands for, None for an ordinary exit."""
    if exitcode is None or exitcode >= 0:
        return None
    try:
        return _signal.Signals(-exitcode)
    except ValueError:  # a real-time signal has no name
        return None


def fate_of(exitcode: int | None) -> str:
    """How a process ended, in words."""
    number = signal_of(exitcode)
    if number is not None:
        return f"was killed by {number.name}"
    if exitcode is not None and exitcode < 0:
        return f"was killed by signal {-exitcode}"
    return f"exited with code {exitcode}"


class RemoteTraceback(Exception):
    """The traceback of an error in a child, as the cause of the error in the caller."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text.rstrip()}"
