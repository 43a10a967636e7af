# SPDX-License-Identifier: Apache-2.0
"""One-time enrolment codes, and wrong ones by where they came from."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import delete, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.records import EnrolmentCode
from vtn.store.documents import insert_into
from vtn.store.tables import EnrolmentCodeRow, EnrolmentFailureRow


async def add(connection: AsyncConnection, code: EnrolmentCode) -> None:
    await connection.execute(
        insert(EnrolmentCodeRow).values(
            code_id=code.code_id,
            ven_id=code.ven_id,
            name=code.name,
            resources=msgspec.json.encode(code.resources).decode(),
            groups=msgspec.json.encode(code.groups).decode(),
            made_at=code.made_at,
            made_by=code.made_by,
            expires_at=code.expires_at,
            secret_sha256=code.secret_sha256,
        )
    )


async def find(
    connection: AsyncConnection, code_id: str, *, lock: bool = False
) -> EnrolmentCode | None:
    """With `lock` nobody else uses it until the transaction ends."""
    query = select(EnrolmentCodeRow.__table__).where(EnrolmentCodeRow.code_id == code_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).mappings().first()
    return _code(row) if row is not None else None


async def latest(
    connection: AsyncConnection, *, after: EnrolmentCode | None = None, limit: int
) -> list[EnrolmentCode]:
    """The newest first: so many, `after` one."""
    query = select(EnrolmentCodeRow.__table__).order_by(
        EnrolmentCodeRow.made_at.desc(), EnrolmentCodeRow.code_id.desc()
    )
    if after is not None:
        place = tuple_(EnrolmentCodeRow.made_at, EnrolmentCodeRow.code_id)
        query = query.where(place < (after.made_at, after.code_id))
    return [_code(row) for row in (await connection.execute(query.limit(limit))).mappings()]


async def use(
    connection: AsyncConnection, code_id: str, *, at: datetime, key_sha256: str, der: bytes
) -> None:
    await connection.execute(
        update(EnrolmentCodeRow)
        .where(EnrolmentCodeRow.code_id == code_id)
        .values(used_at=at, key_sha256=key_sha256, certificate_der=der)
    )


async def withdraw(connection: AsyncConnection, code_id: str, at: datetime) -> None:
    await connection.execute(
        update(EnrolmentCodeRow).where(EnrolmentCodeRow.code_id == code_id).values(withdrawn_at=at)
    )


async def count_wrong_try(connection: AsyncConnection, code_id: str) -> None:
    await connection.execute(
        update(EnrolmentCodeRow)
        .where(EnrolmentCodeRow.code_id == code_id)
        .values(wrong_tries=EnrolmentCodeRow.wrong_tries + 1)
    )


async def failures(connection: AsyncConnection, peer: str, *, since: datetime) -> int:
    """Wrong codes from there that are not forgotten yet."""
    found = await connection.scalar(
        select(EnrolmentFailureRow.tries).where(
            EnrolmentFailureRow.peer == peer, EnrolmentFailureRow.since >= since
        )
    )
    return int(found or 0)


async def count_failure(
    connection: AsyncConnection, peer: str, *, at: datetime, forget_before: datetime
) -> None:
    """One more from there; what is older than `forget_before` goes, whoever it was."""
    await connection.execute(
        delete(EnrolmentFailureRow).where(EnrolmentFailureRow.since < forget_before)
    )
    await connection.execute(
        insert_into(connection, EnrolmentFailureRow)
        .values(peer=peer, since=at, tries=1)
        .on_conflict_do_update(
            index_elements=["peer"], set_={"tries": EnrolmentFailureRow.tries + 1}
        )
    )


def _code(row: Mapping[Any, Any]) -> EnrolmentCode:  # Any: a row of any column types
    lists = {
        name: tuple(msgspec.json.decode(row[name], type=list[str]))
        for name in ("resources", "groups")
    }
    return EnrolmentCode(**{**row, **lists})
