# SPDX-License-Identifier: Apache-2.0
"""What VENs want of us again and again: our metadata, each reportBackDuration (rules 301, 324)."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from oadr.report import ReportRequest
from vtn.store.documents import decode, encode, insert_into
from vtn.store.hot import Hot
from vtn.store.tables import SubscriptionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A request for our metadata that is not over yet."""

    request: ReportRequest
    next_at: datetime

    def after(self, now: datetime) -> "Subscription | None":
        """What is left of it when our metadata was sent at `now`; None: nothing."""
        interval, back = self.request.interval, self.request.report_back
        if interval is None or not back:
            return None
        next_at = interval.starts_at + back * ((now - interval.starts_at) // back + 1)
        if interval.duration and next_at >= interval.starts_at + interval.duration:
            return None
        return Subscription(request=self.request, next_at=next_at)


_OF_VEN = Hot(
    select(SubscriptionRow.document, SubscriptionRow.next_at)
    .where(SubscriptionRow.ven_id == bindparam("ven"))
    .order_by(SubscriptionRow.next_at, SubscriptionRow.report_request_id)
)


async def put(connection: AsyncConnection, ven_id: str, subscription: Subscription) -> None:
    """Keep it, or move it on."""
    statement = insert_into(connection, SubscriptionRow).values(
        ven_id=ven_id,
        report_request_id=subscription.request.report_request_id,
        document=encode(subscription.request),
        next_at=subscription.next_at,
    )
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["ven_id", "report_request_id"],
            set_={
                "document": statement.excluded.document,
                "next_at": statement.excluded.next_at,
            },
        )
    )


async def of_ven(connection: AsyncConnection, ven_id: str) -> list[Subscription]:
    """Those of a VEN, the next one due first."""
    rows = await _OF_VEN.rows(connection, ven=ven_id)
    return [
        Subscription(request=decode(document, ReportRequest), next_at=next_at)
        for document, next_at in rows
    ]


async def remove(connection: AsyncConnection, ven_id: str, ids: Collection[str]) -> None:
    await connection.execute(
        delete(SubscriptionRow).where(
            SubscriptionRow.ven_id == ven_id, SubscriptionRow.report_request_id.in_(list(ids))
        )
    )


async def clear(connection: AsyncConnection, ven_id: str) -> None:
    await connection.execute(delete(SubscriptionRow).where(SubscriptionRow.ven_id == ven_id))


def first(request: ReportRequest, now: datetime) -> Subscription:
    """A subscription whose first report is due at its start, or now where that is past."""
    start = request.interval.starts_at if request.interval else now
    return Subscription(request=request, next_at=max(start, now))
