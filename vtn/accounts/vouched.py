# SPDX-License-Identifier: Apache-2.0
"""Which user it is that the identity provider vouches for, and whether they may come in.

Where [operator.oidc.roles] gives roles by group, they come with each log-in and the user is made at
the first; without any they stay outside, and are logged out everywhere. Where it does not, only who
was added with a subject comes in. A user who has a password is never taken over by their name.
"""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.accounts.id_token import Identity
from vtn.accounts.permissions import Role
from vtn.accounts.records import NAME, User
from vtn.config import OidcSettings
from vtn.store import audit, users


async def admitted(
    connection: AsyncConnection, identity: Identity, settings: OidcSettings, *, at: datetime
) -> User | str:
    """The user, made or with the roles they have now; or a sentence that says why not.

    What is changed stands in the audit, and holds in either case.
    """
    user = await users.find_by_subject(connection, identity.subject)
    roles = frozenset(role for group, role in settings.roles.items() if group in identity.groups)
    if user is not None and user.disabled_at is not None:
        return "This user is disabled; ask an admin."
    subject = identity.subject.partition(" ")[2]
    if not settings.roles:
        return user or (
            f"You are not a user here yet; ask an admin to add you, with the subject {subject}."
        )
    if user is None:
        if not roles:
            return "None of your groups may come in here; ask an admin."
        return await _made(connection, identity, settings, roles, at)
    if user.roles != roles:
        user = await _with_roles(connection, user, roles, at)
    return user if roles else "None of your groups may come in here any more; ask an admin."


async def _made(
    connection: AsyncConnection,
    identity: Identity,
    settings: OidcSettings,
    roles: frozenset[Role],
    at: datetime,
) -> User | str:
    name = identity.name.lower()
    if not NAME.fullmatch(name):
        return "The provider calls you nothing that is a name here; ask an admin for name_claim."
    if await users.find(connection, name) is not None:
        return f"There is another user '{name}' here; ask an admin to rename one of you."
    user = User(
        name=name,
        roles=roles,
        version=0,
        added_at=at,
        added_by=settings.name,
        oidc_subject=identity.subject,
    )
    await users.add(connection, user)
    detail = f"{', '.join(sorted(roles))}; {identity.subject}"
    await _note(connection, "add user", name, at, detail)
    return user


async def _with_roles(
    connection: AsyncConnection, user: User, roles: frozenset[Role], at: datetime
) -> User:
    await users.change(connection, user.name, roles=roles)
    if not roles:
        await users.end_sessions(connection, user=user.name)
    detail = f"roles {', '.join(sorted(roles)) or 'none'}, as at the provider"
    await _note(connection, "change user", user.name, at, detail)
    found = await users.find(connection, user.name)
    assert found is not None
    return found


async def _note(
    connection: AsyncConnection, act: str, name: str, at: datetime, detail: str
) -> None:
    await audit.note(
        connection,
        at=at,
        actor=f"operator:{name}",
        act=act,
        subject=f"user:{name}",
        detail=detail,
    )
