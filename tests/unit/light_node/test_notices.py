from datetime import UTC, datetime, timedelta

import pytest

from ems_bridge.messages import decode, encode
from light_node.local import Notice, NoticeValue
from light_node.notices import next_change, notice_at, notices_at

T0 = datetime(2030, 1, 9, 14, 0, tzinfo=UTC)


def after(seconds):
    return T0 + timedelta(seconds=seconds)


def notice(event="e", start=0, end=120, status="near", values=(1.5, 2.5)):
    length = 60
    return Notice(
        event_id=event,
        modification_number=3,
        status=status,
        starts_at=after(start),
        ends_at=None if end is None else after(end),
        signal_name="ELECTRICITY_PRICE",
        signal_type="price",
        unit="currencyPerKWh",
        opt="optIn",
        comment="why not",
        values=tuple(
            NoticeValue(
                starts_at=after(start + n * length),
                ends_at=after(start + (n + 1) * length),
                value=value,
            )
            for n, value in enumerate(values)
        ),
    )


@pytest.mark.parametrize(
    ("at", "status", "value", "remaining_s"),
    [
        (-1, "near", None, None),
        (0, "active", 1.5, 120),
        (59, "active", 1.5, 61),
        (60, "active", 2.5, 60),
        (120, "completed", None, None),
    ],
)
def test_the_clock_alone_moves_an_event_on(at, status, value, remaining_s):
    told = notice_at(notice(), after(at))

    assert (told.status, told.value, told.remaining_s) == (status, value, remaining_s)
    assert decode(encode(told)) == told


def test_a_cancelled_event_stays_cancelled():
    assert notice_at(notice(status="cancelled"), after(30)).status == "cancelled"


def test_an_open_ended_event_has_no_remaining_time():
    assert notice_at(notice(end=None), after(999)).remaining_s is None


def test_the_most_pressing_event_is_told_last():
    notices = [
        notice("now", start=-10, end=50),
        notice("next", start=100, end=200),
        notice("later", start=500, end=600),
        notice("over", start=-200, end=-100),
        notice("off", start=50, end=60, status="cancelled"),
    ]

    told = [n.event_id for n in notices_at(notices, T0)]

    assert told == ["over", "off", "later", "next", "now"]


def test_without_events_that_is_said():
    (told,) = notices_at([], T0)

    assert told.status == "none"
    assert decode(encode(told)) == told


def test_the_next_change_is_the_next_boundary():
    notices = [notice(), notice("f", start=30, end=500, values=())]

    assert next_change(notices, after(-5)) == T0
    assert next_change(notices, T0) == after(30)
    assert next_change(notices, after(30)) == after(60)
    assert next_change(notices, after(500)) is None
