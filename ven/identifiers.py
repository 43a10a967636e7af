# SPDX-License-Identifier: Apache-2.0
"""Identifiers that this VEN makes."""

import uuid


def new_id(kind: str) -> str:
    """A requestID, optID ... nobody has used: "opt-3f2a..."."""
    return f"{kind}-{uuid.uuid4().hex[:16]}"
