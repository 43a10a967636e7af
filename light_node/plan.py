# SPDX-License-Identifier: Apache-2.0
"""The plan and the orders: what is to be held, and what of it was really ordered, also later."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from light_node.errors import PlanFault
from light_node.local import Exact, Keep, Notice, Step

_YEARS = (1900, 9998)
"""A clock that was never set begins in 1970, and an event may have begun before it."""


class Plan(Exact, frozen=True, kw_only=True):
    """What the VEN said last. Without a word from it, there is nothing to hold."""

    version: int = 0
    steps: tuple[Step, ...] = ()
    notices: tuple[Notice, ...] = ()


class Order(Exact, frozen=True, kw_only=True):
    """What an event has ordered: its steps, each cut off where a later plan took it back."""

    event_id: str
    modification_number: int
    steps: tuple[Step, ...]

    @property
    def starts_at(self) -> datetime | None:
        return self.steps[0].starts_at if self.steps else None

    @property
    def ends_at(self) -> datetime | None:
        """None while the last step is open-ended."""
        return self.steps[-1].ends_at if self.steps else None


def check(steps: Sequence[Step]) -> None:
    """Refuse steps that end before they start, or beyond any calendar, or of which two of one event
    overlap: PlanFault.
    """
    first_year, last_year = _YEARS
    last: dict[str, Step] = {}
    for step in steps:
        if step.starts_at.year < first_year or (step.ends_at or step.starts_at).year > last_year:
            raise PlanFault(
                f"event '{step.event_id}': a step does not lie between the years {first_year} and "
                f"{last_year}; send the plan again with an instant that can be reckoned with."
            )
        if step.ends_at is not None and step.ends_at <= step.starts_at:
            raise PlanFault(
                f"event '{step.event_id}': a step ends at or before its start "
                f"({step.starts_at.isoformat()}); send the plan again with a duration above 0."
            )
        before = last.get(step.event_id)
        if before is not None and (before.ends_at is None or step.starts_at < before.ends_at):
            raise PlanFault(
                f"event '{step.event_id}': two steps overlap or are out of order at "
                f"{step.starts_at.isoformat()}; send them ascending."
            )
        last[step.event_id] = step


def orders_of(steps: Iterable[Step]) -> dict[str, Order]:
    """The active steps by event; events that hold nothing (prices) order nothing."""
    by_event: dict[str, list[Step]] = {}
    for step in steps:
        if step.part != "active":
            continue
        by_event.setdefault(step.event_id, []).append(step)
    return {
        event_id: Order(
            event_id=event_id,
            modification_number=max(step.modification_number for step in own),
            steps=tuple(own),
        )
        for event_id, own in by_event.items()
        if any(not isinstance(step.target, Keep) for step in own)
    }


def revised(old: Order | None, new: Order | None, now: datetime) -> Order | None:
    """The order after a new plan: what lies in the past stays as it was, the future is the new.

    `new` is None when the event is no longer in the plan: it has ended, or was taken back now.
    """
    if old is None:
        return new
    if new is not None and new.steps == old.steps:
        return old
    steps = [
        *(part for step in old.steps if (part := _cut(step, until=now)) is not None),
        *(part for step in (new.steps if new else ()) if (part := _cut(step, since=now))),
    ]
    return Order(
        event_id=old.event_id,
        modification_number=new.modification_number if new else old.modification_number,
        steps=tuple(_joined(steps)),
    )


def _cut(
    step: Step, *, since: datetime | None = None, until: datetime | None = None
) -> Step | None:
    """The part of a step from `since` on, or before `until`; None if there is none."""
    starts_at = step.starts_at if since is None else max(step.starts_at, since)
    ends_at = step.ends_at
    if until is not None:
        ends_at = until if ends_at is None else min(ends_at, until)
    if ends_at is not None and ends_at <= starts_at:
        return None
    return msgspec.structs.replace(step, starts_at=starts_at, ends_at=ends_at)


def _joined(steps: Iterable[Step]) -> list[Step]:
    """Put pieces together again that differ only in their times."""
    joined: list[Step] = []
    for step in steps:
        before = joined[-1] if joined else None
        if (
            before is not None
            and before.ends_at == step.starts_at
            and msgspec.structs.replace(before, starts_at=step.starts_at, ends_at=step.ends_at)
            == step
        ):
            joined[-1] = msgspec.structs.replace(before, ends_at=step.ends_at)
        else:
            joined.append(step)
    return joined
