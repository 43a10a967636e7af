from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_bridge.messages import Reason, SetPoint
from light_node.settings import RegisterTable, WriteTable
from light_node.write_map import (
    Model,
    OwnMap,
    SunSpecStorage,
    device_watts,
    heartbeat,
    models_of,
    sunspec_map,
    sunspec_model,
)

T0 = datetime(2030, 1, 9, 14, 0, tzinfo=UTC)
SUNSPEC = WriteTable(asset="pv", host="h", rated_w=60_000, sunspec="limit", failsafe_w=18_000.0)


def lease(**target):
    return SetPoint(
        id="e:1",
        seq=1,
        issued_at=T0,
        not_before=T0,
        not_after=T0 + timedelta(seconds=120),
        ttl_s=120,
        reason=Reason(event_id="e", modification_number=0, signal_name="s", signal_type="t"),
        **target,
    )


def own(**fields):
    return WriteTable(
        **{
            "asset": "bms",
            "host": "h",
            "rated_w": 60_000,
            "limit": RegisterTable(address=200, scale=10),
        }
        | fields
    )


@pytest.mark.parametrize(
    ("follows", "target", "level_w", "watts"),
    [
        ("device", {"delta_w": -40_000.0}, None, 20_000),
        ("device", {"delta_w": -90_000.0}, None, 0),
        ("device", {"max_w": 80_000.0}, 100_000.0, 40_000),
        ("device", {"max_w": 80_000.0}, None, None),
        ("device", {"max_w": 200_000.0}, 100_000.0, 60_000),
        ("building", {"max_w": 50_000.0}, None, 50_000),
        ("building", {"delta_w": -40_000.0}, 95_000.0, 55_000),
        ("building", {"delta_w": -40_000.0}, None, None),
        ("change", {"delta_w": -40_000.0}, None, -40_000),
        ("change", {"delta_w": -90_000.0}, None, -60_000),
        ("change", {"min_w": 120_000.0}, 100_000.0, 20_000),
    ],
)
def test_what_a_set_point_means_to_a_device(follows, target, level_w, watts):
    assert device_watts(lease(**target), own(follows=follows), level_w) == watts


@given(
    st.floats(-1e6, 1e6),
    st.sampled_from(["device", "building", "change"]),
    st.floats(0, 1e6) | st.none(),
)
def test_no_set_point_is_written_outside_the_range(delta_w, follows, level_w):
    table = own(follows=follows, range=(5_000.0, 55_000.0))
    watts = device_watts(lease(delta_w=delta_w), table, level_w)
    assert watts is None or 5_000 <= watts <= 55_000


def test_704_takes_limit_failsafe_and_timer_in_one_request():
    model = Model(number=704, address=40_070, length=57)
    (frame,) = sunspec_map(model, SUNSPEC, 0xFFFF).limit(15_000, 70_000)

    assert frame.address == 40_084
    assert frame.words == (1, 250, 300, 1, 1, 4464)
    assert frame.is_said_by([1, 250, 300, 1, 0, 12])
    assert not frame.is_said_by([0, 250, 300, 1, 0, 12])
    (release,) = sunspec_map(model, SUNSPEC, 0xFFFF).release()
    assert release.words == (0, 1000, 1000, 0, 0, 0)


def test_123_has_its_switch_at_the_end():
    model = Model(number=123, address=100, length=24)
    (frame,) = sunspec_map(model, SUNSPEC, 0).limit(15_000, 60)
    assert (frame.address, frame.words) == (105, (25, 0, 60, 0, 1))
    assert sunspec_map(model, SUNSPEC, 0).release()[0].words[-1] == 0


def test_124_bounds_charging_or_forces_a_change():
    model = Model(number=124, address=100, length=24)
    bound = SunSpecStorage(model=model, table=SUNSPEC, scale_factor=0)
    rates, mode = bound.limit(15_000, 60)
    assert (rates.address, rates.words, mode.address, mode.words) == (
        112,
        (100, 25, 0, 60, 0),
        105,
        (1,),
    )
    change = WriteTable(asset="b", host="h", rated_w=60_000, sunspec="storage", follows="change")
    forced = SunSpecStorage(model=model, table=change, scale_factor=0)
    rates, mode = forced.limit(-15_000, 60)
    assert (rates.words[:2], mode.words) == ((25, 0x10000 - 25), (3,))
    assert forced.release()[0].words == (0,)


def test_the_newer_model_is_taken_and_the_list_ends_where_it_says():
    models, further = models_of(2, [123, 2, 0, 0, 704, 1, 0, 715, 1])
    assert [(m.number, m.address) for m in models] == [(123, 2), (704, 6), (715, 9)]
    assert further == 12
    assert sunspec_model(models, SUNSPEC).number == 704
    assert models_of(40, [0xFFFF, 0]) == ([], None)
    assert sunspec_model(models[:1], SUNSPEC).number == 123
    storage = WriteTable(asset="b", host="h", rated_w=1, sunspec="storage")
    assert sunspec_model(models, storage) is None
    assert heartbeat(models[2], 65_537).words == (1, 1)


def test_its_own_map_sets_the_timer_before_the_limit():
    table = own(
        reversion=RegisterTable(address=210),
        failsafe=RegisterTable(address=220, scale=10),
        failsafe_w=30_000.0,
    )
    frames = OwnMap(table=table).limit(20_000, 60)
    assert [(f.address, f.words) for f in frames] == [(220, (3000,)), (210, (60,)), (200, (2000,))]
    assert frames[1].is_said_by([58])
    assert OwnMap(table=table).reverts
    assert not OwnMap(table=own()).reverts


@pytest.mark.parametrize(
    ("fields", "watts", "words"),
    [
        ({"type": "int16", "scale": 10}, -20_000, (0x10000 - 2000,)),
        ({"type": "uint16"}, 70_000, (0xFFFF,)),
        ({"type": "uint32"}, 70_000, (1, 4464)),
        ({"type": "int32"}, -1, (0xFFFF, 0xFFFF)),
        ({"type": "float32"}, 1.0, (0x3F80, 0)),
    ],
)
def test_types_and_word_orders(fields, watts, words):
    register = RegisterTable(address=200, **fields)
    big = OwnMap(table=own(limit=register)).limit(watts, 60)
    little = OwnMap(table=own(limit=register, word_order="little")).limit(watts, 60)
    assert big[-1].words == words
    assert little[-1].words == words[::-1]


@pytest.mark.parametrize(
    ("fields", "watts"),
    [({}, 6000), ({"release_w": 50_000.0}, 5000), ({"follows": "change"}, 0)],
)
def test_what_lets_a_device_go(fields, watts):
    (frame,) = OwnMap(table=own(**fields)).release()
    assert frame.words == (watts,)


@pytest.mark.parametrize(
    ("scale_word", "counts"), [(0x8000, 50), (0xFFFD, 50_000), (0xFFFC, 0xFFFF), (1, 5)]
)
def test_whatever_scale_a_device_says_its_register_can_bear_what_is_written(scale_word, counts):
    model = Model(number=704, address=40_070, length=57)
    (frame,) = sunspec_map(model, SUNSPEC, scale_word).limit(30_000, 60)
    assert frame.words[1] == counts
    assert all(0 <= word <= 0xFFFF for word in frame.words)


@pytest.mark.parametrize("number", [704, 123])
def test_a_share_below_zero_is_zero_where_a_register_knows_no_sign(number):
    table = WriteTable(asset="i", host="h", rated_w=60_000, sunspec="limit", range=(-1e4, 6e4))
    model = Model(number=number, address=100, length=57)
    (frame,) = sunspec_map(model, table, 0).limit(-10_000, 60)
    assert frame.words[1 if number == 704 else 0] == 0
    assert all(0 <= word <= 0xFFFF for word in frame.words)


@pytest.mark.parametrize(
    ("watts", "rates"), [(60_000, (0x8001, 0x7FFF)), (-60_000, (0x7FFF, 0x8001))]
)
def test_a_scale_too_fine_for_a_signed_rate_does_not_turn_it_round(watts, rates):
    change = WriteTable(asset="b", host="h", rated_w=60_000, sunspec="storage", follows="change")
    forced = sunspec_map(Model(number=124, address=100, length=24), change, 0xFFFD)
    assert forced.limit(watts, 60)[0].words[:2] == rates
