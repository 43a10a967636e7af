# SPDX-License-Identifier: Apache-2.0
"""The effect of a lease: whether the node's own meter saw the load go where it was asked to.

An acknowledgement is a word; the meter is the proof. A few readings after the word the verdict is
passed, however it stands, and again when it changes: so an EMS that says yes and moves nothing is
found out in seconds, and one that is slow is given its due later.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from ems_bridge.messages import SetPoint, Verdict

REACHED = 0.9
PARTIAL = 0.3
_CALM = 3
FEW = 5
"""So many readings after the acknowledgement, and its ramp, the verdict is passed."""
Word = Literal["reached", "partial", "not reached"]


@dataclass(slots=True, kw_only=True)
class Effect:
    """Watches one lease id from its first lease on; fed with each good reading."""

    lease: SetPoint
    before_w: float
    """Mean load of the minute before the lease."""
    reached_after_s: float | None = None
    told: Word | None = None
    """The verdict that was last told."""
    obeyed_at: datetime | None = None
    """When the EMS, or a device, first said that it obeys."""
    _readings_since: int = 0
    _recent: list[float] = field(default_factory=list)

    @property
    def target_w(self) -> float:
        """The load that the lease asks for."""
        if self.lease.delta_w is not None:
            return self.before_w + self.lease.delta_w
        target = self.before_w
        if self.lease.max_w is not None:
            target = min(target, self.lease.max_w)
        if self.lease.min_w is not None:
            target = max(target, self.lease.min_w)
        return target

    @property
    def is_judged(self) -> bool:
        """Whether there is a verdict: the load is there, or had its time to get there."""
        return self.reached_after_s is not None or self._readings_since >= FEW

    @property
    def is_news(self) -> bool:
        """Whether the verdict is there and is another than the one told."""
        return self.is_judged and self.word != self.told

    @property
    def is_idle_word(self) -> bool:
        """Whether it was said that the lease is obeyed, and the meter sees nothing of it."""
        return self.obeyed_at is not None and self.is_judged and self.word == "not reached"

    @property
    def word(self) -> Word:
        """As things stand; once reached it stays so."""
        if self.reached_after_s is not None:
            return "reached"
        return "partial" if self._share(self.actual_w) >= PARTIAL else "not reached"

    @property
    def actual_w(self) -> float:
        """Mean of the last readings."""
        return sum(self._recent) / len(self._recent) if self._recent else self.before_w

    def obeyed(self, at: datetime) -> None:
        """Somebody says that the lease is obeyed; the first word counts."""
        self.obeyed_at = self.obeyed_at or at

    def see(self, at: datetime, watts: float) -> bool:
        """Take one reading; True when the verdict is news."""
        self._recent = [*self._recent[-_CALM + 1 :], watts]
        if self.obeyed_at is not None and at >= self.obeyed_at + self._ramp():
            self._readings_since += 1
        if (
            self.reached_after_s is None
            and len(self._recent) == _CALM
            and all(self._share(recent) >= REACHED for recent in self._recent)
        ):
            self.reached_after_s = max(0.0, (at - self.lease.issued_at).total_seconds())
        return self.is_news

    def verdict(self, now: datetime) -> Verdict:
        return Verdict(
            lease_id=self.lease.id,
            event_id=self.lease.reason.event_id,
            baseline_w=self.before_w,
            target_w=self.target_w,
            actual_w=self.actual_w,
            reached_after_s=self.reached_after_s,
            verdict=self.word,
            at=now,
        )

    def _ramp(self) -> timedelta:
        """How long the way may take by the lease's own ramp."""
        ramp = self.lease.ramp_w_per_s
        return timedelta(seconds=abs(self.target_w - self.before_w) / ramp if ramp else 0.0)

    def _share(self, watts: float) -> float:
        asked_w = self.target_w - self.before_w
        return (watts - self.before_w) / asked_w if asked_w else 1.0
