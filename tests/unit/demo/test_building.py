import json
import math
from datetime import timedelta
from itertools import pairwise

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from demo.building import Building, answer, history, main
from demo.errors import DemoFault
from demo.load_series import AFTERNOON, ClockShift, read_series

SERIES = read_series()


@pytest.fixture
def building(clock) -> Building:
    return Building(SERIES, ClockShift.to_play(AFTERNOON, at=clock.now()), clock.now)


def test_left_alone_the_building_draws_its_natural_load(building: Building, clock) -> None:
    state = building.state()

    assert state.load_w == state.natural_w == SERIES.watts_at(AFTERNOON)
    assert state.reduction_w == 0.0


def test_a_reduction_is_followed_with_a_lag_of_a_few_seconds(building: Building, clock) -> None:
    building.ask(60_000)
    assert building.state().reduction_w == 0.0

    clock.advance(3)
    assert building.state().reduction_w == pytest.approx(60_000 * (1 - math.exp(-1)))
    clock.advance(20)
    state = building.state()
    assert state.reduction_w == pytest.approx(60_000, rel=1e-2)
    assert state.load_w == pytest.approx(state.natural_w - state.reduction_w)


def test_how_often_one_looks_changes_nothing(clock) -> None:
    shift = ClockShift.to_play(AFTERNOON, at=clock.now())
    watched, alone = (Building(SERIES, shift, clock.now) for _ in range(2))
    for each in (watched, alone):
        each.ask(50_000)
    for _ in range(40):
        clock.advance(0.25)
        watched.state()

    assert watched.state().reduction_w == pytest.approx(alone.state().reduction_w)
    assert watched.energy_wh == pytest.approx(alone.energy_wh, abs=1e-6)


def test_the_energy_counter_is_the_integral_of_the_load(building: Building, clock) -> None:
    start_wh = building.energy_wh
    building.ask(80_000)
    loads = []
    for _ in range(2400):
        clock.advance(0.125)
        middle = building.state().load_w
        clock.advance(0.125)
        building.state()
        loads.append(middle)

    assert building.energy_wh - start_wh == pytest.approx(sum(loads) / 4 / 3600, rel=1e-5)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_wish_takes_the_load_out_of_its_bounds(wish: float) -> None:
    at = [ClockShift.parse("+09:30/3811").played(AFTERNOON)]
    building = Building(SERIES, ClockShift.parse("+09:30/3811"), lambda: at[0])
    building.ask(wish)
    at[0] += timedelta(seconds=30)
    state = building.state()

    assert 0.35 * state.natural_w <= state.load_w * (1 + 1e-9)
    assert state.load_w <= 1.25 * state.natural_w * (1 + 1e-9)


def test_a_clock_set_back_moves_nothing(building: Building, clock) -> None:
    building.ask(10_000)
    clock.advance(5)
    before, energy_wh = building.state(), building.energy_wh
    clock.step(-60)

    assert building.state() == before
    assert building.energy_wh == energy_wh


def test_the_meters_registers_agree_with_each_other(building: Building, clock) -> None:
    building.ask(40_000)
    clock.advance(10)
    shown = building.registers()

    phases = ("l1", "l2", "l3")
    assert sum(shown[f"active_power_{p}"] for p in phases) == pytest.approx(shown["active_power"])
    for p in phases:
        assert 220 < shown[f"voltage_{p}"] < 235
        watts = shown[f"voltage_{p}"] * shown[f"current_{p}"]
        assert watts == pytest.approx(shown[f"active_power_{p}"])
    assert shown["active_power"] == building.state().load_w
    assert 0 < shown["energy_import"] < 7 * 24 * 420e3


def test_the_load_port_sets_reads_and_refuses(building: Building, clock) -> None:
    set_to = json.loads(answer(building, b'{"reduction_w": 30000}'))
    clock.advance(60)
    read = json.loads(answer(building, b"{}\n"))

    assert {"load_w", "natural_w", "reduction_w"} == set_to.keys() == read.keys()
    assert read["reduction_w"] == pytest.approx(30_000)


@pytest.mark.parametrize(
    "line", [b"", b"nonsense", b'{"reduction_w": "a"}', b'{"reduce": 1}', b"\xff", b"[]"]
)
def test_a_line_that_is_not_understood_gets_a_sentence_and_changes_nothing(
    building: Building, clock, line: bytes
) -> None:
    error = json.loads(answer(building, line))["error"]
    clock.advance(60)

    assert "write {" in error
    assert building.state().reduction_w == 0.0


def test_a_wish_that_is_no_number_is_refused(building: Building) -> None:
    for wish in (math.nan, math.inf):
        with pytest.raises(DemoFault, match="finite"):
            building.ask(wish)


def test_the_history_ends_before_now_and_is_the_buildings_earlier_days(clock) -> None:
    shift = ClockShift.to_play(AFTERNOON, at=clock.now())
    rows = history(SERIES, shift, now=clock.now(), days=90)
    starts = [at for at, _ in rows]

    assert len(rows) == 90 * 96
    assert starts[-1] + timedelta(minutes=15) <= clock.now()
    assert {b - a for a, b in pairwise(starts)} == {timedelta(minutes=15)}
    hour = starts.index(shift.played(AFTERNOON - timedelta(days=1)))
    recorded_wh = SERIES.energy_wh(AFTERNOON - timedelta(days=1), AFTERNOON - timedelta(hours=23))
    assert sum(watts for _, watts in rows[hour : hour + 4]) / 4 == pytest.approx(recorded_wh)


def test_more_history_than_was_recorded_is_refused_with_what_there_is(tmp_path) -> None:
    answer = CliRunner().invoke(
        main, ["history", "--days", "400", "--out", str(tmp_path / "h.csv")]
    )

    assert answer.exit_code == 1
    assert "ask for --days 1 to 9" in answer.stderr
    assert not (tmp_path / "h.csv").exists()


def test_the_history_is_written_as_the_light_node_reads_it(tmp_path) -> None:
    out = tmp_path / "h.csv"
    done = CliRunner().invoke(main, ["history", "--days", "1", "--out", str(out)])
    lines = out.read_text().splitlines()

    assert done.exit_code == 0
    assert lines[0] == "starts_at,watts"
    assert len(lines) == 97
    assert lines[1].split(",")[0].endswith("Z")
