# SPDX-License-Identifier: Apache-2.0
"""The page Now: how much is ordered, how much is delivered, and what needs somebody."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from litestar import Response, get
from litestar.response import Template

from oadr.vocabulary import OptType
from vtn.accounts import Act
from vtn.console import charts, words
from vtn.console.board import Now, name_of
from vtn.console.shell import BoardHere, ShellHere, path_of
from vtn.operations.needs import NowHere
from vtn.records import EventRecord

SOON: Final = timedelta(minutes=30)
_LOW: Final = 0.9
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
        found=found,
        unit=words.unit_for(found.ordered_w, found.delivered_w),
        alarms=alarms(found, shell.now),
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
    for record in found.active:
        event_id = record.event.event_id
        path, climbers = path_of("events", event_id), found.climbers[event_id]
        bad = [one for one in climbers if one.rank < 2]
        if bad:
            named = ", ".join(one.name or one.ven_id for one in bad[:_SHOWN])
            more = f" and {len(bad) - _SHOWN:,} more" if len(bad) > _SHOWN else ""
            several.append(
                Alarm(
                    kind="bad",
                    word="Late",
                    sentence=f"{name_of(record)}: {named}{more}; the first {bad[0].remark}",
                    path=path,
                )
            )
        out = [one for one in climbers if one.opt == "out"]
        if out:
            several.append(
                Alarm(
                    kind="part",
                    word="Opted out",
                    sentence=f"{name_of(record)}: {words.several(len(out), 'node')} opted out",
                    path=path,
                )
            )
    for record in found.coming:
        silent = len(record.ven_ids) - len(record.answers)
        if silent > 0 and record.event.starts_at - now <= SOON:
            left = words.span((record.event.starts_at - now).total_seconds())
            several.append(
                Alarm(
                    kind="part",
                    word="Unanswered",
                    sentence=f"{name_of(record)} begins in {left}, and "
                    f"{words.several(silent, 'node')} of {len(record.ven_ids):,} have not answered",
                    path=path_of("events", record.event.event_id),
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


def what(record: EventRecord) -> str:
    """What is asked, in the operator's words."""
    return "; ".join(words.order(one) for one in record.event.signals)


def _row(found: Now, record: EventRecord) -> Row:
    event = record.event
    climbers = [one for one in found.climbers.get(event.event_id, ()) if one.opt != "out"]
    ordered = [one.heard.ordered_w for one in climbers if one.heard.ordered_w is not None]
    delivered = [one.heard.delivered_w for one in climbers if one.heard.delivered_w is not None]
    opts = [answer.opt_type for answer in record.answers.values()]
    return Row(
        event_id=event.event_id,
        name=name_of(record),
        starts_at=event.starts_at,
        ends_at=event.ends_at,
        what=what(record),
        answered_in=opts.count(OptType.OPT_IN),
        answered_out=opts.count(OptType.OPT_OUT),
        targeted=len(record.ven_ids),
        ordered_w=sum(ordered) if ordered else None,
        delivered_w=sum(delivered) if delivered else None,
    )


handlers = [show_now, now_power, now_power_csv]
