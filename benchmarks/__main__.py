"""``python -m benchmarks [--quick] [TEXT …]``: run the works whose names hold a text."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import platform
import re
import sys
import time
from importlib.metadata import version

from benchmarks.environments import ROOT, old_python, this_python
from benchmarks.report import Row, plot, rows_of, table
from benchmarks.turns import Contestant, Score, compete
from benchmarks.works import WORKS, Work

OUTPUT = ROOT / "docs" / "benchmarks"
ROUNDS, SECONDS = 25, 0.15
QUICK_ROUNDS, QUICK_SECONDS = 7, 0.08


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="run only works named so")
    options = parser.parse_args()
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if options.quick else (ROUNDS, SECONDS)
    works = [
        work for work in WORKS if not options.texts or any(t in work.name for t in options.texts)
    ]
    begun = time.monotonic()
    old_python()  # its installation is no part of the first work
    rows: list[Row] = []
    for number, work in enumerate(works, 1):
        scores = run(work, f"[{number}/{len(works)}] {work.name}", rounds, seconds)
        these = rows_of(work, scores)
        rows += these
        if not options.texts:
            OUTPUT.mkdir(parents=True, exist_ok=True)
            (OUTPUT / f"{_file_name(work)}.svg").write_text(plot(work, scores))
    print(f"\n{table(rows)}")
    missed = sum(row.missed for row in rows)
    promised = sum(bool(row.cells[-1]) for row in rows)
    print(f"{promised - missed} of {promised} bars met, {time.monotonic() - begun:.0f} s")
    if not options.texts:
        (OUTPUT / "README.md").write_text(page(rows, rounds))
        print(f"written: {OUTPUT.relative_to(ROOT)}")
    return 0


def run(work: Work, title: str, rounds: int, seconds: float) -> list[Score]:
    """Start the contestants of one work and let them compete."""
    count = max(2, round(rounds * work.rounds))

    def progress(done: int) -> None:
        if sys.stdout.isatty():
            print(f"\r{title}: round {done + 1} of {count} ", end="", flush=True)

    begun = time.monotonic()
    print(f"{title}: ", end="", flush=True)
    with contextlib.ExitStack() as stack:
        contestants = []
        for rival in work.rivals:
            python = old_python() if rival.old else this_python()
            contestants.append(Contestant(rival.name, python, rival.script.split()))
            stack.callback(contestants[-1].close)
        scores = compete(contestants, count, seconds, work.units, progress)
    if sys.stdout.isatty():
        print(f"\r{title}: ", end="")
    print(f"{count} rounds in {time.monotonic() - begun:.0f} s     ", flush=True)
    return scores


def page(rows: list[Row], rounds: int) -> str:
    """The page in docs/benchmarks."""
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("gevent", "gunicorn", "loky", "numpy", "flask")
    )
    plots = "\n".join(f"![{work.name}]({_file_name(work)}.svg)\n" for work in WORKS)
    return f"""# Benchmarks

Written by `make bench` on {datetime.date.today()}: Python {platform.python_version()}, \
{packages}, {platform.system()}, {os.cpu_count()} processors.

Contestants take turns, in up to {rounds} rounds. "gipc is" holds the median of the ratios of \
each round, next to it where the middle 80 % of them lie. "for one" is the median for one unit \
of work, "CPU time" that of all processes that take part, over all rounds.

{table(rows)}
{plots}"""


def _file_name(work: Work) -> str:
    return re.sub(r"\W+", "-", work.name.lower()).strip("-")


if __name__ == "__main__":
    sys.exit(main())
