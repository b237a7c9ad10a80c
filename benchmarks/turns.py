"""Contestants take turns: A B C, C B A, A B C …, in many short rounds."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.processes import cpu_time

_SCRIPTS = Path(__file__).parent / "contestants"
#: Between rounds: what a round leaves behind ends, and does not cost the next one.
_PAUSE = 0.03
#: Seconds that a contestant is given to end by itself. Not all of them do.
_PATIENCE = 5


class Contestant:
    """A process that is kept warm and plays a round when it is told to."""

    def __init__(self, name: str, python: str, arguments: list[str]) -> None:
        self.name = name
        script, *rest = arguments
        command = [python, str(_SCRIPTS / script), *rest]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._server: int = self._receive()["server"]

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise EOFError(f"{self.name} ended ({self._process.wait()}): {self._process.args}")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def play(self, units: int) -> float:
        """Have it do so many units of work; what one took."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{units}\n")
        self._process.stdin.flush()
        value: float = self._receive()["value"]
        return value

    def cpu_time(self) -> float:
        """Seconds of CPU time used so far by all processes that do its work."""
        return cpu_time(self._server)

    def close(self) -> None:
        """End it, by the end of its input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)
        with contextlib.suppress(ProcessLookupError):  # what it started has ended, too
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@dataclasses.dataclass
class Score:
    """What a contestant achieved: what a unit took, round by round, and CPU time."""

    values: list[float]
    cpu: float  # seconds for each unit, over all rounds

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclasses.dataclass(frozen=True)
class Ratio:
    """The median of per-round ratios, and where the middle 80 % of them lie."""

    median: float
    low: float
    high: float


def ratio(of: list[float], to: list[float]) -> Ratio:
    """Compare two contestants round by round."""
    ratios = sorted(a / b for a, b in zip(of, to, strict=True))
    if len(ratios) < 3:
        return Ratio(statistics.median(ratios), ratios[0], ratios[-1])
    tenths = statistics.quantiles(ratios, n=10, method="inclusive")
    return Ratio(statistics.median(ratios), tenths[0], tenths[-1])


def compete(
    contestants: list[Contestant],
    rounds: int,
    seconds: float,
    units: int | None,
    progress: Callable[[int], None],
) -> list[Score]:
    """Play *rounds* rounds, each of about *seconds*, or of so many *units* of work."""
    sizes = [units or _size(contestant, seconds) for contestant in contestants]
    before = [contestant.cpu_time() for contestant in contestants]
    values: list[list[float]] = [[] for _ in contestants]
    order = list(range(len(contestants)))
    for number in range(rounds):
        progress(number)
        for index in order:
            values[index].append(contestants[index].play(sizes[index]))
            time.sleep(_PAUSE)
        order.reverse()
    scores = []
    for index, contestant in enumerate(contestants):
        cpu = (contestant.cpu_time() - before[index]) / (rounds * sizes[index])
        scores.append(Score(values[index], cpu))
    return scores


def _size(contestant: Contestant, seconds: float) -> int:
    # How many units fill the time. Rounds of the same length are disturbed alike.
    contestant.play(1)  # the first one is slow
    units = 1
    while True:
        begun = time.perf_counter()
        contestant.play(units)
        taken = time.perf_counter() - begun
        if taken > seconds / 2:
            return max(1, round(units * seconds / taken))
        units = max(units + 1, min(units * 8, round(units * seconds / max(taken, 1e-6))))
