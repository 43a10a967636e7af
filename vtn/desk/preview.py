# SPDX-License-Identifier: Apache-2.0
"""The desk: what an event would be, before it is published."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from oadr.event import Event
from oadr.target import Target
from oadr.vocabulary import OptType, SignalType
from vtn import curtailment, eventbook
from vtn.desk.aims import resolved
from vtn.desk.checks import no_event
from vtn.desk.room import Room
from vtn.errors import Unknown
from vtn.records import OptRecord
from vtn.store import events, groups, headlines, measurements, opts, vens

MOST_MEASURED: Final = 1_000
"""Of more nodes it is not looked up what they take now."""
_NEWEST: Final = timedelta(minutes=5)
_SOON: Final = timedelta(minutes=1)
"""What is changed of an event that runs holds by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Another event at some of the same VENs at the same time."""

    event_id: str
    name: str
    ven_ids: tuple[str, ...]
    refused: bool
    """It is of the same market context: then only one of the two can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Whom an event would be for, and what would come of it."""

    event: Event
    """As it would be published."""
    ven_ids: tuple[str, ...]
    silent: tuple[str, ...]
    """Those that were not heard of lately."""
    overlaps: tuple[Overlap, ...]
    ordered_w: float | None
    """Expected sum over the VENs that did not opt out beforehand.

    None where it names no power, or depends on what is not known.
    """
    taking_w: float | None
    """What those of them take now that have said so within five minutes."""
    measured: int
    """How many have."""
    too_small: tuple[str, ...] = field(default=())
    """VENs that take less now than they are asked to reduce by; none while the event runs."""
    opted_out: tuple[str, ...] = field(default=())
    """VENs that opted out of some of this time beforehand, by a schedule."""

    @property
    def counted_on(self) -> int:
        """How many VENs are asked and did not opt out beforehand; 1 at least."""
        return max(1, len(self.ven_ids) - len(self.opted_out))


class PreviewDesk(Room):
    """What would be."""

    async def preview_event(self, draft: Event, *, replaces: str = "") -> Preview:
        """Raises what publish_event raises, but for an overlap, which it tells of.

        `replaces` is the event that it is a modification of.
        """
        now = self._office.now()
        async with self._office.store.read() as connection:
            if replaces:
                current = await events.find(connection, replaces)
                if current is None:
                    raise no_event(replaces)
                event = eventbook.modified(current, draft, now=now)
            else:
                event = eventbook.drafted(draft, event_id=draft.event_id or "preview", now=now)
            contexts = [one.uri for one in await groups.market_contexts(connection)]
            if event.market_context not in contexts:
                raise Unknown(f"market_context: there is no '{event.market_context}'; add it.")
            known = {one.ven_id: one for one in await vens.every(connection)}
            owners = await vens.owners(connection, event.target.resource_ids)
            targets = resolved(event.target, known, await groups.every(connection), owners)
            others = [
                one.event
                for one in await headlines.going_on(connection, now)
                if one.event.event_id != (replaces or event.event_id)
                and eventbook.overlap(event, one.event)
            ]
            asked = await headlines.targeted(connection, [one.event_id for one in others])
            out = opted_out(event, targets, await opts.schedules(connection))
            power = (
                await measurements.read_several(
                    connection,
                    list(targets),
                    ("TELEMETRY_USAGE",),
                    (now - _NEWEST).timestamp(),
                    now.timestamp(),
                )
                if len(targets) <= MOST_MEASURED
                else []
            )
        taking: dict[str, float] = {}
        for one in power:
            if one.point.unit in ("W", "J/s") and one.values and math.isfinite(one.values[-1]):
                ven_id = one.point.ven_id
                taking[ven_id] = taking.get(ven_id, 0.0) + one.values[-1]
        overlaps = [
            Overlap(
                event_id=one.event_id,
                name=one.vtn_comment or one.event_id,
                ven_ids=shared,
                refused=one.market_context == event.market_context,
            )
            for one in others
            if (shared := tuple(ven for ven in asked.get(one.event_id, ()) if ven in targets))
        ]
        counted_on = tuple(ven_id for ven_id in targets if ven_id not in out)
        runs = event.starts_at <= now
        after_s = (now - event.starts_at + _SOON).total_seconds() if runs else 0.0
        return Preview(
            event=event,
            ven_ids=tuple(targets),
            silent=tuple(
                ven_id
                for ven_id in targets
                if (entry := self._office.directory.by_id(ven_id)) is None
                or not self.is_online(entry, now)
            ),
            overlaps=tuple(overlaps),
            ordered_w=_expected(event, counted_on, taking, after_s),
            taking_w=math.fsum(taking.values()) if taking else None,
            measured=len(taking),
            too_small=() if runs else _too_small(event, taking),
            opted_out=tuple(sorted(out)),
        )


def opted_out(
    event: Event, targets: Mapping[str, Target], schedules: Iterable[OptRecord]
) -> set[str]:
    """Who of these VENs has opted out of some of the event's time, by a schedule (rule 203).

    A schedule for one resource counts where that resource is meant, or the VEN as a whole.
    """
    ends_at = event.ends_at
    found = set()
    for one in schedules:
        target, context = (
            targets.get(one.ven_id),
            eventbook.normal_context(one.opt.market_context or ""),
        )
        if (
            target is not None
            and one.opt.opt_type is OptType.OPT_OUT
            and context in ("", eventbook.normal_context(event.market_context))
            and (not one.scope or not target.resource_ids or one.scope in target.resource_ids)
            and any(
                (ends_at is None or stretch.starts_at < ends_at)
                and (not stretch.duration or stretch.starts_at + stretch.duration > event.starts_at)
                for stretch in one.opt.schedule
            )
        ):
            found.add(one.ven_id)
    return found


def _expected(
    event: Event, ven_ids: tuple[str, ...], taking: dict[str, float], after_s: float
) -> float | None:
    order = curtailment.order_of(event)
    orders = [order(after_s, taking.get(ven_id)) for ven_id in ven_ids]
    there = [one for one in orders if one is not None]
    return math.fsum(there) if len(there) == len(ven_ids) else None


def _too_small(event: Event, taking: dict[str, float]) -> tuple[str, ...]:
    if all(one.signal_type is not SignalType.DELTA for one in event.signals):
        return ()
    asked = curtailment.order_of(event)(0.0, None) or 0.0
    return tuple(ven_id for ven_id, watts in sorted(taking.items()) if watts < asked)
