import asyncio
import itertools
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oadr
from light_node.local import Curtailment
from oadr.report import RegisterReport, ReportInterval, UpdateReport
from tests.conftest import Clock
from tests.unit.ven.makers import event, known, node_status, row
from tests.unit.ven.requests import (
    curtailment_request,
    report_request,
    status_request,
    usage_request,
)
from tests.unit.ven.rooms import Ven
from ven import telemetry
from ven.reporters import HISTORY_ROWS
from ven.state import State


class Sent:
    """Every reading the VTN has taken, with when it arrived; noted as each update comes."""

    def __init__(self, ven, takes_s=0):
        self.ven = ven
        self.takes_s = takes_s
        self.arrivals = []
        self.updates = []
        ven.vtn.script[UpdateReport] = self.note

    def note(self, message):
        (report,) = message.reports
        self.ven.clock.advance(self.takes_s)
        arrived = self.ven.clock.now()
        self.updates.append((arrived, report))
        for at in report.intervals.starts_at:
            self.arrivals.append((at.timestamp(), arrived.timestamp()))

    @property
    def seconds(self):
        return sorted({at for at, _ in self.arrivals})

    def ages(self):
        return [arrived - at for at, arrived in self.arrivals]


def every_four(seconds):
    return seconds == [seconds[0] + 4 * k for k in range(len(seconds))]


async def test_each_reading_is_reported_once_and_in_order(ven):
    sent = Sent(ven)
    request = usage_request(start=ven.clock.now())
    await ven.serve(ven.force(request), seconds=600, request=request)

    assert every_four(sent.seconds)
    assert len(sent.arrivals) == len(sent.seconds)
    assert sent.seconds[0] == request.interval.starts_at.timestamp()
    assert 9 <= len(sent.updates) <= 10  # every 60 s


async def test_a_sub_meter_is_reported_by_its_own_name_and_not_hurried_by_an_event(make_ven):
    ven = make_ven(reports={"meter": [{"id": "pv"}]})
    start = ven.clock.now()
    ven.state.put_event(known(event(starts_at=start, length_s=600)))
    sent = Sent(ven)
    request = report_request("p", "pv.usage", ("pv.energy", "pv.power"), start=start)
    await ven.serve(ven.force(request), seconds=600, request=request)

    assert every_four(sent.seconds)
    assert len(sent.arrivals) == len(sent.seconds)
    assert 9 <= len(sent.updates) <= 10
    assert ven.node.asked_of == {"pv"}
    (_, report), *_ = sent.updates
    assert report.report_name == "x-SUBMETER_USAGE"
    assert [column.r_id for column in report.intervals.columns] == ["pv.energy", "pv.power"]


async def test_readings_the_node_writes_once_a_minute_arrive_all_the_same(ven):
    ven.node.commit_s = 60
    sent = Sent(ven)
    request = usage_request(start=ven.clock.now())
    await ven.serve(ven.force(request), seconds=600, request=request)

    assert every_four(sent.seconds)
    assert len(sent.arrivals) == len(sent.seconds)


@pytest.mark.parametrize("event_batch_s", [4, 8])
async def test_during_an_event_no_reading_is_older_than_8_seconds(make_ven, event_batch_s):
    ven = make_ven(reports={"event_batch_s": event_batch_s})
    start = ven.clock.now()
    ven.state.put_event(known(event(starts_at=start, length_s=600)))
    sent = Sent(ven)
    request = usage_request(start=start)
    await ven.serve(ven.force(request), seconds=600, request=request)

    assert every_four(sent.seconds)
    assert len(sent.seconds) > 140
    assert max(sent.ages()) < 8
    assert max(sent.ages()) < event_batch_s + 0.5


async def test_a_minute_after_the_event_the_pace_is_slow_again(ven):
    start = ven.clock.now()
    ven.state.put_event(known(event(starts_at=start, length_s=60)))
    sent = Sent(ven)
    request = usage_request(start=start)
    await ven.serve(ven.force(request), seconds=600, request=request)
    gaps = [
        (after - before).total_seconds()
        for (before, _), (after, _) in zip(sent.updates, sent.updates[1:], strict=False)
    ]

    assert max(gaps[:8]) < 13
    assert min(gaps[-5:]) > 50
    assert every_four(sent.seconds)


async def test_an_outage_of_an_hour_is_made_good_and_live_readings_do_not_wait_for_it(ven):
    # rule 346: what was missing is sent later
    start = ven.clock.now()
    down, up = start + timedelta(minutes=10), start + timedelta(minutes=70)
    ven.vtn.is_down = lambda: down <= ven.clock.now() < up
    sent = Sent(ven, takes_s=20)
    request = usage_request(start=start)
    await ven.serve(ven.force(request), seconds=5400, request=request)

    assert every_four(sent.seconds)
    assert sent.seconds[-1] > up.timestamp() + 600
    assert max(report.intervals.count for _, report in sent.updates) <= 225
    live = [at for at, arrived in sent.arrivals if arrived - at < 150 and arrived > up.timestamp()]
    drained = max(
        arrived
        for at, arrived in sent.arrivals
        if up.timestamp() - 3600 < at < up.timestamp() - 120
    )
    assert len([at for at in live if at < drained]) > 15  # some came while the rest was owed
    assert ven.state.requests()["u"].spool.spans == ()


@pytest.mark.parametrize("is_event_on", [False, True])
async def test_after_a_power_cut_a_quarter_of_an_hour_may_come_twice_near_an_event_nothing(
    ven, is_event_on
):
    start = ven.clock.now()
    if is_event_on:
        ven.state.put_event(known(event(starts_at=start, length_s=900)))
    sent = Sent(ven)
    request = usage_request(start=start)
    await ven.serve(ven.force(request), seconds=600, request=request)
    cut = State.peek(ven.settings.ven.state)  # what the card has
    spool = cut.requests()["u"].spool
    cut.close()
    ven.state.put_request(replace(ven.state.requests()["u"], spool=spool))
    await ven.serve(ven.make(request), seconds=300, request=request)

    assert every_four(sent.seconds)
    twice = len(sent.arrivals) - len(sent.seconds)
    assert twice == 0 if is_event_on else 0 < twice <= 225


async def test_a_restart_goes_on_where_the_vtn_acknowledged(ven):
    start = ven.clock.now()
    sent = Sent(ven)
    request = usage_request(start=start)
    await ven.serve(ven.force(request), seconds=300, request=request)
    await ven.serve(ven.make(request), seconds=300, request=request)

    assert every_four(sent.seconds)
    assert len(sent.arrivals) == len(sent.seconds)


@pytest.mark.parametrize("granularity_s", [4, 60])
@pytest.mark.parametrize("by_s", [-86_400, -3600, -20, 3600, 86_400])
async def test_readings_go_on_arriving_when_the_clock_is_set(ven, by_s, granularity_s):
    sent = Sent(ven)
    request = usage_request(start=ven.clock.now(), granularity_s=granularity_s)
    reporter = ven.force(request)
    await ven.serve(reporter, seconds=330, request=request)
    set_at = ven.node.newest
    ven.node.set_clock(by_s)
    first_at = ven.node.row(set_at + 1)[1]
    await ven.serve(reporter, seconds=600, request=request)

    after = [at for at, arrived in sent.arrivals if arrived > ven.clock.now().timestamp() - 590]
    assert {ven.node.row(i)[1] for i in range(set_at + 20, set_at + 120)} <= {
        at + lag for at in after for lag in range(0, granularity_s, 4)
    }
    assert max(arrived - at for at, arrived in sent.arrivals if at >= first_at) < 150 or by_s < 0
    for _, report in sent.updates:
        starts = report.intervals.starts_at
        assert list(starts) == sorted(set(starts))
        assert report.duration >= timedelta(0)


async def test_a_report_leaves_at_once_when_the_clock_was_set_back(ven):
    sent = Sent(ven)
    request = usage_request(start=ven.clock.now())
    reporter = ven.force(request)
    await ven.serve(reporter, seconds=65, request=request)
    ven.node.set_clock(-3600)
    set_at_s = ven.clock.now().timestamp()
    await ven.serve(reporter, seconds=12, request=request)

    assert [at for at, _ in sent.arrivals if set_at_s <= at < set_at_s + 12]


async def test_no_reading_is_left_out_when_the_clock_is_set_back(ven):
    values = []
    sent = Sent(ven)
    request = usage_request(start=ven.clock.now())
    reporter = ven.force(request)
    first = ven.node.newest + 1
    for by_s in (0, -3600, -40, 7200, -7200):
        ven.node.set_clock(by_s)
        await ven.serve(reporter, seconds=133, request=request)
    for _, report in sent.updates:
        values.extend(report.intervals.columns[0].values)

    ids = [round(value - 1000) for value in values]
    assert ids == list(range(ids[0], ids[-1] + 1))
    assert ids[0] <= first
    assert len(ids) > 130


async def test_an_outage_during_which_the_clock_is_set_back_is_made_good(ven):
    start = ven.clock.now()
    ven.vtn.is_down = lambda: 600 <= ven.clock.monotonic() < 4200
    sent = Sent(ven, takes_s=5)
    request = usage_request(start=start)
    reporter = ven.force(request)
    first = ven.node.newest
    await ven.serve(reporter, seconds=590, request=request)
    ven.node.set_clock(-1800)
    await ven.serve(reporter, seconds=8000, request=request)

    ids = sorted(
        round(value - 1000)
        for _, report in sent.updates
        for value in report.intervals.columns[0].values
    )
    assert ids[0] <= first + 1
    assert ids == list(range(ids[0], ids[-1] + 1))
    assert ids[-1] > ven.node.newest - 30
    assert ven.state.requests()["u"].spool.spans == ()


async def test_an_update_the_vtn_did_not_take_is_not_counted(ven):
    start = ven.clock.now()
    sent = Sent(ven)
    ven.vtn.is_down = lambda: int(ven.clock.now().timestamp()) % 3 == 0
    request = usage_request(start=start)
    await ven.serve(ven.force(request), seconds=900, request=request)

    assert every_four(sent.seconds)


async def test_rows_the_ring_has_let_go_of_do_not_stop_the_backlog(ven):
    start = ven.clock.now()
    down, up = start + timedelta(minutes=10), start + timedelta(minutes=70)
    ven.vtn.is_down = lambda: down <= ven.clock.now() < up
    ven.node.lost = frozenset(range(1400, 1800))
    sent = Sent(ven)
    request = usage_request(start=start)
    await ven.serve(ven.force(request), seconds=5400, request=request)

    assert ven.state.requests()["u"].spool.spans == ()
    assert sent.seconds[-1] > up.timestamp() + 600


async def test_a_node_that_is_away_gives_placeholders_and_catches_up(ven):  # rule 318
    start = ven.clock.now()
    away, back = start + timedelta(seconds=100), start + timedelta(seconds=500)
    ven.node.is_away = lambda: away <= ven.clock.now() < back

    async def wait(seen, *, at_most_s=None):
        ven.clock.advance(at_most_s)

    ven.node.changed.wait = wait
    sent = Sent(ven)
    request = usage_request(start=start)
    await ven.serve(ven.force(request), seconds=900, request=request)
    bad = [
        report
        for at, report in sent.updates
        if report.intervals.columns[0].quality[0].startswith("Quality Bad")
    ]

    assert len(bad) >= 3
    good = {
        at.timestamp()
        for _, report in sent.updates
        for at, quality in zip(
            report.intervals.starts_at, report.intervals.columns[0].quality, strict=True
        )
        if quality.startswith("Quality Good")
    }
    assert every_four(sorted(good))


async def test_a_node_that_goes_while_a_backlog_is_drained_is_waited_for(ven):
    start = ven.clock.now()
    down, up = start + timedelta(minutes=10), start + timedelta(minutes=70)
    ven.vtn.is_down = lambda: down <= ven.clock.now() < up
    moments = iter([False] * 40 + [True] * 3)
    ven.node.is_away = lambda: ven.clock.now() > up and next(moments, False)

    async def wait(seen, *, at_most_s=None):
        ven.clock.advance(at_most_s)

    ven.node.changed.wait = wait
    sent = Sent(ven, takes_s=5)
    request = usage_request(start=start)
    await ven.serve(ven.force(request), seconds=6000, request=request)

    assert next(moments, None) is None
    assert every_four(sent.seconds)


async def test_minutes_are_means_and_exactly_as_many_as_asked_for(ven):  # test R1_3160
    start = ven.clock.now()
    sent = Sent(ven)
    request = usage_request(start=start, granularity_s=60, back_s=120, length_s=600)
    await ven.serve(ven.force(request), seconds=1200, request=request)

    assert ven.state.requests() == {}
    assert len(sent.updates) == 5
    assert [60 * k for k in range(10)] == [at - start.timestamp() for at in sent.seconds]
    _, first = sent.updates[0]
    ids = range(1000, 1015)
    assert pytest.approx(1000 + sum(ids) / 15) == first.intervals.columns[0].values[0]
    assert {timedelta(minutes=1)} == set(first.intervals.durations)


@pytest.mark.parametrize("granularity_s", [4, 60, 900])
async def test_an_hour_of_readings_is_reported_every_hour(ven, granularity_s):
    start = ven.clock.now()
    sent = Sent(ven)
    request = usage_request(start=start, granularity_s=granularity_s, back_s=3600)
    await ven.serve(ven.force(request), seconds=3 * 3600 + 120, request=request)
    expected = [granularity_s * k for k in range(3 * 3600 // granularity_s)]

    assert [at - start.timestamp() for at in sent.seconds][: len(expected)] == expected
    hours = {round((at - start).total_seconds() / 60) for at, _ in sent.updates}
    assert hours == {60, 120, 180}


async def test_aggregates_catch_up_after_an_outage(ven):
    start = ven.clock.now()
    down, up = start + timedelta(minutes=10), start + timedelta(minutes=130)
    ven.vtn.is_down = lambda: down <= ven.clock.now() < up
    sent = Sent(ven)
    request = usage_request(start=start, granularity_s=60, back_s=120)
    await ven.serve(ven.force(request), seconds=9000, request=request)

    assert sent.seconds == [sent.seconds[0] + 60 * k for k in range(len(sent.seconds))]
    assert sent.seconds[-1] > start.timestamp() + 9000 - 300
    values = {
        at.timestamp(): value
        for _, report in sent.updates
        for at, value in zip(
            report.intervals.starts_at, report.intervals.columns[0].values, strict=True
        )
    }
    steps = {round(b - a, 6) for a, b in itertools.pairwise(values[at] for at in sorted(values))}
    assert steps == {15.0}  # each minute is the mean of all of its readings, not of some


async def test_a_report_without_any_reading_ends_all_the_same(ven):
    ven.node.commit_s = 1e6
    sent = Sent(ven)
    request = usage_request(start=ven.clock.now(), length_s=120)
    await ven.serve(ven.force(request), seconds=900, request=request)

    assert ven.state.requests() == {}
    assert sent.updates
    for _, report in sent.updates:
        assert report.intervals.columns[0].quality[0].startswith("Quality Bad")


async def test_a_report_whose_interval_is_long_over_is_sent_whole_and_ends(ven):
    sent = Sent(ven)
    start = ven.clock.now() - timedelta(minutes=60)
    request = usage_request(start=start, length_s=600)
    await ven.serve(ven.force(request), seconds=120, request=request)

    assert ven.state.requests() == {}
    assert [at - start.timestamp() for at in sent.seconds] == [4 * k for k in range(150)]


async def test_a_finite_report_ends_with_its_interval(ven):
    start = ven.clock.now()
    sent = Sent(ven)
    request = usage_request(start=start, length_s=120)
    await ven.serve(ven.force(request), seconds=600, request=request)

    assert ven.state.requests() == {}
    assert len(sent.updates) == 2
    assert [4 * k for k in range(30)] == [at - start.timestamp() for at in sent.seconds]


async def test_once_is_now_and_once(ven):  # tests R1_3150, rule 337
    sent = Sent(ven)
    request = usage_request(back_s=0, rids=("energy", "power"))
    await ven.serve(ven.force(request), seconds=60, request=request)

    ((_, report),) = sent.updates
    assert report.intervals.count == 1
    assert [column.r_id for column in report.intervals.columns] == ["energy", "power"]
    assert ven.state.requests() == {}


async def test_once_of_a_minute_is_the_mean_of_the_last_one(ven):
    sent = Sent(ven)
    request = usage_request(back_s=0, granularity_s=60)
    await ven.serve(ven.force(request), seconds=60, request=request)

    ((_, report),) = sent.updates
    assert timedelta(minutes=1) == report.intervals.durations[0]
    newest = ven.node.newest
    assert pytest.approx(1000 + newest - 7) == report.intervals.columns[0].values[0]


async def test_once_without_a_node_says_so(ven):
    ven.node.is_away = lambda: True
    sent = Sent(ven)
    request = usage_request(back_s=0)
    await ven.serve(ven.force(request), seconds=60, request=request)

    ((_, report),) = sent.updates
    assert report.intervals.columns[0].quality[0].startswith("Quality Bad")


async def test_one_last_report_follows_a_cancel_that_wants_it(ven):  # rule 345
    sent = Sent(ven)
    request = usage_request(start=ven.clock.now())
    reporter = ven.force(request)
    await ven.serve(reporter, seconds=90, request=request)
    ven.state.put_request(replace(ven.state.requests()["u"], ending=True))
    before = len(sent.updates)
    await ven.serve(reporter, seconds=600, request=request)

    assert before + 1 == len(sent.updates)
    assert ven.state.requests() == {}


async def test_one_last_report_of_minutes_does_not_wait_for_a_whole_one(ven):
    sent = Sent(ven)
    request = usage_request(start=ven.clock.now(), granularity_s=60)
    reporter = ven.force(request)
    await ven.serve(reporter, seconds=90, request=request)
    ven.state.put_request(replace(ven.state.requests()["u"], ending=True))
    before = len(sent.updates)
    await ven.serve(reporter, seconds=5, request=request)

    assert before + 1 == len(sent.updates)
    assert ven.state.requests() == {}


async def test_metadata_that_is_cancelled_while_it_is_sent_does_not_come_back(ven):
    request = report_request("m", "METADATA", ("0",), start=ven.clock.now())
    reporter = ven.force(request)
    ven.vtn.script[RegisterReport] = lambda _: ven.state.drop_request("m")
    await ven.serve(reporter, seconds=200, request=request)

    assert len(ven.vtn.of(RegisterReport)) == 1
    assert ven.state.requests() == {}


async def test_a_ring_made_anew_is_noticed(ven):
    sent = Sent(ven)
    request = usage_request(start=ven.clock.now())
    ven.node.status = _status("boot-1")
    reporter = ven.force(request)
    await ven.serve(reporter, seconds=180, request=request)
    ven.node.begin_anew(1000)
    ven.node.status = _status("boot-2")
    await ven.serve(reporter, seconds=300, request=request)

    assert sent.seconds[-1] > ven.clock.now().timestamp() - 90


def _status(boot):
    return node_status(boot=boot)


async def test_status_is_reported_every_minute_for_five(ven):  # test R1_3020
    advance_while_waiting(ven)
    sent = Sent(ven)
    ven.node.status = _status("b")
    request = status_request(start=ven.clock.now(), granularity_s=60, back_s=60, length_s=300)
    await ven.serve(ven.force(request), seconds=1000, request=request)

    assert len(sent.updates) == 5
    assert [60 * k for k in range(5)] == [at - sent.seconds[0] for at in sent.seconds]
    assert all(report.intervals.columns[0].values[0].online for _, report in sent.updates)
    assert ven.state.requests() == {}


async def test_status_on_change_tells_each_change(ven):  # test R1_3025
    advance_while_waiting(ven, step_s=7)
    sent = Sent(ven)
    start = ven.clock.now()
    request = status_request(start=start, granularity_s=0, back_s=60, length_s=120)
    reporter = ven.force(request)
    await ven.serve(reporter, seconds=20, request=request)
    ven.node.status = _status("b")
    await ven.serve(reporter, seconds=300, request=request)

    (_, first), (_, second) = sent.updates
    assert [value.online for value in first.intervals.columns[0].values] == [False, True]
    assert [value.online for value in second.intervals.columns[0].values] == [True]
    assert first.intervals.durations == ()


async def test_status_once_is_now(ven):  # test R1_3010
    sent = Sent(ven)
    request = status_request(back_s=0)
    await ven.serve(ven.force(request), seconds=60, request=request)

    ((_, report),) = sent.updates
    assert not report.intervals.columns[0].values[0].online


def advance_while_waiting(ven, step_s=None):
    async def wait(seen, *, at_most_s=None):
        ven.clock.advance(min(at_most_s, step_s or at_most_s) + 1e-3)

    ven.node.changed.wait = wait
    ven.desk.changed.wait = wait


def curtailed(event_, baseline, *, final):
    return Curtailment(
        n=1,
        event_id=event_.event_id,
        modification_number=0,
        baseline_method="m",
        fallback=False,
        starts_at=event_.starts_at,
        ends_at=event_.ends_at,
        ordered_w=1.0,
        delivered_w=1.0,
        fraction=1.0,
        samples_expected=1,
        samples_received=1,
        baseline=baseline,
        delivered=[(at, 5.0) for at, _ in baseline],
        setpoint_acknowledged=True,
        final=final,
    )


async def test_curtailment_is_told_each_minute_and_as_a_whole_at_the_end(ven):
    advance_while_waiting(ven)
    sent = Sent(ven)
    start = ven.clock.now()
    asked = event(starts_at=start, length_s=180)
    ven.state.put_event(known(asked))
    t0 = start.timestamp()

    class Growing(dict):
        def __contains__(self, key):
            return True

        def __getitem__(self, key):
            passed = ven.clock.now().timestamp() - t0
            minutes = min(int(passed // 60), 3)
            return curtailed(
                asked, [(t0 + 60 * k, 100.0) for k in range(minutes)], final=passed > 200
            )

    ven.node.curtailments = Growing()
    request = curtailment_request(start=start)
    await ven.serve(ven.force(request), seconds=400, request=request)
    counts = [report.intervals.count for _, report in sent.updates]

    assert counts[-1] == 3
    assert counts[:3] == [1, 2, 2]
    assert ven.state.events()["e"].reported
    final_at, _ = sent.updates[-1]
    assert final_at - start < timedelta(seconds=210)
    assert all(at < final_at + timedelta(seconds=1) for at, _ in sent.updates)


async def test_the_curtailment_of_a_day_comes_in_parts_that_the_vtn_takes(ven):
    advance_while_waiting(ven)
    sent = Sent(ven)
    start = ven.clock.now() - timedelta(days=1)
    asked = event(starts_at=start, length_s=86_400)
    ven.state.put_event(known(asked))
    minutes = [start.timestamp() + 60 * k for k in range(1440)]
    ven.node.curtailments = {"e": curtailed(asked, [(at, 100.0) for at in minutes], final=True)}
    request = curtailment_request(start=start)
    await ven.serve(ven.force(request), seconds=10, request=request)

    assert [at for at, _ in sent.arrivals] == minutes
    for _, report in sent.updates:
        assert len(oadr.build(UpdateReport(request_id="r", reports=(report,)))) < oadr.MAX_BYTES / 2
    assert ven.state.events()["e"].reported


async def test_an_event_the_node_knows_nothing_of_is_closed_in_the_end(ven):
    advance_while_waiting(ven)
    start = ven.clock.now()
    ven.state.put_event(known(event(starts_at=start, length_s=60)))
    request = curtailment_request(start=start)
    await ven.serve(ven.force(request), seconds=900, request=request)

    assert ven.state.events()["e"].reported
    assert ven.vtn.of(UpdateReport) == []


def history(ven, specifier, minutes=0):
    """A history of so long before now, or of all there is."""
    r_ids = (f"{specifier}-energy", f"{specifier}-power")
    request = report_request("h", specifier, r_ids, granularity_s=0, back_s=0)
    interval = ReportInterval(
        starts_at=ven.clock.now() - timedelta(minutes=minutes), duration=timedelta(minutes=minutes)
    )
    return replace(request, interval=interval)


async def test_the_whole_history_is_one_report_of_quarter_hours(ven):  # test R1_3130, rule 325
    request = history(ven, "history")
    await ven.force(request).round()

    (message,) = ven.vtn.of(UpdateReport)
    (report,) = message.reports
    assert report.report_name == "HISTORY_USAGE"
    starts = report.intervals.starts_at
    assert all(at.minute % 15 == at.second == 0 for at in starts)
    assert {timedelta(minutes=15)} == set(report.intervals.durations)
    # The ring holds 1,000 rows of 4 s: 67 minutes before 14:00.
    assert [f"{at:%H:%M}" for at in starts] == ["12:45", "13:00", "13:15", "13:30", "13:45"]
    power = report.intervals.column("history-power").values
    assert power[-1] == pytest.approx(1000 + 999 - 112.5, abs=1)
    assert report.intervals.column("history-energy").values[-1] == pytest.approx(775, abs=1)
    assert not ven.state.requests()


async def test_a_raw_history_has_each_instant_once_where_the_clock_was_set_back(ven):
    ven.clock.advance(1800)
    ven.node.set_clock(-600)
    ven.clock.advance(900)
    request = history(ven, "history-raw", minutes=30)
    sent = Sent(ven)
    await ven.serve(ven.force(request), seconds=60, request=request)

    assert every_four([at for at, _ in sent.arrivals])
    values = [v for _, report in sent.updates for v in report.intervals.columns[0].values]
    newest = ven.node.newest
    assert values[-150:] == [ven.node.row(newest - k)[0] for k in reversed(range(150))]


async def test_half_an_hour_of_raw_history_comes_in_as_many_reports_as_it_takes(ven):
    request = history(ven, "history-raw", minutes=30)  # test R1_3140, rule 325
    reporter = ven.force(request)
    await ven.serve(reporter, seconds=60, request=request)

    sizes = [message.reports[0].intervals.count for message in ven.vtn.of(UpdateReport)]
    assert sizes == [225, 225]
    starts = [
        at for message in ven.vtn.of(UpdateReport) for at in message.reports[0].intervals.starts_at
    ]
    now = ven.clock.now()
    assert starts == [now - timedelta(seconds=4 * k) for k in range(450, 0, -1)]
    assert not ven.state.requests()


async def test_a_history_goes_on_after_a_restart_where_it_was_acknowledged(ven):
    request = history(ven, "history-raw", minutes=30)
    await ven.force(request).round()
    await ven.make(request).round()  # as after a restart: another reporter, the same state

    first, second = (message.reports[0].intervals for message in ven.vtn.of(UpdateReport))
    assert second.starts_at[0] - first.starts_at[-1] == timedelta(seconds=4)
    assert not ven.state.requests()


@pytest.mark.parametrize("specifier", ["history", "history-raw"])
async def test_a_history_of_a_time_without_readings_says_so(ven, specifier):  # rule 318
    request = history(ven, specifier, minutes=30)
    before = replace(request.interval, starts_at=ven.clock.now() - timedelta(days=2))
    request = replace(request, interval=before)
    await ven.force(request).round()

    (message,) = ven.vtn.of(UpdateReport)
    power = message.reports[0].intervals.column(f"{specifier}-power")
    assert power.quality[0].startswith("Quality Bad")
    assert not ven.state.requests()


async def test_a_history_of_seven_days_fits_one_message(ven):
    rows = [row(k, k * 900, 123456.789, 123456789.5) for k in range(7 * 96 + 1)]
    intervals = telemetry.usage(
        rows, ("history-power", "history-energy"), length=timedelta(minutes=15)
    )
    request = history(ven, "history")
    report = telemetry.report(request, intervals, ven.clock.now())
    body = oadr.build(UpdateReport(request_id="u", reports=(report,), ven_id="v"))
    assert len(body) < oadr.MAX_BYTES * 0.8
    assert len(rows) <= HISTORY_ROWS


async def test_metadata_is_sent_when_asked_for_with_the_requests_own_id(ven):  # rules 311, 327
    request = report_request("m", "METADATA", ("0",), back_s=0)
    await ven.serve(ven.force(request), seconds=10, request=request)

    (message,) = ven.vtn.of(RegisterReport)
    assert message.report_request_id == "m"
    assert ven.state.requests() == {}


async def test_periodic_metadata_cancels_the_reports_but_not_itself(ven):  # rule 306
    ven.force(usage_request(start=ven.clock.now()))
    request = report_request("m", "METADATA", ("0",), length_s=300, start=ven.clock.now())
    reporter = ven.force(request)
    await ven.serve(reporter, seconds=100, request=request)
    assert list(ven.state.requests()) == ["m"]
    await ven.serve(reporter, seconds=1000, request=request)

    assert len(ven.vtn.of(RegisterReport)) == 5
    assert ven.state.requests() == {}


@st.composite
def troubles(draw, most_s=2400):
    """Stretches of time in which something is away, as (start, end) in seconds."""
    starts = draw(st.lists(st.integers(30, most_s), max_size=3))
    return [(start, start + draw(st.integers(1, 1500))) for start in starts]


@settings(max_examples=6)
@given(
    vtn_away=troubles(),
    node_away=troubles(),
    restarts=st.lists(st.integers(1, 4000), max_size=2),
    event_at=st.one_of(st.none(), st.integers(0, 3000)),
    commit_s=st.sampled_from([0.3, 60]),
    granularity_s=st.sampled_from([4, 60]),
    back_s=st.sampled_from([60, 300]),
)
def test_whatever_happens_each_reading_arrives(
    *, vtn_away, node_away, restarts, event_at, commit_s, granularity_s, back_s
):
    async def play(folder):
        clock = Clock()
        ven = Ven(folder, clock, reports={"late_s": 75})
        start = clock.now()

        def is_in(windows):
            passed = (clock.now() - start).total_seconds()
            return any(begin <= passed < end for begin, end in windows)

        async def wait(seen, *, at_most_s=None):
            clock.advance(at_most_s)

        ven.vtn.is_down = lambda: is_in(vtn_away)
        ven.node.is_away = lambda: is_in(node_away)
        ven.node.changed.wait = wait
        ven.node.commit_s = commit_s
        if event_at is not None:
            begins = start + timedelta(seconds=event_at)
            ven.state.put_event(known(event(starts_at=begins, length_s=600)))
        sent = Sent(ven)
        request = usage_request(start=start, granularity_s=granularity_s, back_s=back_s)
        reporter = ven.force(request)
        for moment in [*sorted(restarts), 6000]:
            left_s = moment - (clock.now() - start).total_seconds()
            await ven.serve(reporter, seconds=left_s, request=request)
            reporter = ven.make(request)
        ven.close()
        return sent, start.timestamp(), clock.now().timestamp()

    with tempfile.TemporaryDirectory() as folder:
        sent, start, end = asyncio.run(play(Path(folder)))
    good = {}
    for _, report in sent.updates:
        column = report.intervals.columns[0]
        for at, value, quality in zip(
            report.intervals.starts_at, column.values, column.quality, strict=True
        ):
            if quality.startswith("Quality Good"):
                good.setdefault(at.timestamp(), set()).add(value)
    last = max(good)
    assert sorted(good) == [start + granularity_s * k for k in range(len(good))]
    assert last > end - back_s - 200
    rows = granularity_s // 4
    for k, at in enumerate(sorted(good)):  # each the mean of all of its readings, not of some
        assert good[at] == {2000.0 + k * rows + (rows - 1) / 2}
