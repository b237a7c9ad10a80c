"""A contestant's side of the conversation with the benchmark: rounds, when told to."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable


def serve(play: Callable[[int], float], server: int | None = None) -> None:
    """Play rounds until stdin ends.

    *play* does a number of units of work and returns how long one took, in seconds
    (or how much of something else it cost). *server* is the process whose CPU
    time, descendants included, counts; by default this one.
    """
    # What tasks print must not get between the replies.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def reply(**what: object) -> None:
        replies.write(json.dumps(what) + "\n")
        replies.flush()

    reply(server=server or os.getpid())
    for line in sys.stdin:
        reply(value=play(int(line)))


def timed(play: Callable[[int], object]) -> Callable[[int], float]:
    """A round of *play* is its wall time, divided by the number of units."""

    def round_(units: int) -> float:
        begun = time.perf_counter()
        play(units)
        return (time.perf_counter() - begun) / units

    return round_
