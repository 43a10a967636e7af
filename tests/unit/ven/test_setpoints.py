from dataclasses import replace

import pytest

from light_node.local import Delta, Keep, Limit, Share
from oadr import units
from oadr.vocabulary import ScaleCode, SignalType
from tests.unit.ven.makers import event, price, settings, signal, simple, site
from ven.errors import SignalFault
from ven.setpoints import check_signals, target_of

LEVELS = {"1": {"delta_w": -10_000}, "2": {"max_w": 50_000}, "3": {"share": 0.2}}


VOLTAMPERE = replace(units.power(), kind="power:powerApparent", symbol="VA")


def levelled(**tables):
    return settings(site={"rated_w": 200_000, **tables}).site


@pytest.mark.parametrize(
    ("level", "target"),
    [
        (0, Keep()),
        (1, Delta(watts=-10_000)),
        (2, Limit(max_watts=50_000)),
        (3, Share(of_baseline=0.2)),
    ],
)
def test_simple_levels_mean_what_the_sites_table_says(level, target):
    assert target == target_of(simple(level), level, levelled(simple_levels=LEVELS))


def test_a_level_the_site_does_not_name_is_the_next_milder_one():
    here = levelled(simple_levels={"1": {"delta_w": -5.0}})

    assert Delta(watts=-5.0) == target_of(simple(3), 3, here)


def test_a_site_without_a_table_holds_nothing():
    assert Keep() == target_of(simple(3), 3, site())


@pytest.mark.parametrize(
    ("kind", "value", "unit", "target"),
    [
        (SignalType.DELTA, -40, units.power(ScaleCode.KILO), Delta(watts=-40_000)),
        (SignalType.DELTA, 1.5, units.power(ScaleCode.MEGA), Delta(watts=1_500_000)),
        (SignalType.SETPOINT, 40, units.power(), Limit(max_watts=40)),
        (SignalType.MULTIPLIER, 0.8, None, Share(of_baseline=0.8)),
        (SignalType.LEVEL, -3, None, Delta(watts=-7)),
        (SignalType.LEVEL, 2, None, Delta(watts=9)),
    ],
)
def test_load_dispatch(kind, value, unit, target):
    here = levelled(dispatch_levels={"-2": {"delta_w": -7}, "1": {"delta_w": 9}})

    assert target == target_of(signal(value, kind=kind, unit=unit), value, here)


@pytest.mark.parametrize(
    ("kind", "value", "unit", "target"),
    [
        (SignalType.LOAD_CONTROL_CAPACITY, 0.25, None, Limit(max_watts=50_000)),
        (SignalType.LOAD_CONTROL_SETPOINT, 3, units.power(ScaleCode.KILO), Limit(max_watts=3000)),
        (SignalType.LOAD_CONTROL_PERCENT_OFFSET, -20, None, Share(of_baseline=0.8)),
        (SignalType.LOAD_CONTROL_LEVEL_OFFSET, -1, None, Limit(max_watts=70)),
    ],
)
def test_load_control(kind, value, unit, target):
    here = levelled(level_offsets={"-1": {"max_w": 70}})
    asked = signal(value, name="LOAD_CONTROL", kind=kind, unit=unit)

    assert target == target_of(asked, value, here)


@pytest.mark.parametrize("kind", [SignalType.PRICE, SignalType.PRICE_RELATIVE])
def test_prices_hold_nothing(kind):
    asked = signal(3.14, name="ELECTRICITY_PRICE", kind=kind, unit=units.price_per_kwh("EUR"))

    assert Keep() == target_of(asked, 3.14, site())


@pytest.mark.parametrize(
    "asked",
    [
        replace(simple(1), signal_type=SignalType.DELTA),
        signal(1, unit=units.energy()),
        signal(1, unit=None),
        signal(1, unit=VOLTAMPERE),
        signal(1, kind=SignalType.PRICE),
        signal(1, name="BID_LOAD", kind=SignalType.SETPOINT),
        signal(1, name="CHARGE_STATE"),
        signal(1, name="x-own"),
        signal(1, name="ELECTRICITY_PRICE", kind=SignalType.LEVEL),
        signal(1, name="ELECTRICITY_PRICE", kind=SignalType.PRICE, unit=units.power()),
        signal(1, name="LOAD_CONTROL", kind=SignalType.SETPOINT),
        signal(0.5, name="LOAD_CONTROL", kind=SignalType.LOAD_CONTROL_CAPACITY, unit=None),
    ],
)
def test_what_is_not_supported_is_460(asked):  # rules 48, 109, 116
    with pytest.raises(SignalFault) as fault:
        target_of(asked, asked.intervals[0].value, site())

    assert fault.value.response_code == "460"


@pytest.mark.parametrize(
    "asked",
    [
        simple(4),
        simple(1.5),
        signal(-0.1, kind=SignalType.MULTIPLIER, unit=None),
        signal(11, kind=SignalType.MULTIPLIER, unit=None),
        signal(11, kind=SignalType.LEVEL, unit=None),
        signal(1e12, unit=units.power(ScaleCode.GIGA)),
        signal(1.5, name="LOAD_CONTROL", kind=SignalType.LOAD_CONTROL_CAPACITY, unit=None),
        signal(-120, name="LOAD_CONTROL", kind=SignalType.LOAD_CONTROL_PERCENT_OFFSET, unit=None),
    ],
)
def test_a_value_that_cannot_be_is_459(asked):
    with pytest.raises(SignalFault) as fault:
        target_of(asked, asked.intervals[0].value, levelled())

    assert fault.value.response_code == "459"


def test_one_understood_signal_is_enough():
    check_signals(event(signals=(simple(1), signal(1, name="BID_LOAD"))), site())


def test_durations_must_add_up():
    with pytest.raises(SignalFault, match="last 60 s, but the event 3600 s") as fault:
        check_signals(event(signals=(signal(-1, lengths_s=[60]),)), site())

    assert fault.value.response_code == "459"


def test_each_of_several_intervals_needs_a_duration():
    with pytest.raises(SignalFault, match="not each has a duration"):
        check_signals(event(signals=(signal(-1, -2, lengths_s=[0, 3600]),)), site())


def test_the_last_interval_may_be_open():
    check_signals(event(length_s=0, signals=(price(1.0, 2.0, lengths_s=[600, 0]),)), site())
