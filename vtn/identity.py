# SPDX-License-Identifier: Apache-2.0
"""Who speaks: the certificate alone says it; IDs in the message must agree.

certificate of nobody (or revoked)          463
registered VEN, or one that only registers  its entry
not registered, asks for anything else      463
names another venID, or in another case     452   (rules 512 and 517)
"""

from oadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatePartyRegistration,
    QueryRegistration,
)
from vtn.directory import Directory, Entry
from vtn.errors import Rejected

WITHOUT_REGISTRATION = (
    QueryRegistration,
    CreatePartyRegistration,
    CancelPartyRegistration,
    CanceledPartyRegistration,
)
"""What a VEN may say before it is registered, or when it no longer is."""

_LONGEST_ID = 255


def caller(directory: Directory, sha256: str | None, kind: type | None, named: str | None) -> Entry:
    """The VEN that a message of class `kind`, naming the venID `named`, comes from.

    `sha256` is that of the DER certificate of the connection, None where there is none. Without a
    venID in the message it is the certificate's. Raises Rejected (452 or 463), see above.
    """
    entry = directory.by_certificate(sha256) if sha256 is not None else None
    if entry is None:
        raise Rejected(
            "463", "This certificate belongs to no VEN here; ask the operator to add it."
        )
    if named is not None and named != entry.ven.ven_id:
        raise Rejected("452", "The venID is not that of this certificate; mind the case.")
    if not entry.ven.registered and kind not in WITHOUT_REGISTRATION:
        raise Rejected("463", "This VEN is not registered; send oadrCreatePartyRegistration first.")
    return entry


def fitting(name: str, text: str) -> str:
    """An identifier from outside that is to be stored. Raises Rejected where it cannot be one."""
    if not text:
        raise Rejected("452", f"The {name} is empty; give it a value.")
    if len(text) > _LONGEST_ID:
        raise Rejected("452", f"The {name} is longer than {_LONGEST_ID} characters; shorten it.")
    return text
