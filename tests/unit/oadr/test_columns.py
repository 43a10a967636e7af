import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import oadr
from oadr.codec import Element, clark
from oadr.columns import INTERVALS, Column, Intervals, LoadControl, ResourceStatus, alike
from oadr.errors import InvalidContent, SchemaInvalid
from oadr.payload import checked
from oadr.report import Report, UpdateReport

START = datetime(2030, 1, 9, 14, tzinfo=UTC)
FOUR = timedelta(seconds=4)
STATUS = ResourceStatus(
    online=True, manual_override=False, set_point=LoadControl(current=3.0, normal=4.0)
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.sampled_from(["Quality Good - Non Specific", "No New Value - Previous Value Used"])


def body(intervals: Intervals) -> bytes:
    report = Report(
        report_request_id="r",
        report_specifier_id="s",
        report_name="TELEMETRY_USAGE",
        created_at=START,
        intervals=intervals,
    )
    return oadr.build(UpdateReport(request_id="u", reports=(report,)))


def element(payload: bytes) -> Element:
    return next(checked(payload).iter(clark("strm:intervals")))


def telemetry(count: int = 3, *, r_ids: tuple[str, ...] = ("P",), **changes: object) -> Intervals:
    """Intervals as nearly everybody sends them."""
    given_: dict[str, object] = {
        "count": count,
        "starts_at": tuple(START + FOUR * index for index in range(count)),
        "durations": (FOUR,) * count,
        "columns": tuple(
            Column(r_id=r_id, values=tuple(float(index) for index in range(count)))
            for r_id in sorted(r_ids)
        ),
    }
    return Intervals(**{**given_, **changes})


def thinned(draw, items: list[object], *, never: bool) -> tuple[object, ...]:
    """Some of the items, or all, or none; the empty tuple for none."""
    kept = [item if never or draw(st.integers(0, 9)) else None for item in items]
    return tuple(kept) if any(item is not None for item in kept) else ()


@st.composite
def any_intervals(draw) -> Intervals:
    """Regular ones mostly, and every way in which they may not be."""
    count = draw(st.integers(1, 6))
    regular = draw(st.booleans())
    columns = []
    for r_id in draw(st.lists(st.sampled_from("EPQU"), min_size=1, max_size=3, unique=True)):
        values = draw(st.lists(NUMBERS | st.just(STATUS), min_size=count, max_size=count))
        if regular:
            values = [1.5 if isinstance(value, ResourceStatus) else value for value in values]
        quality = draw(st.just([]) | st.lists(WORDS, min_size=count, max_size=count))
        confidence = draw(
            st.just([]) | st.lists(st.integers(0, 100), min_size=count, max_size=count)
        )
        columns.append(
            Column(
                r_id=r_id,
                values=tuple(values) if regular else (1.0, *values[1:]),
                quality=thinned(draw, quality, never=regular),
                confidence=() if regular else thinned(draw, confidence, never=False),
            )
        )
    starts = [START + timedelta(seconds=draw(st.integers(0, 900))) for _ in range(count)]
    lengths = draw(st.sampled_from([[], [FOUR] * count, [FOUR * (1 + n) for n in range(count)]]))
    return Intervals(
        count=count,
        starts_at=thinned(draw, starts, never=regular),
        durations=thinned(draw, lengths, never=regular),
        uids=() if regular else tuple(str(index) for index in range(count)),
        columns=tuple(sorted(columns, key=lambda column: column.r_id)),
    )


@given(any_intervals())
def test_the_quick_way_finds_what_walking_finds_or_nothing(intervals):
    found = element(body(intervals))

    assert alike(found) in (None, INTERVALS.walk(found))


@given(st.integers(1, 9), st.sampled_from([("P",), ("P", "E"), ("a", "b", "c")]), st.booleans())
def test_telemetry_goes_the_quick_way(count, r_ids, with_quality):
    intervals = telemetry(count, r_ids=r_ids)
    if with_quality:
        columns = [
            dataclasses.replace(one, quality=("Quality Good - Non Specific",) * count)
            for one in intervals.columns
        ]
        intervals = dataclasses.replace(intervals, columns=tuple(columns))

    assert alike(element(body(intervals))) == intervals


QUALITY = "<oadr:oadrDataQuality>Quality Good - Non Specific</oadr:oadrDataQuality>"
AGAIN = (
    "<oadr:oadrReportPayload><ei:rID>P</ei:rID><ei:payloadFloat><ei:value>1</ei:value>"
    "</ei:payloadFloat></oadr:oadrReportPayload>"
)
PLAIN = body(telemetry(9)).decode()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<ei:rID>P<", "<ei:rID>Q<"),  # another point in the first interval
        ("<ei:value>0.0<", "<ei:value>INF<"),
        ("<xcal:duration>PT4S<", "<xcal:duration>P1Y<"),
        ("<ei:rID>P<", "<ei:rID><"),
        (":00Z<", ":00.5Z<"),
        (":04Z<", ":04<"),
        ("<ei:value>0.0<", "<ei:value>0<!-- -->.<!-- -->0<"),
        ("<ei:value>0.0<", "<ei:value><![CDATA[0]]>.0<"),
        ("<ei:interval>", "<ei:interval>\n  "),
        ("<ei:value>0.0<", "<ei:value> 0.0 <"),
        ("<xcal:duration><xcal:duration>PT4S</xcal:duration></xcal:duration>", ""),
        ("</ei:payloadFloat>", f"</ei:payloadFloat>{QUALITY}"),
        ("</oadr:oadrReportPayload>", f"</oadr:oadrReportPayload>{AGAIN}"),
        ("<ei:rID>P</ei:rID>", "<ei:rID>P</ei:rID><ei:confidence>50</ei:confidence>"),
    ],
)
def test_whatever_is_odd_about_one_interval_both_ways_agree(old, new):
    changed = PLAIN.replace(old, new, 1)
    assert changed != PLAIN
    found = element(changed.encode())

    quick = alike(found)
    try:
        expected = INTERVALS.walk(found)
    except ValueError:
        assert quick is None
        with pytest.raises(InvalidContent):
            oadr.parse(changed.encode())
    else:
        assert quick in (None, expected)
        assert oadr.parse(changed.encode()).reports[0].intervals == expected


def test_an_interval_without_a_payload_is_not_valid_by_the_schema():
    """The quick way takes that for granted."""
    payload = "<oadr:oadrReportPayload>" + PLAIN.split("<oadr:oadrReportPayload>", 1)[1]
    payload = payload.split("</ei:interval>", 1)[0]

    with pytest.raises(SchemaInvalid):
        checked(PLAIN.replace(payload, "", 1).encode())
