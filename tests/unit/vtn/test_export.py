import csv
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtn.errors import ExportFault
from vtn.export import COLUMNS, csv_lines, head, write
from vtn.records import Point
from vtn.views import Measurements

FIRST = datetime(2030, 1, 9, 14, tzinfo=UTC).timestamp()


def part(*values: float | None, first: float = FIRST, r_id: str = "P") -> Measurements:
    return Measurements(
        point=Point(ven_id="hq", r_id=r_id, unit="W"),
        starts_at=[first + 4 * index for index in range(len(values))],
        values=list(values),
        quality=["Quality Good - Non Specific" if value else "" for value in values],
    )


def rows(file: Path) -> list[list[str]]:
    with file.open(newline="", encoding="utf-8") as text:
        return list(csv.reader(text))


def test_csv_has_one_line_a_value_and_an_empty_field_for_none(tmp_path: Path) -> None:
    out = tmp_path / "hq.csv"

    assert write([part(41.25, None), part(3.0, first=FIRST + 8)], out, format_="csv") == 3
    assert rows(out) == [
        list(COLUMNS),
        ["hq", "P", "", "2030-01-09T14:00:00Z", "41.25", "W", "Quality Good - Non Specific"],
        ["hq", "P", "", "2030-01-09T14:00:04Z", "", "W", ""],
        ["hq", "P", "", "2030-01-09T14:00:08Z", "3.0", "W", "Quality Good - Non Specific"],
    ]


def test_fractions_of_a_second_are_kept() -> None:
    (line,) = csv_lines(part(1.0, first=FIRST + 0.25))

    assert "2030-01-09T14:00:00.25Z" in line


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_csv_loses_no_digit(values: list[float]) -> None:
    lines = list(csv.reader(csv_lines(part(*values))))

    assert [float(line[4]) for line in lines] == values


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8))
def test_no_text_of_a_ven_is_a_formula(r_id: str) -> None:
    (line,) = csv.reader(csv_lines(part(1.0, r_id=r_id)))

    assert line[1].lstrip("'") == r_id.lstrip("'")
    assert line[1][0] not in "=+-@"


def test_an_export_that_fails_leaves_no_file_and_spares_the_old_one(tmp_path: Path) -> None:
    out = tmp_path / "hq.csv"
    out.write_text("old")

    def parts():
        yield part(1.0)
        raise ExportFault("the VTN has gone")

    with pytest.raises(ExportFault, match="has gone"):
        write(parts(), out, format_="csv")
    assert [file.name for file in tmp_path.iterdir()] == ["hq.csv"]
    assert out.read_text() == "old"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportFault, match=r"hq\.csv: the export cannot be written: No such file"):
        write([part(1.0)], tmp_path / "none" / "hq.csv", format_="csv")


def test_parquet_without_pyarrow_names_the_command(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(ExportFault, match=r"pip install 'demandflex\[parquet\]'"):
        write([part(1.0)], tmp_path / "hq.parquet", format_="parquet")
    assert list(tmp_path.iterdir()) == []


def test_parquet_holds_the_same(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet is an extra")
    out = tmp_path / "hq.parquet"
    write([part(41.25, None), part(3.0, first=FIRST + 8)], out, format_="parquet")
    table = parquet.read_table(out).to_pydict()

    assert tuple(table) == COLUMNS
    assert table["value"] == [41.25, None, 3.0]
    assert table["starts_at"][0] == datetime(2030, 1, 9, 14, tzinfo=UTC)
    assert set(table["unit"]) == {"W"}


def test_the_head_is_the_columns() -> None:
    assert next(csv.reader([head("raw")])) == list(COLUMNS)
