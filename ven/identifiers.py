# SPDX-License-Identifier: Apache-2.0
"""Words of the wire: identifiers that this VEN makes, sentences of people, market contexts."""

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


def normal_context(market_context: str) -> str:
    """Scheme and host in lower case, no slash at the end (rule 512)."""
    scheme, separator, rest = market_context.strip().partition("://")
    if not separator:
        return market_context.strip()
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}://{host.lower()}{slash}{path}".rstrip("/")
