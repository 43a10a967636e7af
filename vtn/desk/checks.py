# SPDX-License-Identifier: Apache-2.0
"""Small checks of what an operator names. Each raises Invalid, Unknown or Conflict."""

import re
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from oadr.event import Event
from oadr.fingerprint import sha256 as sha256_of
from vtn.errors import Conflict, Invalid, Unknown
from vtn.records import Group, Point, Ven
from vtn.services.office import known_ven
from vtn.store import events, groups, measurements, vens

_SHA256 = re.compile("[0-9a-f]{64}")
_LONGEST = 255
_IN_ADDRESSES = frozenset({"venID", "groupID", "eventID", "reportRequestID", "template name"})
"""What is called so has an address of its own, in the API and in the console."""


def identifier(name: str, text: str) -> str:
    """An identifier from an operator: some text, of a length that can be kept and sent."""
    if not text.strip() or text != text.strip() or not text.isprintable():
        raise Invalid(f"'{text}' cannot be a {name}; use letters, digits and signs.")
    if name in _IN_ADDRESSES and ("/" in text or text in (".", "..")):
        raise Invalid(
            f"'{text}' cannot be a {name}: it stands in addresses, so use no /, and more than dots."
        )
    if len(text) > _LONGEST:
        raise Invalid(f"A {name} has at most {_LONGEST} characters.")
    return text


def label(what: str, text: str) -> str:
    """What people call a thing: printable, and of a length that fits a page. Raises Invalid."""
    if not text.isprintable() or len(text) > _LONGEST:
        raise Invalid(f"{what}: give a name of at most {_LONGEST} printable characters.")
    return text


def digest(certificate_sha256: str, certificate_der: bytes | None) -> str:
    """The SHA-256 as it is kept. Raises Invalid."""
    sha256 = certificate_sha256.strip().replace(":", "").lower()
    if not _SHA256.fullmatch(sha256):
        raise Invalid(
            "The certificate's SHA-256 has 64 hex digits; "
            "the short OpenADR fingerprint is too few to tell friend from foe."
        )
    if certificate_der is not None and sha256_of(certificate_der) != sha256:
        raise Invalid("The certificate and its SHA-256 do not belong together; give one.")
    return sha256


async def refuse_taken(connection: AsyncConnection, sha256: str) -> None:
    """Raises Conflict where the certificate is some VEN's."""
    owner = await vens.find_by_certificate(connection, sha256)
    if owner is not None:
        raise Conflict(f"This certificate is that of the VEN '{owner}' already.")


async def registered_ven(connection: AsyncConnection, ven_id: str) -> Ven:
    ven = await known_ven(connection, ven_id, lock=True)
    if not ven.registered:
        raise Conflict(f"The VEN '{ven_id}' is not registered; it has to register first.")
    return ven


async def known_point(connection: AsyncConnection, ven_id: str, r_id: str, facet: str) -> Point:
    await known_ven(connection, ven_id)
    point = await measurements.find(connection, ven_id, r_id, facet)
    if point is None:
        raise Unknown(f"The VEN '{ven_id}' has reported nothing under the rID '{r_id}'.")
    return point


async def known_group(connection: AsyncConnection, group_id: str) -> Group:
    group = await groups.find(connection, group_id)
    if group is None:
        raise Unknown(f"There is no group '{group_id}'; see `vtn groups list`.")
    return group


async def join(connection: AsyncConnection, group_id: str, ven_ids: Sequence[str]) -> None:
    for ven_id in ven_ids:
        await known_ven(connection, ven_id)
    await groups.join(connection, group_id, ven_ids)


async def known_event(connection: AsyncConnection, event_id: str) -> Event:
    event = await events.find(connection, event_id, lock=True)
    if event is None:
        raise no_event(event_id)
    return event


def no_event(event_id: str) -> Unknown:
    return Unknown(f"There is no event '{event_id}'; see `vtn event list`.")


def refuse_stale(current: Event, expected: int | None) -> None:
    if expected is not None and expected != current.modification_number:
        raise Conflict(
            f"The event '{current.event_id}' is at modification {current.modification_number}, "
            f"not {expected}: somebody else changed it; look at it again."
        )
