"""What is measured, against whom, and how good it has to be."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Bar:
    """A promise about the ratio to a rival, or about our own value.

    ``faster``: our speed is at least so many times the rival's. ``time``: our time
    is at most this share of the rival's. ``cpu``: so is our CPU time. ``value``:
    ours is at most this.
    """

    kind: Literal["faster", "time", "cpu", "value"]
    limit: float

    def is_met(self, measured: float) -> bool:
        return measured >= self.limit if self.kind == "faster" else measured <= self.limit


@dataclasses.dataclass(frozen=True)
class Rival:
    """A contestant: its script with arguments, and the bars that gipc has to clear."""

    name: str
    script: str
    bars: tuple[Bar, ...] = ()
    old: bool = False  # runs where gipc 1.8 is installed


@dataclasses.dataclass(frozen=True)
class Work:
    """One kind of work. The first rival is gipc itself."""

    name: str
    rivals: tuple[Rival, ...]
    unit: str = "µs"
    units: int | None = None  # in a round; by default as many as its time allows
    rounds: float = 1.0  # share of the usual number of rounds


def faster(limit: float) -> tuple[Bar, ...]:
    return (Bar("faster", limit),)


def time(limit: float) -> tuple[Bar, ...]:
    return (Bar("time", limit),)


def _pipes(what: str, size: int, old: tuple[Bar, ...], stock: tuple[Bar, ...]) -> tuple[Rival, ...]:
    arguments = f"{what} {size}"
    return (
        Rival("gipc", f"pipe_gipc.py {arguments}"),
        Rival("gipc 1.8", f"pipe_gipc.py {arguments}", old, old=True),
        Rival("multiprocessing.Pipe", f"pipe_multiprocessing.py {arguments}", stock),
    )


WORKS = (
    Work("pipe: small messages one way", _pipes("one_way", 32, faster(3.0), faster(2.0))),
    Work(
        "pipe: round trip of a small message",
        (
            *_pipes("round_trip", 32, time(0.60), ()),
            Rival("raw os.pipe", "pipe_raw.py", time(1.5)),
        ),
    ),
    Work("pipe: messages of 64 kB", _pipes("one_way", 64_000, faster(1.3), faster(1.0))),
    Work(
        "pipe: one bytes of 200 MB",
        _pipes("one_way", 200_000_000, faster(2.5), ()),
        unit="ms",
        units=1,
        rounds=0.6,
    ),
    Work(
        "offload: one call of x*x",
        (
            Rival("gipc", "calls.py gipc one"),
            Rival("ProcessPoolExecutor", "calls.py futures one", time(0.25)),
            Rival("loky", "calls.py loky one"),
            Rival("gevent thread pool", "calls.py threadpool one"),
            Rival("dirty arbiters", "http.py dirty calls", time(0.10)),
            Rival("raw os.pipe", "pipe_raw.py", time(2.5)),
        ),
    ),
    Work(
        "offload: 16 greenlets, 2 children",
        (
            Rival("gipc", "calls.py gipc crowd"),
            Rival("ProcessPoolExecutor", "calls.py futures crowd", faster(5)),
            Rival("loky", "calls.py loky crowd"),
            Rival("gevent thread pool", "calls.py threadpool crowd"),
        ),
    ),
    Work(
        "offload: a fresh child for a lone call",
        (
            Rival("gipc", "fresh_gipc.py lone"),
            Rival("gipc 1.8, a process", "fresh_gipc18.py lone", time(0.15), old=True),
        ),
        units=4,
    ),
    Work(
        "offload: a fresh child for every call, sustained",
        (
            Rival("gipc", "fresh_gipc.py rate"),
            Rival("gipc 1.8, a process", "fresh_gipc18.py rate", faster(1.0), old=True),
        ),
        units=40,
    ),
    Work(
        "offload: NumPy array of 100 MB, there and back",
        (
            Rival("gipc", "calls.py gipc array"),
            Rival("ProcessPoolExecutor", "calls.py futures array", faster(4)),
            Rival("loky", "calls.py loky array"),
        ),
        unit="ms",
        units=1,
        rounds=0.6,
    ),
    Work(
        "HTTP: a request with a tiny task",
        (
            Rival("gipc", "http.py gipc square"),
            Rival("dirty arbiters", "http.py dirty square", (*faster(3), Bar("cpu", 0.3333))),
            Rival("no child at all", "http.py inline square"),
        ),
    ),
    Work(
        "HTTP: 99th percentile of /ping under load",
        (
            Rival("gipc", "http.py gipc ping"),
            Rival("the work inline", "http.py inline ping", time(0.1)),
        ),
        unit="ms",
        units=100,
        rounds=0.4,
    ),
    Work(
        "memory that one more idle child adds",
        (Rival("gipc", "memory.py", (Bar("value", 10e6),)),),
        unit="MB",
        units=1,
        rounds=0.2,
    ),
    Work(
        "import gipc, after import gevent",
        (Rival("gipc", "import_time.py", (Bar("value", 5e-3),)),),
        unit="ms",
        units=1,
    ),
)
