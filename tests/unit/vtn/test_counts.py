from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from vtn.counts import LAG_S, SECONDS, Counts, Histogram, Tallied

NOW = datetime(2030, 1, 9, 14, tzinfo=UTC)


@given(st.lists(st.floats(0, 100)))
def test_each_value_is_counted_once_at_the_first_bound_it_does_not_pass(values):
    histogram = Histogram(SECONDS)
    for value in values:
        histogram.observe(value)

    for index, bound in enumerate(SECONDS):
        below = sum(value <= bound for value in values)
        assert below == sum(histogram.counts[: index + 1])
    assert len(values) == sum(histogram.counts)


def test_requests_are_counted_by_service_and_status():
    counts = Counts()
    counts.request("OadrPoll", 200, 0.002)
    counts.request("OadrPoll", 200, 0.004)
    counts.request("", 404, 0.001)

    assert dict(counts.requests) == {("OadrPoll", 200): 2, ("", 404): 1}
    assert counts.seconds["OadrPoll"].total == 0.006


def test_a_report_counts_its_readings_and_how_old_the_newest_is():
    counts = Counts()
    counts.report(samples=225, newest_at=NOW.timestamp() - 12, now=NOW)
    counts.report(samples=0, newest_at=None, now=NOW)
    counts.report(samples=1, newest_at=NOW.timestamp() + 3, now=NOW)  # its clock is ahead

    assert (counts.samples, counts.reports, counts.lag.total) == (226, 3, 12.0)
    assert counts.lag.counts[: LAG_S.index(15.0) + 1] == [1, 1]


def test_what_a_worker_counted_reaches_another_whole():
    counts = Counts()
    counts.request("EiReport", 200, 0.1)
    counts.rejected["463"] += 1
    counts.overloads["lag"] += 2
    counts.report(samples=3, newest_at=NOW.timestamp(), now=NOW)
    tallied = counts.tallied(
        worker=2, loop_lag=Histogram(SECONDS), gauges={"requests_under_way": 1.0}
    )

    assert tallied == msgspec.json.decode(msgspec.json.encode(tallied), type=Tallied)
    assert tallied.requests == {"EiReport 200": 1}
