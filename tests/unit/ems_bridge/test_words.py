from datetime import UTC, datetime

import pytest
from hypothesis import given

from ems_bridge.messages import (
    Acknowledgement,
    AckStatus,
    EventNotice,
    Override,
    Reason,
    Sample,
    SetPoint,
    Verdict,
)
from ems_bridge.words import in_words, watts
from tests.unit.ems_bridge.strategies import messages

AT = datetime(2030, 1, 9, 14, tzinfo=UTC)
LATER = datetime(2030, 1, 9, 14, 2, tzinfo=UTC)
REASON = Reason(event_id="e-7", modification_number=0, signal_name="n", signal_type="t")


def lease(**more):
    return SetPoint(
        id="l",
        seq=4,
        issued_at=AT,
        not_before=AT,
        not_after=LATER,
        ttl_s=120,
        reason=REASON,
        **more,
    )


def notice(status, **more):
    fields = {
        "event_id": "e-7",
        "modification_number": 0,
        "status": status,
        "signal_name": "ELECTRICITY_PRICE",
        "signal_type": "price",
        "unit": "EUR/kWh",
        "value": 0.3,
        "starts_at": AT,
        "ends_at": None,
        "remaining_s": None,
        "opt": "optIn",
        "test": False,
        "comment": "",
        "at": AT,
    }
    return EventNotice(**{**fields, **more})


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (
            lease(delta_w=-5000.0),
            "seq 4: change -5.0 kW from 14:00:00Z until 14:02:00Z (e-7)",
        ),
        (
            lease(max_w=900.0, min_w=0.0),
            "seq 4: at most 900 W, at least 0 W from 14:00:00Z until 14:02:00Z (e-7)",
        ),
        (lease(release=True), "seq 4: release (e-7)"),
        (
            Acknowledgement(id="l", seq=4, status=AckStatus.REJECTED, reason="no", at=AT),
            "REJECTED seq 4: no",
        ),
        (
            Override(active=True, reason="fair", until=LATER, at=AT),
            "override on until 14:02:00Z: fair",
        ),
        (Override(active=False, reason="", at=AT), "override off"),
        (notice("active"), "e-7 active: ELECTRICITY_PRICE 0.3 EUR/kWh, optIn"),
        (notice("none"), "no event"),
        (
            Sample(meter="m", k=1, seq=1, boot="b", at=AT, values={"p_w": 5.0}, quality="good"),
            "p_w 5 (good)",
        ),
        (
            Verdict(
                lease_id="l",
                event_id="e",
                baseline_w=60_000.0,
                target_w=55_000.0,
                actual_w=55_040.0,
                reached_after_s=12.0,
                verdict="reached",
                at=AT,
            ),
            "reached: asked for 55.0 kW, measured 55.0 kW",
        ),
    ],
)
def test_a_message_in_a_line(message, line):
    assert in_words(message) == line


@given(messages)
def test_every_message_has_words(message):
    assert in_words(message)


def test_power_in_the_unit_a_person_would_use():
    assert [watts(w) for w in (-999.0, 1000.0, -1_234_500.0)] == ["-999 W", "1.0 kW", "-1,234.5 kW"]
