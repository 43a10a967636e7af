# SPDX-License-Identifier: Apache-2.0
"""After a backup was put back: have the VENs bring again what was acknowledged since.

    backup          crash   restore
    ├─── lost here ───┤        │
    ▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮        the VEN's cursor stands here: by itself it would bring this no more
    └ what is stored ends: from here each telemetry report is asked for anew

A report asked for from an instant in the past begins there: the node's ring still has a week. The
old request is cancelled first. What the VEN never had acknowledged it brings anyway.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from oadr.report import CancelReport, CreateReport, ReportInterval
from vtn.records import RequestRecord, RequestState, Ven
from vtn.store import Store, audit, events, outbox, reports, vens
from vtn.tally import goes_on_at

KEPT: Final = timedelta(days=7)
"""What the ring of a light node holds; longer ago nothing is asked for."""
TELEMETRY: Final = "TELEMETRY_USAGE"
"""The report that is made from the ring; all others tell how things are when they are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was put into the queues."""

    vens: int
    """Registered VENs, each of which is told of all events again."""
    reports: int
    since: datetime | None
    """From when the earliest of them starts; None where nothing was asked."""


async def ask_again(store: Store, *, now: datetime, new_id: Callable[[], str]) -> Asked:
    """Queue for every registered VEN what closes the gap; once, before the VTN serves again."""
    starts: list[datetime] = []
    registered = 0
    async with store.read() as connection:
        everybody = await vens.every(connection)
    for ven in everybody:
        if not ven.registered or ven.revoked_at is not None:
            continue
        registered += 1
        async with store.write() as connection:
            await events.forget_deliveries(connection, ven.ven_id)
            for record in await reports.requests(connection, ven.ven_id):
                start = _start(record, now)
                if start is not None:
                    await _ask(connection, ven, record, start, now=now, new_id=new_id)
                    starts.append(start)
    async with store.write() as connection:
        await audit.note(
            connection,
            at=now,
            actor="system",
            act="restore backup",
            subject="database",
            detail=f"{len(starts)} reports of {registered} VENs asked for anew",
        )
    return Asked(vens=registered, reports=len(starts), since=min(starts, default=None))


def _start(record: RequestRecord, now: datetime) -> datetime | None:
    """From when a request is asked for anew; None where it is not."""
    interval = record.request.interval
    periodic = record.request.report_back and interval is not None
    if record.report_name != TELEMETRY or not periodic:
        return None
    if record.state not in (RequestState.ASKED, RequestState.ACTIVE):
        return None
    assert interval is not None
    wanted_from = max(interval.starts_at, now - KEPT)
    held = goes_on_at(record.tally, wanted_from=int(wanted_from.timestamp()))
    start = wanted_from if held is None else datetime.fromtimestamp(held, UTC)
    if interval.duration and start >= interval.starts_at + interval.duration:
        return None
    return start


async def _ask(
    connection: AsyncConnection,
    ven: Ven,
    record: RequestRecord,
    start: datetime,
    *,
    now: datetime,
    new_id: Callable[[], str],
) -> None:
    """Cancel a request, and ask for the same from `start` on."""
    old, interval = record.request, record.request.interval
    assert interval is not None
    await outbox.ask_no_more(connection, ven.ven_id, old.report_request_id)
    await reports.set_state(
        connection,
        [old.report_request_id],
        RequestState.CANCELLING,
        remark="asked for anew after a restore",
    )
    cancel, create = new_id(), new_id()
    await outbox.put(
        connection,
        ven.ven_id,
        CancelReport(
            request_id=cancel, report_request_ids=(old.report_request_id,), ven_id=ven.ven_id
        ),
        at=now,
        request_id=cancel,
        subjects=[old.report_request_id],
    )
    left = interval.duration and interval.starts_at + interval.duration - start
    request = dataclasses.replace(
        old,
        report_request_id=new_id(),
        interval=ReportInterval(starts_at=start, duration=left),
    )
    await reports.ask(
        connection,
        dataclasses.replace(
            record, request=request, state=RequestState.ASKED, asked_at=now, asked_by="system"
        ),
    )
    await outbox.put(
        connection,
        ven.ven_id,
        CreateReport(request_id=create, requests=(request,), ven_id=ven.ven_id),
        at=now,
        request_id=create,
        subjects=[request.report_request_id],
    )
