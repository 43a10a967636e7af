# SPDX-License-Identifier: Apache-2.0
"""One reporter for each kind of report: usage, status, curtailment, metadata."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from doorway import get_logger
from light_node.errors import NodeRefused, NodeUnreachable
from oadr.columns import ResourceStatus
from oadr.report import ReportRequest
from ven import offers, telemetry
from ven.pacing import Pace, is_batch_ready, is_period_ready
from ven.plan import step_at
from ven.reporting import Reporter, Reporting
from ven.spool import Spool
from ven.state import InForce
from ven.telemetry import BATCH_ROWS, Row

log = get_logger()

WAIT_S = 5.0
"""The longest wait for new readings at one go: so fast an event is noticed by its report."""
LOOK_S = 30.0
"""The longest wait by a clock that may be set meanwhile."""
LOOK_BACK = timedelta(minutes=5)
"""How old the readings of a one-shot report may be."""
LIVE = timedelta(seconds=60)
"""When an outage has left a backlog: what is younger than this goes ahead of it."""
UNKNOWN_AFTER = timedelta(minutes=10)
"""An event the node knows nothing of so long after its end brought nothing to report."""
MOST_ROWS = 21_600
"""The most rows at hand: a day at 4 s."""
HISTORY_ROWS = 680
"""The most rows of one history: seven days of quarter hours, in well under 1 MiB."""
_STRIDE = timedelta(hours=1)


def make_reporter(reporting: Reporting, request: ReportRequest) -> Reporter:
    """The reporter that can serve a request; `offers.check` has passed it."""
    if offers.meter_of(request.report_specifier_id):
        return UsageReporter(reporting, request)
    match request.report_specifier_id:
        case offers.USAGE:
            return UsageReporter(reporting, request)
        case offers.STATUS:
            return StatusReporter(reporting, request)
        case offers.CURTAILMENT:
            return CurtailmentReporter(reporting, request)
        case offers.HISTORY | offers.HISTORY_RAW:
            return HistoryReporter(reporting, request)
        case _:
            return MetadataReporter(reporting, request)


class UsageReporter:
    """TELEMETRY_USAGE: the readings on the light node's disk, each once, none left out.

    Of the site's meter, or of a sub-meter; an event does not hurry those of a sub-meter.
    """

    def __init__(self, reporting: Reporting, request: ReportRequest) -> None:
        settings = reporting.settings.reports
        self._reporting = reporting
        self._request = request
        self._meter = offers.meter_of(request.report_specifier_id)
        self._points = offers.asked_points(request)
        self._period_s = float(settings.min_period_s)
        self._length_s = max(request.granularity.total_seconds(), self._period_s)
        self._late = timedelta(seconds=settings.late_s)
        self._batch_s = settings.event_batch_s
        self._at_hand: list[Row] = []
        """Fetched, not yet acknowledged; ascending."""
        self._more = False
        """Whether the node had more than there was room for."""
        self._boot = ""

    async def round(self) -> None:
        in_force = self._reporting.in_force(self._request)
        if in_force is None:
            return
        if not self._request.report_back:
            await self._once()
            return
        in_force = _minding_clock(self._reporting, in_force)
        try:
            if in_force.spool is None:
                await self._find_start(in_force)
                return
            await self._mind_new_ring(in_force)
            await self._fetch()
            if self._is_backlog() and await self._leave_behind():
                return
            await self._send_what_is_ready()
        except NodeUnreachable:
            await self._without_node(in_force)
        except NodeRefused as error:
            log.warning("readings_refused", why=str(error), request=self._request.report_request_id)
            await self._reporting.sleep(WAIT_S)

    # --- fetching ------------------------------------------------------------------------------

    async def _find_start(self, in_force: InForce) -> None:
        """The first row of the report interval becomes the place to go on from."""
        at = Pace.of(self._request).start
        now = self._reporting.now()
        start = datetime.fromtimestamp(at, UTC)
        while start < now:
            end = min(start + _STRIDE, now)
            found = await self._reporting.node.span(start, end, meter=self._meter)
            if found.ids:
                spool = Spool(after=found.ids[0] - 1)
                self._reporting.note(replace(in_force, spool=spool))
                return
            start = end
        await self._say_that_there_is_nothing(in_force)
        await self._reporting.sleep(min(max(at - now.timestamp(), 1.0), WAIT_S))

    async def _mind_new_ring(self, in_force: InForce) -> None:
        """A node whose ring was made anew counts its rows from 1 again: go on from there."""
        status = self._reporting.node.status
        if status is None or status.boot == self._boot or in_force.spool is None:
            return
        now = self._reporting.now()
        found = await self._reporting.node.span(now - 2 * LOOK_BACK, now, meter=self._meter)
        if not found.ids:
            return
        self._boot = status.boot
        if max(found.ids) < in_force.spool.after:
            log.warning(
                "ring_made_anew",
                request=self._request.report_request_id,
                was=in_force.spool.after,
                now=found.ids[0],
            )
            self._at_hand.clear()
            spool = Spool(after=found.ids[0] - 1)
            self._reporting.note(replace(in_force, spool=spool))

    async def _fetch(self) -> None:
        in_force = self._reporting.in_force(self._request)
        if in_force is None or in_force.spool is None:
            return
        room = self._capacity - len(self._at_hand)
        after = self._at_hand[-1].row_id if self._at_hand else in_force.spool.after
        wait_s = self._wait_s(in_force)
        if room <= 0:
            await self._reporting.sleep(wait_s)
            return
        readings = await self._reporting.node.readings(
            after=after,
            limit=room,
            wait_s=wait_s,
            delivered=self._reporting.delivered(),
            meter=self._meter,
        )
        self._at_hand.extend(telemetry.rows_of(readings))
        self._more = len(readings.ids) == room

    def _is_backlog(self) -> bool:
        """Whether what is at hand is full of old readings, and so more must wait behind them."""
        if not self._is_raw or len(self._at_hand) < BATCH_ROWS:
            return False
        age_s = self._now_s() - self._at_hand[-1].starts_at
        return age_s > max(self._late.total_seconds(), LIVE.total_seconds())

    async def _leave_behind(self) -> bool:
        """Go on with the live readings, if there are any, and owe what lies before them."""
        in_force = self._reporting.in_force(self._request)
        if in_force is None or in_force.spool is None:
            return False
        now = self._reporting.now()
        found = await self._reporting.node.span(now - LIVE, now, meter=self._meter)
        # By time, and so where the clock was set back also what was taken before that.
        live = [row_id for row_id in found.ids if row_id > self._at_hand[-1].row_id]
        if not live:
            return False
        spool = in_force.spool.leave_behind(min(live))
        self._reporting.note(replace(in_force, spool=spool))
        self._at_hand.clear()
        log.info("backlog", request=self._request.report_request_id, owed=spool.spans)
        return True

    def _wait_s(self, in_force: InForce) -> float:
        assert in_force.spool is not None
        if in_force.spool.spans or in_force.ending:
            return 0.0
        until_due_s = Pace.of(self._request).due(in_force.sent) - self._now_s()
        # Once due, the readings that are late arrive by themselves: the wait ends with them.
        return min(until_due_s, WAIT_S) if until_due_s > 0 else min(self._period_s, WAIT_S)

    # --- sending -------------------------------------------------------------------------------

    async def _send_what_is_ready(self) -> None:
        in_force = self._reporting.in_force(self._request)
        if in_force is None or in_force.spool is None:
            return
        pace = Pace.of(self._request)
        done = pace.is_done(in_force.sent)  # then only what an outage has left behind is owed
        over = not done and is_period_ready(
            due=pace.due(in_force.sent),
            newest_end=self._newest_end(in_force),
            now=self._now_s(),
            late=self._late,
        )
        if over or in_force.ending or (not done and self._is_hurried(in_force)):
            await self._send_live(in_force, pace, over=over)
        elif in_force.spool.spans:
            await self._drain_span(in_force, pace)

    def _is_hurried(self, in_force: InForce) -> bool:
        """Whether an event is on and enough is at hand for one of its short batches.

        Also at any time right after the clock was set back: the VTN shall see at once that it goes
        on.
        """
        if self._meter or not self._is_raw or not self._at_hand:
            return False
        last_s = in_force.last_row_at
        was_set_back = last_s is not None and self._at_hand[-1].starts_at < last_s
        if not (was_set_back or self._reporting.desk.is_moving()):
            return False
        return is_batch_ready(
            oldest=self._at_hand[0].starts_at,
            newest=self._at_hand[-1].starts_at,
            last_sent=in_force.last_row_at,
            now=self._now_s(),
            batch_s=self._batch_s,
            period_s=self._period_s,
        )

    async def _send_live(self, in_force: InForce, pace: Pace, *, over: bool) -> None:
        rows = self._to_send(pace)
        if rows:
            await self._send(rows)
            self._at_hand = [row for row in self._at_hand if row.row_id > rows[-1].row_id]
        elif in_force.ending:
            await self._once()
            return
        elif over and self._newest_end(in_force) is None and not self._owes(in_force):
            await self._send([telemetry.placeholder(pace.due(in_force.sent) - self._length_s)])
        current = self._reporting.in_force(self._request)
        if current is None or current.spool is None:
            return
        left = self._to_send(pace, before=pace.due(current.sent)) or self._has_more(pace)
        told = over and not left
        after = replace(current, sent=pace.periods(self._now_s()) if told else current.sent)
        if rows:
            after = replace(
                after,
                spool=current.spool.acknowledge(rows[-1].row_id),
                last_row_at=rows[-1].starts_at + self._length_s - self._period_s,
            )
        self._put_or_finish(after, pace)

    async def _drain_span(self, in_force: InForce, pace: Pace) -> None:
        assert in_force.spool is not None
        after, until = in_force.spool.spans[0]
        readings = await self._reporting.node.readings(
            after=after, limit=BATCH_ROWS, meter=self._meter
        )
        rows = [row for row in telemetry.rows_of(readings) if row.row_id <= until]
        rows = telemetry.ascending(rows)
        if wanted := [row for row in rows if row.starts_at < pace.end]:
            await self._send(wanted)
        current = self._reporting.in_force(self._request)
        if current is not None and current.spool is not None:
            # Rows the ring has let go of since then are gone: the span ends with what there is.
            last_id = rows[-1].row_id if rows else until
            spool = current.spool.drain(last_id)
            self._put_or_finish(replace(current, spool=spool), pace)

    def _put_or_finish(self, in_force: InForce, pace: Pace) -> None:
        assert in_force.spool is not None
        done = pace.is_done(in_force.sent) and not in_force.spool.spans
        if done or in_force.ending:
            self._reporting.finish(self._request)
        else:
            self._reporting.note(in_force)

    def _to_send(self, pace: Pace, *, before: float = math.inf) -> list[Row]:
        """What is at hand within the report interval; of aggregates only those that are whole."""
        in_order = telemetry.ascending(self._at_hand)
        rows = [row for row in in_order if row.starts_at < min(pace.end, before)]
        if self._is_raw or not rows:
            return rows[:BATCH_ROWS]
        # A stretch is whole when a reading lies past it, or when none will come any more.
        whole_until = self._at_hand[-1].starts_at + self._period_s
        if len(in_order) < len(self._at_hand):
            whole_until = math.inf  # the clock was set back behind it
        elif not self._more:
            whole_until = max(whole_until, self._now_s() - self._late.total_seconds())
        stretches = self._aggregated(rows, pace.start)
        return [s for s in stretches if s.starts_at + self._length_s <= whole_until][:BATCH_ROWS]

    async def _once(self) -> None:
        """One-shot: the newest readings there are (rule 337), or that there are none (318)."""
        now = self._reporting.now()
        try:
            found = await self._reporting.node.span(now - LOOK_BACK, now, meter=self._meter)
            rows = telemetry.rows_of(found)
        except (NodeUnreachable, NodeRefused):
            rows = []
        if rows and not self._is_raw:
            rows = self._aggregated(rows, rows[-1].starts_at + self._period_s - self._length_s)
        newest = rows[-1] if rows else telemetry.placeholder(math.floor(now.timestamp()))
        await self._send([newest])
        self._reporting.finish(self._request)

    async def _without_node(self, in_force: InForce) -> None:
        """The light node is away: say so when a report is due, and go on when it is back."""
        seen = self._reporting.node.changed.rings
        await self._say_that_there_is_nothing(in_force)
        await self._reporting.node.changed.wait(seen, at_most_s=WAIT_S)

    async def _say_that_there_is_nothing(self, in_force: InForce) -> None:
        """A placeholder when a report is due and has no readings (rule 318)."""
        pace = Pace.of(self._request)
        over = is_period_ready(
            due=pace.due(in_force.sent), newest_end=None, now=self._now_s(), late=self._late
        )
        if over or in_force.ending:
            await self._send([telemetry.placeholder(pace.due(in_force.sent) - self._length_s)])
            current = self._reporting.in_force(self._request)
            if current is not None:
                after = replace(current, sent=pace.periods(self._now_s()))
                if after.ending or pace.is_done(after.sent):
                    self._reporting.finish(self._request)
                else:
                    self._reporting.note(after)

    async def _send(self, rows: Sequence[Row]) -> None:
        length = timedelta(seconds=self._length_s)
        await self._reporting.send(
            self._request, telemetry.usage(rows, self._points, length=length)
        )

    def _aggregated(self, rows: Sequence[Row], anchor: float) -> list[Row]:
        return telemetry.aggregate(
            rows, anchor=anchor, length_s=self._length_s, period_s=self._period_s
        )

    def _newest_end(self, in_force: InForce) -> float | None:
        """Up to where readings are known, sent or at hand."""
        newest = self._at_hand[-1].starts_at if self._at_hand else in_force.last_row_at
        return newest + self._period_s if newest is not None else None

    def _has_more(self, pace: Pace) -> bool:
        """Whether the node has further rows of the report interval than those fetched."""
        return self._more and (not self._at_hand or self._at_hand[-1].starts_at < pace.end)

    @staticmethod
    def _owes(in_force: InForce) -> bool:
        return in_force.spool is not None and bool(in_force.spool.spans)

    @property
    def _is_raw(self) -> bool:
        return self._length_s == self._period_s

    @property
    def _capacity(self) -> int:
        """Half as much again as one period brings, so that one that falls behind catches up."""
        back_s = max(self._request.report_back.total_seconds(), self._length_s)
        return max(BATCH_ROWS, min(math.ceil(1.5 * back_s / self._period_s), MOST_ROWS))

    def _now_s(self) -> float:
        return self._reporting.now().timestamp()


def _minding_clock(reporting: Reporting, in_force: InForce) -> InForce:
    """A clock that was set back must not hold up the reports until it is where it was."""
    pace = Pace.of(in_force.request)
    sent = pace.rewound(in_force.sent, reporting.now().timestamp())
    if sent == in_force.sent or (in_force.sent == 0 and in_force.last_row_at is None):
        return in_force
    log.warning("clock_was_set_back", request=in_force.request_id, periods=in_force.sent - sent)
    rewound = replace(in_force, sent=sent)
    reporting.note(rewound)
    return rewound


class StatusReporter:
    """TELEMETRY_STATUS: online, overridden, and the load control state."""

    def __init__(self, reporting: Reporting, request: ReportRequest) -> None:
        self._reporting = reporting
        self._request = request
        self._changes: list[tuple[float, ResourceStatus]] = []
        """What was said from when on; ascending."""

    async def round(self) -> None:
        in_force = self._reporting.in_force(self._request)
        if in_force is None:
            return
        seen = self._reporting.node.changed.rings
        now_s = self._reporting.now().timestamp()
        self._note(now_s)
        if not self._request.report_back or in_force.ending:
            await self._send([(now_s, self._changes[-1][1])])
            self._reporting.finish(self._request)
            return
        in_force = _minding_clock(self._reporting, in_force)
        pace = Pace.of(self._request)
        due = pace.due(in_force.sent)
        if now_s < due:
            await self._reporting.node.changed.wait(seen, at_most_s=min(due - now_s, LOOK_S))
            return
        periods = pace.periods(now_s)
        await self._send(self._moments(pace, in_force.sent, periods))
        current = self._reporting.in_force(self._request)
        if current is None:
            return
        if current.ending or pace.is_done(periods):
            self._reporting.finish(self._request)
            return
        self._reporting.note(replace(current, sent=periods))
        until = pace.start + periods * pace.back_s
        before = [change for change in self._changes if change[0] <= until]
        self._changes = [*before[-1:], *(c for c in self._changes if c[0] > until)]

    def _note(self, now_s: float) -> None:
        site = self._reporting.settings.site
        asked = step_at(self._reporting.desk.steps(), self._reporting.event_clock.now())
        said = telemetry.resource_status(self._reporting.node.status, site, asked)
        if not self._changes or self._changes[-1][1] != said:
            self._changes.append((now_s, said))
            del self._changes[:-BATCH_ROWS]

    def _moments(self, pace: Pace, sent: int, periods: int) -> list[tuple[float, ResourceStatus]]:
        """The statuses of the periods from `sent` to `periods`, at most BATCH_ROWS, the newest."""
        start = pace.start + sent * pace.back_s
        end = min(pace.start + periods * pace.back_s, pace.end)
        step_s = self._request.granularity.total_seconds()
        if not step_s:
            fresh = [change for change in self._changes if start <= change[0] < end]
            return fresh[-BATCH_ROWS:] or telemetry.sampled(self._changes, [start])
        count = math.ceil((end - start) / step_s)
        ticks = [start + k * step_s for k in range(max(0, count - BATCH_ROWS), count)]
        return telemetry.sampled(self._changes, ticks)

    async def _send(self, moments: Sequence[tuple[float, ResourceStatus]]) -> None:
        length = self._request.granularity or None
        await self._reporting.send(
            self._request, telemetry.status(moments, offers.STATUS_POINT, length=length)
        )


class CurtailmentReporter:
    """x-CURTAILMENT: baseline and deviation of each event, as it runs and once it is over."""

    def __init__(self, reporting: Reporting, request: ReportRequest) -> None:
        self._reporting = reporting
        self._request = request
        self._points = offers.asked_points(request)
        self._sent_until: dict[str, float] = {}
        """eventID -> start of the newest interval the VTN has."""
        self._next_s: dict[str, float] = {}

    async def round(self) -> None:
        in_force = self._reporting.in_force(self._request)
        if in_force is None:
            return
        seen = self._reporting.desk.changed.rings
        for event_id in self._due():
            try:
                await self._report(event_id)
            except NodeUnreachable:
                break
        if in_force.ending or Pace.of(self._request).end <= self._now_s():
            self._reporting.finish(self._request)
            return
        await self._reporting.desk.changed.wait(seen, at_most_s=WAIT_S)

    def _due(self) -> list[str]:
        """Running events once in each report back duration, events that are over every time."""
        now = self._reporting.event_clock.now()
        due = []
        for known in self._reporting.state.events().values():
            if known.reported or known.response_code != "200" or known.ramps_at > now:
                continue
            first = known.starts_at.timestamp() + offers.CURTAILMENT_STEP.total_seconds()
            if known.is_over(now) or self._now_s() >= self._next_s.get(known.event_id, first):
                due.append(known.event_id)
        return due

    async def _report(self, event_id: str) -> None:
        node, desk = self._reporting.node, self._reporting.desk
        try:
            found = self._reporting.event_clock.off_our_clock(await node.curtailment(event_id))
        except NodeRefused:
            self._give_up_when_late(event_id)
            return
        over = found.final
        if not over and self._now_s() < self._next_s.get(event_id, -math.inf):
            return
        parts = telemetry.curtailment(
            found, self._points, after=None if over else self._sent_until.get(event_id)
        )
        for intervals in parts:
            await self._reporting.send(self._request, intervals)
            newest = intervals.starts_at[-1]
            assert newest is not None
            self._sent_until[event_id] = newest.timestamp()
        self._next_s[event_id] = self._now_s() + self._request.report_back.total_seconds()
        if over:
            log.info(
                "curtailment_reported",
                event_id=event_id,
                ordered_w=found.ordered_w,
                delivered_w=found.delivered_w,
            )
            desk.close(event_id)

    def _give_up_when_late(self, event_id: str) -> None:
        known = self._reporting.state.events().get(event_id)
        end = known.ends_at if known is not None else None
        if end is not None and self._reporting.event_clock.now() > end + UNKNOWN_AFTER:
            self._reporting.desk.close(event_id)

    def _now_s(self) -> float:
        return self._reporting.event_clock.now().timestamp()


class HistoryReporter:
    """HISTORY_USAGE: what the light node's ring still has of a span of time, once, oldest first.

    More than fits one report comes in several; each goes on after what the VTN has acknowledged.
    """

    def __init__(self, reporting: Reporting, request: ReportRequest) -> None:
        settings = reporting.settings.reports
        self._reporting = reporting
        self._request = request
        self._points = offers.asked_points(request)
        self._step = offers.history_step(request, settings)
        self._period_s = float(settings.min_period_s)

    async def round(self) -> None:
        in_force = self._reporting.in_force(self._request)
        if in_force is None:
            return
        seen = self._reporting.node.changed.rings
        try:
            rows, is_last = await self._next_rows(in_force)
        except NodeUnreachable:
            await self._reporting.node.changed.wait(seen, at_most_s=LOOK_S)
            return
        except NodeRefused as error:
            log.warning("readings_refused", why=str(error), request=self._request.report_request_id)
            await self._reporting.sleep(WAIT_S)
            return
        if not rows and in_force.last_row_at is None:  # rule 318
            start, _ = offers.history_span(self._request, in_force.taken_at)
            rows = [telemetry.placeholder(math.floor(start.timestamp()))]
        if rows:
            intervals = telemetry.usage(rows, self._points, length=self._step)
            await self._reporting.send(self._request, intervals)
        current = self._reporting.in_force(self._request)
        if current is None:
            return
        if is_last or current.ending:
            self._reporting.finish(self._request)
        else:
            self._reporting.note(replace(current, last_row_at=rows[-1].starts_at))

    async def _next_rows(self, in_force: InForce) -> tuple[list[Row], bool]:
        """At most one report's rows, and whether they are the last."""
        start, end = offers.history_span(self._request, in_force.taken_at)
        step_s = self._step.total_seconds()
        is_raw = step_s == self._period_s
        at_s, end_s = start.timestamp(), end.timestamp()
        if not is_raw and not self._is_bounded():
            at_s = math.ceil(at_s / step_s) * step_s
        anchor = at_s
        if in_force.last_row_at is not None:
            at_s = in_force.last_row_at + step_s
        most = BATCH_ROWS if is_raw else HISTORY_ROWS
        stride_s = most * step_s if is_raw else _STRIDE.total_seconds()
        rows: list[Row] = []
        while at_s < end_s and len(rows) < most:
            until_s = min(at_s + stride_s, end_s)
            found = telemetry.rows_of(
                await self._reporting.node.span(
                    datetime.fromtimestamp(at_s, UTC), datetime.fromtimestamp(until_s, UTC)
                )
            )
            if is_raw:
                found = telemetry.newest_of_each(found)
            else:
                found = telemetry.aggregate(
                    found, anchor=anchor, length_s=step_s, period_s=self._period_s
                )
            rows += found
            at_s = until_s
        return rows[:most], at_s >= end_s and len(rows) <= most

    def _is_bounded(self) -> bool:
        return self._request.interval is not None and bool(self._request.interval.duration)


class MetadataReporter:
    """METADATA: what this VEN can report, once or every so often (rule 327)."""

    def __init__(self, reporting: Reporting, request: ReportRequest) -> None:
        self._reporting = reporting
        self._request = request

    async def round(self) -> None:
        in_force = self._reporting.in_force(self._request)
        if in_force is None:
            return
        name = self._request.report_request_id
        if not self._request.report_back:
            await self._reporting.register(answers=name)
            self._reporting.finish(self._request)
            return
        in_force = _minding_clock(self._reporting, in_force)
        pace = Pace.of(self._request)
        now_s = self._reporting.now().timestamp()
        due = pace.due(in_force.sent)
        if now_s < due and not in_force.ending:
            await self._reporting.sleep(min(due - now_s, WAIT_S))
            return
        await self._reporting.register(answers=name)
        periods = pace.periods(now_s)
        current = self._reporting.in_force(self._request)
        if current is None:
            return  # cancelled meanwhile
        if current.ending or pace.is_done(periods):
            self._reporting.finish(self._request)
        else:
            self._reporting.note(replace(current, sent=periods))
