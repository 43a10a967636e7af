"""How far each VEN has come in an event."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from oadr.event import Event, Signal, SignalInterval
from oadr.units import power
from oadr.vocabulary import EventStatus, OptType, ScaleCode, SignalType
from vtn.ladder import Heard, State, climber
from vtn.records import Delivery, EventAnswer, EventRecord

START = datetime(2030, 1, 9, 14, tzinfo=UTC)
HOUR = timedelta(hours=1)
EVENT = Event(
    event_id="peak-1",
    market_context="http://utility.example/peak",
    created_at=START - HOUR,
    status=EventStatus.ACTIVE,
    starts_at=START,
    duration=HOUR,
    signals=(
        Signal(
            signal_name="LOAD_DISPATCH",
            signal_type=SignalType.DELTA,
            signal_id="1",
            unit=power(ScaleCode.KILO),
            intervals=(SignalInterval(duration=HOUR, value=-40.0),),
        ),
    ),
)


def record(*, opt=OptType.OPT_IN, handed=0, status=EventStatus.ACTIVE):
    answer = EventAnswer(
        ven_id="mill",
        opt_type=opt or OptType.OPT_IN,
        modification_number=0,
        at=START - HOUR,
        response_code="200",
    )
    return EventRecord(
        event=replace(EVENT, status=status),
        ven_ids=("mill",),
        answers={"mill": answer} if opt else {},
        deliveries={
            "mill": Delivery(
                ven_id="mill",
                handed_modification=handed,
                handed_at=START - HOUR if handed is not None else None,
                attempts=1,
                acknowledged_modification=None,
                withdrawn=False,
            )
        },
        history=(EVENT,),
        published_at=START - HOUR,
        published_by="anna",
    )


def seen(minutes, heard=None, *, online=True, **more):
    return climber(
        record(**more),
        "mill",
        name="Mill",
        online=online,
        contact_at=START,
        heard=heard or Heard(),
        now=START + timedelta(minutes=minutes),
    )


def states(found):
    return [one.state for one in found.rungs]


def test_before_the_start_a_node_that_has_answered_waits():
    assert states(seen(-5)) == [State.DONE, State.DONE, *[State.WAITING] * 4]


def test_a_node_that_delivers_has_been_sent_a_set_point_whether_it_says_so_or_not():
    found = seen(
        5, Heard(ordered_w=40_000.0, delivered_w=39_000.0, delivered_at=START, claims_since=START)
    )

    assert states(found)[2:] == [State.DONE, State.INFERRED, State.DONE, State.WAITING]
    assert found.remark == ""


@pytest.mark.parametrize(
    ("found", "remark", "rank"),
    [
        (seen(5, online=False), "not heard of lately", 0),
        (seen(5, Heard(override=True)), "taken over by hand at the site", 0),
        (seen(5, handed=None), "does not have the event yet", 1),
        (seen(5, opt=None), "has not answered", 1),
        (seen(5), "has not said that it began", 1),
        (
            seen(5, Heard(ordered_w=40.0, delivered_w=1.0, claims_since=START)),
            "delivers hardly anything",
            1,
        ),
        (
            seen(5, Heard(ordered_w=40.0, delivered_w=30.0, claims_since=START)),
            "delivers in part",
            2,
        ),
        (seen(5, opt=OptType.OPT_OUT), "opted out", 3),
    ],
)
def test_what_needs_attention_is_said_and_ranked(found, remark, rank):
    assert (found.remark, found.rank) == (remark, rank)


def test_what_its_own_meter_says_counts_where_nothing_else_is_known():
    reached = seen(5, Heard(claims_since=START, effect=1.0))
    partly = seen(5, Heard(claims_since=START, effect=0.5))

    assert states(reached)[3:5] == [State.INFERRED, State.DONE]
    assert [one.note for one in reached.rungs if one.note] == ["reached"]
    assert (states(partly)[4], partly.remark) == (State.PARTIAL, "delivers in part")


def test_what_the_vtn_reckons_outweighs_the_nodes_own_verdict_and_both_are_told():
    found = seen(5, Heard(ordered_w=40.0, delivered_w=1.0, claims_since=START, effect=1.0))
    without = seen(5, Heard(ordered_w=40.0, delivered_w=1.0, claims_since=START, effect=0.0))

    assert states(found)[4] is State.LATE
    assert found.rungs[4].note == "reached"
    assert without.remark == "delivers hardly anything, and its own meter sees no effect"


def test_a_node_may_take_two_minutes():
    assert seen(1).remark == ""


def test_when_it_is_over_nobody_is_late():
    found = seen(90, status=EventStatus.COMPLETED)

    assert found.remark == ""
    assert states(found)[-1] is State.DONE


def test_who_opted_out_is_asked_for_nothing_more():
    assert states(seen(5, opt=OptType.OPT_OUT))[1:] == [State.OUT] * 5
