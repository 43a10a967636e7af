# SPDX-License-Identifier: Apache-2.0
"""What static/chart.js draws, and the same as CSV."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from litestar import Response

from vtn.console import words
from vtn.export import no_formula


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a chart."""

    name: str
    kind: str
    """measured, baseline, ordered or plain."""
    watts: Sequence[float | None]
    fill: bool = False
    """Hatched down to zero."""


def payload(
    starts_at: Sequence[float],
    lines: Sequence[Line],
    *,
    bands: Sequence[tuple[int, int]] = (),
    windows: Sequence[tuple[float, float | None]] = (),
    difference: tuple[str, int, int] | None = None,
    empty: str = "",
    unit: str | None = None,
) -> dict[str, Any]:
    """As chart.js takes it: seconds since 1970, watts, and the unit to show them in.

    `bands` are pairs of lines with hatching between them, `windows` shaded times; `difference`
    names what the first of two lines is above the second.
    """
    every = [one for line in lines for one in line.watts]
    return {
        "t": list(starts_at),
        "series": [
            {
                "name": line.name,
                "kind": line.kind,
                "fill": line.fill,
                "values": [_finite(one) for one in line.watts],
            }
            for line in lines
        ],
        "bands": bands,
        "windows": windows,
        "difference": difference,
        "unit": unit or words.unit_for(*every),
        "empty": empty,
    }


def csv_answer(
    name: str, starts_at: Sequence[float], columns: Mapping[str, Sequence[Any]]
) -> Response[str]:
    """A CSV file: `starts_at` in UTC, then the columns; what is not known is empty."""
    rows = zip(*columns.values(), strict=True)
    return csv_file(
        name,
        ("starts_at", *columns),
        [
            (datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), *row)
            for at, row in zip(starts_at, rows, strict=True)
        ],
    )


def csv_file(name: str, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> Response[str]:
    """A CSV file to save; text that a spreadsheet would run as a formula begins with '."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows([_cell(cell) for cell in row] for row in rows)
    return Response(
        text.getvalue(),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _cell(value: Any) -> Any:  # whatever a table holds
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else ""
    if isinstance(value, datetime):
        return words.stamp(value)
    if isinstance(value, str):
        return no_formula(value)
    return "" if value is None else value


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
