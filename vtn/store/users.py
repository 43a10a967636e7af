# SPDX-License-Identifier: Apache-2.0
"""Users, their sessions and their recovery codes."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import RowMapping, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.accounts.permissions import Role
from vtn.accounts.records import Session, User
from vtn.store.operator_tables import RecoveryCodeRow, SessionRow, UserRow


async def count(connection: AsyncConnection) -> int:
    return int((await connection.execute(select(func.count()).select_from(UserRow))).scalar_one())


async def find(connection: AsyncConnection, name: str, *, lock: bool = False) -> User | None:
    query = select(UserRow.__table__).where(UserRow.name == name)
    if lock:
        query = query.with_for_update()
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _user(row)


async def find_by_subject(connection: AsyncConnection, subject: str) -> User | None:
    """Who comes by the provider, `subject` being `ISSUER SUBJECT`; nobody else changes them now."""
    query = select(UserRow.__table__).where(UserRow.oidc_subject == subject).with_for_update()
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _user(row)


async def every(
    connection: AsyncConnection, *, after: str = "", limit: int | None = None
) -> list[User]:
    """By name: all, or so many `after` one."""
    query = select(UserRow.__table__).order_by(UserRow.name)
    if after:
        query = query.where(UserRow.name > after)
    rows = await connection.execute(query.limit(limit))
    return [_user(row) for row in rows.mappings()]


async def add(connection: AsyncConnection, user: User) -> None:
    await connection.execute(
        insert(UserRow).values(
            name=user.name,
            roles=_roles(user.roles),
            version=user.version,
            added_at=user.added_at,
            added_by=user.added_by,
            password_hash=user.password_hash,
            must_change=user.must_change,
            oidc_subject=user.oidc_subject,
        )
    )


async def change(connection: AsyncConnection, name: str, **values: Any) -> None:
    """Set columns; the version rises. `roles` is a set of Role."""
    if "roles" in values:
        values["roles"] = _roles(values["roles"])
    await connection.execute(
        update(UserRow).where(UserRow.name == name).values(version=UserRow.version + 1, **values)
    )


async def note_login(
    connection: AsyncConnection, name: str, *, at: datetime, totp_step: int | None
) -> None:
    values: dict[str, Any] = {"last_login_at": at}
    if totp_step is not None:
        values["totp_step"] = totp_step
    await connection.execute(update(UserRow).where(UserRow.name == name).values(**values))


# --- sessions -------------------------------------------------------------------------------------


async def begin_session(connection: AsyncConnection, session: Session) -> None:
    await connection.execute(
        insert(SessionRow).values(
            session_id=session.session_id,
            user=session.user,
            began_at=session.began_at,
            seen_at=session.seen_at,
            ends_at=session.ends_at,
            client=session.client,
        )
    )


async def find_session(connection: AsyncConnection, session_id: str) -> tuple[Session, User] | None:
    row = (
        (
            await connection.execute(
                select(SessionRow.__table__).where(SessionRow.session_id == session_id)
            )
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    user = await find(connection, row["user"])
    return None if user is None else (Session(**row), user)


async def touch_session(connection: AsyncConnection, session_id: str, at: datetime) -> None:
    await connection.execute(
        update(SessionRow).where(SessionRow.session_id == session_id).values(seen_at=at)
    )


async def sessions(
    connection: AsyncConnection,
    *,
    now: datetime,
    seen_since: datetime,
    user: str | None = None,
    limit: int | None = None,
) -> list[Session]:
    """Those that are good, the latest first; of one user, or all, or so many."""
    query = (
        select(SessionRow.__table__)
        .where(SessionRow.ends_at > now, SessionRow.seen_at > seen_since)
        .order_by(SessionRow.seen_at.desc())
    )
    if user is not None:
        query = query.where(SessionRow.user == user)
    return [Session(**row) for row in (await connection.execute(query.limit(limit))).mappings()]


async def end_sessions(
    connection: AsyncConnection,
    *,
    user: str | None = None,
    session_id: str | None = None,
    but: str | None = None,
) -> int:
    """End one session, or those of a user but one; how many there were."""
    query = delete(SessionRow)
    if user is not None:
        query = query.where(SessionRow.user == user)
    if session_id is not None:
        query = query.where(SessionRow.session_id == session_id)
    if but is not None:
        query = query.where(SessionRow.session_id != but)
    assert user is not None or session_id is not None
    return (await connection.execute(query)).rowcount


async def forget_sessions(connection: AsyncConnection, *, ended_before: datetime) -> None:
    await connection.execute(delete(SessionRow).where(SessionRow.ends_at < ended_before))


# --- recovery codes -------------------------------------------------------------------------------


async def replace_recovery_codes(
    connection: AsyncConnection, user: str, sha256s: Collection[str]
) -> None:
    await connection.execute(delete(RecoveryCodeRow).where(RecoveryCodeRow.user == user))
    if sha256s:
        await connection.execute(
            insert(RecoveryCodeRow),
            [{"user": user, "code_sha256": one} for one in sha256s],
        )


async def use_recovery_code(connection: AsyncConnection, user: str, sha256: str) -> bool:
    """Whether it was one of theirs; it is none from now on."""
    query = delete(RecoveryCodeRow).where(
        RecoveryCodeRow.user == user, RecoveryCodeRow.code_sha256 == sha256
    )
    return (await connection.execute(query)).rowcount == 1


def _roles(roles: Iterable[Role]) -> str:
    return msgspec.json.encode(sorted(roles)).decode()


def _user(row: RowMapping) -> User:
    known = {**row, "roles": frozenset(msgspec.json.decode(row["roles"], type=list[Role]))}
    return User(**known)
