# SPDX-License-Identifier: Apache-2.0
"""Faults of the demonstration.

Fault
└── DemoFault        something of the demonstration cannot be done
    └── StepFailed   ... and which step of it
"""

from pathlib import Path

from doorway import Fault


class DemoFault(Fault):
    """The sentence says what and why."""


class StepFailed(DemoFault):
    """A step of the demonstration failed: which, why, and where the logs are."""

    def __init__(self, step: str, why: str, logs: Path) -> None:
        super().__init__(f"could not {step}: {why.rstrip('.')}. The logs are in {logs}.")
        self.step = step
