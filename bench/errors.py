# SPDX-License-Identifier: Apache-2.0
"""Faults of the benchmarks.

Fault
└── BenchFault       something of the run cannot be done
    └── WrongAnswer  a server answered what it should not: it has no figure
"""

from doorway import Fault


class BenchFault(Fault):
    """The sentence says what and why."""


class WrongAnswer(BenchFault):
    """The honesty gate is shut: the sentence says which answer was wrong, and how."""
