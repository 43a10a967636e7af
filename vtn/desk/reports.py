# SPDX-License-Identifier: Apache-2.0
"""The desk: what VENs offer to report, and what is asked of them."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import oadr
from oadr.report import CancelReport, CreateReport, ReportRequest
from vtn.desk.checks import identifier, registered_ven
from vtn.desk.requests import accounted, check_request
from vtn.desk.room import Room
from vtn.errors import Conflict, InvalidReportRequest, Unknown
from vtn.readings import data_name
from vtn.records import Reports, RequestRecord, RequestState
from vtn.services.office import known_ven
from vtn.services.report import METADATA
from vtn.store import outbox, reports


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFigures:
    """How the reports of one VEN stand."""

    offers: int
    asked: int
    """Requests that it has not confirmed yet."""
    active: int
    missing: int
    """Intervals of those that are active."""

    @classmethod
    def of(cls, offers: int, requests: Sequence[RequestRecord]) -> "ReportFigures":
        active = [one for one in requests if one.state is RequestState.ACTIVE]
        return cls(
            offers=offers,
            asked=sum(one.state is RequestState.ASKED for one in requests),
            active=len(active),
            missing=sum(one.missing or 0 for one in active),
        )


class ReportDesk(Room):
    """Reports that VENs make."""

    async def reports(
        self, ven_id: str, *, after: str | None = None, limit: int | None = None
    ) -> Reports:
        """What it offers, and what was asked of it, oldest first: all, or so much `after` one.

        Raises Unknown for the VEN, or where that one is gone.
        """
        now = self._office.now()
        async with self._office.store.read() as connection:
            await known_ven(connection, ven_id)
            offers = await reports.offers(connection, ven_id)
            last = None
            if after is not None:
                last = next(iter(await reports.requests(connection, ven_id, ids=[after])), None)
                if last is None:
                    raise Unknown(f"There is no report request '{after}' at the VEN '{ven_id}'.")
            requests = await reports.requests(connection, ven_id, after=last, limit=limit)
        return Reports(
            offers=tuple(offers), requests=tuple(accounted(one, now) for one in requests)
        )

    async def report_figures(self, ven_ids: Sequence[str]) -> dict[str, ReportFigures]:
        """How the reports of each of some VENs stand."""
        now = self._office.now()
        async with self._office.store.read() as connection:
            offered = await reports.offers_counted(connection, ven_ids)
            asked = await reports.requests_of(connection, ven_ids)
        return {
            ven_id: ReportFigures.of(
                offered.get(ven_id, 0), [accounted(one, now) for one in asked[ven_id]]
            )
            for ven_id in ven_ids
        }

    async def request_report(
        self, ven_id: str, request: ReportRequest, *, by: str
    ) -> RequestRecord:
        """Ask for a report at the next poll; `report_request_id` may be "" (one is made).

        The specifier "METADATA" asks for what the VEN offers (rule 327). Raises
        InvalidReportRequest where the offer does not cover it (rules 300, 317, 324, 340).
        """
        at = self._office.now()
        name = identifier("reportRequestID", request.report_request_id or self._office.new_id())
        request = dataclasses.replace(request, report_request_id=name)
        async with self._office.change() as (connection, news):
            await registered_ven(connection, ven_id)
            offered = await reports.offers(connection, ven_id)
            offer = next(
                (
                    one.report
                    for one in offered
                    if one.report.report_specifier_id == request.report_specifier_id
                ),
                None,
            )
            check_request(request, offer, ven_id)
            if await reports.is_taken(connection, name):
                raise Conflict(f"There is a report request '{name}' already; choose another ID.")
            record = RequestRecord(
                ven_id=ven_id,
                request=request,
                report_name=data_name(offer.report_name) if offer else METADATA,
                state=RequestState.ASKED,
                asked_at=at,
                asked_by=by,
            )
            await reports.ask(connection, record)
            request_id = self._office.new_id()
            message = CreateReport(request_id=request_id, requests=(request,), ven_id=ven_id)
            try:
                await outbox.put(
                    connection, ven_id, message, at=at, request_id=request_id, subjects=[name]
                )
            except oadr.Unbuildable as error:
                raise InvalidReportRequest(f"The request cannot be sent: {error}") from error
            await self._note(connection, by, "request report", f"report:{name}", at, detail=ven_id)
            news.woken([ven_id])
        return record

    async def cancel_report(
        self, ven_id: str, report_request_id: str, *, to_follow: bool = False, by: str
    ) -> RequestRecord:
        """Ask the VEN to stop; `to_follow` asks for one final report (rule 345).

        Raises Unknown, and Conflict where the report has ended or is being cancelled.
        """
        at = self._office.now()
        async with self._office.change() as (connection, news):
            await known_ven(connection, ven_id, lock=True)
            found = await reports.requests(connection, ven_id, ids=[report_request_id])
            if not found:
                raise Unknown(
                    f"Nothing was asked of '{ven_id}' under '{report_request_id}'; "
                    "see `vtn report list`."
                )
            if found[0].state not in (RequestState.ASKED, RequestState.ACTIVE):
                raise Conflict(f"The report '{report_request_id}' is {found[0].state.value}.")
            await outbox.ask_no_more(connection, ven_id, report_request_id)
            request_id = self._office.new_id()
            message = CancelReport(
                request_id=request_id,
                report_request_ids=(report_request_id,),
                report_to_follow=to_follow,
                ven_id=ven_id,
            )
            await outbox.put(
                connection,
                ven_id,
                message,
                at=at,
                request_id=request_id,
                subjects=[report_request_id],
            )
            await reports.set_state(connection, [report_request_id], RequestState.CANCELLING)
            if to_follow:
                await reports.want_one_more(connection, report_request_id)
            await self._note(
                connection, by, "cancel report", f"report:{report_request_id}", at, detail=ven_id
            )
            news.woken([ven_id])
        return dataclasses.replace(found[0], state=RequestState.CANCELLING)
