# SPDX-License-Identifier: Apache-2.0
"""The ring of what was said with VENs of late."""

import dataclasses
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.store.conversation_table import SaidRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One exchange with a VEN."""

    at: datetime
    ven_id: str
    """"" for a stranger."""
    certificate: str
    """SHA-256, hex; "" where none was shown."""
    pushed: bool
    """The VTN spoke first."""
    service: str
    request_kind: str
    reply_kind: str
    code: str
    """The responseCode, or the HTTP status where it is not 200; "none" where nobody answered."""
    wrong: bool
    said: str
    """What is wrong; "" where nothing is."""
    request_bytes: int
    """Its length; what is kept of it may be less."""
    request: bytes
    reply: bytes
    number: int = 0


_LINE = (
    SaidRow.number,
    SaidRow.at,
    SaidRow.ven_id,
    SaidRow.certificate,
    SaidRow.pushed,
    SaidRow.service,
    SaidRow.request_kind,
    SaidRow.reply_kind,
    SaidRow.code,
    SaidRow.wrong,
    SaidRow.said,
    SaidRow.request_bytes,
)


def packed(one: Said, *, most: int) -> Said:
    """As it is kept: some `most` bytes of each message, its beginning and its end, compressed."""
    return dataclasses.replace(
        one,
        request=zlib.compress(_shortened(one.request, most), 1),
        reply=zlib.compress(_shortened(one.reply, most), 1),
    )


def _shortened(body: bytes, most: int) -> bytes:
    if len(body) <= most:
        return body
    head, tail = body[: most * 3 // 4], body[-(most // 4) :]
    mark = f"\n<!-- {len(body) - len(head) - len(tail)} bytes left out -->\n"
    return head + mark.encode() + tail


async def put(connection: AsyncConnection, several: Sequence[Said]) -> None:
    """Append exchanges that are packed."""
    if not several:
        return
    rows = []
    for one in several:
        row = dataclasses.asdict(one)
        del row["number"]
        rows.append(row)
    await connection.execute(insert(SaidRow), rows)


async def prune(connection: AsyncConnection, *, before: datetime, most: int) -> None:
    """Let go of what was said before, and of all but the latest `most`."""
    last = await connection.scalar(select(func.max(SaidRow.number))) or 0
    await connection.execute(
        delete(SaidRow).where(or_(SaidRow.at < before, SaidRow.number <= last - most))
    )


async def latest(
    connection: AsyncConnection,
    *,
    ven_id: str | None = None,
    search: str = "",
    wrong: bool = False,
    before: int | None = None,
    limit: int = 50,
) -> list[Said]:
    """The newest first, without the messages themselves; `before` is a number already seen.

    `ven_id` None is everybody, "" strangers; `search` stands in a name, a code or a sentence.
    """
    query = select(*_LINE).order_by(SaidRow.number.desc()).limit(limit)
    if ven_id is not None:
        query = query.where(SaidRow.ven_id == ven_id)
    if wrong:
        query = query.where(SaidRow.wrong)
    if before is not None:
        query = query.where(SaidRow.number < before)
    for word in search.split():
        query = query.where(_stands_in(word))
    rows = (await connection.execute(query)).mappings()
    return [Said(**row, request=b"", reply=b"") for row in rows]


def _stands_in(word: str) -> ColumnElement[bool]:
    columns = (
        SaidRow.ven_id,
        SaidRow.certificate,
        SaidRow.request_kind,
        SaidRow.reply_kind,
        SaidRow.code,
        SaidRow.said,
    )
    return or_(*(column.icontains(word, autoescape=True) for column in columns))


async def find(connection: AsyncConnection, number: int) -> Said | None:
    """One exchange with its messages."""
    rows = await connection.execute(select(SaidRow.__table__).where(SaidRow.number == number))
    row = rows.mappings().first()
    if row is None:
        return None
    found = Said(**row)
    return dataclasses.replace(
        found, request=zlib.decompress(found.request), reply=zlib.decompress(found.reply)
    )
