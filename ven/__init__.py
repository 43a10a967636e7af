# SPDX-License-Identifier: Apache-2.0
"""The VEN agent of a light node: takes the utility's events, has them held, and reports."""

from ven.config import Settings, load
from ven.errors import VenFault

__all__ = ["Settings", "VenFault", "load"]
