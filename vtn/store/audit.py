# SPDX-License-Identifier: Apache-2.0
"""The audit: append only; what was accepted from whom, and every operator act."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.records import AuditLine
from vtn.store.hot import Hot
from vtn.store.tables import AuditRow

_LINE = Hot(
    insert(AuditRow).values(
        {name: bindparam(name) for name in ("at", "actor", "act", "subject", "outcome", "detail")}
    )
)


async def note(
    connection: AsyncConnection,
    *,
    at: datetime,
    actor: str,
    act: str,
    subject: str,
    outcome: str = "ok",
    detail: str = "",
) -> None:
    """Append a line, in the same transaction as what it speaks of."""
    await _LINE.run(
        connection,
        at=at,
        actor=actor,
        act=act,
        subject=subject,
        outcome=outcome,
        detail=detail,
    )


async def lines(
    connection: AsyncConnection,
    *,
    limit: int,
    before: int | None = None,
    actor: str | None = None,
    subject: str | None = None,
) -> list[AuditLine]:
    """Newest first."""
    query = select(AuditRow.__table__).order_by(AuditRow.number.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditRow.number < before)
    if actor is not None:
        query = query.where(AuditRow.actor == actor)
    if subject is not None:
        query = query.where(AuditRow.subject == subject)
    rows = (await connection.execute(query)).mappings()
    return [AuditLine(**row) for row in rows]


async def after(connection: AsyncConnection, number: int, *, limit: int) -> list[AuditLine]:
    """What came after a line, oldest first."""
    query = (
        select(AuditRow.__table__)
        .where(AuditRow.number > number)
        .order_by(AuditRow.number)
        .limit(limit)
    )
    rows = (await connection.execute(query)).mappings()
    return [AuditLine(**row) for row in rows]


async def found(
    connection: AsyncConnection,
    *,
    words: Sequence[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[AuditLine]:
    """Lines in which each of the words stands somewhere, the newest first."""
    query = select(AuditRow.__table__).order_by(AuditRow.number.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditRow.number < before)
    if since is not None:
        query = query.where(AuditRow.at >= since)
    if until is not None:
        query = query.where(AuditRow.at < until)
    columns = (AuditRow.actor, AuditRow.act, AuditRow.subject, AuditRow.outcome, AuditRow.detail)
    for word in words:
        query = query.where(or_(*(column.icontains(word, autoescape=True) for column in columns)))
    rows = (await connection.execute(query)).mappings()
    return [AuditLine(**row) for row in rows]
