# SPDX-License-Identifier: Apache-2.0
"""How far each VEN has come in an event: six steps, and what stops it.

    notified ── opted ── set-point sent ── EMS acknowledged ── delivering ── done

Of the two in the middle a node tells what it reports itself (TELEMETRY_STATUS and x-CURTAILMENT);
what it does not tell is inferred from what it delivers, and said to be inferred. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from oadr.vocabulary import EventStatus, OptType
from vtn.records import EventRecord, Series

DELIVERS: Final = 0.9
"""Of what was ordered; with less a node delivers in part."""
PATIENCE: Final = timedelta(minutes=2)
"""After the start (and the ramp-up of the building) a node may take this long to deliver."""
ANSWER_PATIENCE: Final = timedelta(minutes=2)
"""So long a node that has the event may think about it."""


class State(StrEnum):
    """Of one step."""

    DONE = "done"
    INFERRED = "inferred"
    """Not told, but what comes after it would not be so without it."""
    WAITING = "waiting"
    PARTIAL = "partial"
    LATE = "late"
    FAILED = "failed"
    OUT = "out"
    """The node opted out, or is no longer asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One step of one node."""

    name: str
    state: State
    at: datetime | None = None
    note: str = ""
    """What the node itself says of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a node has said of itself during the event; power in W."""

    baseline_w: float | None = None
    delivered_w: float | None = None
    """Baseline less what it measures, newest."""
    ordered_w: float | None = None
    delivered_at: datetime | None = None
    claims_since: datetime | None = None
    """Of its first curtailment report in the event: it holds the set-point from then on."""
    held_since: datetime | None = None
    """Of its first status in the event that shows another load control than the normal one."""
    override: bool = False
    """Somebody at the site has taken over."""
    effect: float | None = None
    """What its own meter saw of the set-point: 1 reached, 0.5 in part, 0 nothing (x-effect)."""
    spark: tuple[float | None, ...] = ()
    """What it took in the last minutes, one mean a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Climber:
    """One node in the event, ready to be shown."""

    ven_id: str
    name: str
    rungs: tuple[Rung, ...]
    heard: Heard
    online: bool
    contact_at: datetime | None
    opt: str
    """in, out or silent."""
    said: str
    """What it said with its answer; "" for nothing."""
    remark: str
    """Why it needs attention; "" where it does not."""
    rank: int
    """The lower, the more it needs attention."""

    @property
    def state(self) -> State:
        """Of the node as a whole."""
        bad = next(
            (one for one in self.rungs if one.state in (State.FAILED, State.LATE, State.OUT)), None
        )
        if bad is not None:
            return bad.state
        reached = [one for one in self.rungs if one.state is not State.WAITING]
        return reached[-1].state if reached else State.WAITING

    @property
    def fraction(self) -> float | None:
        heard = self.heard
        if heard.delivered_w is None or not heard.ordered_w:
            return None
        return heard.delivered_w / heard.ordered_w


def climber(
    record: EventRecord,
    ven_id: str,
    *,
    name: str,
    online: bool,
    contact_at: datetime | None,
    heard: Heard,
    now: datetime,
) -> Climber:
    """How far a VEN has come in an event at `now`."""
    event = record.event
    delivery, answer = record.deliveries.get(ven_id), record.answers.get(ven_id)
    number = event.modification_number
    told = delivery is not None and number in (
        delivery.handed_modification,
        delivery.acknowledged_modification,
    )
    told_at = delivery.handed_at if delivery is not None and told else None
    opt = {OptType.OPT_IN: "in", OptType.OPT_OUT: "out"}[answer.opt_type] if answer else "silent"
    began, over = event.starts_at <= now, event.status is EventStatus.COMPLETED
    cancelled = event.status is EventStatus.CANCELLED
    due_at = event.starts_at + (event.start_after or timedelta()) + PATIENCE
    overdue = now >= due_at

    notified = State.DONE if told else State.LATE if not online or began else State.WAITING
    opted = State.WAITING
    if answer is not None:
        opted = State.OUT if opt == "out" else State.DONE
    elif began or (told_at is not None and now - told_at > ANSWER_PATIENCE):
        opted = State.LATE
    rungs = [
        Rung(name="notified", state=notified, at=told_at),
        Rung(name="opted", state=opted, at=answer.at if answer else None),
    ]
    share = (
        heard.delivered_w / heard.ordered_w
        if heard.delivered_w is not None and heard.ordered_w
        else None
    )
    delivers = share is not None and share >= DELIVERS
    if opt == "out" or cancelled:
        rungs += [Rung(name=one, state=State.OUT) for one in _LATER]
    else:
        sent_at = heard.held_since or heard.claims_since
        sent = State.DONE if sent_at else State.LATE if overdue else State.WAITING
        acknowledged = (
            State.FAILED
            if heard.override
            else State.INFERRED
            if delivers or heard.effect == 1.0
            else State.LATE
            if overdue and not over
            else State.WAITING
        )
        delivering = (
            State.DONE
            if delivers or (share is None and heard.effect == 1.0)
            else State.PARTIAL
            if (share is not None and share > 0.5) or (share is None and heard.effect == 0.5)
            else State.LATE
            if overdue
            else State.WAITING
        )
        rungs += [
            Rung(name="set-point sent", state=sent, at=sent_at),
            Rung(name="EMS acknowledged", state=acknowledged),
            Rung(
                name="delivering",
                state=delivering,
                at=heard.delivered_at if share is not None else None,
                note=verdict(heard.effect),
            ),
            Rung(
                name="done",
                state=State.DONE if over else State.WAITING,
                at=event.ends_at if over else None,
            ),
        ]
    remark, rank = _remark(
        rungs, heard, online=online, contact_at=contact_at, opt=opt, over=over or cancelled
    )
    return Climber(
        ven_id=ven_id,
        name=name,
        rungs=tuple(rungs),
        heard=heard,
        online=online,
        contact_at=contact_at,
        opt=opt,
        said=answer.description if answer else "",
        remark=remark,
        rank=rank,
    )


VERDICTS: Final = {1.0: "reached", 0.5: "in part", 0.0: "not reached"}
"""Of a node by its own meter, as its x-effect says it."""


def verdict(effect: float | None) -> str:
    """In a word; "" where it has said nothing, or nothing that is understood."""
    return "" if effect is None else VERDICTS.get(effect, "")


_LATER: Final = ("set-point sent", "EMS acknowledged", "delivering", "done")


def _remark(
    rungs: Sequence[Rung],
    heard: Heard,
    *,
    online: bool,
    contact_at: datetime | None,
    opt: str,
    over: bool,
) -> tuple[str, int]:
    """What to say of it, and how urgent that is."""
    states = {one.name: one.state for one in rungs}
    if opt == "out":
        return "opted out", 3
    if over:
        return "", 9
    if not online:
        return ("not heard of lately" if contact_at else "has never been heard of"), 0
    if heard.override:
        return "taken over by hand at the site", 0
    if states["notified"] is State.LATE:
        return "does not have the event yet", 1
    if states["opted"] is State.LATE:
        return "has not answered", 1
    if states["set-point sent"] is State.LATE:
        return "has not said that it began", 1
    if states["delivering"] is State.LATE:
        own = ", and its own meter sees no effect" if heard.effect == 0.0 else ""
        return f"delivers hardly anything{own}", 1
    if states["delivering"] is State.PARTIAL:
        return "delivers in part", 2
    return "", 5


def heard_of(
    event_starts_at: datetime,
    *,
    baseline: Series | None,
    deviation: Series | None,
    statuses: Sequence[Series],
    ordered_w: float | None,
    effect: Series | None = None,
    spark: tuple[float | None, ...] = (),
) -> Heard:
    """What the stored values of one node say, from the start of the event on."""
    first = event_starts_at.timestamp()
    newest = _last(deviation, first)
    begin = next(
        (at for at in (deviation.starts_at if deviation else ()) if at >= first - 60.0), None
    )
    return Heard(
        baseline_w=(_last(baseline, first - 60.0) or (0.0, None))[1],
        delivered_w=-newest[1] if newest else None,
        delivered_at=_instant(newest[0], event_starts_at) if newest else None,
        ordered_w=ordered_w,
        claims_since=_instant(begin, event_starts_at) if begin is not None else None,
        effect=(_last(effect, first) or (0.0, None))[1],
        held_since=_held_since(statuses, event_starts_at),
        override=any(
            bool(one.values and one.values[-1])
            for one in statuses
            if one.point.facet == "manualOverride"
        ),
        spark=spark,
    )


def _held_since(statuses: Sequence[Series], starts_at: datetime) -> datetime | None:
    """When a load control first stood below what it was before the event."""
    first = starts_at.timestamp()
    found: list[float] = []
    for one in statuses:
        if not one.point.facet.endswith(".current") or not one.values:
            continue
        normal = next(
            (value for at, value in zip(one.starts_at, one.values, strict=True) if at < first), None
        )
        changed = next(
            (
                at
                for at, value in zip(one.starts_at, one.values, strict=True)
                if at >= first - 60.0 and normal is not None and value != normal
            ),
            None,
        )
        if changed is not None:
            found.append(changed)
    return _instant(min(found), starts_at) if found else None


def _last(series: Series | None, since: float) -> tuple[float, float] | None:
    if series is None or not series.values or series.starts_at[-1] < since:
        return None
    return series.starts_at[-1], series.values[-1]


def _instant(at: float, like: datetime) -> datetime:
    return datetime.fromtimestamp(at, like.tzinfo)
