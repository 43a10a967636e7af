# SPDX-License-Identifier: Apache-2.0
"""Events: as a list, in a calendar; cancelled, ended early, modified."""

import calendar
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final

from litestar import get, post
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Redirect, Template

from oadr.vocabulary import EventStatus
from vtn.accounts import Act
from vtn.console import words
from vtn.console.board import name_of
from vtn.console.forms import Form
from vtn.console.now import what
from vtn.console.shell import Shell, ShellHere, path_of, status_of
from vtn.desk import Desk
from vtn.errors import VtnError
from vtn.operations.needs import By, DeskHere
from vtn.records import Headline

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
    def of(cls, headline: Headline) -> "Line":
        event, target = headline.event, headline.event.target
        named = (*target.group_ids, *target.group_names, *target.ven_ids, *target.resource_ids)
        return cls(
            event_id=event.event_id,
            name=name_of(event),
            kind=_KIND.get(event.status, "none"),
            status=event.status.value,
            test=event.is_test,
            starts_at=event.starts_at,
            ends_at=event.ends_at,
            what=what(event),
            whom=", ".join(named[:3]) + (" …" if len(named) > 3 else "") or "every node",
            targeted=headline.targeted,
            opted_in=headline.opted_in,
            opted_out=headline.opted_out,
        )


@get("/events", act=Act.VIEW)
async def list_events(
    shell: ShellHere, desk: DeskHere, status: FromQuery[str] = "", page: Page = 1
) -> Template:
    wanted = EventStatus(status) if status in set(EventStatus) else None
    found = await desk.headlines(status=wanted, skip=(page - 1) * PAGE, limit=PAGE + 1)
    going_on = await desk.going_on()
    active = [one for one in going_on if one.event.status is EventStatus.ACTIVE]
    coming = [one for one in going_on if one.event.status in (EventStatus.FAR, EventStatus.NEAR)]
    return shell.page(
        "events/list.html",
        title="Events",
        here="events",
        first=_list_sentence(len(active), len(coming), narrowed=wanted is not None),
        lines=[Line.of(one) for one in found[:PAGE]],
        wanted=status,
        statuses=STATUSES,
        before=f"/events?status={status}&page={page - 1}" if page > 1 else "",
        after=f"/events?status={status}&page={page + 1}" if len(found) > PAGE else "",
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
    days: dict[date, list[Headline]] = defaultdict(list)
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
        first = date.fromisoformat(f"{text}-01")
    except ValueError:
        first = date.max
    # A page shows days of the months beside it, which the first and the last year do not have.
    known = date.min.year < first.year < date.max.year
    return first if known else now.date().replace(day=1)


# --- what is done to an event ---------------------------------------------------------------------


@get("/events/{event_id:str}/cancel", act=Act.EVENTS)
async def show_cancel(event_id: FromPath[str], shell: ShellHere, desk: DeskHere) -> Template:
    return await _confirm(shell, desk, event_id, act="cancel")


@post("/events/{event_id:str}/cancel", act=Act.EVENTS)
async def cancel(
    event_id: FromPath[str], shell: ShellHere, desk: DeskHere, by: By
) -> Template | Redirect:
    form = await shell.form()
    try:
        record = await desk.cancel_event(event_id, expected_modification=expected_of(form), by=by)
    except VtnError as refusal:
        form.refuse(str(refusal))
        status = status_of(refusal)
        return await _confirm(shell, desk, event_id, act="cancel", form=form, status=status)
    told = words.several(len(record.ven_ids), "node")
    return shell.go(path_of("events", event_id), said=f"Cancelled; {told} will be told.")


@get("/events/{event_id:str}/end", act=Act.EVENTS)
async def show_end(event_id: FromPath[str], shell: ShellHere, desk: DeskHere) -> Template:
    return await _confirm(shell, desk, event_id, act="end")


@post("/events/{event_id:str}/end", act=Act.EVENTS)
async def end(
    event_id: FromPath[str], shell: ShellHere, desk: DeskHere, by: By
) -> Template | Redirect:
    form = await shell.form()
    try:
        record = await desk.end_event(event_id, expected_modification=expected_of(form), by=by)
    except VtnError as refusal:
        form.refuse(str(refusal))
        status = status_of(refusal)
        return await _confirm(shell, desk, event_id, act="end", form=form, status=status)
    ends_at = words.clock(record.event.ends_at)
    return shell.go(path_of("events", event_id), said=f"The event ends at {ends_at} UTC.")


async def _confirm(
    shell: Shell,
    desk: Desk,
    event_id: str,
    *,
    act: str,
    form: Form | None = None,
    status: int = 200,
) -> Template:
    headline = await desk.headline(event_id)
    line = Line.of(headline)
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
        modification=headline.event.modification_number,
        form=form,
        status=status,
    )


def expected_of(form: Form) -> int | None:
    """The modification that the operator looked at."""
    text = form.get("modification")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


handlers = [
    list_events,
    show_calendar,
    show_cancel,
    cancel,
    show_end,
    end,
]
