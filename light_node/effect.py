# SPDX-License-Identifier: Apache-2.0
"""The effect of a lease: whether the node's own meter saw the load go where it was asked to."""

from dataclasses import dataclass, field
from datetime import datetime

from ems_bridge.messages import SetPoint, Verdict

REACHED = 0.9
PARTIAL = 0.3
_CALM = 3


@dataclass(slots=True, kw_only=True)
class Effect:
    """Watches one lease id from its first lease on; fed with each good reading."""

    lease: SetPoint
    before_w: float
    """Mean load of the minute before the lease."""
    reached_after_s: float | None = None
    told: bool = False
    """Whether the verdict has gone to the EMS."""
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

    def see(self, at: datetime, watts: float) -> bool:
        """Take one reading; True when the target has just been reached, three readings long."""
        self._recent = [*self._recent[-_CALM + 1 :], watts]
        if self.reached_after_s is not None or len(self._recent) < _CALM:
            return False
        if all(self._share(recent) >= REACHED for recent in self._recent):
            self.reached_after_s = max(0.0, (at - self.lease.issued_at).total_seconds())
            return True
        return False

    def verdict(self, now: datetime) -> Verdict:
        actual_w = sum(self._recent) / len(self._recent) if self._recent else self.before_w
        reached = self.reached_after_s is not None
        partial = self._share(actual_w) >= PARTIAL
        return Verdict(
            lease_id=self.lease.id,
            event_id=self.lease.reason.event_id,
            baseline_w=self.before_w,
            target_w=self.target_w,
            actual_w=actual_w,
            reached_after_s=self.reached_after_s,
            verdict="reached" if reached else "partial" if partial else "not reached",
            at=now,
        )

    def _share(self, watts: float) -> float:
        asked_w = self.target_w - self.before_w
        return (watts - self.before_w) / asked_w if asked_w else 1.0
