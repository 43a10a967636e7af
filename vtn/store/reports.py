# SPDX-License-Identifier: Apache-2.0
"""What each VEN offers to report, and what was asked of it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, case, delete, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from oadr.report import Report, ReportRequest
from vtn.records import Offer, RequestRecord, RequestState
from vtn.store.documents import decode, encode
from vtn.store.hot import Hot
from vtn.store.tables import OfferRow, RequestRow
from vtn.tally import NOTHING_YET, Tally

_OPEN = (RequestState.ASKED.value, RequestState.ACTIVE.value, RequestState.CANCELLING.value)

_OFFERS = (
    select(OfferRow.document, OfferRow.received_at)
    .where(OfferRow.ven_id == bindparam("ven"))
    .order_by(OfferRow.specifier_id)
)
_OFFERS_NAMED = Hot(_OFFERS.where(OfferRow.specifier_id.in_(bindparam("ids", expanding=True))))
_ALL_REQUESTS = select(
    RequestRow.ven_id,
    RequestRow.document,
    RequestRow.report_name,
    RequestRow.state,
    RequestRow.asked_at,
    RequestRow.asked_by,
    RequestRow.last_update_at,
    RequestRow.remark,
    RequestRow.to_follow,
    RequestRow.tally,
).order_by(RequestRow.asked_at, RequestRow.report_request_id)
_REQUESTS = _ALL_REQUESTS.where(RequestRow.ven_id == bindparam("ven"))
_REQUESTS_SEVERAL = _ALL_REQUESTS.where(RequestRow.ven_id.in_(bindparam("vens", expanding=True)))
_REQUESTS_NAMED = _REQUESTS.where(
    RequestRow.report_request_id.in_(bindparam("ids", expanding=True))
)
_REQUESTS_LOCKED = Hot(_REQUESTS_NAMED.with_for_update())
_TOUCH = Hot(
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
        rows: Sequence[Sequence[Any]] = (await connection.execute(_OFFERS, {"ven": ven_id})).all()
    else:
        rows = await _OFFERS_NAMED.rows(connection, ven=ven_id, ids=list(specifier_ids))
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
    after: RequestRecord | None = None,
    limit: int | None = None,
) -> list[RequestRecord]:
    """What was asked of a VEN, oldest first; with `ids` those of them that are this VEN's.

    Without `ids` all of it, or so much `after` one.
    With `ids` and `lock` nobody else counts what comes of them until the transaction ends.
    """
    if ids is not None and lock:
        rows = await _REQUESTS_LOCKED.rows(connection, ven=ven_id, ids=list(ids))
    elif ids is not None:
        named = {"ven": ven_id, "ids": list(ids)}
        rows = (await connection.execute(_REQUESTS_NAMED, named)).all()
    else:
        query = _REQUESTS.limit(limit)
        if after is not None:
            place = tuple_(RequestRow.asked_at, RequestRow.report_request_id)
            query = query.where(place > (after.asked_at, after.request.report_request_id))
        rows = (await connection.execute(query, {"ven": ven_id})).all()
    return [_record(row) for row in rows]


async def latest(connection: AsyncConnection, ven_id: str, *, limit: int) -> list[RequestRecord]:
    """The last so many that were asked of a VEN, oldest first."""
    query = _REQUESTS.order_by(None).order_by(
        RequestRow.asked_at.desc(), RequestRow.report_request_id.desc()
    )
    rows = (await connection.execute(query.limit(limit), {"ven": ven_id})).all()
    return [_record(row) for row in reversed(rows)]


async def names(connection: AsyncConnection, ven_id: str, *, report_name: str) -> list[str]:
    """The IDs of the requests for one report of a VEN, whatever became of them."""
    query = select(RequestRow.report_request_id).where(
        RequestRow.ven_id == ven_id, RequestRow.report_name == report_name
    )
    return list(await connection.scalars(query))


async def requests_of(
    connection: AsyncConnection, ven_ids: Sequence[str]
) -> dict[str, list[RequestRecord]]:
    """What was asked of each of some VENs, oldest first."""
    found: dict[str, list[RequestRecord]] = {ven_id: [] for ven_id in ven_ids}
    for row in await connection.execute(_REQUESTS_SEVERAL, {"vens": list(ven_ids)}):
        found[row.ven_id].append(_record(row))
    return found


async def offers_counted(connection: AsyncConnection, ven_ids: Sequence[str]) -> dict[str, int]:
    """How many reports each of some VENs offers; those that offer none are missing."""
    rows = await connection.execute(
        select(OfferRow.ven_id, func.count())
        .where(OfferRow.ven_id.in_(ven_ids))
        .group_by(OfferRow.ven_id)
    )
    return dict(rows.tuples().all())


def _record(row: Sequence[Any]) -> RequestRecord:
    ven_id, document, report_name, state, asked_at, asked_by, last_update_at = row[:7]
    remark, to_follow, tally = row[7:]
    return RequestRecord(
        ven_id=ven_id,
        request=decode(document, ReportRequest),
        report_name=report_name,
        state=RequestState(state),
        asked_at=asked_at,
        asked_by=asked_by,
        last_update_at=last_update_at,
        remark=remark,
        to_follow=to_follow,
        tally=decode(tally, Tally) if tally else NOTHING_YET,
    )


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
        await _TOUCH.each(
            connection,
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
