# SPDX-License-Identifier: Apache-2.0
"""The picture of one event: baseline, order and measured power, as SVG text."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 960, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 64, 44
_GAP_INTERVALS = 2.5
"""Readings further apart than this many intervals are drawn as a gap, not as a line."""

_STYLE = """
  :root { --ink:#1b1b1b; --paper:#ffffff; --faint:#8a8a8a; --line:#d9d9d9; --window:#f2f2f2;
          --delivered:#009E73; }
  @media (prefers-color-scheme: dark) {
    :root { --ink:#ececec; --paper:#16181b; --faint:#9a9a9a; --line:#34383d; --window:#1f2327;
            --delivered:#33c79d; } }
  text { font: 13px system-ui, sans-serif; fill: var(--ink); font-variant-numeric: tabular-nums; }
  .title { font-size: 20px; } .small { fill: var(--faint); }
  .paper { fill: var(--paper); } .window { fill: var(--window); }
  .grid { stroke: var(--line); stroke-width: 1; } .order { fill: url(#hatch); }
  .hatch { stroke: var(--faint); stroke-width: 1; }
  .baseline { stroke: var(--faint); stroke-width: 2; stroke-dasharray: 6 5; fill: none; }
  .measured { stroke: var(--ink); stroke-width: 2; fill: none; }
  .delivered { fill: var(--delivered); fill-opacity: .18; }
""".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What is drawn. Instants are seconds since 1970 (UTC), power in W, consumption positive."""

    title: str
    starts_at: float
    ends_at: float
    measured: Sequence[tuple[float, float]]
    """(instant, power), ascending; a hole in the instants is drawn as a gap."""
    interval_s: float
    baseline: Sequence[tuple[float, float]]
    """(start of the step, power), ascending; the last step ends with the event."""
    ordered_w: float
    """What the order takes off the baseline; positive for a reduction."""


def draw(picture: Picture) -> str:
    """Return the picture as a complete SVG document; y starts at zero."""
    first = min([picture.starts_at, *(at for at, _ in picture.measured)])
    last = max([picture.ends_at, *(at + picture.interval_s for at, _ in picture.measured)])
    highest = max(
        [1.0, *(w for _, w in picture.measured), *(w for _, w in picture.baseline)], default=1.0
    )
    step = _step(highest / 6)
    top = math.ceil(highest * 1.1 / step) * step

    def x(at: float) -> float:
        return _LEFT + (at - first) / (last - first) * (WIDTH - _LEFT - _RIGHT)

    def y(watts: float) -> float:
        return HEIGHT - _BOTTOM - watts / top * (HEIGHT - _TOP - _BOTTOM)

    steps = _steps(picture)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'role="img" aria-label="{escape(picture.title)}">'
        ),
        f"<style>{_STYLE}</style>",
        (
            '<defs><pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><line class="hatch" x1="0" y1="0" x2="0" y2="7"/>'
            "</pattern></defs>"
        ),
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        (
            f'<rect class="window" x="{x(picture.starts_at):.1f}" y="{_TOP}" '
            f'width="{x(picture.ends_at) - x(picture.starts_at):.1f}" '
            f'height="{HEIGHT - _TOP - _BOTTOM}"/>'
        ),
        f'<text class="title" x="{_LEFT}" y="26">{escape(picture.title)}</text>',
    ]
    for number in range(round(top / step) + 1):
        level = number * step
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" '
            f'y1="{y(level):.1f}" y2="{y(level):.1f}"/>'
            f'<text class="small" x="{_LEFT - 8}" y="{y(level) + 4:.1f}" text-anchor="end">'
            f"{level / 1000:g}</text>"
        )
    parts.append(f'<text class="small" x="{_LEFT - 8}" y="{_TOP - 10}" text-anchor="end">kW</text>')
    for at in _ticks(first, last):
        clock = datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
        parts.append(
            f'<text class="small" x="{x(at):.1f}" y="{HEIGHT - 20}" text-anchor="middle">'
            f"{clock}</text>"
        )
    for begin, end, watts in steps:
        parts.append(
            f'<rect class="order" x="{x(begin):.1f}" y="{y(watts):.1f}" '
            f'width="{x(end) - x(begin):.1f}" '
            f'height="{max(0.0, y(watts - picture.ordered_w) - y(watts)):.1f}"/>'
        )
    parts.extend(_delivered(picture, steps, x, y))
    if steps:
        corners = " ".join(
            f"{x(begin):.1f},{y(watts):.1f} {x(end):.1f},{y(watts):.1f}"
            for begin, end, watts in steps
        )
        parts.append(f'<polyline class="baseline" points="{corners}"/>')
    for run in _runs(picture):
        line = " ".join(f"{x(at):.1f},{y(watts):.1f}" for at, watts in run)
        parts.append(f'<polyline class="measured" points="{line}"/>')
    parts.append(_legend())
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _steps(picture: Picture) -> list[tuple[float, float, float]]:
    """The baseline as (begin, end, watts)."""
    starts = [at for at, _ in picture.baseline]
    ends = [*starts[1:], picture.ends_at]
    return [
        (begin, end, watts)
        for (begin, watts), end in zip(picture.baseline, ends, strict=True)
        if end > begin
    ]


def _runs(picture: Picture) -> list[list[tuple[float, float]]]:
    """The measured points, parted where readings are missing."""
    if not picture.measured:
        return []
    runs = [[picture.measured[0]]]
    for (before, _), point in pairwise(picture.measured):
        if point[0] - before > _GAP_INTERVALS * picture.interval_s:
            runs.append([])
        runs[-1].append(point)
    return runs


def _delivered(
    picture: Picture,
    steps: list[tuple[float, float, float]],
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> list[str]:
    """The area between baseline and measured power, within the event."""
    areas = []
    for run in _runs(picture):
        inside = [
            (at, watts, level)
            for at, watts in run
            for begin, end, level in steps
            if begin <= at < end
        ]
        if len(inside) > 1:
            there = [f"{x(at):.1f},{y(level):.1f}" for at, _, level in inside]
            back = [f"{x(at):.1f},{y(min(watts, level)):.1f}" for at, watts, level in inside[::-1]]
            areas.append(f'<polygon class="delivered" points="{" ".join(there + back)}"/>')
    return areas


def _legend() -> str:
    x, y = _LEFT, 46
    return (
        f'<line class="baseline" x1="{x}" x2="{x + 28}" y1="{y}" y2="{y}"/>'
        f'<text x="{x + 36}" y="{y + 4}">baseline</text>'
        f'<rect class="order" x="{x + 120}" y="{y - 7}" width="28" height="14"/>'
        f'<text x="{x + 156}" y="{y + 4}">ordered</text>'
        f'<line class="measured" x1="{x + 240}" x2="{x + 268}" y1="{y}" y2="{y}"/>'
        f'<text x="{x + 276}" y="{y + 4}">measured</text>'
        f'<rect class="delivered" x="{x + 364}" y="{y - 7}" width="28" height="14"/>'
        f'<text x="{x + 400}" y="{y + 4}">delivered</text>'
    )


def _step(least: float) -> float:
    """The round number (1, 2 or 5 times a power of ten) next above `least`."""
    power = 1.0
    while power * 10 < least:
        power *= 10
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)


def _ticks(first: float, last: float) -> list[float]:
    """At most eight round instants between both ends."""
    every = next(s for s in (5, 10, 15, 30, 60, 300, 900, 3600, 86400) if (last - first) / s <= 8)
    begin = -(-first // every) * every
    return [begin + every * number for number in range(int((last - begin) // every) + 1)]
