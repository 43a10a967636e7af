# SPDX-License-Identifier: Apache-2.0
"""Versions of what is edited: ETag out, If-Match in; 428 without it, 412 where it is old."""

import hashlib
import re
from typing import Annotated, Final, TypeVar

import msgspec
from litestar import Response
from litestar.params import HeaderParameter

from vtn.errors import Invalid, NotSeen
from vtn.records import Repeat

T = TypeVar("T")

Seen = Annotated[str | None, HeaderParameter(name="If-Match")]
"""The ETag of what the operator looked at."""

_UNSEEN: Final = (
    "Say which version you looked at: send its ETag as If-Match, so that nobody overwrites what "
    "somebody else has changed."
)
_NO_TAG: Final = 'If-Match: send the ETag as it came, quotes and all, such as "3".'

RepeatKey = Annotated[str | None, HeaderParameter(name="Idempotency-Key", max_length=200)]
"""What tells a request that comes again from another one."""


def repeat_of(key: str | None, body: msgspec.Struct) -> Repeat | None:
    """A key and what came with it. Raises Invalid for a key of nothing."""
    if key is None:
        return None
    if not key.strip() or not key.isprintable():
        raise Invalid("Idempotency-Key: some letters and digits, new ones for each request.")
    return Repeat(key=key, body_sha256=hashlib.sha256(msgspec.json.encode(body)).hexdigest())


def tagged(content: T, version: int | str) -> Response[T]:
    """An answer that says which version it is: a number, or a digest of the content."""
    return Response(content, headers={"ETag": f'"{version}"'})


def expected_digest(seen: str | None) -> str:
    """As `expected_version`, of what is told apart by a digest of its content."""
    if seen is None:
        raise NotSeen(_UNSEEN)
    found = re.fullmatch(r'(?:W/)?"([0-9a-f]{16})"', seen.strip())
    if found is None:
        raise Invalid(_NO_TAG)
    return found[1]


def expected_version(seen: str | None, said: int | None = None) -> int:
    """The version that If-Match (or, in its place, the body) names.

    Raises NotSeen where neither does, Invalid for what is no ETag of ours.
    """
    if seen is None:
        if said is None:
            raise NotSeen(_UNSEEN)
        return said
    found = re.fullmatch(r'(?:W/)?"(\d{1,9})"', seen.strip())
    if found is None:
        raise Invalid(_NO_TAG)
    return int(found[1])
