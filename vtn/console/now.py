# SPDX-License-Identifier: Apache-2.0
"""The page Now: how much is ordered, how much is delivered, and what needs somebody."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from litestar import Response, get
from litestar.response import Template

from oadr.event import Event
from vtn.accounts import Act
from vtn.console import charts, words
from vtn.console.board import Now, name_of
from vtn.console.shell import BoardHere, ShellHere, path_of
from vtn.operations.needs import NowHere
from vtn.records import Headline

SOON: Final = timedelta(minutes=30)
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something that needs somebody."""

    kind: str
    """bad or part."""
    word: str
    sentence: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An event in the lists."""

    event_id: str
    name: str
    starts_at: datetime
    ends_at: datetime | None
    what: str
    answered_in: int
    answered_out: int
    targeted: int
    ordered_w: float | None = None
    delivered_w: float | None = None

    @property
    def fraction(self) -> float | None:
        if self.delivered_w is None or not self.ordered_w:
            return None
        return self.delivered_w / self.ordered_w


@get("/", act=Act.VIEW)
async def show_now(shell: ShellHere, board: BoardHere) -> Template:
    found = await board.now()
    return shell.page(
        "now/now.html",
        title="Now",
        here="now",
        first=sentence(found),
        kept=["now"],
        found=found,
        unit=words.unit_for(found.ordered_w, found.delivered_w),
        alarms=alarms(found, shell.now),
        waits=not found.is_whole,
        active=[_row(found, one) for one in found.active],
        coming=[_row(found, one) for one in found.coming],
    )


@get("/now/power.json", act=Act.VIEW)
async def now_power(board: BoardHere) -> Response[bytes]:
    found = await board.now()
    power = found.power
    payload = charts.payload(
        power.starts_at,
        [
            charts.Line(name="ordered", kind="ordered", watts=power.ordered_w, fill=True),
            charts.Line(name="delivered", kind="measured", watts=power.delivered_w),
        ],
        difference=("short by", 0, 1),
        empty="No event ran in the last three hours.",
    )
    return Response(msgspec.json.encode(payload), media_type="application/json")


@get("/now/power.csv", act=Act.VIEW)
async def now_power_csv(board: BoardHere, now: NowHere) -> Response[str]:
    power = (await board.now()).power
    columns: dict[str, Any] = {
        "ordered_w": power.ordered_w,
        "delivered_w": power.delivered_w,
        "nodes": power.nodes,
    }
    return charts.csv_answer(f"now-{now():%Y%m%dT%H%M}Z.csv", power.starts_at, columns)


def sentence(found: Now) -> str:
    """The first line of the page."""
    census = found.census
    heard = f"{census.online + census.late:,} of {census.registered:,} nodes are online"
    if not found.active:
        nothing = "Nothing is ordered now"
        return f"{nothing}; {heard}" if census.registered else f"{nothing}; no node is registered"
    if found.ordered_w is None and not found.is_whole:
        return (
            f"{words.several(len(found.active), 'event')} active; "
            f"what {words.several(found.asked, 'node')} deliver is being added up"
        )
    if found.ordered_w is None:
        return (
            f"{words.several(len(found.active), 'event')} active, which name no power; "
            f"{found.asked:,} nodes are asked"
        )
    unit = words.unit_for(found.ordered_w, found.delivered_w)
    share = found.delivered_w / found.ordered_w if found.delivered_w and found.ordered_w else 0.0
    return (
        f"{words.power(found.ordered_w, unit)} {unit} ordered, "
        f"{words.power(found.delivered_w or 0.0, unit)} {unit} delivered ({words.share(share)}) "
        f"by {found.delivering:,} of {words.several(found.asked, 'node')}"
    )


def alarms(found: Now, now: datetime) -> list[Alarm]:
    """What needs somebody, the worst first."""
    several: list[Alarm] = []
    for one in found.active:
        event_id, name = one.event.event_id, name_of(one.event)
        path, climbers = path_of("events", event_id), found.courses[event_id].climbers
        bad = [climber for climber in climbers if climber.rank < 2]
        if bad:
            named = ", ".join(climber.name or climber.ven_id for climber in bad[:_SHOWN])
            more = f" and {len(bad) - _SHOWN:,} more" if len(bad) > _SHOWN else ""
            several.append(
                Alarm(
                    kind="bad",
                    word="Late",
                    sentence=f"{name}: {named}{more}; the first {bad[0].remark}",
                    path=path,
                )
            )
        if one.opted_out:
            several.append(
                Alarm(
                    kind="part",
                    word="Opted out",
                    sentence=f"{name}: {words.several(one.opted_out, 'node')} opted out",
                    path=path,
                )
            )
    for one in found.coming:
        silent = one.targeted - one.opted_in - one.opted_out
        if silent > 0 and one.event.starts_at - now <= SOON:
            left = words.span((one.event.starts_at - now).total_seconds())
            several.append(
                Alarm(
                    kind="part",
                    word="Unanswered",
                    sentence=f"{name_of(one.event)} begins in {left}, and "
                    f"{words.several(silent, 'node')} of {one.targeted:,} have not answered",
                    path=path_of("events", one.event.event_id),
                )
            )
    census = found.census
    if census.silent:
        named = ", ".join(census.silent_ids[:_SHOWN])
        more = f" and {census.silent - _SHOWN:,} more" if census.silent > _SHOWN else ""
        several.append(
            Alarm(
                kind="bad" if found.active else "part",
                word="Silent",
                sentence=f"{words.several(census.silent, 'node')} not heard of for three polls: "
                f"{named}{more}",
                path="/nodes?state=silent",
            )
        )
    return sorted(several, key=lambda one: one.kind != "bad")


def what(event: Event) -> str:
    """What is asked, in the operator's words."""
    return "; ".join(words.order(one) for one in event.signals)


def _row(found: Now, of: Headline) -> Row:
    event = of.event
    course = found.courses.get(event.event_id)
    return Row(
        event_id=event.event_id,
        name=name_of(event),
        starts_at=event.starts_at,
        ends_at=event.ends_at,
        what=what(event),
        answered_in=of.opted_in,
        answered_out=of.opted_out,
        targeted=of.targeted,
        ordered_w=course.ordered_w if course else None,
        delivered_w=course.delivered_w if course else None,
    )


handlers = [show_now, now_power, now_power_csv]
