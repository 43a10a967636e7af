# SPDX-License-Identifier: Apache-2.0
"""Events: as a list, in a calendar; cancelled, ended early, modified."""

import calendar
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final

import msgspec
from litestar import get, post
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Redirect, Template

from oadr.vocabulary import EventStatus, OptType
from vtn import orders
from vtn.accounts import Act
from vtn.console import words
from vtn.console.asking import form_of, signal_of
from vtn.console.board import name_of
from vtn.console.forms import Form
from vtn.console.now import what
from vtn.console.shell import Shell, ShellHere, path_of, status_of
from vtn.errors import Invalid, VtnError
from vtn.operations.needs import By, DeskHere, NowHere
from vtn.orders import EventChange
from vtn.records import EventRecord

PAGE: Final = 50
STATUSES: Final = (("", "all"), *((one.value, one.value) for one in EventStatus if one != "none"))
_KIND: Final = {
    EventStatus.ACTIVE: "good",
    EventStatus.NEAR: "info",
    EventStatus.FAR: "info",
    EventStatus.CANCELLED: "none",
    EventStatus.COMPLETED: "none",
}
Page = Annotated[int, QueryParameter(ge=1, le=1000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An event in the list."""

    event_id: str
    name: str
    kind: str
    status: str
    test: bool
    starts_at: datetime
    ends_at: datetime | None
    what: str
    whom: str
    targeted: int
    opted_in: int
    opted_out: int

    @classmethod
    def of(cls, record: EventRecord) -> "Line":
        event, target = record.event, record.event.target
        named = (*target.group_ids, *target.group_names, *target.ven_ids, *target.resource_ids)
        opts = [answer.opt_type for answer in record.answers.values()]
        return cls(
            event_id=event.event_id,
            name=name_of(record),
            kind=_KIND.get(event.status, "none"),
            status=event.status.value,
            test=event.is_test,
            starts_at=event.starts_at,
            ends_at=event.ends_at,
            what=what(record),
            whom=", ".join(named[:3]) + (" …" if len(named) > 3 else "") or "every node",
            targeted=len(record.ven_ids),
            opted_in=opts.count(OptType.OPT_IN),
            opted_out=opts.count(OptType.OPT_OUT),
        )


@get("/events", act=Act.VIEW)
async def list_events(
    shell: ShellHere, desk: DeskHere, status: FromQuery[str] = "", page: Page = 1
) -> Template:
    wanted = EventStatus(status) if status in set(EventStatus) else None
    found = await desk.events(status=wanted, limit=page * PAGE + 1)
    shown = found[(page - 1) * PAGE : page * PAGE]
    active = [one for one in found if one.event.status is EventStatus.ACTIVE]
    coming = [one for one in found if one.event.status in (EventStatus.FAR, EventStatus.NEAR)]
    return shell.page(
        "events/list.html",
        title="Events",
        here="events",
        first=_list_sentence(len(active), len(coming), narrowed=wanted is not None),
        lines=[Line.of(one) for one in shown],
        wanted=status,
        statuses=STATUSES,
        before=f"/events?status={status}&page={page - 1}" if page > 1 else "",
        after=f"/events?status={status}&page={page + 1}" if len(found) > page * PAGE else "",
        page=page,
        proposals=await desk.proposals(),
    )


def _list_sentence(active: int, coming: int, *, narrowed: bool) -> str:
    if narrowed:
        return "Events"
    return f"{words.several(active, 'event')} active, {coming:,} to come"


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One day of the calendar."""

    day: date
    other: bool
    """Of the month before or after."""
    today: bool
    lines: tuple[Line, ...]


@get("/events/calendar", act=Act.VIEW)
async def show_calendar(shell: ShellHere, desk: DeskHere, month: FromQuery[str] = "") -> Template:
    """One month; days are UTC."""
    first = _month(month, shell.now)
    weeks = calendar.Calendar().monthdatescalendar(first.year, first.month)
    begin = datetime.combine(weeks[0][0], datetime.min.time(), UTC)
    end = datetime.combine(weeks[-1][-1], datetime.min.time(), UTC) + timedelta(days=1)
    found = await desk.events_between(begin, end)
    days: dict[date, list[EventRecord]] = defaultdict(list)
    for one in sorted(found, key=lambda one: one.event.starts_at):
        days[one.event.starts_at.date()].append(one)
    count = sum(one.event.starts_at.month == first.month for one in found)
    return shell.page(
        "events/calendar.html",
        title="Calendar",
        here="events",
        first=f"{words.several(count, 'event')} in {first:%B %Y}",
        weeks=[
            [
                Day(
                    day=day,
                    other=day.month != first.month,
                    today=day == shell.now.date(),
                    lines=tuple(Line.of(one) for one in days.get(day, ())),
                )
                for day in week
            ]
            for week in weeks
        ],
        before=f"{first - timedelta(days=1):%Y-%m}",
        after=f"{first + timedelta(days=32):%Y-%m}",
    )


def _month(text: str, now: datetime) -> date:
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        return now.date().replace(day=1)


# --- what is done to an event ---------------------------------------------------------------------


@get("/events/{event_id:str}/cancel", act=Act.EVENTS)
async def show_cancel(event_id: FromPath[str], shell: ShellHere, desk: DeskHere) -> Template:
    return _confirm(shell, await desk.event(event_id), act="cancel")


@post("/events/{event_id:str}/cancel", act=Act.EVENTS)
async def cancel(
    event_id: FromPath[str], shell: ShellHere, desk: DeskHere, by: By
) -> Template | Redirect:
    form = await shell.form()
    try:
        record = await desk.cancel_event(event_id, expected_modification=_expected(form), by=by)
    except VtnError as refusal:
        form.refuse(str(refusal))
        record = await desk.event(event_id)
        return _confirm(shell, record, act="cancel", form=form, status=status_of(refusal))
    told = words.several(len(record.ven_ids), "node")
    return shell.go(path_of("events", event_id), said=f"Cancelled; {told} will be told.")


@get("/events/{event_id:str}/end", act=Act.EVENTS)
async def show_end(event_id: FromPath[str], shell: ShellHere, desk: DeskHere) -> Template:
    return _confirm(shell, await desk.event(event_id), act="end")


@post("/events/{event_id:str}/end", act=Act.EVENTS)
async def end(
    event_id: FromPath[str], shell: ShellHere, desk: DeskHere, by: By
) -> Template | Redirect:
    form = await shell.form()
    try:
        record = await desk.end_event(event_id, by=by)
    except VtnError as refusal:
        form.refuse(str(refusal))
        record = await desk.event(event_id)
        return _confirm(shell, record, act="end", form=form, status=status_of(refusal))
    ends_at = words.clock(record.event.ends_at)
    return shell.go(path_of("events", event_id), said=f"The event ends at {ends_at} UTC.")


def _confirm(
    shell: Shell, record: EventRecord, *, act: str, form: Form | None = None, status: int = 200
) -> Template:
    line = Line.of(record)
    whom = words.several(line.targeted, "node")
    first = (
        f"Cancel {line.name}: {whom} will be told that nothing is asked of them any more"
        if act == "cancel"
        else f"End {line.name} early: {whom} will be told that it ends now; what they have "
        "delivered so far counts"
    )
    return shell.page(
        "events/confirm.html",
        title="Cancel event" if act == "cancel" else "End event early",
        here="events",
        first=first,
        line=line,
        act=act,
        record=record,
        form=form,
        status=status,
    )


def _expected(form: Form) -> int | None:
    text = form.get("modification")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


@get("/events/{event_id:str}/modify", act=Act.EVENTS)
async def show_modify(event_id: FromPath[str], shell: ShellHere, desk: DeskHere) -> Template:
    record = await desk.event(event_id)
    form = form_of(record)
    form.put("modification", str(record.event.modification_number))
    return _modify(shell, record, form)


@post("/events/{event_id:str}/modify", act=Act.EVENTS)
async def modify(
    event_id: FromPath[str], shell: ShellHere, desk: DeskHere, now: NowHere, by: By
) -> Template | Redirect:
    form = await shell.form()
    record = await desk.event(event_id)
    try:
        change = _change(form, record)
        draft = orders.changed(record.event, change, now=now())
        expected = change.expected_modification
        changed = await desk.modify_event(
            event_id,
            draft,
            expected_modification=record.event.modification_number
            if expected is None
            else expected,
            by=by,
        )
    except VtnError as refusal:
        form.refuse(str(refusal))
        return _modify(shell, record, form, status=status_of(refusal))
    number = changed.event.modification_number
    return shell.go(
        path_of("events", event_id), said=f"Modified (modification {number}); nodes will be told."
    )


def _change(form: Form, record: EventRecord) -> EventChange:
    """What differs from the event as it was shown. Raises Invalid where nothing does."""
    as_it_was = form_of(record)
    signals = None
    if any(form.get(name) != as_it_was.get(name) for name in ("value", "unit", "kind")):
        signal = signal_of(form)
        signals = (msgspec.structs.replace(signal, id=record.event.signals[0].signal_id),)

    def given(name: str) -> str | None:
        return form.get(name) if form.get(name) != as_it_was.get(name) else None

    change = EventChange(
        expected_modification=_expected(form),
        reason=form.get("reason"),
        signals=signals,
        duration=given("duration"),
        comment=given("comment"),
    )
    if (change.signals, change.duration, change.comment) == (None, None, None):
        raise Invalid("Nothing differs from what the event says already; change something.")
    return change


def _modify(shell: Shell, record: EventRecord, form: Form, *, status: int = 200) -> Template:
    return shell.page(
        "events/modify.html",
        title="Modify event",
        here="events",
        first=f"Modify {name_of(record)}: a new value holds from now on",
        line=Line.of(record),
        form=form,
        status=status,
    )


handlers = [
    list_events,
    show_calendar,
    show_cancel,
    cancel,
    show_end,
    end,
    show_modify,
    modify,
]
