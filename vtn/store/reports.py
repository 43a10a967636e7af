# SPDX-License-Identifier: Apache-2.0
"""What each VEN offers to report, and what was asked of it."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from sqlalchemy import bindparam, case, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from oadr.report import Report, ReportRequest
from vtn.records import Offer, RequestRecord, RequestState
from vtn.store.documents import decode, encode
from vtn.store.tables import OfferRow, RequestRow
from vtn.tally import NOTHING_YET, Tally

_OPEN = (RequestState.ASKED.value, RequestState.ACTIVE.value, RequestState.CANCELLING.value)

# Statements of the hot path are built once: building one costs more than running it.
_OFFERS = (
    select(OfferRow.document, OfferRow.received_at)
    .where(OfferRow.ven_id == bindparam("ven"))
    .order_by(OfferRow.specifier_id)
)
_OFFERS_NAMED = _OFFERS.where(OfferRow.specifier_id.in_(bindparam("ids", expanding=True)))
_REQUESTS = (
    select(RequestRow.__table__)
    .where(RequestRow.ven_id == bindparam("ven"))
    .order_by(RequestRow.asked_at, RequestRow.report_request_id)
)
_REQUESTS_NAMED = _REQUESTS.where(
    RequestRow.report_request_id.in_(bindparam("ids", expanding=True))
)
_REQUESTS_LOCKED = _REQUESTS_NAMED.with_for_update()
_TOUCH = (
    update(RequestRow)
    .where(RequestRow.report_request_id == bindparam("id"))
    .values(
        last_update_at=bindparam("now"),
        tally=bindparam("tally_now"),
        state=case(
            (RequestRow.state == RequestState.ASKED.value, RequestState.ACTIVE.value),
            else_=RequestRow.state,
        ),
    )
)


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
    if specifier_ids is None:
        rows = await connection.execute(_OFFERS, {"ven": ven_id})
    else:
        named = {"ven": ven_id, "ids": list(specifier_ids)}
        rows = await connection.execute(_OFFERS_NAMED, named)
    return [
        Offer(ven_id=ven_id, report=decode(document, Report), received_at=received_at)
        for document, received_at in rows
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
    connection: AsyncConnection,
    ven_id: str,
    *,
    ids: Collection[str] | None = None,
    lock: bool = False,
) -> list[RequestRecord]:
    """What was asked of a VEN, oldest first; with `ids` those of them that are this VEN's.

    With `ids` and `lock` nobody else counts what comes of them until the transaction ends.
    """
    if ids is None:
        rows = await connection.execute(_REQUESTS, {"ven": ven_id})
    else:
        named = _REQUESTS_LOCKED if lock else _REQUESTS_NAMED
        rows = await connection.execute(named, {"ven": ven_id, "ids": list(ids)})
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
            to_follow=row["to_follow"],
            tally=decode(row["tally"], Tally) if row["tally"] else NOTHING_YET,
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


async def touch(connection: AsyncConnection, tallies: Mapping[str, Tally], *, at: datetime) -> None:
    """Values came for these requests; a VEN that sends them has taken the request on."""
    if tallies:
        await connection.execute(
            _TOUCH,
            [
                {"id": name, "now": at, "tally_now": encode(tally)}
                for name, tally in tallies.items()
            ],
        )


async def want_one_more(connection: AsyncConnection, report_request_id: str) -> None:
    """One last report is to come after the cancellation (rule 345)."""
    await connection.execute(
        update(RequestRow)
        .where(RequestRow.report_request_id == report_request_id)
        .values(to_follow=True)
    )


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
