# SPDX-License-Identifier: Apache-2.0
"""Faults of the demonstration.

Fault
└── DemoFault     a step of the demonstration cannot be done
"""

from doorway import Fault


class DemoFault(Fault):
    """The sentence says which step failed and why."""
