# SPDX-License-Identifier: Apache-2.0
"""Quality of a reading: flags, their names, and the checks that set them."""

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass

FROZEN_TICKS = 2
FROZEN_EVIDENCE = 8
"""Repeated values it takes to call a meter frozen: four values twice, or two values four times."""
_DISTRUSTED = 5
"""So many energy counters that cannot follow the last one are left out, then believed."""
_PHASES = ("active_power_l1", "active_power_l2", "active_power_l3")


class Quality(enum.IntFlag):
    """What is to be known about a reading; no flag at all is GOOD."""

    GOOD = 0
    STALE = 1
    """The meter repeats itself to the last bit: its measuring part stands still."""
    COMM = 2
    """No answer from the meter."""
    IMPLAUSIBLE = 4
    """The power cannot be: out of range, or not the sum of its phases."""
    PARTIAL = 8
    """A point other than the power is missing or was left out as impossible."""
    CLOCK_UNSYNC = 16
    """The node's clock was not known to be right."""
    LATE = 32
    """Taken more than a quarter of an interval after its tick."""
    SUBSTITUTED = 64
    """Not measured but put in."""
    MANUAL = 128
    """Entered by a person."""
    MISSED = 256
    """The node itself stood still at this tick and asked nothing."""
    CLOCK_STEP = 512
    """The first reading after the node's clock was set."""


UNUSABLE = Quality.STALE | Quality.COMM | Quality.IMPLAUSIBLE | Quality.MISSED
"""With any of these the power of a reading is not used in any sum."""


_WORDS = {
    Quality.COMM: "does not answer; check its power, its wiring and its unit number",
    Quality.STALE: "repeats itself to the last bit; switch it off and on",
    Quality.IMPLAUSIBLE: "says what cannot be; run 'light-node check'",
    Quality.MISSED: "was not asked: the node itself stood still",
}


def to_text(quality: Quality) -> str:
    """Names joined by "+", "good" for none: `COMM | LATE` is "comm+late"."""
    return "+".join(flag.name.lower() for flag in quality if flag.name) or "good"


def from_text(text: str) -> Quality:
    """The other way of `to_text`; raises KeyError for a name nobody gave."""
    quality = Quality.GOOD
    if text != "good":
        for name in text.split("+"):
            quality |= Quality[name.upper()]
    return quality


def in_words(quality: Quality | str) -> str:
    """What makes a reading unusable and what to do, for people; "" where nothing does."""
    flags = from_text(quality) if isinstance(quality, str) else quality
    return next((said for flag, said in _WORDS.items() if flags & flag), "")


def is_usable(quality: Quality | str) -> bool:
    """Whether the power of a reading with this quality may be counted."""
    flags = from_text(quality) if isinstance(quality, str) else quality
    return not flags & UNUSABLE


@dataclass(slots=True)
class Judge:
    """Judges one meter's readings in their order; holds what it must remember between two."""

    ranges: Mapping[str, tuple[float, float]]
    """Point name -> lowest and highest possible value (SI units)."""
    frozen_after: int = FROZEN_TICKS
    """Fewer repetitions of all voltages to the last bit are borne: the meter may be slow."""
    energy_step_limit_wh: float = 1e6
    """A counter that jumps further than this between two readings is not believed."""

    _energy_wh: float | None = None
    _distrusted: int = 0
    _pattern: tuple[float, ...] = ()
    _repeats: int = 0

    def judge(self, values: Mapping[str, float]) -> tuple[dict[str, float], Quality]:
        """Return the values that can be, and the flags. A value that cannot be is left out."""
        quality = Quality.GOOD
        kept: dict[str, float] = {}
        for name, value in values.items():
            low, high = self.ranges.get(name, (-math.inf, math.inf))
            if math.isfinite(value) and low <= value <= high:
                kept[name] = value
            else:
                quality |= Quality.IMPLAUSIBLE if name == "active_power" else Quality.PARTIAL
        if self._is_frozen(kept):
            quality |= Quality.STALE
        if not _phases_agree(kept):
            quality |= Quality.IMPLAUSIBLE
        if "energy_import" in kept and not self._believes(kept["energy_import"]):
            del kept["energy_import"]
            quality |= Quality.PARTIAL
        return kept, quality

    def _is_frozen(self, values: Mapping[str, float]) -> bool:
        # Voltage and frequency never stand still to the last bit; an idle building's power does.
        watched = [v for n, v in values.items() if n.startswith("voltage") or n == "frequency"]
        # A register in tenths or hundredths may well repeat itself; all digits of a float do not.
        pattern = tuple(v for v in watched if abs(v - round(v, 2)) > 1e-6)
        if not pattern:
            self._pattern, self._repeats = (), 0
            return False
        self._repeats = self._repeats + 1 if pattern == self._pattern else 0
        self._pattern = pattern
        return (
            self._repeats >= self.frozen_after and self._repeats * len(pattern) >= FROZEN_EVIDENCE
        )

    def _believes(self, energy_wh: float) -> bool:
        last = self._energy_wh
        if last is None or 0 <= energy_wh - last <= self.energy_step_limit_wh:
            self._energy_wh, self._distrusted = energy_wh, 0
            return True
        # A counter that rolled over or was exchanged stays low; a garbled reading does not.
        self._distrusted += 1
        if self._distrusted > _DISTRUSTED:
            self._energy_wh, self._distrusted = energy_wh, 0
            return True
        return False


def _phases_agree(values: Mapping[str, float]) -> bool:
    if "active_power" not in values or not all(phase in values for phase in _PHASES):
        return True
    phases = [values[phase] for phase in _PHASES]
    tolerance = 100 + 0.1 * sum(abs(watts) for watts in phases)
    return abs(values["active_power"] - sum(phases)) <= tolerance
