# SPDX-License-Identifier: Apache-2.0
"""What the database says about events and reports as a whole, for the metrics.

It takes many small reads, so it is worked out beside the work, at most once a minute and for at
most a hundredth of the time; a scrape gets what is known.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from cryptography import x509

from doorway import get_logger
from oadr.vocabulary import EventStatus, OptType
from vtn import curtailment, tally
from vtn.errors import StoreUnavailable
from vtn.records import EventRecord, RequestState, Series
from vtn.services.office import Office
from vtn.services.report import CURTAILMENT, METADATA
from vtn.store import events, measurements, reports, vens

log = get_logger()

EVERY_S: Final = 60.0
SHARE: Final = 100.0
"""What took a second to work out is not worked out again for so many seconds."""
FIRST_S: Final = 2.0
"""How long the first scrape waits for it."""
NEWEST: Final = timedelta(minutes=5)
"""What a node claimed longer ago does not count as now."""
_AT_A_TIME: Final = 50

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """As of one moment."""

    samples_missing: int
    """Intervals that were asked for, are due and have not come; late ones still may."""
    asked: int
    """VENs that running events are for, once for each event."""
    opted_in: int
    ordered_w: float
    """By running events, of the VENs that opted in; those that order power only."""
    delivered_w: float
    """What the nodes of these VENs say now (x-CURTAILMENT); verified it is with the event."""
    ven_certificate_ends_at: datetime | None
    """The earliest end of a certificate of a VEN that is let in."""


async def gather(office: Office) -> Figures:
    """Raises StoreUnavailable."""
    now = office.now()
    async with office.store.read() as connection:
        running = await events.records(connection, now, status=EventStatus.ACTIVE)
    opted_in = [(record, ven_id) for record in running for ven_id in _opted_in(record)]
    ordered_w = delivered_w = 0.0
    for record, ven_id in opted_in:
        ordered, delivered = await _power(office, record, ven_id, now)
        ordered_w += ordered
        delivered_w += delivered
    return Figures(
        samples_missing=await _samples_missing(office, now),
        asked=sum(len(record.ven_ids) for record in running),
        opted_in=len(opted_in),
        ordered_w=ordered_w,
        delivered_w=delivered_w,
        ven_certificate_ends_at=await _first_end(office, now),
    )


def _opted_in(record: EventRecord) -> list[str]:
    return [ven for ven, answer in record.answers.items() if answer.opt_type is OptType.OPT_IN]


async def _power(
    office: Office, record: EventRecord, ven_id: str, now: datetime
) -> tuple[float, float]:
    """(ordered, delivered) in W at one VEN now."""
    async with office.store.read() as connection:
        newest: dict[str, float] = {}
        for point in await measurements.points(connection, ven_id):
            if point.report_name == CURTAILMENT:
                since = max(record.event.starts_at, now - NEWEST).timestamp()
                found = await measurements.read(connection, point, since, now.timestamp())
                if found.values:
                    newest[point.report_type] = _last(found)
    ordered = curtailment.ordered_at(record.event, now, newest.get("baseline"))
    return ordered or 0.0, -newest.get("deviation", 0.0)


def _last(series: Series) -> float:
    return series.values[-1]


async def _samples_missing(office: Office, now: datetime) -> int:
    missing = 0
    ven_ids = [one.ven.ven_id for one in office.directory.entries() if one.ven.registered]
    for few in _chunks(ven_ids):
        async with office.store.read() as connection:
            for ven_id in few:
                for one in await reports.requests(connection, ven_id):
                    if one.state is RequestState.ACTIVE and one.report_name != METADATA:
                        missing += tally.missing(one.request, one.tally, now) or 0
    return missing


async def _first_end(office: Office, now: datetime) -> datetime | None:
    ends: list[datetime] = []
    after: str | None = ""
    while after is not None:
        async with office.store.read() as connection:
            few = await vens.certificates(connection, after=after, limit=_AT_A_TIME)
        ends += [x509.load_der_x509_certificate(der).not_valid_after_utc for _, der in few]
        after = few[-1][0] if few else None
    # One that is over lets nobody in any more, and would hide the next that ends.
    return min((end for end in ends if end > now), default=None)


def _chunks(several: Sequence[T]) -> list[Sequence[T]]:
    return [several[at : at + _AT_A_TIME] for at in range(0, len(several), _AT_A_TIME)]


class LatestFigures:
    """The figures as last worked out, worked out anew when they are old and somebody asks."""

    def __init__(self, office: Office, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._office = office
        self._monotonic = monotonic
        self._latest: Figures | None = None
        self._next_at = 0.0
        self._working: asyncio.Task[None] | None = None

    async def get(self) -> Figures | None:
        """What is known; None while nothing is, or the database does not answer."""
        if self._working is None and self._monotonic() >= self._next_at:
            self._working = asyncio.create_task(self._work())
        if self._latest is None and self._working is not None:
            await asyncio.wait([self._working], timeout=FIRST_S)
        return self._latest

    async def close(self) -> None:
        if self._working is not None:
            self._working.cancel()
            await asyncio.wait([self._working])

    async def _work(self) -> None:
        began = self._monotonic()
        try:
            self._latest = await gather(self._office)
        except StoreUnavailable as error:
            self._latest = None
            log.warning("no figures for the metrics", reason=str(error))
        except Exception:
            self._latest = None
            log.exception("the figures for the metrics failed")
        finally:
            self._working = None
            ended = self._monotonic()
            self._next_at = ended + max(EVERY_S, SHARE * (ended - began))
