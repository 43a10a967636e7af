# SPDX-License-Identifier: Apache-2.0
"""Reading: what one meter said at one tick, or that it said nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from light_node.quality import Quality

QUARTER_S = 900
"""A quarter of an hour: what aggregates and baselines are kept in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One row of the record. A gap is a row too: without values, with the reason as quality."""

    meter: str
    seq: int
    """Counts all readings of one run of the node, from 1: with `boot` it is the row's key,
    for after a backward step of the clock the same tick comes twice."""
    k: int
    """The tick: floor(wall time / interval)."""
    starts_at: float
    """The tick's nominal instant, `k * interval`, in epoch seconds UTC."""
    quality: Quality
    values: Mapping[str, float] = field(default_factory=dict)
    """Point name -> value in SI units (W, Wh, V, A, Hz), power positive for consumption."""
    start_error_s: float = 0.0
    """How long after the tick the request left."""
    took_s: float = 0.0
    """How long the meter took to answer."""

    @property
    def watts(self) -> float | None:
        return self.values.get("active_power")

    @property
    def energy_wh(self) -> float | None:
        return self.values.get("energy_import")
