# SPDX-License-Identifier: Apache-2.0
"""What operators have prepared: proposed events, templates; and which publications came twice."""

from datetime import datetime

import msgspec
from sqlalchemy import delete, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from oadr.event import Event
from vtn.orders import EventOrder
from vtn.records import Proposal, ProposalState, Template
from vtn.store.documents import decode, encode
from vtn.store.operator_tables import IdempotencyRow, ProposalRow, TemplateRow

# --- proposals ------------------------------------------------------------------------------------


async def propose(connection: AsyncConnection, proposal: Proposal) -> None:
    await connection.execute(
        insert(ProposalRow).values(
            proposal_id=proposal.proposal_id,
            event_id=proposal.event.event_id,
            expected_modification=proposal.expected_modification,
            document=encode(proposal.event),
            state=proposal.state,
            proposed_at=proposal.proposed_at,
            proposed_by=proposal.proposed_by,
        )
    )


async def proposal(
    connection: AsyncConnection, proposal_id: str, *, lock: bool = False
) -> Proposal | None:
    query = select(ProposalRow.__table__).where(ProposalRow.proposal_id == proposal_id)
    if lock:
        query = query.with_for_update()
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _proposal(dict(row))


async def proposals(
    connection: AsyncConnection,
    *,
    state: ProposalState | None = None,
    after: Proposal | None = None,
    limit: int = 100,
) -> list[Proposal]:
    """The latest first: so many, `after` one."""
    query = select(ProposalRow.__table__).order_by(
        ProposalRow.proposed_at.desc(), ProposalRow.proposal_id.desc()
    )
    if after is not None:
        place = tuple_(ProposalRow.proposed_at, ProposalRow.proposal_id)
        query = query.where(place < (after.proposed_at, after.proposal_id))
    if state is not None:
        query = query.where(ProposalRow.state == state)
    rows = (await connection.execute(query.limit(limit))).mappings()
    return [_proposal(dict(row)) for row in rows]


async def decide(
    connection: AsyncConnection,
    proposal_id: str,
    *,
    state: ProposalState,
    at: datetime,
    by: str,
    remark: str,
) -> None:
    await connection.execute(
        update(ProposalRow)
        .where(ProposalRow.proposal_id == proposal_id)
        .values(state=state, decided_at=at, decided_by=by, remark=remark)
    )


def _proposal(row: dict[str, object]) -> Proposal:
    document = row.pop("document")
    assert isinstance(document, str)
    del row["event_id"]
    state = ProposalState(str(row.pop("state")))
    return Proposal(event=decode(document, Event), state=state, **row)  # type: ignore[arg-type]  # the columns bear the names and types of the fields


# --- templates ------------------------------------------------------------------------------------


async def templates(
    connection: AsyncConnection, *, after: str = "", limit: int | None = None
) -> list[Template]:
    """By name: all, or so many `after` one."""
    query = select(TemplateRow.__table__).order_by(TemplateRow.name)
    if after:
        query = query.where(TemplateRow.name > after)
    rows = await connection.execute(query.limit(limit))
    return [_template(**row) for row in rows.mappings()]


async def count_templates(connection: AsyncConnection) -> int:
    return int(await connection.scalar(select(func.count()).select_from(TemplateRow)) or 0)


async def template(
    connection: AsyncConnection, name: str, *, lock: bool = False
) -> Template | None:
    query = select(TemplateRow.__table__).where(TemplateRow.name == name)
    if lock:
        query = query.with_for_update()
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _template(**row)


async def put_template(connection: AsyncConnection, found: Template) -> None:
    """Version 1 is a new one."""
    values = {
        "document": msgspec.json.encode(found.order).decode(),
        "version": found.version,
        "changed_at": found.changed_at,
        "changed_by": found.changed_by,
    }
    if found.version == 1:
        await connection.execute(insert(TemplateRow).values(name=found.name, **values))
    else:
        await connection.execute(
            update(TemplateRow).where(TemplateRow.name == found.name).values(**values)
        )


async def drop_template(connection: AsyncConnection, name: str) -> bool:
    query = delete(TemplateRow).where(TemplateRow.name == name)
    return (await connection.execute(query)).rowcount == 1


def _template(
    *, name: str, document: str, version: int, changed_at: datetime, changed_by: str
) -> Template:
    order = msgspec.json.decode(document, type=EventOrder)
    return Template(
        name=name, order=order, version=version, changed_at=changed_at, changed_by=changed_by
    )


# --- publications that come twice -----------------------------------------------------------------


async def answered(connection: AsyncConnection, actor: str, key: str) -> tuple[str, str] | None:
    """(the SHA-256 of the body, what it came to) of a request with this key."""
    query = select(IdempotencyRow.body_sha256, IdempotencyRow.answer).where(
        IdempotencyRow.actor == actor, IdempotencyRow.key == key
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else (row.body_sha256, row.answer)


async def remember(
    connection: AsyncConnection,
    *,
    actor: str,
    key: str,
    body_sha256: str,
    answer: str,
    at: datetime,
) -> None:
    await connection.execute(
        insert(IdempotencyRow).values(
            actor=actor, key=key, body_sha256=body_sha256, answer=answer, at=at
        )
    )


async def forget_answers(connection: AsyncConnection, *, before: datetime) -> None:
    await connection.execute(delete(IdempotencyRow).where(IdempotencyRow.at < before))
