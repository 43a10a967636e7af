import json
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_bridge.errors import MessageRefused
from ems_bridge.messages import (
    MAX_BYTES,
    Heartbeat,
    Reason,
    Sample,
    SetPoint,
    decode,
    encode,
)
from tests.unit.ems_bridge.strategies import messages

AT = datetime(2030, 1, 9, 14, tzinfo=UTC)
REASON = Reason(
    event_id="0042", modification_number=1, signal_name="LOAD_DISPATCH", signal_type="delta"
)


def lease(**more):
    fields = {
        "id": "lease-1",
        "seq": 1,
        "issued_at": AT,
        "not_before": AT,
        "not_after": AT + timedelta(seconds=120),
        "ttl_s": 120.0,
        "reason": REASON,
    }
    return SetPoint(**{**fields, **more})


def altered(**more):
    raw = json.loads(encode(lease(delta_w=-5000.0)))
    raw.update(more)
    return json.dumps(raw).encode()


@given(messages)
def test_every_message_comes_back_as_it_was_sent(message):
    assert decode(encode(message)) == message


@given(messages)
def test_the_first_key_names_the_schema_and_instants_end_with_z(message):
    raw = json.loads(encode(message))

    assert next(iter(raw)) == "schema"
    assert raw["schema"].startswith("df/v1/")
    assert all(raw[name].endswith("Z") for name in raw if name == "at" or name.startswith("not_"))


def test_an_identifier_stays_as_it_is_written():
    assert decode(encode(lease(delta_w=-1.0))).reason.event_id == "0042"


def test_another_offset_is_taken_to_utc():
    vienna = timezone(timedelta(hours=1))

    beat = decode(b'{"schema":"df/v1/hb","counter":1,"at":"2030-01-09T15:00:00+01:00"}')

    assert beat.at == AT
    assert beat.at.tzinfo is UTC
    assert Heartbeat(counter=1, at=AT.astimezone(vienna)).at.tzinfo is UTC


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ({}, "give either delta_w"),
        ({"delta_w": -1.0, "max_w": 5.0}, "not both kinds"),
        ({"max_w": 1.0, "min_w": 2.0}, "min_w is above max_w"),
        ({"delta_w": -1.0, "release": True}, "a release bears no"),
        ({"delta_w": -1.0, "not_after": AT}, "has no length"),
        ({"delta_w": -1.0, "ttl_s": 0.0}, "ttl_s is 0"),
        ({"delta_w": float("nan")}, "'delta_w' is nan"),
        ({"delta_w": float("inf")}, "'delta_w' is inf"),
        ({"delta_w": -1.0, "issued_at": datetime(2030, 1, 9)}, "no time zone"),
    ],
)
def test_a_set_point_that_contradicts_itself_is_refused(target, sentence):
    with pytest.raises(MessageRefused, match=sentence):
        lease(**target)


def test_a_release_needs_no_length():
    release = lease(release=True, not_after=AT, ttl_s=0.0)

    assert decode(encode(release)) == release


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (b"", "input data was truncated"),
        (b"no json", "malformed"),
        (b"[]", "Expected 'object', got 'array'"),
        (b"null", "Expected 'object', got 'null'"),
        (b"{}", "missing required field 'schema'"),
        (b'{"schema":"df/v2/hb"}', "Invalid value 'df/v2/hb'"),
        (b'{"schema":"df/v1/hb","counter":1}', "missing required field 'at'"),
        (b'{"schema":"df/v1/hb","counter":-1,"at":"2030-01-09T14:00:00Z"}', "int' >= 0"),
        (b'{"schema":"df/v1/hb","counter":1,"at":"2030-01-09T14:00:00"}', "timezone"),
        (b'{"schema":"df/v1/hb","counter":1,"at":"9999-12-31T23:00:00-02:00"}', "years 1 to 9999"),
        (b'{"schema":"df/v1/hb","counter":1,"at":"0001-01-01T00:00:00+02:00"}', "years 1 to 9999"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"x":' + b"[" * 60_000, "recursion"),
        (b" " * (MAX_BYTES + 1), "the limit is 65536"),
        (altered(delta_w=None), "give either delta_w"),
        (altered(delta_kw=5), "unknown field 'delta_kw'"),
        (altered(seq="1"), "Expected 'int', got 'str'"),
        (altered(seq=2**53), "int' <= 9007199254740991"),
        (altered(id=""), "length >= 1"),
        (altered(ramp_w_per_s=0), "'float' > 0"),
        (altered().replace(b"-5000.0", b"NaN"), "invalid character"),
        (altered().replace(b"-5000.0", b"Infinity"), "invalid character"),
        (altered().replace(b"-5000.0", b"1e999"), "out of range"),
    ],
)
def test_what_is_not_a_message_is_refused_in_one_sentence(payload, sentence):
    with pytest.raises(MessageRefused) as refusal:
        decode(payload)

    assert sentence.lower() in str(refusal.value).lower()
    assert "\n" not in str(refusal.value)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(payload):
    try:
        decode(payload)
    except MessageRefused:
        return
    assert json.loads(payload)["schema"].startswith("df/v1/")


def test_nothing_is_sent_that_the_other_end_would_refuse():
    with pytest.raises(MessageRefused, match="length >= 1"):
        encode(lease(id="", delta_w=-1.0))
    with pytest.raises(MessageRefused, match="the limit is"):
        encode(lease(delta_w=-1.0, reason=msgspec.structs.replace(REASON, signal_name="x" * 70000)))


def test_a_sample_says_nothing_rather_than_nan():
    with pytest.raises(MessageRefused, match="leave out what was not measured"):
        Sample(
            meter="main",
            k=1,
            seq=1,
            boot="b",
            at=AT,
            values={"active_power_w": float("nan")},
            quality="good",
        )
