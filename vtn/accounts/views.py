# SPDX-License-Identifier: Apache-2.0
"""What the operator's API is told and says of users."""

from datetime import datetime
from typing import Annotated, Self

import msgspec

from vtn.accounts.permissions import PERMISSIONS, Act, Role
from vtn.accounts.records import Person, Session, User

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and what they may do."""

    name: str
    roles: tuple[Role, ...]
    acts: tuple[Act, ...]
    must_change: bool
    """Nothing goes before the password is one's own."""

    @classmethod
    def of(cls, who: Person) -> Self:
        return cls(
            name=who.name,
            roles=tuple(sorted(who.roles)),
            acts=tuple(act for act in PERMISSIONS if who.may(act)),
            must_change=who.must_change,
        )


class UserView(msgspec.Struct, frozen=True, kw_only=True):
    """A user."""

    name: str
    roles: tuple[Role, ...]
    version: int
    state: str
    """active, invited (has a one-time password) or disabled."""
    second_factor: bool
    oidc: bool
    added_at: datetime
    added_by: str
    last_login_at: datetime | None

    @classmethod
    def of(cls, user: User) -> Self:
        state = "disabled" if user.disabled_at else "invited" if user.must_change else "active"
        return cls(
            name=user.name,
            roles=tuple(sorted(user.roles)),
            version=user.version,
            state=state,
            second_factor=user.totp_secret is not None,
            oidc=user.oidc_subject is not None,
            added_at=user.added_at,
            added_by=user.added_by,
            last_login_at=user.last_login_at,
        )


class NewUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user to add."""

    name: Name
    roles: Annotated[tuple[Role, ...], msgspec.Meta(min_length=1)]
    subject: Annotated[str, msgspec.Meta(max_length=255)] = ""
    """How the OpenID Connect provider knows them, where they are to log in there."""


class UserChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is given replaces what was."""

    roles: tuple[Role, ...] | None = None
    disabled: bool | None = None


class OneTime(msgspec.Struct, frozen=True, kw_only=True):
    """A password that is good for choosing one's own; told only now."""

    name: str
    password: str
    """"" for who logs in at the OpenID Connect provider."""


class NewPassword(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    old: Password
    new: Password


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """A browser that somebody is logged in with."""

    session_id: str
    user: str
    began_at: datetime
    seen_at: datetime
    ends_at: datetime
    client: str

    @classmethod
    def of(cls, session: Session) -> Self:
        return cls(
            session_id=session.session_id,
            user=session.user,
            began_at=session.began_at,
            seen_at=session.seen_at,
            ends_at=session.ends_at,
            client=session.client,
        )
