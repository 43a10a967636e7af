"""A desk that keeps everything in memory: what the API and the command line are tried on."""

from array import array
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from oadr.event import Event
from oadr.report import ReportRequest
from oadr.vocabulary import EventStatus, OptType
from vtn import records
from vtn.blocks import Block
from vtn.desk import Desk
from vtn.errors import Conflict, InvalidEvent, Unknown
from vtn.rollups import rolled

NOW = datetime(2030, 1, 9, 14, tzinfo=UTC)


def series(ven_id: str, r_id: str, first: float, step: float, values: Sequence[float]):
    return records.Series(
        point=records.Point(ven_id=ven_id, r_id=r_id, unit="W", report_name="TELEMETRY_USAGE"),
        starts_at=array("d", (first + step * index for index in range(len(values)))),
        values=array("d", values),
        quality=tuple("" for _ in values),
    )


class DeskInMemory(Desk):
    """As much of a desk as can be told apart from the real one through the API."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.known: dict[str, records.Ven] = {}
        self.groups_known: dict[str, records.Group] = {}
        self.contexts: list[records.MarketContext] = []
        self.book: dict[str, records.EventRecord] = {}
        self.asked: list[records.RequestRecord] = []
        self.acts: list[tuple[str, str, str]] = []
        self.measured_w = 200_000.0
        self.quarters_without_samples = 0

    def _act(self, by: str, act: str, subject: str) -> None:
        self.acts.append((by, act, subject))

    async def add_ven(
        self, *, ven_id, name, certificate_sha256, certificate_der, resources, groups, by
    ):
        if ven_id in self.known:
            raise Conflict(f"There is a VEN '{ven_id}' already.")
        self.known[ven_id] = records.Ven(
            ven_id=ven_id,
            name=name,
            certificate_sha256=certificate_sha256,
            certificate_der=certificate_der,
            added_at=NOW,
            added_by=by,
            resources=tuple(resources),
            groups=tuple(groups),
        )
        self._act(by, "add", ven_id)
        return self.known[ven_id]

    async def vens(self, *, group=None, after="", limit=None):
        found = [ven for ven in self.known.values() if group is None or group in ven.groups]
        return [ven for ven in found if ven.ven_id > after][:limit]

    async def ven(self, ven_id):
        if ven_id not in self.known:
            raise Unknown(f"There is no VEN '{ven_id}'; `vtn vens list` names them.")
        return self.known[ven_id]

    async def add_resource(self, ven_id, resource_id, *, by):
        ven = await self.ven(ven_id)
        self.known[ven_id] = replace(ven, resources=(*ven.resources, resource_id))
        return self.known[ven_id]

    async def revoke_ven(self, ven_id, *, by):
        self.known[ven_id] = replace(await self.ven(ven_id), revoked_at=NOW)
        self._act(by, "revoke", ven_id)
        return self.known[ven_id]

    async def replace_certificate(self, ven_id, *, certificate_sha256, certificate_der=None, by):
        self.known[ven_id] = replace(
            await self.ven(ven_id), certificate_sha256=certificate_sha256.lower()
        )
        self._act(by, "certificate", ven_id)
        return self.known[ven_id]

    async def request_reregistration(self, ven_id, *, by):
        self._act(by, "reregister", (await self.ven(ven_id)).ven_id)

    async def cancel_registration(self, ven_id, *, by):
        self._act(by, "deregister", (await self.ven(ven_id)).ven_id)

    async def groups(self, *, after="", limit=None):
        return [one for one in self.groups_known.values() if one.group_id > after][:limit]

    async def add_group(self, group_id, name, *, ven_ids=(), by):
        self.groups_known[group_id] = records.Group(
            group_id=group_id, name=name, ven_ids=tuple(ven_ids)
        )
        return self.groups_known[group_id]

    async def add_to_group(self, group_id, ven_ids, *, by):
        group = self.groups_known[group_id]
        return await self.add_group(group_id, group.name, ven_ids=(*group.ven_ids, *ven_ids), by=by)

    async def remove_from_group(self, group_id, ven_ids, *, by):
        group = self.groups_known[group_id]
        left = [each for each in group.ven_ids if each not in ven_ids]
        return await self.add_group(group_id, group.name, ven_ids=left, by=by)

    async def market_contexts(self, *, after="", limit=None):
        return [one for one in self.contexts if one.uri > after][:limit]

    async def add_market_context(self, uri, name, *, by):
        self.contexts.append(records.MarketContext(uri=uri, name=name))
        return self.contexts[-1]

    def needs_approval(self, event):
        return False

    async def publish_event(self, event: Event, *, by):
        for ven_id in event.target.ven_ids:
            await self.ven(ven_id)
        event_id = event.event_id or f"event-{len(self.book) + 1}"
        named = replace(event, event_id=event_id, status=EventStatus.FAR)
        ven_ids = event.target.ven_ids or tuple(self.known)
        self.book[event_id] = records.EventRecord(
            event=named,
            ven_ids=ven_ids,
            answers={
                ven_id: records.EventAnswer(
                    ven_id=ven_id,
                    opt_type=OptType.OPT_IN,
                    modification_number=0,
                    at=NOW,
                    response_code="200",
                )
                for ven_id in ven_ids[:1]
            },
            deliveries={},
            history=(named,),
            published_at=NOW,
            published_by=by,
        )
        self._act(by, "publish", event_id)
        return self.book[event_id]

    async def event(self, event_id):
        if event_id not in self.book:
            raise Unknown(f"There is no event '{event_id}'; `vtn event list` names them.")
        return self.book[event_id]

    async def events(self, *, status=None, ven_id=None, after=None, limit=None):
        return [
            record
            for record in self.book.values()
            if status in (None, record.event.status) and ven_id in (None, *record.ven_ids)
        ][:limit]

    async def modify_event(self, event_id, event, *, expected_modification=None, by):
        record = await self.event(event_id)
        number = record.event.modification_number
        if expected_modification not in (None, number):
            raise Conflict(f"The event is at modification {number} by now; look at it again.")
        event = replace(event, modification_number=number + 1, modified_at=NOW)
        self.book[event_id] = replace(record, event=event, history=(*record.history, event))
        return self.book[event_id]

    async def cancel_event(self, event_id, *, by):
        record = await self.event(event_id)
        if record.event.status is EventStatus.CANCELLED:
            raise InvalidEvent("The event is cancelled already.")
        draft = replace(record.event, status=EventStatus.CANCELLED)
        return await self.modify_event(event_id, draft, by=by)

    async def reports(self, ven_id, *, after=None, limit=None):
        await self.ven(ven_id)
        return records.Reports(offers=(), requests=tuple(self.asked))

    async def request_report(self, ven_id, request: ReportRequest, *, by):
        self.asked.append(
            records.RequestRecord(
                ven_id=ven_id,
                request=replace(request, report_request_id=f"r{len(self.asked)}"),
                report_name="TELEMETRY_USAGE",
                state=records.RequestState.ASKED,
                asked_at=NOW,
                asked_by=by,
            )
        )
        return self.asked[-1]

    async def cancel_report(self, ven_id, report_request_id, *, to_follow=False, by):
        self.asked = [replace(each, state=records.RequestState.CANCELLING) for each in self.asked]
        return self.asked[-1]

    async def points(self, ven_id, *, after=None, limit=None):
        return [series(ven_id, "P", 0, 4, ()).point]

    async def measurements(self, ven_id, r_id, starts_at, ends_at, *, facet=""):
        await self.ven(ven_id)
        count = round((ends_at - starts_at) / timedelta(seconds=900))
        return series(ven_id, r_id, starts_at.timestamp(), 900, [float("nan")] + [1.5] * count)

    async def report_days(self, ven_id, *, limit=31):
        await self.ven(ven_id)
        return [records.ReportDay(day=NOW.date(), messages=1440, samples=21_600)][:limit]

    async def rollups(self, ven_id, r_id, starts_at, ends_at, *, facet=""):
        await self.ven(ven_id)
        count = round((ends_at - starts_at) / timedelta(seconds=900))
        point = series(ven_id, r_id, starts_at.timestamp(), 900, []).point
        block = Block((0, 4), (1.0, 3.0), ("", ""))
        return records.RolledSeries(
            point=point,
            starts_at=tuple(int(starts_at.timestamp()) + 900 * index for index in range(count)),
            rollups=(rolled(block),) * count,
        )

    async def without_samples(self, ven_id, r_id, starts_at, ends_at, *, facet=""):
        await self.ven(ven_id)
        return self.quarters_without_samples

    async def curtailment_inputs(self, event_id, ven_id, *, record=None):
        record = await self.event(event_id)
        first = record.event.starts_at.timestamp()
        minutes = round(record.event.duration / timedelta(minutes=1))
        return records.CurtailmentInputs(
            record=record,
            ven_id=ven_id,
            measured=series(ven_id, "P", first, 4, [self.measured_w] * (minutes * 15)),
            baseline=series(ven_id, "B", first, 60, [400_000.0] * minutes),
            deviation=series(ven_id, "D", first, 60, [-200_000.0] * minutes),
            granularity_s=4.0,
            claim_granularity_s=60.0,
        )

    async def opts(self, ven_id, *, ended=False):
        return []

    async def audit(self, *, limit=100, before=None, actor=None, subject=None):
        return [
            records.AuditLine(
                number=number, at=NOW, actor=f"operator:{by}", act=act, subject=about, outcome="ok"
            )
            for number, (by, act, about) in enumerate(self.acts)
        ]

    async def health(self):
        return records.Health(
            at=NOW,
            database="sqlite",
            vens=len(self.known),
            registered=0,
            online=0,
            events_active=0,
            events_pending=len(self.book),
            messages_waiting=0,
        )
