# SPDX-License-Identifier: Apache-2.0
"""Words that go on the wire: identifiers that this VEN makes, and sentences of people."""

import uuid


def new_id(kind: str) -> str:
    """A requestID, optID ... nobody has used: "opt-3f2a..."."""
    return f"{kind}-{uuid.uuid4().hex[:16]}"


def plain(sentence: str) -> str:
    r"""A sentence from outside as one line that XML can carry, at most 200 characters.

    >>> plain("lift\\tstuck\\x00")
    'lift stuck'
    """
    legible = "".join(sign if sign.isprintable() else " " for sign in sentence)
    return " ".join(legible.split())[:200]
