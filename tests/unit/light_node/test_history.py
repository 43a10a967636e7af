from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from light_node.errors import RingFault
from light_node.history import read_history

T0 = 1_800_000_000


def rows(start, step, watts):
    yield "starts_at,watts\n"
    for n, power in enumerate(watts):
        at = datetime.fromtimestamp(start + n * step, UTC)
        yield f"{at.isoformat()},{power}\n"


def test_quarters_are_taken_as_they_are():
    assert read_history(rows(T0, 900, [1.0, 2.0]), source="f") == [(T0, 1.0), (T0 + 900, 2.0)]


def test_an_hour_becomes_four_quarters():
    quarters = read_history(rows(T0, 3600, [8.0, 4.0]), source="f")

    assert quarters == [(T0 + 900 * n, 8.0 if n < 4 else 4.0) for n in range(8)]


@given(st.integers(0, 899), st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=20))
def test_rows_between_the_quarters_are_spread_by_time(offset, watts):
    quarters = dict(read_history(rows(T0 + offset, 900, watts), source="f"))

    whole = len(watts) if offset == 0 else len(watts) - 1
    assert len(quarters) == whole
    share = offset / 900
    for n in range(1, whole):
        expected = watts[n - 1] * share + watts[n] * (1 - share) if offset else watts[n]
        assert quarters[T0 + 900 * n] == pytest.approx(expected, abs=1e-3)


def test_a_hole_stays_a_hole():
    lines = [*rows(T0, 900, [1.0, 2.0]), *list(rows(T0 + 9000, 900, [3.0]))[1:]]

    assert [at for at, _ in read_history(lines, source="f")] == [T0, T0 + 900, T0 + 9000]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["time,kw\n"], "first line must be 'starts_at,watts'"),
        ([], "first line must be"),
        (["starts_at,watts\n", "2030-01-01T00:00:00Z,1\n"], "fewer than two rows"),
        (["starts_at,watts\n", "2030-01-01T00:00:00,1\n"], "line 2: the time has no zone"),
        (["starts_at,watts\n", "yesterday,1\n"], "line 2: Invalid isoformat"),
        (["starts_at,watts\n", "2030-01-01T00:00:00Z,much\n"], "line 2: could not convert"),
        (["starts_at,watts\n", "2030-01-01T00:00:00Z,nan\n"], "line 2: nan is no power"),
        (["starts_at,watts\n", "2030-01-01T00:00:00Z,1,2\n"], "line 2: there are 3 columns"),
        (
            ["starts_at,watts\n", "2030-01-01T01:00:00Z,1\n", "2030-01-01T00:00:00Z,1\n"],
            "line 3: rows must ascend",
        ),
        (
            ["starts_at,watts\n", "2030-01-01T01:00:00Z,1\n", "2030-01-01T01:00:07Z,1\n"],
            "rows are 7 s apart",
        ),
    ],
)
def test_a_wrong_file_gets_one_sentence_with_the_line(lines, sentence):
    with pytest.raises(RingFault) as fault:
        read_history(lines, source="f.csv")

    assert sentence in str(fault.value)
    assert str(fault.value).startswith("f.csv")
