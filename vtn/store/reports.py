# SPDX-License-Identifier: Apache-2.0
"""What each VEN offers to report, and what was asked of it."""

from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from oadr.report import Report, ReportRequest
from vtn.records import Offer, RequestRecord, RequestState
from vtn.store.documents import decode, encode
from vtn.store.tables import OfferRow, RequestRow

_OPEN = (RequestState.ASKED.value, RequestState.ACTIVE.value, RequestState.CANCELLING.value)


async def replace_offers(
    connection: AsyncConnection, ven_id: str, reports: Iterable[Report], *, at: datetime
) -> None:
    """New metadata replaces all that was there (rule 306)."""
    await connection.execute(delete(OfferRow).where(OfferRow.ven_id == ven_id))
    for report in reports:
        await connection.execute(
            insert(OfferRow).values(
                ven_id=ven_id,
                specifier_id=report.report_specifier_id,
                document=encode(report),
                received_at=at,
            )
        )


async def offers(
    connection: AsyncConnection, ven_id: str, *, specifier_ids: Collection[str] | None = None
) -> list[Offer]:
    """What a VEN offers, or some of it, by reportSpecifierID."""
    query = select(OfferRow.document, OfferRow.received_at).where(OfferRow.ven_id == ven_id)
    if specifier_ids is not None:
        query = query.where(OfferRow.specifier_id.in_(list(specifier_ids)))
    return [
        Offer(ven_id=ven_id, report=decode(document, Report), received_at=received_at)
        for document, received_at in await connection.execute(query.order_by(OfferRow.specifier_id))
    ]


async def ask(connection: AsyncConnection, record: RequestRecord) -> None:
    await connection.execute(
        insert(RequestRow).values(
            report_request_id=record.request.report_request_id,
            ven_id=record.ven_id,
            report_name=record.report_name,
            document=encode(record.request),
            state=record.state.value,
            asked_at=record.asked_at,
            asked_by=record.asked_by,
        )
    )


async def requests(
    connection: AsyncConnection, ven_id: str, *, ids: Collection[str] | None = None
) -> list[RequestRecord]:
    """What was asked of a VEN, oldest first; with `ids` those of them that are this VEN's."""
    query = select(RequestRow.__table__).where(RequestRow.ven_id == ven_id)
    if ids is not None:
        query = query.where(RequestRow.report_request_id.in_(list(ids)))
    rows = await connection.execute(
        query.order_by(RequestRow.asked_at, RequestRow.report_request_id)
    )
    return [
        RequestRecord(
            ven_id=row["ven_id"],
            request=decode(row["document"], ReportRequest),
            report_name=row["report_name"],
            state=RequestState(row["state"]),
            asked_at=row["asked_at"],
            asked_by=row["asked_by"],
            last_update_at=row["last_update_at"],
            remark=row["remark"],
        )
        for row in rows.mappings()
    ]


async def is_taken(connection: AsyncConnection, report_request_id: str) -> bool:
    query = select(RequestRow.ven_id).where(RequestRow.report_request_id == report_request_id)
    return await connection.scalar(query) is not None


async def set_state(
    connection: AsyncConnection,
    ids: Iterable[str],
    state: RequestState,
    *,
    remark: str = "",
    instead_of: Collection[RequestState] | None = None,
) -> None:
    """Move requests on; with `instead_of` only those that stand there."""
    statement = update(RequestRow).where(RequestRow.report_request_id.in_(list(ids)))
    if instead_of is not None:
        statement = statement.where(RequestRow.state.in_([old.value for old in instead_of]))
    values = {"state": state.value} | ({"remark": remark} if remark else {})
    await connection.execute(statement.values(**values))


async def touch(connection: AsyncConnection, ids: Iterable[str], *, at: datetime) -> None:
    """Values came for these requests; a VEN that sends them has taken the request on."""
    wanted = list(ids)
    await connection.execute(
        update(RequestRow).where(RequestRow.report_request_id.in_(wanted)).values(last_update_at=at)
    )
    await set_state(connection, wanted, RequestState.ACTIVE, instead_of=(RequestState.ASKED,))


async def cancel_all(
    connection: AsyncConnection, ven_id: str, *, remark: str, keep: Collection[str] = ()
) -> None:
    """Every request still open is cancelled (rules 306, 406, 407), but for those in `keep`."""
    await connection.execute(
        update(RequestRow)
        .where(
            RequestRow.ven_id == ven_id,
            RequestRow.state.in_(_OPEN),
            RequestRow.report_request_id.not_in(list(keep)),
        )
        .values(state=RequestState.CANCELLED.value, remark=remark)
    )
