"""How long one step of a start may take, and when the log tells that it takes long."""

from __future__ import annotations

import logging
import time

log = logging.getLogger("gipc")

#: The share of the time after which the log tells.
_SHARE = 0.2


class Patience:
    """The time that a step may take, from now on.

    :param seconds: None for as long as it takes.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        now = time.monotonic()
        self.deadline = None if seconds is None else now + seconds
        self.told = False
        self.tell_at = None if seconds is None else now + _SHARE * seconds

    @property
    def next(self) -> float | None:
        """When to look next: at :attr:`tell_at`, and when that was told at the end."""
        return self.deadline if self.told else self.tell_at

    def tell(self, what: str) -> None:
        """Say in the log that *what* has been going on until :attr:`tell_at`."""
        assert self.seconds is not None
        self.told = True
        log.warning(
            "%s for %.3g s now; it is killed after %g s (start_timeout)",
            what,
            _SHARE * self.seconds,
            self.seconds,
        )
