# SPDX-License-Identifier: Apache-2.0
"""Users, their sessions, and who acts in a request, as plain values."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from vtn.accounts.permissions import Act, Role, may

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
"""What a user may be called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who may log in."""

    name: str
    """Lower case; stands in the audit as `operator:NAME`."""
    roles: frozenset[Role]
    version: int
    """Rises with every change, so that two admins cannot overwrite each other."""
    added_at: datetime
    added_by: str
    password_hash: str | None = None
    """argon2id; None for who comes by OIDC only."""
    must_change: bool = False
    """The password was made by somebody else and is good for changing it only."""
    totp_secret: str | None = None
    """Base32; None while there is no second factor."""
    totp_step: int = 0
    """The last 30 s step that was taken: a code is good once."""
    oidc_subject: str | None = None
    """`ISSUER SUBJECT` of who comes by OIDC."""
    disabled_at: datetime | None = None
    last_login_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One browser that somebody has logged in with."""

    session_id: str
    """The SHA-256 of the cookie's token, hex: it opens nothing."""
    user: str
    began_at: datetime
    seen_at: datetime
    ends_at: datetime
    client: str
    """Address and browser, as they said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who acts in one request."""

    name: str
    roles: frozenset[Role]
    session_id: str | None = None
    """None for who comes with the operator's token: a program, or whoever can read that file."""
    must_change: bool = False
    """May do nothing but give themselves a new password."""
    limited_to: frozenset[Act] | None = field(default=None, repr=False)
    """The acts a token is good for, where it is not good for all of its roles."""

    def may(self, act: Act) -> bool:
        if self.limited_to is not None and act not in self.limited_to:
            return False
        return may(self.roles, act)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A session that has just begun; the token goes into the cookie and nowhere else."""

    token: str = field(repr=False)
    person: Person


@dataclass(frozen=True, slots=True, kw_only=True)
class TotpOffer:
    """A second factor that somebody may take; nothing is kept until they show a code of it."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)
    """otpauth://…"""
    svg: str = field(repr=False)
    """The same as a QR code."""
