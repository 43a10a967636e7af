import contextlib
import doctest
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oadr.units import price_per_kwh
from oadr.vocabulary import EventStatus, ResponseRequired, ScaleCode, SignalType
from vtn import orders
from vtn.errors import Invalid, InvalidEvent
from vtn.orders import (
    BaselineOrder,
    EventChange,
    EventOrder,
    IntervalOrder,
    ReportOrder,
    SignalOrder,
)
from vtn.quantities import unit_name
from vtn.spoken_times import duration, instant

NOW = datetime(2030, 1, 9, 14, 0, 0, 400_000, tzinfo=UTC)
CONTEXT = "http://demandflex.example/peak"


def signal(**said) -> SignalOrder:
    words = {"name": "LOAD_DISPATCH", "type": "delta", "unit": "kW", "value": -200.0, **said}
    return SignalOrder(**words)


def order(**said) -> EventOrder:
    words = {"signals": (signal(),), "start": "now+10m", "duration": "1h", "vens": ("hq",), **said}
    return EventOrder(**words)


def draft(**said):
    return orders.draft(order(**said), now=NOW, market_context=CONTEXT)


def test_an_order_becomes_the_draft_of_an_event() -> None:
    event = draft(
        groups=("north",),
        notification="5m",
        ramp_up="2m",
        recovery="3m",
        start_within="30s",
        priority=1,
        test=True,
        response="never",
        comment="Peak Tuesday",
        event_id="0042",
    )

    assert event.event_id == "0042"
    assert event.status is EventStatus.NONE
    assert event.starts_at == datetime(2030, 1, 9, 14, 10, tzinfo=UTC)
    assert event.duration == timedelta(hours=1)
    assert event.notification == timedelta(minutes=5)
    assert event.ramp_up == timedelta(minutes=2)
    assert event.recovery == timedelta(minutes=3)
    assert event.start_after == timedelta(seconds=30)
    assert event.priority == 1
    assert event.is_test
    assert event.response_required is ResponseRequired.NEVER
    assert event.vtn_comment == "Peak Tuesday"
    assert event.market_context == CONTEXT
    assert event.target.ven_ids == ("hq",)
    assert event.target.group_ids == ("north",)
    (only,) = event.signals
    assert only.signal_type is SignalType.DELTA
    assert only.unit.scale is ScaleCode.KILO
    assert only.unit.symbol == "W"
    assert [(part.uid, part.duration, part.value) for part in only.intervals] == [
        ("0", timedelta(hours=1), -200.0)
    ]


def test_the_duration_of_an_event_may_be_that_of_its_intervals() -> None:
    steps = (IntervalOrder(duration="10m", value=-100), IntervalOrder(duration="5m", value=-50))
    event = draft(duration="", signals=(signal(value=None, intervals=steps),))

    assert event.duration == timedelta(minutes=15)
    assert [part.uid for part in event.signals[0].intervals] == ["0", "1"]


def test_an_event_without_an_end_has_no_duration() -> None:
    assert draft(duration="open").ends_at is None
    steps = (IntervalOrder(duration="10m", value=-100), IntervalOrder(duration="open", value=-50))
    assert draft(duration="", signals=(signal(value=None, intervals=steps),)).ends_at is None


def test_now_is_a_moment_that_is_still_to_come_when_it_is_stored() -> None:
    at = instant("now", now=NOW)

    assert timedelta(seconds=1) <= at - NOW <= timedelta(seconds=2)
    assert at.microsecond == 0
    assert instant("+0s", now=NOW) == at


@pytest.mark.parametrize("text", ["2030-01-09T15:00:00Z", "2030-01-09T16:00+01:00", "now + 1h"])
def test_a_start_is_read_as_an_instant_in_utc(text: str) -> None:
    assert instant(text, now=NOW) == datetime(2030, 1, 9, 15, tzinfo=UTC)


def test_what_has_been_may_be_asked_about() -> None:
    back = instant("now-1h", now=NOW, past=True)

    assert back == datetime(2030, 1, 9, 13, tzinfo=UTC)
    assert instant("now", now=NOW, past=True) <= NOW


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=300)))
def test_a_duration_means_the_same_in_every_spelling(length: timedelta) -> None:
    seconds = int(length.total_seconds())
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    spellings = (f"{seconds}s", f"{hours}h{minutes}m{left}s", f"PT{hours}H{minutes}M{left}S")

    for text in spellings:
        assert duration(text, what="x") == timedelta(seconds=seconds)


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidEvent):
        assert duration(text, what="x") >= timedelta(0)


@given(st.text(alphabet="now+-0123456789:TZhms ", max_size=26))
def test_any_text_is_a_start_to_come_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidEvent):
        at = instant(text, now=NOW)
        assert at >= NOW.replace(microsecond=0)
        assert at.tzinfo is UTC


@pytest.mark.parametrize(
    ("said", "kind", "factor"),
    [
        ({"unit": "W"}, "power:powerReal", 1.0),
        ({"unit": "MW"}, "power:powerReal", 1e6),
        ({"unit": "kvar"}, "power:powerReactive", 1e3),
        ({"name": "BID_ENERGY", "type": "setpoint", "unit": "kWh"}, "power:energyReal", 1e3),
        ({"name": "DEMAND_CHARGE", "type": "price", "unit": "EUR/kW"}, "oadr:currencyPerKW", 1.0),
    ],
)
def test_a_unit_is_the_standards_with_its_scale(said: dict, kind: str, factor: float) -> None:
    unit = draft(signals=(signal(**said),)).signals[0].unit

    assert (unit.kind, unit.factor) == (kind, factor)


def test_a_price_and_a_level_travel_as_they_should() -> None:
    price = signal(name="ELECTRICITY_PRICE", type="price", unit="EUR/kWh", value=0.31)
    level = signal(name="SIMPLE", type="level", unit="", value=2)
    event = draft(signals=(price, level))

    assert event.signals[0].unit == price_per_kwh("EUR")
    assert event.signals[1].unit is None
    assert len({each.signal_id for each in event.signals}) == 2


def test_a_multiplier_may_be_said_in_percent() -> None:
    event = draft(signals=(signal(type="multiplier", unit="%", value=80),))

    assert event.signals[0].intervals[0].value == pytest.approx(0.8)
    assert event.signals[0].unit is None


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            {"signals": (signal(unit="kWh"),)},
            "LOAD_DISPATCH delta is a power: give W, kW or MW, not kWh.",
        ),
        (
            {"signals": (signal(unit=""),)},
            "LOAD_DISPATCH delta is a power: give W, kW or MW; the unit is missing.",
        ),
        (
            {"signals": (signal(unit="KW"),)},
            "unit: there is no unit 'KW' here; did you mean 'kW'?",
        ),
        (
            {"signals": (signal(unit="bananas"),)},
            "unit: there is no unit 'bananas' here; known are W, kWh, EUR/kWh, %, level.",
        ),
        (
            {"signals": (signal(name="ELECTRICITY_PRICE", type="price", unit="kW"),)},
            (
                "ELECTRICITY_PRICE price is a price of energy: give a currency per kWh, "
                "like EUR/kWh, not kW."
            ),
        ),
        (
            {"signals": (signal(name="SIMPLE", type="level", unit="kW"),)},
            "SIMPLE level is a level: leave the unit out, or give level, not kW.",
        ),
        (
            {"signals": (signal(name="LOAD_DISPACH"),)},
            "signal: there is no signal 'LOAD_DISPACH'; did you mean 'LOAD_DISPATCH'?",
        ),
        (
            {"signals": (signal(name="SIMPLE", type="delta"),)},
            "SIMPLE has no type 'delta'; it can be level.",
        ),
        (
            {"signals": (signal(value=None),)},
            "LOAD_DISPATCH: give one value for the whole event, or intervals with a value each.",
        ),
        ({"signals": ()}, "The event has no signal; give at least one."),
        (
            {"signals": (signal(value=float("nan")),)},
            "value: nan is not a number that can be meant.",
        ),
        (
            {"start": "2030-01-09T13:00:00Z"},
            "start: 2030-01-09T13:00:00Z is in the past (it is 14:00:00 UTC); give a time to come.",
        ),
        (
            {"start": "2030-01-09T15:00:00"},
            (
                "start: '2030-01-09T15:00:00' does not say its time zone; add Z for UTC or "
                "an offset like +01:00."
            ),
        ),
        ({"start": "now-5m"}, "start: 'now-5m' is in the past; give a time to come."),
        (
            {"start": "soon"},
            "start: 'soon' is not a time; write now, now+10m or 2030-01-09T14:00:00Z.",
        ),
        (
            {"start": "9999-12-31T23:59:59Z"},
            "start: 9999-12-31 is years away; that is hardly meant.",
        ),
        (
            {"start": "now+ten"},
            "start: 'ten' is not a duration; write it like 5m, 1h30m or PT5M.",
        ),
        (
            {"duration": "5"},
            "duration: '5' is not a duration; write it like 5m, 1h30m or PT5M.",
        ),
        ({"duration": "9000h"}, "duration: '9000h' is longer than a year; that is hardly meant."),
        (
            {"duration": "9999999999d"},
            "duration: '9999999999d' is longer than a year; that is hardly meant.",
        ),
        (
            {"start": "now+9999999999d"},
            "start: '9999999999d' is longer than a year; that is hardly meant.",
        ),
        ({"duration": ""}, "How long is the event? Give a duration like 30m, or open."),
        ({"ramp_up": "open"}, "ramp_up: cannot be open-ended; give a duration like 5m."),
        ({"priority": -1}, "priority: -1 is not 0 (lowest), 1 (highest), 2, 3 ..."),
        (
            {"vens": ()},
            (
                "The event names nobody: name VENs, groups or resources, or say that it is for "
                "everyone (--everyone)."
            ),
        ),
        (
            {"everyone": True},
            "The event is for everyone or for those named; say one of the two.",
        ),
        (
            {
                "duration": "",
                "signals": (
                    signal(
                        value=None,
                        intervals=(
                            IntervalOrder(duration="open", value=-1),
                            IntervalOrder(duration="5m", value=-1),
                        ),
                    ),
                ),
            },
            "interval: only the last one can be open or empty; give durations.",
        ),
        (
            {"baseline": BaselineOrder(intervals=(IntervalOrder(duration="15m", value=1),))},
            "baseline: say its unit, like kW.",
        ),
        (
            {
                "duration": "",
                "signals": (
                    signal(value=None, intervals=(IntervalOrder(duration="366d", value=-1),) * 2),
                ),
            },
            "interval: 732 days in all are more than a year; that is hardly meant.",
        ),
        (
            {"baseline": BaselineOrder(start="9999-12-31T00:00Z", unit="kW", intervals=())},
            "baseline: 9999-12-31 is years away; that is hardly meant.",
        ),
        (
            {"baseline": BaselineOrder(unit="kW", intervals=())},
            "baseline: give at least one interval, each with a duration like 15m.",
        ),
    ],
)
def test_a_mistake_gets_one_sentence(said: dict, sentence: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        draft(**said)

    assert sentence == str(refused.value)


def test_an_event_without_a_market_context_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="market context"):
        orders.draft(order(), now=NOW)


@pytest.mark.parametrize(
    "said",
    [
        {"comment": "\u0001"},
        {"event_id": "\u0000"},
        {"vens": ("\ud800",)},
        {"market_context": "http://a b"},
        {"signals": (signal(id="\ufffe"),)},
        {"signals": (signal(value=1e300),)},
    ],
)
def test_what_cannot_be_said_on_the_wire_is_refused(said: dict) -> None:
    with pytest.raises(InvalidEvent):
        draft(**said)
    change = {name: value for name, value in said.items() if name in ("comment", "signals")}
    if change:
        with pytest.raises(InvalidEvent):
            orders.changed(draft(), EventChange(**change), now=NOW)


def test_a_baseline_may_be_yesterdays() -> None:
    steps = (IntervalOrder(duration="15m", value=410.0), IntervalOrder(duration="15m", value=420.0))
    event = draft(baseline=BaselineOrder(start="2030-01-08T14:10:00Z", unit="kW", intervals=steps))

    assert event.baseline.starts_at == datetime(2030, 1, 8, 14, 10, tzinfo=UTC)
    assert event.baseline.duration == timedelta(minutes=30)


# --- changes -------------------------------------------------------------------------------------


def test_what_a_change_does_not_name_stays() -> None:
    event = draft(ramp_up="2m", comment="first", priority=2)

    assert orders.changed(event, EventChange(), now=NOW) == event


def test_a_longer_event_stretches_its_only_interval() -> None:
    event = orders.changed(draft(), EventChange(duration="2h", reason="heat"), now=NOW)

    assert event.duration == timedelta(hours=2)
    assert event.signals[0].intervals[0].duration == timedelta(hours=2)
    assert event.modification_reason == "heat"


def test_new_signals_fill_the_event_as_it_is() -> None:
    event = orders.changed(draft(), EventChange(signals=(signal(value=-50),)), now=NOW)

    assert event.duration == timedelta(hours=1)
    assert event.signals[0].intervals[0].value == -50
    assert event.signals[0].intervals[0].duration == timedelta(hours=1)


def test_new_intervals_bring_their_own_duration() -> None:
    steps = (IntervalOrder(duration="10m", value=-1), IntervalOrder(duration="20m", value=-2))
    change = EventChange(signals=(signal(value=None, intervals=steps),))

    assert orders.changed(draft(), change, now=NOW).duration == timedelta(minutes=30)


def steps_of(event) -> list[tuple[str, int, float]]:
    return [
        (part.uid, int(part.duration.total_seconds() // 60), part.value)
        for part in event.signals[0].intervals
    ]


@pytest.mark.parametrize(
    ("length", "steps"),
    [
        ("1h", [("0", 10, -1), ("1", 50, -2)]),
        ("20m", [("0", 10, -1), ("1", 10, -2)]),
        ("10m", [("0", 10, -1)]),
        ("5m", [("0", 5, -1)]),
        ("open", [("0", 10, -1), ("1", 0, -2)]),
    ],
)
def test_the_last_interval_gives_way_to_a_new_duration(length: str, steps: list) -> None:
    given = (IntervalOrder(duration="10m", value=-1), IntervalOrder(duration="20m", value=-2))
    event = draft(duration="", signals=(signal(value=None, intervals=given),))

    assert steps == steps_of(orders.changed(event, EventChange(duration=length), now=NOW))


def test_a_new_value_of_a_running_signal_holds_from_now_on() -> None:
    event = draft(start="now+0s")
    later = event.starts_at + timedelta(minutes=20) - timedelta(seconds=2)
    change = EventChange(signals=(signal(value=-50, id=event.signals[0].signal_id),))

    assert steps_of(orders.changed(event, change, now=later)) == [("0", 20, -200), ("1", 40, -50)]
    again = orders.changed(event, change, now=later)
    after = later + timedelta(minutes=10)
    change = EventChange(signals=(signal(value=0, id=event.signals[0].signal_id),), duration="open")
    assert steps_of(orders.changed(again, change, now=after)) == [
        ("0", 20, -200),
        ("1", 10, -50),
        ("2", 0, 0),
    ]


def test_a_new_value_of_an_event_to_come_holds_from_its_start() -> None:
    event = draft()
    change = EventChange(signals=(signal(value=-50, id=event.signals[0].signal_id),))

    assert steps_of(orders.changed(event, change, now=NOW)) == [("0", 60, -50)]


def test_a_change_can_take_back_what_was_said() -> None:
    event = draft(ramp_up="2m", comment="first", test=True)
    change = EventChange(ramp_up="", comment="", test=False, start="now+20m", priority=0)
    event = orders.changed(event, change, now=NOW)

    assert event.ramp_up is None
    assert event.vtn_comment is None
    assert not event.is_test
    assert event.starts_at == datetime(2030, 1, 9, 14, 20, tzinfo=UTC)


def test_the_json_form_refuses_a_key_it_does_not_know() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `strat`"):
        msgspec.json.decode(b'{"signals": [], "strat": "now"}', type=EventOrder)


# --- units and reports, the other way ------------------------------------------------------------


@pytest.mark.parametrize("name", ["W", "kW", "MW", "kVA", "Mvar", "Wh", "MWh", "EUR/kWh", "CHF/kW"])
def test_a_unit_reads_back_as_an_operator_writes_it(name: str) -> None:
    kind = {"W": "LOAD_DISPATCH", "A": "LOAD_DISPATCH", "r": "LOAD_DISPATCH"}.get(name[-1])
    if kind is None or name.startswith("CHF"):
        kind = "LOAD_CONTROL"
    said = signal(name=kind, type="x-loadControlSetpoint" if kind == "LOAD_CONTROL" else "delta")
    unit = draft(signals=(msgspec.structs.replace(said, unit=name),)).signals[0].unit

    assert unit_name(unit) == name


def test_a_report_is_asked_for_from_now_on() -> None:
    wanted = ReportOrder(specifier="usage", points=("P", "E"), granularity="4s", back="60s")
    request = orders.report_request(wanted, now=NOW)

    assert request.report_specifier_id == "usage"
    assert request.granularity == timedelta(seconds=4)
    assert request.report_back == timedelta(seconds=60)
    assert [payload.r_id for payload in request.payloads] == ["P", "E"]
    assert request.interval.starts_at == NOW.replace(microsecond=0)
    assert request.interval.duration == timedelta(0)


def test_what_a_ven_offers_is_asked_for_at_once_and_once() -> None:
    request = orders.report_request(ReportOrder(specifier="METADATA"), now=NOW)

    assert request.report_back == timedelta(0)
    assert [payload.r_id for payload in request.payloads] == ["0"]
    assert request.interval is None


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"points": ()}, "points: name at least one point (rID) of the report 'usage'."),
        ({"back": "open"}, "back: cannot be open-ended; give a duration like 5m."),
        ({"duration": "x"}, "duration: 'x' is not a duration; write it like 5m, 1h30m or PT5M."),
    ],
)
def test_a_mistake_in_a_report_order_gets_one_sentence(said: dict, sentence: str) -> None:
    words = {"specifier": "usage", "points": ("P",), "back": "60s", **said}
    with pytest.raises(Invalid) as refused:
        orders.report_request(ReportOrder(**words), now=NOW)

    assert sentence == str(refused.value)


def test_the_example_in_the_docstring_holds() -> None:
    assert doctest.testmod(orders).failed == 0
