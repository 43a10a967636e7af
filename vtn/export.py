# SPDX-License-Identifier: Apache-2.0
"""Measurements as files: CSV, and Parquet where pyarrow is installed.

Both have the same columns: ven_id, r_id, facet, starts_at (UTC), value, unit, quality. Quarter
hours, whose value is the mean, have also minimum, maximum, energy_wh, count and covered_s. A file
is whole or not there: it is written beside its place and moved there at the end.
"""

import contextlib
import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path
from typing import Final, Literal

from vtn.errors import ExportFault
from vtn.views import Measurements, Resolution

COLUMNS: Final = ("ven_id", "r_id", "facet", "starts_at", "value", "unit", "quality")
OF_QUARTERS: Final = ("minimum", "maximum", "energy_wh", "count", "covered_s")
Format = Literal["csv", "parquet"]


def head(resolution: Resolution) -> str:
    """The first line of a CSV."""
    columns = COLUMNS if resolution == "raw" else (*COLUMNS, *OF_QUARTERS)
    return ",".join(columns) + "\r\n"


def csv_lines(part: Measurements) -> Iterator[str]:
    """One line of CSV (RFC 4180) per value, without the head; no value is an empty field."""
    line = io.StringIO()
    writer = csv.writer(line)
    point = part.point
    quarters = zip(*_of_quarters(part), strict=True) if part.resolution != "raw" else repeat(())
    for at, value, quality, more in zip(
        part.starts_at, part.values, part.quality, quarters, strict=False
    ):
        writer.writerow(
            (
                no_formula(point.ven_id),
                no_formula(point.r_id),
                no_formula(point.facet),
                _instant(at),
                _number(value),
                point.unit,
                no_formula(quality),
                *map(_number, more),
            )
        )
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def write(parts: Iterable[Measurements], out: Path, *, format_: Format) -> int:
    """Write one stretch after another to `out`, replacing it; how many values there were.

    Raises ExportFault where the file cannot be written, or pyarrow is needed and not installed.
    """
    draft = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        count = _parquet(parts, draft) if format_ == "parquet" else _csv(parts, draft)
        draft.replace(out)
    except OSError as error:
        raise ExportFault(f"{out}: the export cannot be written: {error.strerror}.") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return count


def _csv(parts: Iterable[Measurements], file: Path) -> int:
    count = 0
    with file.open("w", encoding="utf-8", newline="") as out:
        for part in parts:
            if not out.tell():
                out.write(head(part.resolution))
            out.writelines(csv_lines(part))
            count += len(part.values)
    return count


def _parquet(parts: Iterable[Measurements], file: Path) -> int:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra: heavy, and few ask for Parquet
        from pyarrow import parquet  # noqa: PLC0415 - as above
    except ImportError:
        raise ExportFault(
            "Parquet needs pyarrow; install it with: pip install 'demandflex[parquet]'"
        ) from None
    kinds = {
        "ven_id": pa.string(),
        "r_id": pa.string(),
        "facet": pa.string(),
        "starts_at": pa.timestamp("us", tz="UTC"),
        "value": pa.float64(),
        "unit": pa.string(),
        "quality": pa.string(),
        "minimum": pa.float64(),
        "maximum": pa.float64(),
        "energy_wh": pa.float64(),
        "count": pa.int64(),
        "covered_s": pa.int64(),
    }
    count, writer = 0, None
    with contextlib.ExitStack() as exits:
        for part in parts:
            point, length = part.point, len(part.values)
            columns = dict(
                zip(
                    COLUMNS,
                    (
                        [point.ven_id] * length,
                        [point.r_id] * length,
                        [point.facet] * length,
                        [round(at * 1e6) for at in part.starts_at],
                        part.values,
                        [point.unit] * length,
                        part.quality,
                    ),
                    strict=True,
                )
            )
            if part.resolution != "raw":
                columns |= dict(zip(OF_QUARTERS, _of_quarters(part), strict=True))
            schema = pa.schema([(name, kinds[name]) for name in columns])
            if writer is None:
                writer = exits.enter_context(parquet.ParquetWriter(file, schema))
            writer.write_table(pa.table(columns, schema=schema))
            count += length
    return count


def _of_quarters(part: Measurements) -> Sequence[Sequence[float | None]]:
    return part.minimum, part.maximum, part.energy_wh, part.counts, part.covered_s


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)


def _instant(at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    return (
        moment.strftime("%Y-%m-%dT%H:%M:%S")
        + (f".{moment.microsecond:06}".rstrip("0") if moment.microsecond else "")
        + "Z"
    )


def no_formula(text: str) -> str:
    """Text that a spreadsheet would run as a formula gets a quote before it."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
