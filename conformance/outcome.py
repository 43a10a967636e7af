# SPDX-License-Identifier: Apache-2.0
"""What came of a test, and of a run."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not_run"


class Finding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule that was broken, and how."""

    rule: int
    seen: str
    wanted: str
    message: str = ""
    """The wire name of the message it was seen in, where a message check saw it."""


class Result(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One test, tried or not."""

    name: str
    title: str
    rules: tuple[int, ...]
    outcome: Outcome
    seen: str
    """Failed: the first finding in words; not run: why; passed: empty."""
    findings: tuple[Finding, ...] = ()
    duration_s: float = 0.0


class Run(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole run against one device."""

    device: str
    """"vtn" or "ven"."""
    product: str
    """What was tested, in words."""
    started_at: str
    scale: float
    """1.0 is real time."""
    passed: int
    failed: int
    not_run: int
    tests: tuple[Result, ...]

    def result(self, name: str) -> Result | None:
        return next((test for test in self.tests if test.name == name), None)


def run_of(
    results: Sequence[Result], *, device: str, product: str, started_at: str, scale: float
) -> Run:
    """The results with their counts."""

    def count(outcome: Outcome) -> int:
        return sum(result.outcome is outcome for result in results)

    return Run(
        device=device,
        product=product,
        started_at=started_at,
        scale=scale,
        passed=count(Outcome.PASSED),
        failed=count(Outcome.FAILED),
        not_run=count(Outcome.NOT_RUN),
        tests=tuple(results),
    )
