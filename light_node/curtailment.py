# SPDX-License-Identifier: Apache-2.0
"""Curtailment: what an event ordered against what the meter saw, both against the baseline.

Only time that has passed, under a step that holds something, and with good readings counts as
delivered; a gap is neither delivered nor not delivered. Positive is a reduction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from light_node.baseline import INTERVAL_S, Baseline
from light_node.local import Delta, Keep, Limit, Share, Step, Target
from light_node.quality import Quality, is_usable


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What an event has brought so far."""

    ordered_w: float
    delivered_w: float | None
    fraction: float | None
    samples_expected: int
    samples_received: int
    baseline: list[tuple[float, float]]
    """(starts_at, watts) per 60 s of the time that has passed."""
    delivered: list[tuple[float, float | None]]


def ordered_w(target: Target, baseline_w: float) -> float:
    """The reduction that a target asks for where the building would use `baseline_w`."""
    match target:
        case Delta(watts=watts):
            return -watts
        case Share(of_baseline=share):
            # Where the building would feed in there is no consumption to take a share of.
            return max(0.0, baseline_w) * (1 - share)
        case Limit(max_watts=highest, min_watts=lowest):
            down = max(0.0, baseline_w - highest) if highest is not None else 0.0
            up = max(0.0, lowest - baseline_w) if lowest is not None else 0.0
            return down - up
        case Keep():
            return 0.0


def verify(
    *,
    steps: Sequence[Step],
    baseline: Baseline,
    starts_at: Sequence[float],
    watts: Sequence[float | None],
    quality: Sequence[Quality],
    interval_s: float,
    until: float,
) -> Verified:
    """Compare the readings (columns) with the order up to `until`, epoch seconds.

    `steps` are those of one event, ascending; readings outside of them are left out.
    """
    begin = baseline.starts_at
    held = [step for step in steps if not isinstance(step.target, Keep)]
    counts = max(0, _intervals(begin, until))
    sums = [0.0] * counts
    samples = [0] * counts
    expected = received = 0
    delivered_sum = 0.0
    for step in held:
        first, last = _span(step, until)
        expected += _ticks(first, last, interval_s)
        for at, power, flags in zip(starts_at, watts, quality, strict=True):
            if first <= at < last and power is not None and is_usable(flags):
                saved = baseline.at(at) - power
                index = int((at - begin) // INTERVAL_S)
                sums[index] += saved
                samples[index] += 1
                received += 1
                delivered_sum += saved
    ordered = _ordered_mean(held, baseline, until)
    delivered = delivered_sum / received if received else None
    grid = [begin + index * INTERVAL_S for index in range(counts)]
    return Verified(
        ordered_w=ordered,
        delivered_w=delivered,
        fraction=delivered / ordered if delivered is not None and ordered else None,
        samples_expected=expected,
        # A clock that was set back makes some ticks come twice.
        samples_received=min(received, expected),
        baseline=list(zip(grid, baseline.watts, strict=False)),
        delivered=[
            (at, sums[index] / samples[index] if samples[index] else None)
            for index, at in enumerate(grid)
        ],
    )


def _ordered_mean(held: Sequence[Step], baseline: Baseline, until: float) -> float:
    """Mean of the order over the time held, step by step and 60 s by 60 s."""
    energy = length_s = 0.0
    for step in held:
        first, last = _span(step, until)
        while first < last:
            index = int((first - baseline.starts_at) // INTERVAL_S)
            end = min(last, baseline.starts_at + (index + 1) * INTERVAL_S)
            energy += ordered_w(step.target, baseline.at(first)) * (end - first)
            length_s += end - first
            first = end
    return energy / length_s if length_s else 0.0


def _span(step: Step, until: float) -> tuple[float, float]:
    first = step.starts_at.timestamp()
    last = step.ends_at.timestamp() if step.ends_at is not None else until
    return first, max(first, min(last, until))


def _ticks(first: float, last: float, interval_s: float) -> int:
    """Ticks of the grid in [first, last)."""
    return max(0, _up(last / interval_s) - _up(first / interval_s))


def _up(number: float) -> int:
    # Interval lengths like 0.1 s have no exact binary form: a hair above a tick is that tick.
    return -int(-(number - 1e-6) // 1)


def _intervals(begin: float, until: float) -> int:
    return -int(-(until - begin) // INTERVAL_S)
