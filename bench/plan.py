# SPDX-License-Identifier: Apache-2.0
"""How much is measured: a whole run, or a quick one whose figures are rougher."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from bench.ratios import Rows
from bench.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """Counts of one run."""

    rounds: int
    polls: int
    """Of ours and the echo in a round; the peer gets a quarter."""
    handshakes: int
    events: int
    """VENs with a fresh event in a round."""
    reports: int
    """Of 225 rows in a round to ours; the peer gets a tenth."""
    signed: int
    """Polls of ours in a round."""
    rate_s: float
    """How long a given rate is kept up."""
    connections: int
    vens: int
    mixed_s: float
    ticks: int
    """Of 0.25 s; of 4 s as many as fit into the same time, at most 40."""
    settle_s: float


WHOLE = Amounts(
    rounds=5,
    polls=3000,
    handshakes=200,
    events=128,
    reports=320,
    signed=800,
    rate_s=3.0,
    connections=500,
    vens=10_000,
    mixed_s=8.0,
    ticks=1000,
    settle_s=20.0,
)
QUICK = Amounts(
    rounds=5,
    polls=800,
    handshakes=40,
    events=64,
    reports=64,
    signed=160,
    rate_s=1.0,
    connections=200,
    vens=1000,
    mixed_s=3.0,
    ticks=80,
    settle_s=8.0,
)


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What every measurement gets."""

    stage: Stage
    amounts: Amounts
    rows: Rows
    tell: Callable[[str], None]
    """Says a line to whoever watches."""
    now: Callable[[], datetime] = utc_now
