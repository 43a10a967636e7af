"""EiReport in full at the VTN: what is asked for, what comes of it, what VENs ask of us."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from oadr.columns import Column, Intervals
from oadr.poll import Response
from oadr.report import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisteredReport,
    RegisterReport,
    ReportInterval,
    ReportRequest,
    SpecifierPayload,
)
from oadr.response import EiResponse
from oadr.vocabulary import DataQuality, ServiceName
from tests.story.vtn.utility import metadata, point, usage, values
from vtn.records import RequestState
from vtn.store import outbox

REPORT = ServiceName.REPORT
MINUTE = timedelta(minutes=1)
ZERO = timedelta(0)
FIRST = datetime(1, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def asking(name, starts_at, *, specifier="METADATA", granularity=ZERO, back=ZERO, lasts=ZERO):
    return ReportRequest(
        report_request_id=name,
        report_specifier_id=specifier,
        granularity=granularity,
        report_back=back,
        interval=ReportInterval(starts_at=starts_at, duration=lasts),
        payloads=(SpecifierPayload(r_id="0" if specifier == "METADATA" else "P"),),
    )


async def state_of(house, name):
    found = {
        one.request.report_request_id: one for one in (await house.desk.reports("0042")).requests
    }
    return found[name]


async def offering(house, *reports):
    """A VEN whose automatic requests are out of the way."""
    ven = await house.registered()
    for one in (await ven.offer(*reports)).requests:
        await house.desk.cancel_report("0042", one.report_request_id, by="anna")
        await confirm_cancel(ven, await ven.poll(CancelReport))
    return ven


async def ask(house, ven, request):
    """The operator asks, the VEN takes it on."""
    await house.desk.request_report("0042", request, by="anna")
    message = await ven.poll(CreateReport)
    reply = CreatedReport(
        response=EiResponse(request_id=message.request_id),
        pending_report_request_ids=(request.report_request_id,),
        ven_id="0042",
    )
    await ven.say(REPORT, reply, Response)


async def confirm_cancel(ven, message):
    reply = CanceledReport(response=EiResponse(request_id=message.request_id), ven_id="0042")
    await ven.say(REPORT, reply, Response)


# --- what comes of a request ---------------------------------------------------------------------


async def test_missing_double_and_late_intervals_are_accounted_for(house, clock):
    """Rule 346: a value that comes again replaces the earlier one, and is counted."""
    ven = await offering(house)
    began = clock.now()
    await ask(house, ven, asking("R", began, specifier="usage", granularity=MINUTE, back=MINUTE))

    for minute in (0, 1, 3):
        clock.advance(60)
        report = values("R", began + minute * MINUTE, (float(minute),), step_s=60)
        assert (await ven.update(report)).response.ok
    clock.at = began + timedelta(minutes=6)
    counted = await state_of(house, "R")
    assert (counted.expected, counted.tally.received, counted.missing) == (5, 3, 2)

    corrected = values("R", began + MINUTE, (9.0, 2.0), step_s=60)  # one again, one late
    assert (await ven.update(corrected)).response.ok
    counted = await state_of(house, "R")
    assert (counted.tally.received, counted.missing) == (4, 1)
    assert (counted.tally.duplicates, counted.tally.late) == (1, 1)
    series = await house.desk.measurements("0042", "P", began, clock.now())
    assert list(series.values) == [0.0, 9.0, 2.0, 3.0]


async def test_the_count_survives_a_restart(house, clock):
    ven = await offering(house)
    await ask(
        house, ven, asking("R", clock.now(), specifier="usage", granularity=MINUTE, back=MINUTE)
    )
    await ven.update(values("R", clock.now(), (1.0,), step_s=60))

    await house.restart()

    await ven.update(values("R", clock.now() + MINUTE, (1.0,), step_s=60))
    assert (await state_of(house, "R")).tally.received == 2


async def test_a_placeholder_of_bad_quality_counts_as_an_interval(house, clock):
    """Rule 318: no valid value, and yet the interval has been reported."""
    ven = await offering(house)
    await ask(
        house, ven, asking("R", clock.now(), specifier="usage", granularity=MINUTE, back=MINUTE)
    )
    bad = dataclasses.replace(
        values("R", clock.now(), (0.0,), step_s=60),
        intervals=Intervals(
            count=1,
            starts_at=(clock.now(),),
            durations=(MINUTE,),
            columns=(
                Column(r_id="P", values=(0.0,), quality=(DataQuality.BAD_NOT_CONNECTED.value,)),
            ),
        ),
    )
    assert (await ven.update(bad)).response.ok

    assert (await state_of(house, "R")).tally.received == 1
    series = await house.desk.measurements("0042", "P", clock.now(), clock.now() + MINUTE)
    assert series.quality == (DataQuality.BAD_NOT_CONNECTED,)


async def test_history_is_taken_as_it_was_kept(house, clock):
    """HISTORY_USAGE (rules 317, 324, 325): granularity 0, once, looking back."""
    ven = await offering(house, metadata("METADATA_HISTORY_USAGE", "kept", point("P")))
    began = clock.now() - timedelta(hours=1)
    request = asking("H", began, specifier="kept", lasts=timedelta(hours=1))
    await ask(house, ven, request)
    hour = values("H", began, tuple(map(float, range(60))), specifier="kept", step_s=60)
    report = dataclasses.replace(hour, report_name="HISTORY_USAGE")
    assert (await ven.update(report)).response.ok

    counted = await state_of(house, "H")
    assert counted.state is RequestState.COMPLETED
    assert (counted.expected, counted.tally.received) == (None, 60)
    points = await house.desk.points("0042")
    assert [(one.r_id, one.report_name) for one in points] == [("P", "HISTORY_USAGE")]


async def test_what_comes_on_change_has_no_expectation(house, clock):
    """Rule 317: granularity 0."""
    ven = await offering(house)
    await ask(house, ven, asking("C", clock.now(), specifier="usage", back=MINUTE))
    for seconds in (0, 7, 8):
        at = clock.now() + timedelta(seconds=seconds)
        point_data = dataclasses.replace(
            values("C", at, (1.0,)),
            duration=None,
            intervals=Intervals(
                count=1, starts_at=(at,), columns=(Column(r_id="P", values=(1.0,)),)
            ),
        )
        assert (await ven.update(point_data)).response.ok

    counted = await state_of(house, "C")
    assert (counted.expected, counted.missing, counted.tally.received) == (None, None, 3)


async def test_points_of_different_rates_are_asked_for_apart(house):
    """Rule 317: each at its own finest, none outside its limits."""
    ven = await house.registered()
    reply = await ven.offer(
        metadata(
            "METADATA_TELEMETRY_USAGE", "usage", point("P", period_s=4), point("E", period_s=900)
        )
    )

    asked = {one.payloads[0].r_id: one.granularity for one in reply.requests}
    assert asked == {"P": timedelta(seconds=4), "E": timedelta(minutes=15)}
    assert all(one.granularity <= one.report_back for one in reply.requests)


# --- metadata, asked for by the operator ---------------------------------------------------------


def again(ven, name):
    """The metadata once more, in answer to a request (rule 311)."""
    message = RegisterReport(
        request_id="m", reports=(usage(),), ven_id="0042", report_request_id=name
    )
    return ven.say(REPORT, message, RegisteredReport)


async def test_periodic_metadata_goes_on_until_its_interval_is_over(house, clock):
    """Rules 306 and 327: it cancels what is asked of the data, not the request for metadata."""
    ven = await house.registered()
    await ven.offer()
    await ven.poll(Response)
    await house.desk.request_report(
        "0042", asking("M", clock.now(), back=MINUTE, lasts=5 * MINUTE), by="anna"
    )
    data = [
        one.request.report_request_id
        for one in (await house.desk.reports("0042")).requests
        if one.report_name != "METADATA"
    ]
    for _ in range(2):
        assert (await again(ven, "M")).response.ok
        assert (await state_of(house, "M")).state is RequestState.ACTIVE
        clock.advance(60)
    assert (await state_of(house, data[0])).state is RequestState.CANCELLED

    clock.advance(300)
    assert (await state_of(house, "M")).state is RequestState.COMPLETED


async def test_a_request_for_metadata_waits_on_when_metadata_comes_unasked(house, clock):
    ven = await house.registered()
    await ven.offer()
    await house.desk.request_report("0042", asking("M", clock.now()), by="anna")

    await ven.offer()

    clock.advance(11)
    messages = [await ven.poll(CreateReport), await ven.poll(CreateReport)]
    assert "M" in {one.report_request_id for each in messages for one in each.requests}


async def test_metadata_under_a_cancelled_request_is_refused(house, clock):
    """Rule 304."""
    ven = await offering(house)
    await ask(house, ven, asking("M", clock.now(), back=MINUTE))
    await house.desk.cancel_report("0042", "M", by="anna")
    await confirm_cancel(ven, await ven.poll(CancelReport))

    assert (await again(ven, "M")).response.response_code == "452"


# --- the end of a report -------------------------------------------------------------------------


async def test_one_last_report_comes_after_a_cancellation_that_asks_for_it(house, clock):
    """Rule 345."""
    ven = await offering(house)
    await ask(
        house, ven, asking("R", clock.now(), specifier="usage", granularity=MINUTE, back=MINUTE)
    )
    await house.desk.cancel_report("0042", "R", to_follow=True, by="anna")
    message = await ven.poll(CancelReport)
    assert message.report_to_follow
    await confirm_cancel(ven, message)
    assert (await state_of(house, "R")).state is RequestState.FOLLOWING

    assert (await ven.update(values("R", clock.now(), (1.0,), step_s=60))).response.ok
    assert (await state_of(house, "R")).state is RequestState.COMPLETED


async def test_a_piggybacked_cancellation_that_is_not_obeyed_comes_by_itself(house, clock):
    """Rules 328 and 335."""
    ven = await offering(house)
    await ask(
        house, ven, asking("R", clock.now(), specifier="usage", granularity=MINUTE, back=MINUTE)
    )
    await house.desk.cancel_report("0042", "R", by="anna")
    reply = await ven.update(values("R", clock.now(), (1.0,), step_s=60))
    assert reply.cancel is not None
    assert reply.cancel.report_request_ids == ("R",)

    clock.advance(11)
    assert (await ven.update(values("R", clock.now(), (2.0,), step_s=60))).response.ok
    assert (await ven.poll(CancelReport)).report_request_ids == ("R",)


async def test_what_is_cancelled_before_it_was_taken_on_is_not_asked_again(house, clock):
    """Of two requests in one message the other one still is."""
    ven = await house.registered()
    both = metadata("METADATA_TELEMETRY_USAGE", "usage", point("P"), point("E", period_s=900))
    cancelled, kept = (one.report_request_id for one in (await ven.offer(both)).requests)
    await house.desk.cancel_report("0042", cancelled, by="anna")
    await confirm_cancel(ven, await ven.poll(CancelReport))

    clock.advance(11)
    message = await ven.poll(CreateReport)
    assert [one.report_request_id for one in message.requests] == [kept]
    await house.desk.cancel_report("0042", kept, by="anna")
    await confirm_cancel(ven, await ven.poll(CancelReport))
    clock.advance(11)
    await ven.poll(Response)


async def test_a_refused_request_stands_so_with_its_reason(house, clock):
    """Rule 340: 454 in oadrCreatedReport, or any other fault."""
    ven = await offering(house)
    await house.desk.request_report(
        "0042", asking("R", clock.now(), specifier="usage", granularity=MINUTE, back=MINUTE), by="a"
    )
    message = await ven.poll(CreateReport)
    refusal = CreatedReport(
        response=EiResponse(
            response_code="454", description="too much", request_id=message.request_id
        ),
        ven_id="0042",
    )
    await ven.say(REPORT, refusal, Response)

    found = await state_of(house, "R")
    assert (found.state, found.remark) == (RequestState.REFUSED, "too much")


async def test_a_created_report_that_lists_what_was_never_asked_is_refused(house):
    """Rules 304 and 329."""
    ven = await offering(house)
    reply = CreatedReport(
        response=EiResponse(), pending_report_request_ids=("other",), ven_id="0042"
    )

    assert (await ven.say(REPORT, reply, Response)).response.response_code == "452"


# --- what a VEN asks of us -----------------------------------------------------------------------


def say(ven, *requests):
    message = CreateReport(request_id="c", requests=requests, ven_id="0042")
    return ven.say(REPORT, message, CreatedReport)


async def taken(ven, message):
    reply = RegisteredReport(response=EiResponse(request_id=message.request_id), ven_id="0042")
    await ven.say(REPORT, reply, Response)


async def test_a_ven_gets_our_metadata_as_often_as_it_asked_for(house, clock):
    """Rules 301, 324, 327 and 329; a restart in between changes nothing."""
    ven = await house.registered()
    started = clock.now()
    reply = await say(ven, asking("mine", started, back=MINUTE, lasts=3 * MINUTE))
    assert reply.pending_report_request_ids == ("mine",)

    came = []
    for step in range(25):
        clock.at = started + timedelta(seconds=10 * step)
        if step == 8:
            await house.restart()
        message = await ven.poll(RegisterReport | Response)
        if isinstance(message, RegisterReport):
            assert message.report_request_id == "mine"
            came.append(clock.now() - started)
            await taken(ven, message)

    assert came == [ZERO, MINUTE, 2 * MINUTE]


async def test_a_ven_ends_its_periodic_request_and_may_want_one_more(house, clock):
    """Rules 329, 336 and 345."""
    ven = await house.registered()
    soon = clock.now() + MINUTE
    await say(ven, asking("one", soon, back=MINUTE), asking("two", soon, back=MINUTE))

    def cancel(name, *, to_follow):
        message = CancelReport(
            request_id="x", report_request_ids=(name,), report_to_follow=to_follow, ven_id="0042"
        )
        return ven.say(REPORT, message, CanceledReport)

    assert (await cancel("one", to_follow=False)).pending_report_request_ids == ("two",)
    last = await cancel("two", to_follow=True)
    assert last.pending_report_request_ids == ("two",)  # one is still to come
    message = await ven.poll(RegisterReport)
    assert message.report_request_id == "two"
    await taken(ven, message)
    clock.advance(600)
    await ven.poll(Response)
    assert (await cancel("two", to_follow=False)).response.response_code == "452"


async def test_a_request_may_ride_on_the_answer_to_our_metadata(house, clock):
    """Rule 344."""
    ven = await house.let_in()
    await ven.register()
    ours = await ven.poll(RegisterReport)
    reply = RegisteredReport(
        response=EiResponse(request_id=ours.request_id),
        requests=(asking("mine", clock.now()),),
        ven_id="0042",
    )
    await ven.say(REPORT, reply, Response)

    assert (await ven.poll(RegisterReport)).report_request_id == "mine"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"report_specifier_id": "TELEMETRY_USAGE"}, "452"),
        ({"payloads": (SpecifierPayload(r_id="P"),)}, "454"),
        ({"report_back": MINUTE, "interval": None}, "459"),
    ],
)
async def test_more_than_we_offer_is_refused(house, clock, changes, code):
    """Rules 304, 308, 324 and 340."""
    ven = await house.registered()
    reply = await say(ven, dataclasses.replace(asking("mine", clock.now()), **changes))

    assert reply.response.response_code == code
    assert reply.response.request_id == "c"
    assert isinstance(await ven.poll(), Response)


async def test_nobody_fills_our_memory_with_periodic_requests(house, clock):
    ven = await house.registered()
    many = [asking(f"m{number}", clock.now() + MINUTE, back=MINUTE) for number in range(17)]

    assert (await say(ven, *many)).response.response_code == "469"
    assert (await say(ven, *many[:16])).response.ok


async def test_nobody_fills_our_queue_with_requests_for_one_answer_each(house, clock):
    ven = await house.registered()
    many = [asking(f"m{number}", clock.now()) for number in range(65)]

    assert (await say(ven, *many)).response.response_code == "469"
    assert (await say(ven, *many[:64])).response.ok
    assert (await say(ven, many[64])).response.response_code == "469"

    await taken(ven, await ven.poll(RegisterReport))
    assert (await say(ven, many[64])).response.ok


async def test_what_was_not_answered_is_not_queued_once_more(house, clock):
    ven = await house.registered()
    await say(ven, asking("mine", clock.now(), back=MINUTE))

    for _ in range(5):
        clock.advance(60)
        assert (await ven.poll(RegisterReport)).report_request_id == "mine"

    async with house.store.read() as connection:
        assert len(await outbox.waiting(connection, "0042")) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"report_back": timedelta(days=367)},
        {"report_back": timedelta(days=999_999_999)},
        {"interval": ReportInterval(starts_at=LAST, duration=timedelta(days=999_999_999))},
        {"interval": ReportInterval(starts_at=LAST, duration=MINUTE)},
    ],
)
async def test_a_period_beyond_all_calendars_is_refused(house, clock, changes):
    ven = await house.registered()
    asked = dataclasses.replace(asking("mine", FIRST, back=MINUTE), **changes)

    assert (await say(ven, asked)).response.response_code == "459"
    assert isinstance(await ven.poll(), Response)


async def test_what_began_with_the_calendar_goes_on_with_ours(house, clock):
    ven = await house.registered()
    assert (await say(ven, asking("mine", FIRST, back=MINUTE))).response.ok

    for _ in range(2):
        await taken(ven, await ven.poll(RegisterReport))
        clock.advance(60)


async def test_a_report_that_is_made_once_in_an_age_is_not_asked_for(house):
    ven = await house.registered()
    offered = metadata("METADATA_TELEMETRY_USAGE", "usage", point("P", period_s=10**13))

    assert (await ven.offer(offered)).response.response_code == "459"


async def test_a_ven_brings_forth_so_many_requests_and_no_more(house):
    """Each rate is asked for by itself: hundreds of them held up everybody for a second."""

    def rates(count):
        points = [point(f"P{seconds}", period_s=seconds) for seconds in range(1, count + 1)]
        return metadata("METADATA_TELEMETRY_USAGE", "usage", *points)

    ven = await house.registered()
    assert (await ven.offer(rates(101))).response.response_code == "469"
    assert (await house.desk.reports("0042")).requests == ()
    assert len((await ven.offer(rates(100))).requests) == 100


async def test_a_new_registration_forgets_what_the_ven_asked_of_us(house, clock):
    """Rule 406."""
    ven = await house.registered()
    await say(ven, asking("mine", clock.now() + MINUTE, back=MINUTE))
    await ven.register()
    await taken(ven, await ven.poll(RegisterReport))

    clock.advance(120)
    assert isinstance(await ven.poll(), Response)


async def test_a_ven_that_offers_anew_is_asked_to_go_on_where_it_stopped(house, clock):
    """Else what it measured since its last report would be nobody's."""
    ven = await house.registered()
    (first,) = (await ven.offer()).requests
    assert first.interval.starts_at == clock.now()
    await ven.update(values(first.report_request_id, clock.now(), (1.0,) * 15))
    clock.advance(600)

    (second,) = (await ven.offer()).requests
    assert second.interval.starts_at == clock.now() - timedelta(seconds=540)
    (third,) = (await ven.offer()).requests  # nothing has come of the second
    assert third.interval == second.interval
    clock.advance(100 * 3600)
    (fourth,) = (await ven.offer()).requests
    assert fourth.interval.starts_at == clock.now() - timedelta(hours=72)

    await ven.update(values(fourth.report_request_id, clock.now(), (1.0,) * 15))
    (fifth,) = (await ven.offer()).requests  # what lies before has still not come
    assert fifth.interval == fourth.interval
