# SPDX-License-Identifier: Apache-2.0
"""A small EMS that obeys, as a pure machine: for vendors to read and try against, and for tests.

    idle --lease--> waiting --not_before--> moving --target reached--> holding
     ^                 |                      |                           |
     +--- released, expired (let go, or hold fallback_w), overridden, replaced, plant lost ---+

It knows no clock and no network: `now`, `monotonic_s` and the plant's state are arguments, the
answers are returned. Rules it keeps, each tested:

1. Only a newer seq is obeyed. The same id and seq again is answered again, and changes nothing.
2. A lease ends at not_after or ttl_s after receipt, whichever is first, with nobody's help.
3. What it cannot or will not do is REJECTED with a reason, and changes nothing.
4. ACCEPTED says "understood", STARTED "the load is moving", SUCCEEDED "it is there".
5. A person's override ends the lease (ABORTED) and refuses the next ones until it is withdrawn.
6. A refreshed lease (same id, newer seq) goes on from where the load is.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from ems_bridge.errors import MessageRefused
from ems_bridge.messages import Acknowledgement, AckStatus, Offer, Override, SetPoint
from ems_bridge.words import watts

DEFAULT_RAMP_PER_S = 0.02
"""Of the rated power: an HVAC plant that is unloaded step by step needs about a minute."""
TOLERANCE = 0.002
"""Of the rated power: closer than this counts as reached."""
LONGEST_STEP_S = 5.0
"""After a stall the ramp goes on; it does not jump."""
PLANT_PATIENCE_S = 10.0
"""A plant that is silent longer than this aborts the lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantState:
    """The building as its load port tells it, in watts. load = natural - reduction."""

    load_w: float
    natural_w: float
    """What the building would use without any reduction."""
    reduction_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What to do now: command `reduction_w` (None: leave the plant as it is), send the answers."""

    reduction_w: float | None
    answers: tuple[Acknowledgement, ...]


@dataclass(slots=True, kw_only=True)
class _Held:
    """The lease in hand."""

    setpoint: SetPoint
    ends_monotonic_s: float
    last: Acknowledgement


class ReferenceEms:
    """One EMS of a plant rated at `rated_w`; its own ramp is 2 % of that per second."""

    def __init__(self, *, rated_w: float, ramp_w_per_s: float | None = None) -> None:
        if not rated_w > 0:
            raise MessageRefused("the plant's rated power is not above 0 W; give its size.")
        self._rated_w = rated_w
        self._own_ramp = ramp_w_per_s or rated_w * DEFAULT_RAMP_PER_S
        self._ramp = self._own_ramp
        self._seq = -1
        self._held: _Held | None = None
        self._fallback_w: float | None = None
        self._override: Override | None = None
        self._answered: Acknowledgement | None = None
        self._commanded_w: float | None = None
        self._stepped_s: float | None = None
        self._plant_seen_s: float | None = None

    @property
    def setpoint(self) -> SetPoint | None:
        """The lease in hand, not begun or in force."""
        return self._held.setpoint if self._held is not None else None

    @property
    def last_answer(self) -> Acknowledgement | None:
        """The latest answer to the newest set-point obeyed: to be told again after a reconnect."""
        return self._answered

    def receive(
        self, order: SetPoint, *, now: datetime, monotonic_s: float
    ) -> tuple[Acknowledgement, ...]:
        """Take a set-point, or refuse it; the answers in the order to send them."""
        if order.seq == self._seq and self._answered and order.id == self._answered.id:
            return (self._answered,)
        if refusal := self._refusal(order, now):
            return (_answer(order, AckStatus.REJECTED, now, reason=refusal),)
        answers = []
        if self._held is not None and self._held.setpoint.id != order.id:
            answers.append(
                _answer(
                    self._held.setpoint,
                    AckStatus.REVOKED,
                    now,
                    reason=f"replaced by seq {order.seq}",
                )
            )
        self._seq = order.seq
        self._fallback_w = None
        accepted = _answer(order, AckStatus.ACCEPTED, now, applied_w=_ordered(order))
        self._held = _Held(
            setpoint=order,
            ends_monotonic_s=float("inf") if order.release else monotonic_s + order.ttl_s,
            last=accepted,
        )
        self._ramp = order.ramp_w_per_s or self._own_ramp
        self._answered = accepted
        return (*answers, accepted)

    def offer(self, plant: PlantState | None, *, now: datetime, valid_s: float) -> Offer | None:
        """How far the load could be moved now; None while it cannot, or a person has opted out."""
        if plant is None or self._overridden(now):
            return None
        return Offer(
            down_w=max(0.0, plant.natural_w),
            up_w=max(0.0, self._rated_w - plant.natural_w),
            ramp_w_per_s=self._own_ramp,
            valid_until=now + timedelta(seconds=valid_s),
            at=now,
        )

    def override(self, override: Override | None, *, now: datetime) -> tuple[Acknowledgement, ...]:
        """A person's word: active opts out until its `until`; None or inactive takes it back."""
        self._override = override if override is not None and override.active else None
        if not self._overridden(now):
            return ()
        self._fallback_w = None
        assert self._override is not None
        if self._held is None or self._held.setpoint.release:
            return ()
        return self._drop(AckStatus.ABORTED, now, reason=f"override: {self._override.reason}")

    def step(self, plant: PlantState | None, *, now: datetime, monotonic_s: float) -> Step:
        """One turn: `plant` as just read (None: it did not answer). Call it every second or so."""
        elapsed_s = 0.0 if self._stepped_s is None else monotonic_s - self._stepped_s
        self._stepped_s = monotonic_s
        answers = list(self._expire(now, monotonic_s))
        if plant is None:
            answers.extend(self._without_plant(now, monotonic_s))
            return Step(reduction_w=None, answers=tuple(answers))
        self._plant_seen_s = monotonic_s
        target_w = self._target(plant.natural_w, now)
        at_w = plant.reduction_w if self._commanded_w is None else self._commanded_w
        reach_w = self._ramp * min(max(elapsed_s, 0.0), LONGEST_STEP_S)
        next_w = min(max(target_w, at_w - reach_w), at_w + reach_w)
        self._commanded_w = next_w
        answers.extend(self._progress(next_w, target_w, now))
        stays = next_w == plant.reduction_w  # a plant may wear out by being written to
        return Step(reduction_w=None if stays else next_w, answers=tuple(answers))

    def _refusal(self, order: SetPoint, now: datetime) -> str:
        """Why this set-point is not obeyed; "" when it is."""
        if order.seq <= self._seq:
            return f"seq {order.seq} is not newer than {self._seq}"
        if order.release:
            return ""
        if order.not_after <= now:
            return f"expired at {order.not_after:%H:%M:%S} UTC, now it is {now:%H:%M:%S}"
        if self._overridden(now):
            assert self._override is not None
            return f"override: {self._override.reason}"
        if order.delta_w is not None and abs(order.delta_w) > self._rated_w:
            return f"delta_w is more than the plant's rated {watts(self._rated_w)}"
        if order.max_w is not None and order.max_w < 0:
            return "max_w is below 0 and this plant cannot feed in"
        if order.min_w is not None and order.min_w > self._rated_w:
            return f"min_w is more than the plant's rated {watts(self._rated_w)}"
        return ""

    def _overridden(self, now: datetime) -> bool:
        if self._override is None:
            return False
        if self._override.until is not None and self._override.until <= now:
            self._override = None
        return self._override is not None

    def _expire(self, now: datetime, monotonic_s: float) -> tuple[Acknowledgement, ...]:
        held = self._held
        if held is None or held.setpoint.release:
            return ()
        if now < held.setpoint.not_after and monotonic_s < held.ends_monotonic_s:
            return ()
        self._fallback_w = held.setpoint.fallback_w
        if held.last.status is AckStatus.SUCCEEDED:
            self._held = None  # it did what it was asked to, to the end; nothing is left to say
            return ()
        return self._drop(AckStatus.ABORTED, now, reason="the lease ran out before it was reached")

    def _without_plant(self, now: datetime, monotonic_s: float) -> tuple[Acknowledgement, ...]:
        if self._plant_seen_s is None:
            self._plant_seen_s = monotonic_s
        self._commanded_w = None  # it may come back in any state
        if self._held is None or monotonic_s - self._plant_seen_s <= PLANT_PATIENCE_S:
            return ()
        return self._drop(AckStatus.ABORTED, now, reason="the plant does not answer")

    def _drop(
        self, status: AckStatus, now: datetime, *, reason: str
    ) -> tuple[Acknowledgement, ...]:
        assert self._held is not None
        self._answered = _answer(self._held.setpoint, status, now, reason=reason)
        self._held = None
        return (self._answered,)

    def _in_force(self, now: datetime) -> SetPoint | None:
        held = self._held
        if held is None or held.setpoint.release or now < held.setpoint.not_before:
            return None
        return held.setpoint

    def _target(self, natural_w: float, now: datetime) -> float:
        """The reduction to move to; never more than the plant uses or is rated for."""
        order = self._in_force(now)
        reduction_w = 0.0
        if order is None:
            if self._fallback_w is not None:
                reduction_w = max(0.0, natural_w - self._fallback_w)
        elif order.delta_w is not None:
            reduction_w = -order.delta_w
        else:
            load_w = natural_w
            if order.max_w is not None:
                load_w = min(load_w, order.max_w)
            if order.min_w is not None:
                load_w = max(load_w, order.min_w)
            reduction_w = natural_w - load_w
        return min(max(reduction_w, natural_w - self._rated_w), max(natural_w, 0.0))

    def _progress(self, at_w: float, target_w: float, now: datetime) -> tuple[Acknowledgement, ...]:
        """STARTED once it is in force, SUCCEEDED once it is there."""
        held = self._held
        if held is None or held.last.status is AckStatus.SUCCEEDED:
            return ()
        order = held.setpoint
        if not order.release and now < order.not_before:
            return ()
        applied_w = -target_w if order.delta_w is not None else _ordered(order)
        answers = []
        if held.last.status is AckStatus.ACCEPTED:
            held.last = _answer(order, AckStatus.STARTED, now, applied_w=applied_w)
            answers.append(held.last)
        if abs(at_w - target_w) <= max(1.0, self._rated_w * TOLERANCE):
            held.last = _answer(order, AckStatus.SUCCEEDED, now, applied_w=applied_w)
            answers.append(held.last)
            if order.release:
                self._held = None
        if answers:
            self._answered = answers[-1]
        return tuple(answers)


def _ordered(order: SetPoint) -> float | None:
    """The order's own target: the delta, or the limit (the upper one where there are two)."""
    if order.delta_w is not None:
        return order.delta_w
    return order.max_w if order.max_w is not None else order.min_w


def _answer(
    order: SetPoint,
    status: AckStatus,
    now: datetime,
    *,
    applied_w: float | None = None,
    reason: str = "",
) -> Acknowledgement:
    return Acknowledgement(
        id=order.id, seq=order.seq, status=status, applied_w=applied_w, reason=reason, at=now
    )
