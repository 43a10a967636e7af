# SPDX-License-Identifier: Apache-2.0
"""Caps for the grid's sake when the utility falls silent, after the EEBUS limitation use case.

            first statement *                statement of a limit
    INIT --------------------> NORMAL <---------------------------> LIMITED
      |                         ^  |        inactive, or it ends        |
      |        a statement that |  |  nothing heard for heartbeat_s     |
      |        FOLLOWS the      |  v                                    v
      +------> heartbeat's ---- FAILSAFE <------------------------------+
               return           |
                                +--> NORMAL: heard again, but no statement within statement_s;
                                             or silence for failsafe_min_s

* That counts once the utility is heard: a VEN that starts alone brings a plan from its disk.

In INIT and FAILSAFE the failsafe cap holds. Voluntary events know none of this: their schedule is
finished as it was last heard, and never extended.

Three things are told apart: no word (None is never given: what was stated goes on), a limit of
0 W, and the statement that there is no limit. Pure: `now` is an argument.
"""

import enum
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from light_node.errors import PlanFault
from light_node.settings import GridCapTable


class CapState(enum.StrEnum):
    """Where the cap stands."""

    INIT = "init"
    NORMAL = "normal"
    LIMITED = "limited"
    FAILSAFE = "failsafe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What the utility has said: a limit, or (`watts` None) that there is none."""

    watts: float | None
    ends_at: datetime | None = None
    """None: it does not expire."""

    def __post_init__(self) -> None:
        if self.watts is not None and not self.watts >= 0:
            raise PlanFault(f"a cap of {self.watts:g} W is refused; give 0 W or more, or none.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """What is remembered from one moment to the next."""

    state: CapState
    since_at: datetime
    """When the state was entered."""
    heard_at: datetime | None = None
    """The utility's last sign of life; None: there was none, or it was given up."""
    back_at: datetime | None = None
    """In INIT and FAILSAFE: when it was heard again."""
    stated: Stated | None = None


def begun(now: datetime) -> Cap:
    """At each start, whatever was before."""
    return Cap(state=CapState.INIT, since_at=now)


def heard(cap: Cap, now: datetime) -> Cap:
    """A sign of life. It alone ends nothing."""
    is_waiting = cap.state in (CapState.INIT, CapState.FAILSAFE)
    back_at = (cap.back_at or now) if is_waiting else None
    return replace(cap, heard_at=now, back_at=back_at)


def stated(cap: Cap, statement: Stated, now: datetime) -> Cap:
    """A statement. In INIT and FAILSAFE it counts only once the heartbeat is there."""
    if holds_failsafe(cap) and cap.back_at is None:
        return replace(cap, stated=statement)
    cap = replace(cap, stated=statement)
    if statement.watts is None or (statement.ends_at is not None and statement.ends_at <= now):
        return _entered(cap, CapState.NORMAL, now)
    return _entered(cap, CapState.LIMITED, now)


def advanced(cap: Cap, now: datetime, table: GridCapTable) -> Cap:
    """What time alone has changed."""
    if cap.state in (CapState.INIT, CapState.FAILSAFE):
        return _waited(cap, now, table)
    if cap.heard_at is not None and now >= cap.heard_at + _seconds(table.heartbeat_s):
        return replace(_entered(cap, CapState.FAILSAFE, now), back_at=None, stated=None)
    ends_at = cap.stated.ends_at if cap.stated is not None else None
    if cap.state is CapState.LIMITED and ends_at is not None and now >= ends_at:
        return _entered(cap, CapState.NORMAL, now)
    return cap


def _waited(cap: Cap, now: datetime, table: GridCapTable) -> Cap:
    if cap.heard_at is not None and now >= cap.heard_at + _seconds(table.heartbeat_s):
        cap = replace(cap, heard_at=None, back_at=None)  # it was back, and is gone once more
    if cap.back_at is not None:
        if now >= cap.back_at + _seconds(table.statement_s):
            return _entered(cap, CapState.NORMAL, now)
        return cap
    if now >= cap.since_at + _seconds(table.failsafe_min_s):
        return replace(_entered(cap, CapState.NORMAL, now), heard_at=None)
    return cap


def next_change(cap: Cap, table: GridCapTable) -> datetime | None:
    """When time alone may change it next; None: never."""
    moments = []
    if cap.heard_at is not None:
        moments.append(cap.heard_at + _seconds(table.heartbeat_s))
    if cap.state in (CapState.INIT, CapState.FAILSAFE):
        if cap.back_at is not None:
            moments.append(cap.back_at + _seconds(table.statement_s))
        else:
            moments.append(cap.since_at + _seconds(table.failsafe_min_s))
    elif cap.state is CapState.LIMITED and cap.stated is not None and cap.stated.ends_at:
        moments.append(cap.stated.ends_at)
    return min(moments, default=None)


def holds_failsafe(cap: Cap) -> bool:
    """Whether the failsafe cap is in force, whatever was stated."""
    return cap.state in (CapState.INIT, CapState.FAILSAFE)


def held_w(cap: Cap, table: GridCapTable) -> float | None:
    """The cap in force in W; None: there is none."""
    if holds_failsafe(cap):
        return table.failsafe_max_w
    if cap.state is CapState.LIMITED and cap.stated is not None:
        return cap.stated.watts
    return None


def _entered(cap: Cap, state: CapState, now: datetime) -> Cap:
    since_at = cap.since_at if state is cap.state else now
    return replace(cap, state=state, since_at=since_at, back_at=None)


def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)
