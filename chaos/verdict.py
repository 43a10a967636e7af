# SPDX-License-Identifier: Apache-2.0
"""Judges a run from its ledgers. Pure.

    what the meter said ──▶ what was acknowledged ──▶ what the VTN holds      (I1, I2, I7)
    what the operator was answered ──▶ what each VEN was told, in order       (I3, at the VTN)
    what was ordered ──▶ what the EMS did and what the load really was        (I3, I5, at the site)

lost             acknowledged, and not held as it was said
doubled          held more than once, or never said by anybody
applied_wrongly  an event missing or in an old modification, told backwards, applied again, or
                 held outside its time; a set-point obeyed after a newer one
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

Series = tuple[str, str]
"""venID and rID."""
Reading = tuple[Series, float, float]
"""Of which series, when (seconds since 1970), its value in W."""

CANCELLED = "cancelled"
"""What there is to say of an event that was called off."""
MOST_REMARKS = 20
"""More are not kept: the numbers say how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found wrong; add them up with +."""

    lost: int = 0
    doubled: int = 0
    applied_wrongly: int = 0
    remarks: tuple[str, ...] = ()
    """What exactly, for who has to find it; at most MOST_REMARKS."""

    def __add__(self, other: "Verdict") -> "Verdict":
        return Verdict(
            lost=self.lost + other.lost,
            doubled=self.doubled + other.doubled,
            applied_wrongly=self.applied_wrongly + other.applied_wrongly,
            remarks=(self.remarks + other.remarks)[:MOST_REMARKS],
        )

    @property
    def clean(self) -> bool:
        """Whether nothing was wrong."""
        return not (self.lost or self.doubled or self.applied_wrongly)


CLEAN = Verdict()
_NOTICEABLE_W = 2000.0
"""A reduction, where nothing was ordered; less is noise."""


# --- samples -------------------------------------------------------------------------------------


def judge_samples(
    said: Mapping[Series, Mapping[float, float]],
    acknowledged: Mapping[Series, Collection[float]],
    held: Iterable[Reading],
    *,
    tolerance_w: float = 0.1,
) -> Verdict:
    """Every acknowledged sample is held once, with the value that was said; nothing else is.

    What was said and not acknowledged may be held or not: the answer may have been on its way.
    """
    held = list(held)
    times = Counter((series, at) for series, at, _ in held)
    values = {(series, at): value for series, at, value in held}
    remarks: list[str] = []
    lost = 0
    for series, instants in acknowledged.items():
        for at in instants:
            value = values.get((series, at))
            true = said[series][at]
            if value is None:
                lost += 1
                remarks.append(f"lost: {series} at {at:.0f}")
            elif abs(value - true) > tolerance_w:
                lost += 1
                remarks.append(f"lost: {series} at {at:.0f} is {value}, not {true}")
    doubled = 0
    for (series, at), count in times.items():
        if count > 1:
            doubled += count - 1
            remarks.append(f"doubled: {series} at {at:.0f}, {count} times")
        if at not in said.get(series, {}):
            doubled += 1
            remarks.append(f"never said: {series} at {at:.0f}")
    return Verdict(lost=lost, doubled=doubled, remarks=tuple(remarks[:MOST_REMARKS]))


def energy_error(held: Mapping[float, float], true: Mapping[float, float]) -> float:
    """How far the held power is from the true one, as a share of it, over the seconds of both (I7).

    Both by whole seconds since 1970, in W. Infinite where they have no second in common.
    """
    common = held.keys() & true.keys()
    real = sum(true[at] for at in common)
    return abs(sum(held[at] for at in common) - real) / real if real else math.inf


# --- events at the VTN ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """An event as one modification has it."""

    modification: int
    what: str
    """All that matters of it in one text: start, duration, value, whether it is cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLedger:
    """What was seen of the events of one VTN."""

    acknowledged: Mapping[str, Version]
    """By eventID: the last version that the operator got an answer for."""
    held: Mapping[str, Version]
    """What the VTN's database has in the end."""
    told: Mapping[str, Sequence[tuple[str, Version]]]
    """By venID: every version of every event that the VEN was sent, in the order it came."""
    answered: Mapping[tuple[str, str], int]
    """By (venID, eventID): the last modification whose answer the VTN acknowledged."""
    held_answers: Mapping[tuple[str, str], int]
    """The last answered modification in the VTN's database."""


def judge_events(ledger: EventLedger) -> Verdict:
    """Nothing acknowledged is forgotten, and each VEN ends with the last modification.

    An act that was not acknowledged may have happened or not: what the VTN holds may be newer than
    what was acknowledged, never older.
    """
    remarks = [
        *_forgotten_acts(ledger),
        *_forgotten_answers(ledger),
        *(remark for ven_id in ledger.told for remark in _told_wrongly(ledger, ven_id)),
    ]
    return Verdict(applied_wrongly=len(remarks), remarks=tuple(remarks[:MOST_REMARKS]))


def _forgotten_acts(ledger: EventLedger) -> Iterable[str]:
    for event_id, version in ledger.acknowledged.items():
        held = ledger.held.get(event_id)
        if held is None:
            yield f"{event_id}: published, and not held"
        elif held.modification < version.modification:
            yield f"{event_id}: held at {held.modification}, acknowledged {version.modification}"
        elif held.modification == version.modification and held != version:
            yield f"{event_id}: held as {held.what}, acknowledged as {version.what}"


def _forgotten_answers(ledger: EventLedger) -> Iterable[str]:
    for (ven_id, event_id), modification in ledger.answered.items():
        held = ledger.held_answers.get((ven_id, event_id), -1)
        if held < modification:
            yield f"{event_id}: answer of {ven_id} to {modification} forgotten ({held} is held)"


def _told_wrongly(ledger: EventLedger, ven_id: str) -> Iterable[str]:
    known: dict[str, Version] = {}
    for event_id, version in ledger.told[ven_id]:
        before = known.get(event_id)
        if before is not None and version.modification < before.modification:
            yield (
                f"{event_id}: {ven_id} was told {version.modification} after {before.modification}"
            )
            continue
        same = before is not None and version.modification == before.modification
        if same and before != version:
            yield f"{event_id}: {ven_id} was told two things as {version.modification}"
        known[event_id] = version
    for event_id, held in ledger.held.items():
        last = known.get(event_id)
        if last is None and held.what == CANCELLED:
            continue  # it was called off before the VEN asked
        if last is None:
            yield f"{event_id}: {ven_id} was never told"
        elif last != held:
            yield (
                f"{event_id}: {ven_id} ends with {last.modification} {last.what}, "
                f"the VTN with {held.modification} {held.what}"
            )


# --- events at the site --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What an event asks of a site in its last modification: a reduction in [starts, ends)."""

    event_id: str
    starts_at: datetime
    ends_at: datetime
    """Its end, or when it was cancelled if that was earlier and the site could know."""
    watts: float
    """The reduction, W, > 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """What a site may take."""

    settle: timedelta = timedelta(seconds=12)
    """How long the load may take to follow: the EMS's cycle and the plant's lag."""
    most_times: int = 1
    """How often an event may begin to be held; more only where the lease had to run out."""
    least_times: int = 1
    share: float = 0.5
    """The load counts as reduced from this share of the smallest order on."""


def judge_site(
    loads: Sequence[tuple[datetime, float]],
    orders: Sequence[Order],
    patience: Patience | None = None,
) -> Verdict:
    """By the building's own ledger (instant, reduction in W; ascending): each order is held once.

    A second of reduction outside every order, and each time an order is begun again or never, is
    one thing applied wrongly.
    """
    patience = patience or Patience()
    threshold = patience.share * min((order.watts for order in orders), default=_NOTICEABLE_W)
    remarks: list[str] = []
    for at, reduction in loads:
        allowed = any(order.starts_at <= at < order.ends_at + patience.settle for order in orders)
        if reduction > threshold and not allowed:
            remarks.append(f"{at:%H:%M:%S}: reduced by {reduction:.0f} W outside every event")
    for order in orders:
        times = _rises(loads, order, threshold)
        if not patience.least_times <= times <= patience.most_times:
            remarks.append(f"{order.event_id}: applied {times} times")
    return Verdict(applied_wrongly=len(remarks), remarks=tuple(remarks[:MOST_REMARKS]))


def _rises(loads: Sequence[tuple[datetime, float]], order: Order, threshold: float) -> int:
    held = False
    times = 0
    for at, reduction in loads:
        if order.starts_at <= at < order.ends_at:
            times += reduction > threshold and not held
            held = reduction > threshold
    return times


def judge_order(sequence: Sequence[int]) -> Verdict:
    """The numbers of the set-points an EMS obeyed: never an older one after a newer one (I5)."""
    wrong = [(a, b) for a, b in pairwise(sequence) if b < a]
    remarks = tuple(f"the EMS obeyed {b} after {a}" for a, b in wrong[:MOST_REMARKS])
    return Verdict(applied_wrongly=len(wrong), remarks=remarks)


# --- the outcome of a trial ----------------------------------------------------------------------

GOAL_S = 3.0
"""Recovery: from the restart of what fell to the first sample that is acknowledged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one trial; a line of result.json."""

    name: str
    runs: int
    """How often the fault struck."""
    lost: int
    doubled: int
    applied_wrongly: int
    max_recovery_s: float | None
    """None where nothing had to recover."""
    held: bool
    seconds: float = 0.0
    measured: Mapping[str, float] = field(default_factory=dict)
    """What else was counted or timed; units in the names."""
    remarks: tuple[str, ...] = ()


def outcome(
    name: str,
    verdict: Verdict,
    *,
    runs: int,
    wanted: int = 1,
    recoveries_s: Collection[float] = (),
    goal_s: float = GOAL_S,
    measured: Mapping[str, float] | None = None,
    remarks: Iterable[str] = (),
) -> Outcome:
    """Held: nothing wrong, the fault struck as often as it was meant to, recovery in time.

    `remarks` are further reasons why it does not hold.
    """
    slowest = max(recoveries_s, default=None)
    said = [*verdict.remarks, *remarks]
    if runs < wanted:
        said.append(f"struck {runs} times instead of {wanted}")
    if slowest is not None and slowest > goal_s:
        said.append(f"recovery took {slowest:.2f} s, more than {goal_s:g} s")
    return Outcome(
        name=name,
        runs=runs,
        lost=verdict.lost,
        doubled=verdict.doubled,
        applied_wrongly=verdict.applied_wrongly,
        max_recovery_s=None if slowest is None else round(slowest, 3),
        held=verdict.clean and not said,
        measured=dict(measured or {}),
        remarks=tuple(said),
    )
