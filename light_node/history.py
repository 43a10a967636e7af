# SPDX-License-Identifier: Apache-2.0
"""History: a building's earlier days from a CSV file, so that baselines work from the first day.

The file's head is `starts_at,watts`; each row is a quarter of an hour or an hour (all of one kind)
that begins at `starts_at`, in UTC, with its mean power. Times of day are free: rows are spread
over the ring's own quarters, energy kept; a quarter only partly covered is left out.
"""

import csv
import itertools
import math
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from light_node.errors import RingFault
from light_node.reading import QUARTER_S

_LENGTHS_S = (900, 3600)
_HEAD = ["starts_at", "watts"]


def read_history(lines: Iterable[str], *, source: str) -> list[tuple[int, float]]:
    """Return (starts_at, mean watts) of each quarter that the file covers wholly.

    Raises RingFault with the line at fault.
    """
    reader = csv.reader(lines)
    if [cell.strip() for cell in next(reader, [])] != _HEAD:
        raise RingFault(f"{source}: the first line must be 'starts_at,watts'.")
    rows: list[tuple[float, float]] = []
    for cells in reader:
        if cells:
            row = _row(cells, f"{source}, line {reader.line_num}")
            if rows and row[0] <= rows[-1][0]:
                raise RingFault(
                    f"{source}, line {reader.line_num}: rows must ascend in time; sort the file."
                )
            rows.append(row)
    if len(rows) < 2:
        raise RingFault(f"{source}: there are fewer than two rows; export some weeks.")
    return _quarters(rows, _length_of(rows, source))


def _row(cells: list[str], where: str) -> tuple[float, float]:
    if len(cells) != len(_HEAD):
        raise RingFault(f"{where}: there are {len(cells)} columns instead of 2; keep two.")
    try:
        starts_at = datetime.fromisoformat(cells[0].strip())
        watts = float(cells[1])
    except ValueError as error:
        raise RingFault(
            f"{where}: {error}; write rows like '2026-05-01T00:15:00Z,213000'."
        ) from error
    if not math.isfinite(watts):
        raise RingFault(f"{where}: {cells[1].strip()} is no power; leave the row out.")
    if starts_at.tzinfo is None:
        raise RingFault(f"{where}: the time has no zone; write it in UTC with a Z.")
    return starts_at.astimezone(UTC).timestamp(), watts


def _length_of(rows: list[tuple[float, float]], source: str) -> int:
    steps = Counter(round(after[0] - before[0]) for before, after in itertools.pairwise(rows))
    shortest = min(steps)
    if shortest not in _LENGTHS_S:
        raise RingFault(
            f"{source}: rows are {shortest} s apart; export quarters of an hour or hours."
        )
    return shortest


def _quarters(rows: list[tuple[float, float]], length_s: int) -> list[tuple[int, float]]:
    energy: dict[int, float] = {}
    covered: dict[int, float] = {}
    for starts_at, watts in rows:
        at = math.floor(starts_at / QUARTER_S) * QUARTER_S
        while at < starts_at + length_s:
            share_s = min(starts_at + length_s, at + QUARTER_S) - max(starts_at, at)
            energy[at] = energy.get(at, 0.0) + watts * share_s
            covered[at] = covered.get(at, 0.0) + share_s
            at += QUARTER_S
    return [
        (at, energy[at] / QUARTER_S)
        for at in sorted(energy)
        if math.isclose(covered[at], QUARTER_S, abs_tol=1e-3)
    ]
