from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oadr.report import ReportInterval, ReportRequest
from vtn import tally
from vtn.tally import NOTHING_YET, Tally, counted, goes_on_at

START = datetime(2030, 1, 9, 14, tzinfo=UTC)
AT = int(START.timestamp())
instants = st.lists(st.integers(0, 300), max_size=60)


def asked(granularity_s=4, back_s=60, duration_s=0, *, interval=True):
    return ReportRequest(
        report_request_id="R",
        report_specifier_id="usage",
        granularity=timedelta(seconds=granularity_s),
        report_back=timedelta(seconds=back_s),
        interval=ReportInterval(starts_at=START, duration=timedelta(seconds=duration_s))
        if interval
        else None,
        payloads=(),
    )


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@given(st.lists(instants, max_size=8))
def test_every_interval_counts_once_however_it_is_cut_into_reports(reports):
    found = NOTHING_YET
    for report in reports:
        found = counted(found, [AT + slot * 4 for slot in report], step_s=4, late_before=None)

    everything = [slot for report in reports for slot in report]
    assert found.received == len(set(everything))
    assert found.duplicates == len(everything) - len(set(everything))
    assert found.last_at == (AT + max(everything) * 4 if everything else None)
    assert list(found.ranges) == sorted(found.ranges)


@given(instants, instants)
def test_the_order_of_reports_does_not_matter(one, other):
    def both(first, second):
        found = counted(
            NOTHING_YET, [AT, *(AT + 4 * each for each in first)], step_s=4, late_before=None
        )
        return counted(found, [AT + 4 * each for each in second], step_s=4, late_before=None)

    assert both(one, other) == both(other, one)


@given(st.sets(st.integers(0, 4000), min_size=1, max_size=80))
def test_too_many_gaps_are_closed_and_stay_missing(slots):
    found = counted(NOTHING_YET, [AT + slot for slot in slots], step_s=1, late_before=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tally, "MOST_RANGES", 5)
        few = counted(NOTHING_YET, [AT + slot for slot in slots], step_s=1, late_before=None)

    assert len(few.ranges) <= 5
    assert few.received == found.received == len(slots)
    request = asked(1, 60, 4001)
    much_later = after(9000)
    assert tally.missing(request, few, much_later) == tally.missing(request, found, much_later)


def test_jitter_on_a_slot_is_no_gap():
    found = counted(NOTHING_YET, [AT, AT + 61, AT + 119, AT + 181], step_s=60, late_before=None)

    assert (found.received, found.ranges) == (4, ((0, 4),))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-100, 0), (0, 0), (60, 0), (119, 0), (120, 15), (181, 30), (1000, 225)],
)
def test_a_report_is_expected_once_it_is_late(seconds, expected):
    request = asked()  # 15 intervals a minute, and a minute of patience

    assert tally.expected(request, NOTHING_YET, after(seconds)) == expected
    assert tally.missing(request, NOTHING_YET, after(seconds)) == expected


def test_no_more_is_expected_than_the_interval_holds():
    assert tally.expected(asked(duration_s=120), NOTHING_YET, after(86_400)) == 30


@pytest.mark.parametrize("request_", [asked(0), asked(4, 0), asked(interval=False)])
def test_what_is_not_regular_has_no_expectation(request_):
    assert tally.expected(request_, NOTHING_YET, after(600)) is None
    assert tally.missing(request_, NOTHING_YET, after(600)) is None


@given(shift=st.integers(0, 3), lost=st.sets(st.integers(0, 44), max_size=20))
def test_missing_intervals_are_just_those_that_did_not_come(shift, lost):
    """The VEN measures on its own grid, up to three seconds after the start that was asked for."""
    came = [AT + shift + slot * 4 for slot in range(46) if slot not in lost]
    found = counted(NOTHING_YET, came, step_s=4, late_before=None)
    due = tally.due_before(asked(), found, after(240))

    assert tally.missing(asked(), found, after(240)) == len(
        [s for s in lost if AT + shift + s * 4 < due]
    )


def test_a_missing_interval_that_comes_is_late_once():
    first = counted(NOTHING_YET, [AT, AT + 8], step_s=4, late_before=AT)
    second = counted(first, [AT, AT + 4, AT + 60], step_s=4, late_before=AT + 60)
    third = counted(second, [AT + 4], step_s=4, late_before=AT + 60)

    assert (second.received, second.duplicates, second.late) == (4, 1, 1)
    assert (third.received, third.duplicates, third.late) == (4, 2, 1)


def test_nothing_changes_nothing():
    assert counted(NOTHING_YET, [], step_s=4, late_before=None) is NOTHING_YET
    assert Tally().last_at is None


@given(
    st.builds(
        lambda first, step, count: range(first, first + step * count, step),
        st.integers(0, 200),
        st.integers(1, 9),
        st.integers(1, 40),
    ),
    st.none() | st.integers(0, 500),
    instants,
    st.integers(1, 9),
)
def test_regular_instants_are_counted_as_all_others(regular, late, before, width):
    earlier = counted(NOTHING_YET, before, step_s=width, late_before=None)

    assert counted(earlier, regular, step_s=width, late_before=late) == counted(
        earlier, tuple(regular), step_s=width, late_before=late
    )


@pytest.mark.parametrize(
    ("came", "wanted_from", "goes_on"),
    [
        ([], 0, None),
        ([1000, 1004, 1008], 1000, 1012),
        ([1000, 1004, 1008], 990, 1012),
        ([1000, 1004, 1008], 500, 500),
        ([1000, 1004, 1012], 1000, 1008),
        ([1000, 1004, 1012], 1009, 1016),
        ([1000, 1004], 2001, 2004),
    ],
)
def test_it_goes_on_at_the_first_interval_that_has_not_come(came, wanted_from, goes_on):
    found = counted(NOTHING_YET, came, step_s=4, late_before=None)

    assert goes_on_at(found, wanted_from=wanted_from) == goes_on


@given(instants, st.integers(0, 300))
def test_all_before_where_it_goes_on_has_come(came, wanted_from):
    found = counted(NOTHING_YET, came, step_s=1, late_before=None)
    on = goes_on_at(found, wanted_from=wanted_from)

    if on is None:
        assert not came
        return
    begun = min((at for at in came if at >= wanted_from), default=on)
    assert on not in came
    assert set(range(begun, on)) <= set(came) or on == wanted_from
