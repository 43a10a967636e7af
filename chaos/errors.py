# SPDX-License-Identifier: Apache-2.0
"""Faults of the chaos runs themselves.

Fault
└── ChaosFault
    ├── SetUpFault      something that a run needs is missing
    └── InVain          what was waited for did not come
"""

from doorway import Fault


class ChaosFault(Fault):
    """A run cannot go on; it says nothing about what is tried."""


class SetUpFault(ChaosFault):
    """Something is missing on this machine; the sentence says what to install."""


class InVain(ChaosFault):
    """What was waited for did not come in time; the sentence ends with everybody's last words."""
