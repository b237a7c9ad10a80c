"""What an executor counts and measures, cheaply enough to do it always."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Distribution:
    """Durations in seconds: how many, and how long the longest of a share of them was.

    The percentiles are upper bounds of classes that are an eighth wide: they are
    never too low, and at most an eighth too high.
    """

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    max: float


@dataclasses.dataclass(frozen=True)
class ChildStats:
    """One child at a moment.

    ``state`` is ``"starting"`` (it is not ready yet), ``"idle"``, ``"busy"`` or
    ``"leaving"`` (its last call runs, or it is ending), ``function`` what it runs, the
    initializer included, or None, ``seconds`` how long it has been
    doing so, ``tasks`` how many calls it has taken, ``resident_memory`` in bytes.
    """

    pid: int
    state: str
    function: str | None
    seconds: float
    tasks: int
    resident_memory: int


@dataclasses.dataclass(frozen=True)
class Stats:
    """A snapshot of an executor.

    Every call that was submitted ends as exactly one of completed, failed (its
    function raised), timed_out, cancelled, died (its child did) or refused.
    ``running`` and ``queued`` are the ones that have not ended. ``waiting_time`` is
    from the call to its start in a child, ``running_time`` from there to its end.
    ``starting`` counts children that are not ready, among them those whose process does
    not exist yet.
    """

    max_workers: int
    children: tuple[ChildStats, ...]
    starting: int
    running: int
    queued: int
    submitted: int
    completed: int
    failed: int
    timed_out: int
    cancelled: int
    died: int
    refused: int
    started: int
    replaced: int
    waiting_time: Distribution
    running_time: Distribution


class Figures:
    """What a pool counts. Not safe for threads: guarded by the pool's lock."""

    def __init__(self) -> None:
        self.submitted = 0
        self.started = 0
        self.replaced = 0
        self.outcomes: dict[str, int] = dict.fromkeys(
            ("completed", "failed", "timed_out", "cancelled", "died", "refused"), 0
        )
        self.waiting_time = Histogram()
        self.running_time = Histogram()


class Histogram:
    """Counts durations in classes whose bounds grow by a constant factor."""

    _CLASSES_PER_DOUBLING = 6  # each an eighth wider than the one below it
    _SMALLEST = 1e-6

    def __init__(self) -> None:
        self._classes: dict[int, int] = {}
        self._count = 0
        self._sum = 0.0
        self._max = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        if seconds > self._SMALLEST:
            index = math.ceil(math.log2(seconds / self._SMALLEST) * self._CLASSES_PER_DOUBLING)
        else:
            index = 0
        self._classes[index] = self._classes.get(index, 0) + 1
        self._count += 1
        self._sum += seconds
        if seconds > self._max:
            self._max = seconds

    def snapshot(self) -> Distribution:
        """The distribution of what was counted so far."""
        classes = sorted(self._classes.items())
        mean = self._sum / self._count if self._count else 0.0
        p50, p95, p99 = (self._percentile(classes, share) for share in (0.50, 0.95, 0.99))
        return Distribution(self._count, mean, p50, p95, p99, self._max)

    def _percentile(self, classes: list[tuple[int, int]], share: float) -> float:
        wanted = share * self._count
        for index, count in classes:
            wanted -= count
            if wanted <= 0:
                bound = self._SMALLEST * 2 ** (index / self._CLASSES_PER_DOUBLING)
                return float(min(bound, self._max))
        return 0.0
