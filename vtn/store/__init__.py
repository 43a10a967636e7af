# SPDX-License-Identifier: Apache-2.0
"""What the VTN never forgets: one module per concern, behind one Store."""

from vtn.store.engine import Store, migrate

__all__ = ["Store", "migrate"]
