# SPDX-License-Identifier: Apache-2.0
"""What stands on the installer's sheet: a one-time code that a person can copy, in a QR text.

    K7Q2-M9XW-...    8 groups of 4: 5 signs that name the code, 26 that are secret (130 bits of
                     chance), and one that tells a slip of the pen
    https://vtn.example:8446#code=K7Q2-...&root=3F:9A...    all of it, as the QR sheet has it

The fragment of an address is never sent to anybody: who opens it in a browser gives nothing away.
"""

import re
import secrets
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

from doorway.errors import Fault

SIGNS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O or U to take for another sign."""
_NAME, _SECRET = 5, 26
_LENGTH = _NAME + _SECRET + 1
_MEANT = str.maketrans({"I": "1", "L": "1", "O": "0", "-": "", " ": ""})
_SHA256 = re.compile("[0-9a-f]{64}")


class InvitationFault(Fault):
    """What was typed or scanned is no code, or no invitation; the sentence says what is wrong."""


@dataclass(frozen=True, slots=True)
class Code:
    """A one-time code; `str()` writes it in groups."""

    name: str
    """Tells it from others; no secret."""
    secret: str

    def __str__(self) -> str:
        signs = self.name + self.secret
        signs += _check_sign(signs)
        return "-".join(signs[start : start + 4] for start in range(0, _LENGTH, 4))

    def __repr__(self) -> str:
        return f"Code({self.name!r}, ...)"


def new_code() -> Code:
    """A code that nobody can guess."""
    signs = "".join(secrets.choice(SIGNS) for _ in range(_NAME + _SECRET))
    return Code(signs[:_NAME], signs[_NAME:])


def read_code(text: str) -> Code:
    """A code as a person types it: small letters, blanks, O for 0 and I or L for 1 do no harm.

    Raises InvitationFault.
    """
    signs = text.upper().translate(_MEANT).strip()
    strange = sorted(set(signs) - set(SIGNS))
    if strange:
        raise InvitationFault(
            f"'{strange[0]}' stands in no enrolment code; type it as it is on the sheet."
        )
    if len(signs) != _LENGTH:
        raise InvitationFault(
            f"An enrolment code has {_LENGTH} signs, this one has {len(signs)}; type it as it is "
            "on the sheet."
        )
    if _check_sign(signs[:-1]) != signs[-1]:
        raise InvitationFault(
            "There is a slip in the enrolment code: its last sign does not fit the others; type "
            "it as it is on the sheet."
        )
    return Code(signs[:_NAME], signs[_NAME : _NAME + _SECRET])


def _check_sign(signs: str) -> str:
    """Luhn's sum modulo 32: tells every wrong sign, and nearly all neighbours that were swapped."""
    total = 0
    for index, sign in enumerate(reversed(signs)):
        value = SIGNS.index(sign) * (1 if index % 2 else 2)
        total += value // len(SIGNS) + value % len(SIGNS)
    return SIGNS[-total % len(SIGNS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """Where to enrol, with which code, and how to know that it is the right place."""

    url: str
    """https://host:port of the enrolment listener."""
    code: Code
    root: str
    """SHA-256 (64 hex digits) of a DER certificate: the authority that the VTN's own is from."""

    def __str__(self) -> str:
        return f"{self.url}#code={self.code}&root={self.root}"


def read_invitation(text: str, *, code: str = "", root: str = "") -> Invitation:
    """From the QR text alone, or from the address with `code` and `root` beside it.

    Raises InvitationFault.
    """
    parts = urlsplit(text.strip())
    if parts.scheme != "https" or not parts.netloc:
        raise InvitationFault(
            f"'{text.partition('#')[0]}' is no place to enrol; it begins with https:// and stands "
            "on the sheet."
        )
    said = {key: values[0] for key, values in parse_qs(parts.fragment).items()}
    code, root = code or said.get("code", ""), root or said.get("root", "")
    if not code:
        raise InvitationFault("The enrolment code is missing; add --code as the sheet has it.")
    digits = re.sub(r"[:\s]", "", root).lower()
    if not _SHA256.fullmatch(digits):
        raise InvitationFault(
            "The root's fingerprint is missing or not whole; add --root with the 64 hex digits "
            "(SHA-256) of the sheet: without it nobody could tell the VTN from an impostor."
        )
    return Invitation(
        url=f"https://{parts.netloc}{parts.path.rstrip('/')}", code=read_code(code), root=digits
    )
