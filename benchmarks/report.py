"""Turns scores into rows, rows into a table, and a work's scores into a plot."""

from __future__ import annotations

import dataclasses
import html

from benchmarks.turns import Ratio, Score, ratio
from benchmarks.works import Bar, Work

_SCALES = {"µs": 1e6, "ms": 1e3, "MB": 1e-6}
HEADINGS = ("work", "with", "for one", "CPU time", "gipc is", "80 % of rounds", "bar", "met")


@dataclasses.dataclass(frozen=True)
class Row:
    """One contestant at one work, as texts in the order of :data:`HEADINGS`."""

    cells: tuple[str, ...]
    missed: bool


def rows_of(work: Work, scores: list[Score]) -> list[Row]:
    """The rows of one work."""
    rows = []
    scale = _SCALES[work.unit]
    ours = scores[0]
    for index, (rival, score) in enumerate(zip(work.rivals, scores, strict=True)):
        speed = ratio(score.values, ours.values)
        share = ratio(ours.values, score.values)
        for number, bar in enumerate(rival.bars or (None,)):
            measured, text, spread = _measure(bar, index, score, ours, speed, share)
            cells = (
                work.name if index == number == 0 else "",
                "" if number else rival.name,
                "" if number else f"{_digits(score.median * scale)} {work.unit}",
                "" if number else _cpu(work, score, scale),
                text,
                spread,
                "" if bar is None else _promise(bar, work, scale),
                "" if bar is None else ("yes" if bar.is_met(measured) else "NO"),
            )
            rows.append(Row(cells, bar is not None and not bar.is_met(measured)))
    return rows


def _measure(
    bar: Bar | None, index: int, score: Score, ours: Score, speed: Ratio, share: Ratio
) -> tuple[float, str, str]:
    if bar is not None and bar.kind == "value":
        return score.median, "", ""
    if bar is not None and bar.kind == "cpu":
        cpu = ours.cpu / score.cpu if score.cpu else float("nan")
        return cpu, f"{_digits(cpu)} of its CPU time", ""
    if bar is not None and bar.kind == "time":
        return share.median, f"{_digits(share.median)} of its time", _spread(share)
    if index == 0:
        return 1.0, "", ""
    return speed.median, f"{_digits(speed.median)} × as fast", _spread(speed)


def _promise(bar: Bar, work: Work, scale: float) -> str:
    if bar.kind == "value":
        return f"≤ {_digits(bar.limit * scale)} {work.unit}"
    return f"≥ {bar.limit:g}" if bar.kind == "faster" else f"≤ {bar.limit:g}"


def _cpu(work: Work, score: Score, scale: float) -> str:
    if work.unit == "MB" or "percentile" in work.name or "import" in work.name:
        return ""  # it would be the time of something else
    return f"{_digits(score.cpu * scale)} {work.unit}"


def _spread(of: Ratio) -> str:
    return f"{_digits(of.low)} to {_digits(of.high)}"


def _digits(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def table(rows: list[Row]) -> str:
    """The table in Markdown, aligned so that it can be read as it is."""
    lines = [HEADINGS, *(row.cells for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    texts = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    texts.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(texts) + "\n"


def plot(work: Work, scores: list[Score]) -> str:
    """An SVG with a bar for each contestant: the median, and a dot for each round."""
    scale = _SCALES[work.unit]
    longest = max(max(score.values) for score in scores) * scale
    left, width, step = 170, 420, 34
    height = 50 + step * len(scores)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="12" y="24" font-weight="bold">{html.escape(work.name)}, {work.unit} '
        "for one (less is better)</text>",
    ]
    for index, (rival, score) in enumerate(zip(work.rivals, scores, strict=True)):
        y = 40 + step * index
        length = width * score.median * scale / longest
        color = "#2a7f62" if index == 0 else "#b9c2cc"
        parts += [
            f'<text x="{left - 8}" y="{y + 16}" text-anchor="end">{html.escape(rival.name)}</text>',
            f'<rect x="{left}" y="{y}" width="{length:.1f}" height="22" fill="{color}"/>',
        ]
        parts += [
            f'<circle cx="{left + width * value * scale / longest:.1f}" cy="{y + 11}" r="2" '
            'fill="#333" fill-opacity="0.45"/>'
            for value in score.values
        ]
        parts.append(
            f'<text x="{left + width + 14}" y="{y + 16}">{_digits(score.median * scale)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"
