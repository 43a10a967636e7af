# SPDX-License-Identifier: Apache-2.0
"""The set-point guard: turns the plan into leases that end by themselves, within the site's limits.

    plan     ----[ step A: -50 kW            )[ step B )-----------
    leases       [1........)                                        each ends at most lease_s after
                     [2........)                                    it was made, and never later
                         [3.........)                               than its step
                             [4.....)                               refreshed every refresh_s
                                     [5......)
                                              [6 release

So a dead node, broker or VEN ends a reduction within lease_s, by the EMS's clock alone.

States: INIT until the first decision; NORMAL: nothing is held; LIMITED: a lease is in force;
FAILSAFE: a lease is in force but the EMS has been lost or silent for too long. Leases go on being
made, for it may hear us; FAILSAFE is left only when it is heard again AND has acknowledged a lease
made since, or when the lease is over (after the EEBUS limitation use case).

Pure: nothing here knows a clock, a disk or a broker.
"""

import enum
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec

from ems_bridge.messages import Reason, SetPoint
from light_node.local import Delta, Keep, Limit, Share, Step, Target
from light_node.settings import GuardTable

RETRY_S = 5.0
"""An unacknowledged lease is made anew after this."""


NOTHING_HELD = "nothing-held"
_NO_EVENT = Reason(event_id="", modification_number=0, signal_name="", signal_type="")


class GuardState(enum.StrEnum):
    """Where the guard stands."""

    INIT = "init"
    NORMAL = "normal"
    LIMITED = "limited"
    FAILSAFE = "failsafe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the guard remembers from one decision to the next; on disk before anything is sent."""

    seq: int = 0
    """The last one given out; it only rises, for the whole life of the node."""
    lease: SetPoint | None = None
    """The one in force; None after its release."""
    first_issued_at: datetime | None = None
    """When the first lease of the present step was made."""
    state: GuardState = GuardState.INIT
    failsafe_seq: int = 0
    """The seq at which FAILSAFE was entered."""
    released_at: datetime | None = None
    """When the last release was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a decision is made on."""

    now: datetime
    steps: tuple[Step, ...]
    overridden: bool = False
    is_failsafe: bool = False
    """The steps are the failsafe cap: no ramp, no rest, no knowledge of the load holds it up."""
    level_w: float | None = None
    """What the building would use now: the baseline, or what was last measured; None if unknown."""
    ems_lost: bool = False
    """The EMS has said that it leaves, or its broker has said that it is gone."""
    ems_seen_at: datetime | None = None
    acknowledged_seq: int = 0
    """The newest set-point the EMS has accepted."""
    answered_seq: int = 0
    """The newest set-point it has answered at all, be it with REJECTED."""
    renew: bool = False
    """The EMS or the broker has just come back: say again what is in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to remember, what to send, and when to look again."""

    held: Held
    send: SetPoint | None = None
    look_at: datetime | None = None
    """The next instant at which time alone changes the decision; None = never."""
    hindrance: str = ""
    """Why a step that should be held is not."""


def decide(held: Held, situation: Situation, guard: GuardTable) -> Decision:
    """Make the lease that is due now, or the release, or nothing."""
    now = situation.now
    step = None if situation.overridden else step_at(situation.steps, now)
    if situation.is_failsafe:
        guard = _failsafe_limits(guard)
    elif step is not None and _is_too_soon_or_short(held, step, now, guard):
        step = None
    target = None if step is None else within_limits(step.target, guard, situation.level_w)
    hindrance = (
        "it is not known what the building would use now, so the limits cannot be kept"
        if step is not None and target is None
        else ""
    )
    if step is None or target is None:
        decision = _let_go(held, situation, guard)
    else:
        decision = _hold(held, situation, step=step, target=target, guard=guard)
    return replace(
        decision,
        held=_with_state(decision.held, situation, guard),
        look_at=_soonest(now, decision, situation, guard),
        hindrance=hindrance,
    )


def step_at(steps: Iterable[Step], now: datetime) -> Step | None:
    """The step to be held now: of those in force the one of highest priority (1 before 2 ... 0)."""
    running = [
        step
        for step in steps
        if step.starts_at <= now
        and (step.ends_at is None or now < step.ends_at)
        and not isinstance(step.target, Keep)
    ]
    return min(running, key=_rank, default=None)


def _failsafe_limits(guard: GuardTable) -> GuardTable:
    """The limits under the failsafe cap: it needs no knowledge of the load, and no ramp."""
    return msgspec.structs.replace(
        guard, max_reduction_w=None, ramp_w_per_s=None, min_on_s=0, min_off_s=0
    )


def _is_too_soon_or_short(held: Held, step: Step, now: datetime, guard: GuardTable) -> bool:
    """Whether a step is not begun: too soon after the last release, or too little is left of it.

    It never makes anything last longer: the end of a step stays what it is.
    """
    if held.lease is not None:
        return False
    if held.released_at is not None and held.released_at <= now:
        rested_s = (now - held.released_at).total_seconds()
        if rested_s < guard.min_off_s:
            return True
    return step.ends_at is not None and (step.ends_at - now).total_seconds() < guard.min_on_s


def _rank(step: Step) -> tuple[bool, int, datetime, str]:
    return step.priority == 0, step.priority, step.starts_at, step.event_id


def within_limits(target: Target, guard: GuardTable, level_w: float | None) -> Delta | Limit | None:
    """The target as the installer's limits allow it; None where they cannot be judged.

    A change becomes a smaller change, never one in the other direction. `max_load_w` is stronger
    than `max_reduction_w`.
    """
    match target:
        case Keep():
            return None
        case Share(of_baseline=share):
            if level_w is None:
                return None
            # Of what it feeds in there is no share: a reduction would become more load.
            return within_limits(Delta(watts=(share - 1) * max(0.0, level_w)), guard, level_w)
        case Delta(watts=watts):
            return _delta(watts, guard, level_w)
        case Limit():
            return _limit(target, guard, level_w)


def _delta(watts: float, guard: GuardTable, level_w: float | None) -> Delta | None:
    if watts < 0:
        if guard.max_reduction_w is not None:
            watts = max(watts, -guard.max_reduction_w)
        if guard.min_load_w is not None:
            if level_w is None:
                return None
            watts = max(watts, min(0.0, guard.min_load_w - level_w))
    elif guard.max_load_w is not None:
        if level_w is None:
            return None
        watts = min(watts, max(0.0, guard.max_load_w - level_w))
    return Delta(watts=watts)


def _limit(target: Limit, guard: GuardTable, level_w: float | None) -> Limit | None:
    highest, lowest = target.max_watts, target.min_watts
    if highest is not None:
        if guard.max_reduction_w is not None:
            if level_w is None:
                return None
            highest = max(highest, level_w - guard.max_reduction_w)
        if guard.min_load_w is not None:
            highest = max(highest, guard.min_load_w)
        if guard.max_load_w is not None:
            highest = min(highest, guard.max_load_w)
    if lowest is not None:
        if guard.max_load_w is not None:
            lowest = min(lowest, guard.max_load_w)
        if highest is not None:
            lowest = min(lowest, highest)
    return Limit(max_watts=highest, min_watts=lowest)


def _hold(
    held: Held, situation: Situation, *, step: Step, target: Delta | Limit, guard: GuardTable
) -> Decision:
    now = situation.now
    lease_id = id_of(step)
    lease = held.lease
    same = lease is not None and lease.id == lease_id
    if same and lease is not None and not _is_due(lease, step, situation, guard):
        return Decision(held=held)
    ends_at = now + timedelta(seconds=guard.lease_s)
    if step.ends_at is not None:
        ends_at = min(ends_at, step.ends_at)
    ramps = [ramp for ramp in (step.ramp_w_per_s, guard.ramp_w_per_s) if ramp is not None]
    made = SetPoint(
        id=lease_id,
        seq=_next_seq(held, now),
        issued_at=now,
        not_before=now,
        not_after=ends_at,
        ttl_s=(ends_at - now).total_seconds(),
        delta_w=target.watts if isinstance(target, Delta) else None,
        max_w=target.max_watts if isinstance(target, Limit) else None,
        min_w=target.min_watts if isinstance(target, Limit) else None,
        ramp_w_per_s=min(ramps, default=None),
        fallback_w=guard.failsafe_max_w,
        reason=Reason(
            event_id=step.event_id,
            modification_number=step.modification_number,
            signal_name=step.signal_name,
            signal_type=step.signal_type,
            market_context=step.market_context,
        ),
    )
    return Decision(
        held=replace(
            held,
            seq=made.seq,
            lease=made,
            first_issued_at=held.first_issued_at if same else now,
        ),
        send=made,
    )


def _is_due(lease: SetPoint, step: Step, situation: Situation, guard: GuardTable) -> bool:
    now = situation.now
    if situation.renew or now < lease.issued_at:
        return True  # with the clock set back, the EMS's lease may end later than we think
    if situation.answered_seq < lease.seq and now >= lease.issued_at + _retry(guard):
        return True
    if step.ends_at is not None and lease.not_after >= step.ends_at:
        return lease.not_after > step.ends_at  # too long by now, or just right
    return now >= lease.issued_at + timedelta(seconds=guard.refresh_s)


def _let_go(held: Held, situation: Situation, guard: GuardTable) -> Decision:
    """The release of what is held. Who has just come back is told it also where nothing is held:
    it may hold a fallback from a node before us, and leaves that only on a word (LPC-913).
    """
    lease, now = held.lease, situation.now
    if lease is None and not situation.renew:
        return Decision(held=held)
    released = SetPoint(
        id=NOTHING_HELD if lease is None else lease.id,
        seq=_next_seq(held, now),
        issued_at=now,
        not_before=now,
        not_after=now + timedelta(seconds=guard.lease_s),
        ttl_s=guard.lease_s,
        ramp_w_per_s=guard.ramp_w_per_s,
        reason=_NO_EVENT if lease is None else lease.reason,
        release=True,
    )
    if lease is None:
        return Decision(held=replace(held, seq=released.seq), send=released)
    return Decision(
        held=replace(held, seq=released.seq, lease=None, first_issued_at=None, released_at=now),
        send=released,
    )


def _with_state(held: Held, situation: Situation, guard: GuardTable) -> Held:
    if held.lease is None or held.first_issued_at is None:
        return replace(held, state=GuardState.NORMAL)
    if held.state is GuardState.FAILSAFE:
        back = not situation.ems_lost and situation.acknowledged_seq > held.failsafe_seq
        return replace(held, state=GuardState.LIMITED) if back else held
    if situation.ems_lost or situation.now >= _patience(held.first_issued_at, situation, guard):
        return replace(held, state=GuardState.FAILSAFE, failsafe_seq=held.seq)
    return replace(held, state=GuardState.LIMITED)


def _patience(first: datetime, situation: Situation, guard: GuardTable) -> datetime:
    """Until when the silence of the EMS is borne."""
    heard = max(first, situation.ems_seen_at or first)
    return heard + timedelta(seconds=guard.ems_silence_s)


def _soonest(
    now: datetime, decision: Decision, situation: Situation, guard: GuardTable
) -> datetime | None:
    moments = [at for step in situation.steps for at in (step.starts_at, step.ends_at) if at]
    lease = decision.held.lease
    if lease is None and decision.held.released_at is not None and guard.min_off_s:
        moments.append(decision.held.released_at + timedelta(seconds=guard.min_off_s))
    if lease is not None:
        moments.append(lease.issued_at + timedelta(seconds=guard.refresh_s))
        if situation.answered_seq < lease.seq:
            moments.append(lease.issued_at + _retry(guard))
        if decision.held.first_issued_at is not None:
            moments.append(_patience(decision.held.first_issued_at, situation, guard))
    return min((at for at in moments if at > now), default=None)


def _next_seq(held: Held, now: datetime) -> int:
    """Milliseconds since 1970 or higher: a replaced node and a probe by hand stay in order."""
    return max(held.seq + 1, int(now.timestamp() * 1000))


def _retry(guard: GuardTable) -> timedelta:
    return timedelta(seconds=min(RETRY_S, guard.refresh_s))


def id_of(step: Step) -> str:
    """A lease's id: the same for all leases of one step, another as soon as the order changes."""
    order = zlib.crc32(msgspec.json.encode((step.event_id, step.starts_at, step.target)))
    return f"{step.event_id[:200]}:{step.modification_number}:{order:08x}"


def in_words(lease: SetPoint) -> str:
    """A lease's target for people."""
    if lease.delta_w is not None:
        verb = "reduce by" if lease.delta_w < 0 else "increase by"
        return f"{verb} {abs(lease.delta_w) / 1000:,.1f} kW"
    words = []
    if lease.max_w is not None:
        words.append(f"at most {lease.max_w / 1000:,.1f} kW")
    if lease.min_w is not None:
        words.append(f"at least {lease.min_w / 1000:,.1f} kW")
    return " and ".join(words) or "release"
