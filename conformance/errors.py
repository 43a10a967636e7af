# SPDX-License-Identifier: Apache-2.0
"""What can go wrong in a test run.

Fault
└── ConformanceFault
    ├── SetUpFault      certificate, address, adapter or option that cannot be used
    └── AdapterFault    the device under test could not be prepared as a test asked
Exception
├── Failed              the device under test broke a rule: the outcome of a test, not a fault
└── NotRun              a test cannot be tried here, and why
"""

from doorway import Fault


class ConformanceFault(Fault):
    """The harness cannot do what was asked."""


class SetUpFault(ConformanceFault):
    """Something the run needs is missing or wrong; the sentence names it."""


class AdapterFault(ConformanceFault):
    """The device under test refused to be prepared; the sentence says what it was asked."""


class Failed(Exception):
    """The device under test did not keep `rule`: what was seen, and what was wanted instead."""

    def __init__(self, rule: int, *, seen: str, wanted: str) -> None:
        super().__init__(f"rule {rule}: {seen}; wanted: {wanted}")
        self.rule = rule
        self.seen = seen
        self.wanted = wanted


class NotRun(Exception):
    """The test makes no sense against this device, or cannot be tried here; the text says why."""


def expect(held: object, *, rule: int, seen: object, wanted: str) -> None:
    """Raise Failed for `rule` unless `held` is true.

    >>> expect(1 + 1 == 2, rule=2, seen="2", wanted="2")
    """
    if not held:
        raise Failed(rule, seen=str(seen), wanted=wanted)
