"""One row for all: what is read of a payload without its other rows is what is read with them."""

import dataclasses
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oadr
from oadr.columns import Column
from oadr.errors import OadrError
from oadr.payload import checked, read_message
from oadr.telemetry import folded
from tests.unit.oadr.test_columns import FOUR, START, body, telemetry

ROWS = 20
PLAIN = body(telemetry(ROWS))
TWO = body(telemetry(ROWS, r_ids=("Q", "P")))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def outcome(read, payload):
    try:
        return read(payload)
    except OadrError as error:
        return type(error), str(error)


def in_full(payload):
    return read_message(checked(payload)[-1])


@given(
    st.lists(NUMBERS, min_size=ROWS, max_size=ROWS),
    st.sampled_from([(), ("Quality Good - Non Specific",) * ROWS]),
    st.sampled_from([(), (FOUR,) * ROWS]),
    st.sampled_from([(), (7,) * ROWS]),
)
@settings(max_examples=30)
def test_telemetry_is_read_without_its_rows_as_with_them(values, quality, durations, confidence):
    column = Column(r_id="E", values=tuple(values), quality=quality, confidence=confidence)
    other = Column(r_id="P", values=tuple(range(ROWS)))
    payload = body(telemetry(ROWS, durations=durations, columns=(column, other)))

    assert folded(payload) is not None
    assert oadr.parse(payload) == in_full(payload)


@given(st.sampled_from([PLAIN, TWO]), st.data())
@settings(max_examples=60)
def test_a_spoilt_payload_is_read_or_refused_as_in_full(payload, data):
    at = data.draw(st.integers(0, len(payload)))
    cut = data.draw(st.integers(0, 3))
    put = data.draw(
        st.sampled_from(
            [
                b"",
                b"1",
                b"9",
                b"-",
                b".",
                b" ",
                b"<",
                b">",
                b"&",
                b"<!--",
                b"-->",
                b"e5",
                b"Z",
                b"?",
            ]
        )
        | st.integers(0, len(payload) - 400).map(lambda begin: payload[begin : begin + 400])
    )
    spoilt = payload[:at] + put + payload[at + cut :]

    assert outcome(oadr.parse, spoilt) == outcome(in_full, spoilt)


def nth(payload, what, put, number=12):
    """The payload with the nth occurrence of `what` replaced."""
    parts = payload.split(what)
    return what.join(parts[:number]) + put + what.join(parts[number:])


@pytest.mark.parametrize(
    "odd",
    [
        nth(PLAIN, b"<ei:value>", b"<!-- --><ei:value>"),
        nth(PLAIN, b"<ei:value>", b"<?x y?><ei:value>"),
        nth(PLAIN, b"<ei:rID>P<", b"<ei:rID>Q<"),
        nth(PLAIN, b"PT4S", b"PT5S"),
        nth(PLAIN, b"<ei:interval>", b"<ei:interval >"),
        nth(PLAIN, b"<ei:interval>", b"<ei:interval x='1'>"),
        nth(PLAIN, b"</ei:interval>", b"</ei:interval>text"),
        nth(PLAIN, b"</ei:interval>", b"</ei:interval>\n"),
        nth(PLAIN, b"<ei:value>", b"<ei:value>INF"),
        nth(PLAIN, b"<ei:value>", b"<ei:value>1_"),
        nth(PLAIN, b"<ei:value>", b"<ei:value>1e9"),
        nth(PLAIN, b"<ei:value>", b"<ei:value>&#49;"),
        nth(PLAIN, b"<ei:value>", b"<ei:value><![CDATA[1]]>"),
        nth(PLAIN, b"2030-01-09T", b"2030-02-30T"),
        nth(PLAIN, b"2030-01-09T", b"0000-01-09T"),
        nth(PLAIN, b"T14:00:", b"T24:00:"),
        nth(PLAIN, b"T14:00:", b"T14:00:60Z"),
        nth(PLAIN, b"Z</xcal:date-time>", b"+01:00</xcal:date-time>"),
        PLAIN.replace(b"P</ei:rID>", b"P</ei:rID><ei:confidence>101</ei:confidence>"),
        PLAIN.replace(b"<ei:payloadFloat>", b"<ei:payloadFloat xml:id='a'>"),
        PLAIN.replace(b"<?xml", b"<?xml-stylesheet a='b'?><?xml", 1),
        PLAIN.replace(b"<ei:interval>", b"<ei:interval>" * 2),
        PLAIN.replace(
            b"<ei:interval>", b"<ei:interval><xcal:uid><xcal:text>1</xcal:text></xcal:uid>"
        ),
    ],
)
def test_odd_rows_are_read_or_refused_as_in_full(odd):
    assert odd != PLAIN
    assert outcome(oadr.parse, odd) == outcome(in_full, odd)


@pytest.mark.parametrize("gap", [b"", b"\n", b"\r\n      "])
def test_rows_on_lines_of_their_own_and_with_other_prefixes_fold(gap):
    payload = PLAIN.replace(b"</ei:interval>", b"</ei:interval>" + gap).replace(b"ei:", b"e1:")
    payload = payload.replace(b"xmlns:ei=", b"xmlns:e1=")

    assert folded(payload) is not None
    assert oadr.parse(payload) == in_full(payload)


def test_two_reports_are_read_in_full():
    (report,) = oadr.parse(PLAIN).reports
    both = dataclasses.replace(oadr.parse(PLAIN), reports=(report, report))

    assert oadr.parse(oadr.build(both)) == both


def test_rows_without_a_start_of_their_own_fold():
    payload = body(telemetry(4 * ROWS, starts_at=()))

    assert folded(payload) is not None
    assert oadr.parse(payload) == in_full(payload)


def test_the_payload_that_is_parsed_holds_one_row():
    fold = folded(PLAIN)

    assert fold is not None
    assert fold.count == ROWS
    assert fold.body.count(b"<ei:interval>") == 1
    assert fold.starts_at[-1] == START + timedelta(seconds=4 * (ROWS - 1))
