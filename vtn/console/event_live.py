# SPDX-License-Identifier: Apache-2.0
"""One event: how it runs while it runs, and what was verified at its end."""

from datetime import datetime
from typing import Annotated, Final
from urllib.parse import urlencode

import msgspec
from litestar import Response, get
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Template

from oadr.vocabulary import EventStatus, OptType
from vtn.accounts import Act
from vtn.console import charts, words
from vtn.console.board import Course, name_of
from vtn.console.events import Line
from vtn.console.shell import BoardHere, ShellHere, path_of
from vtn.desk.watch import FINE_NODES
from vtn.ladder import verdict
from vtn.operations.needs import DeskHere
from vtn.records import Headline
from vtn.views import EventCurtailment

PAGE: Final = 100
_OVER: Final = (EventStatus.COMPLETED, EventStatus.CANCELLED)
_MOST_VERIFIED: Final = 200
"""Of larger events the verified sum is worked out only when the report is asked for."""
_MOST_OUTS: Final = 200
Page = Annotated[int, QueryParameter(ge=1, le=1000)]


@get("/events/{event_id:str}", act=Act.VIEW)
async def show_event(  # noqa: PLR0917 - Litestar gives each by its name
    event_id: FromPath[str],
    shell: ShellHere,
    board: BoardHere,
    desk: DeskHere,
    find: FromQuery[str] = "",
    page: Page = 1,
) -> Template:
    headline = await desk.headline(event_id)  # as it is now: somebody may just have changed it
    record = await desk.outline(event_id)
    course = await board.course(headline)
    found = [one for one in course.climbers if find.lower() in f"{one.ven_id} {one.name}".lower()]
    over = headline.event.status in _OVER
    verified = (
        await board.verified(event_id) if over and headline.targeted <= _MOST_VERIFIED else None
    )
    ordered, delivered = course.ordered_w, course.delivered_w
    here = path_of("events", event_id)
    query = f"{urlencode({'find': find})}&" if find else ""
    shown = found[(page - 1) * PAGE : page * PAGE]
    outs = [one for one in course.climbers if one.opt == "out"]
    return shell.page(
        "events/event.html",
        title=name_of(headline.event),
        here="events",
        first=sentence(headline, course, verified, shell.now),
        kept=[
            ("ladder" if headline.targeted <= FINE_NODES else "standing", event_id),
            *([] if verified is None else [("verified", event_id)]),
        ],
        line=Line.of(headline),
        record=record,
        terms=[words.term(one) for one in record.event.signals],
        over=over,
        active=headline.event.status is EventStatus.ACTIVE,
        waits=not course.is_whole,
        climbers=shown,
        total=len(course.climbers),
        found=len(found),
        reasons=await desk.event_opts(event_id),
        outs=outs[:_MOST_OUTS],
        out_count=len(outs),
        verdicts={one.ven_id: verdict(one.heard.effect) for one in shown},
        ordered=ordered,
        delivered=delivered,
        unit=words.unit_for(ordered, delivered, *_verified_watts(verified)),
        verified=verified,
        find=find,
        before=f"{here}?{query}page={page - 1}" if page > 1 else "",
        after=f"{here}?{query}page={page + 1}" if len(found) > page * PAGE else "",
        event_path=here,
    )


def _verified_watts(verified: EventCurtailment | None) -> tuple[float | None, ...]:
    return (verified.ordered_w, verified.delivered_w) if verified else ()


def sentence(
    headline: Headline, course: Course, verified: EventCurtailment | None, now: datetime
) -> str:
    """`Peak Tuesday: 38 min left, 94 % delivered, 6 nodes late`."""
    name, event = name_of(headline.event), headline.event
    match event.status:
        case EventStatus.CANCELLED:
            return f"{name} was cancelled"
        case EventStatus.COMPLETED:
            if verified is None and headline.targeted > _MOST_VERIFIED:
                return f"{name} is over; its report adds up what was verified"
            if verified is None or verified.delivered_w is None:
                return f"{name} is over; nothing is verified yet"
            unit = words.unit_for(verified.ordered_w, verified.delivered_w)
            state = "" if verified.final else ", so far"
            return (
                f"{name} is over: {words.power(verified.delivered_w, unit)} {unit} verified, "
                f"{words.share(verified.fraction)} of what was ordered{state}"
            )
        case EventStatus.ACTIVE:
            ordered, delivered = course.ordered_w, course.delivered_w
            late = sum(one.rank < 2 for one in course.climbers)
            left = (
                f"{words.span((event.ends_at - now).total_seconds())} left"
                if event.ends_at
                else "runs until it is ended"
            )
            if not course.climbers and not course.is_whole:
                asked = words.several(headline.targeted, "node")
                return f"{name}: {left}; what {asked} deliver is being added up"
            share = (
                f"{words.share(delivered / ordered)} delivered"
                if ordered and delivered is not None
                else "nothing delivered yet"
                if ordered
                else "names no power"
            )
            return f"{name}: {left}, {share}, {words.several(late, 'node')} late"
        case _:
            answered = headline.opted_in + headline.opted_out
            begins = words.span((event.starts_at - now).total_seconds())
            return (
                f"{name} begins in {begins}; {answered:,} of "
                f"{words.several(headline.targeted, 'node')} have answered"
            )


@get("/events/{event_id:str}/power.json", act=Act.VIEW)
async def event_power(event_id: FromPath[str], board: BoardHere, desk: DeskHere) -> Response[bytes]:
    event, power = (await desk.outline(event_id)).event, await board.power(event_id)
    target = [
        None if base is None or asked is None else base - asked
        for base, asked in zip(power.baseline_w, power.ordered_w, strict=True)
    ]
    end = event.ends_at.timestamp() if event.ends_at else None
    payload = charts.payload(
        power.starts_at,
        [
            charts.Line(name="baseline", kind="baseline", watts=power.baseline_w),
            charts.Line(name="as ordered", kind="ordered", watts=target),
            charts.Line(name="measured", kind="measured", watts=power.measured_w),
        ],
        bands=[(0, 1)],
        windows=[(event.starts_at.timestamp(), end)],
        difference=("delivered", 0, 2),
        empty="Nothing was measured yet around this event.",
    )
    return Response(msgspec.json.encode(payload), media_type="application/json")


@get("/events/{event_id:str}/power.csv", act=Act.VIEW)
async def event_power_csv(event_id: FromPath[str], board: BoardHere) -> Response[str]:
    power = await board.power(event_id)
    return charts.csv_answer(
        f"event-{_file_name(event_id)}-power.csv",
        power.starts_at,
        {
            "baseline_w": power.baseline_w,
            "measured_w": power.measured_w,
            "ordered_w": power.ordered_w,
            "delivered_w": power.delivered_w,
            "nodes": power.nodes,
        },
    )


@get("/events/{event_id:str}/curtailment.csv", act=Act.VIEW)
async def curtailment_csv(event_id: FromPath[str], board: BoardHere) -> Response[str]:
    """Each node in a row, the sum of those that did not opt out in the last."""
    found = await board.verified(event_id)
    heads = (
        "ven_id",
        "opt",
        "ordered_w",
        "delivered_w",
        "fraction",
        "claimed_w",
        "samples_received",
        "samples_expected",
        "agrees",
        "final",
        "remarks",
    )
    rows = [
        (
            one.ven_id,
            one.opt or "silent",
            one.ordered_w,
            one.delivered_w,
            one.fraction,
            one.claimed_w,
            one.samples_received,
            one.samples_expected,
            "yes" if one.agrees else "no",
            "yes" if one.final else "no",
            " ".join(one.remarks),
        )
        for one in found.vens
    ]
    rows.append(
        (
            "sum",
            "",
            found.ordered_w,
            found.delivered_w,
            found.fraction,
            None,
            found.samples_received,
            found.samples_expected,
            "yes" if found.agrees else "no",
            "yes" if found.final else "no",
            "",
        )
    )
    return charts.csv_file(f"event-{_file_name(event_id)}-curtailment.csv", heads, rows)


@get("/events/{event_id:str}/report", act=Act.VIEW)
async def show_report(
    event_id: FromPath[str], shell: ShellHere, board: BoardHere, desk: DeskHere
) -> Template:
    """What an event came to, to be printed."""
    headline, found = await desk.headline(event_id), await board.verified(event_id)
    name = name_of(headline.event)
    unit = words.unit_for(found.ordered_w, found.delivered_w)
    amount = f"{words.power(found.delivered_w, unit)} {unit}"
    first = (
        f"{name}: {amount} verified, {words.share(found.fraction)} of what was ordered"
        if found.delivered_w is not None
        else f"{name}: nothing is verified"
    )
    return shell.page(
        "events/report.html",
        title=f"Report of {name}",
        here="events",
        first=first,
        line=Line.of(headline),
        record=await desk.outline(event_id),
        found=found,
        reasons=await desk.event_opts(event_id),
        out=str(OptType.OPT_OUT),
        event_path=path_of("events", event_id),
    )


def _file_name(event_id: str) -> str:
    """The eventID as far as a file name may hold it."""
    kept = (
        one if one.isascii() and (one.isalnum() or one in "-_.") else "_" for one in event_id[:64]
    )
    return "".join(kept)


handlers = [
    show_event,
    event_power,
    event_power_csv,
    curtailment_csv,
    show_report,
]
