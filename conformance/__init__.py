# SPDX-License-Identifier: Apache-2.0
"""An open conformance harness: plays a VEN against any VTN, and a VTN against any VEN."""

from conformance.adapter import VenAdapter, VtnAdapter
from conformance.declaration import Ability
from conformance.errors import AdapterFault, ConformanceFault, SetUpFault

__all__ = [
    "Ability",
    "AdapterFault",
    "ConformanceFault",
    "SetUpFault",
    "VenAdapter",
    "VtnAdapter",
]
