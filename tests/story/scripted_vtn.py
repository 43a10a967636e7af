"""A VTN that does what a test tells it: real TLS, real OpenADR messages, no rules of its own."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta

from aiohttp import web

import oadr
from oadr.event import CreatedEvent, DistributeEvent, RequestEvent
from oadr.opt import CanceledOpt, CancelOpt, CreatedOpt, CreateOpt
from oadr.poll import Poll, Response
from oadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    Profile,
    QueryRegistration,
)
from oadr.report import (
    RegisteredReport,
    RegisterReport,
    ReportInterval,
    ReportRequest,
    SpecifierPayload,
    UpdatedReport,
    UpdateReport,
)
from oadr.response import EiResponse
from oadr.vocabulary import ProfileName, TransportName

VTN_ID = "vtn-1"
VEN_ID = "0042"


def now():
    return datetime.now(UTC).replace(microsecond=0)


class ScriptedVtn:
    """Answers as a VTN should, unless `script` has another answer for the type of message."""

    def __init__(self, authority, port):
        chain = authority.folder / "vtn-ecc.crt"
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(chain, chain.with_suffix(".key"))
        self._tls.load_verify_locations(authority.trust)
        self._tls.verify_mode = ssl.CERT_REQUIRED
        self.port = port
        self.url = f"https://127.0.0.1:{port}"
        self.received = []
        self.at = {}
        self.queue = []
        self.events = []
        self.requests = ()
        self.script = {}
        self.status = 200
        self.registrations = 0
        self.registered = False
        self._runner = None

    async def start(self):
        app = web.Application()
        app.router.add_post("/OpenADR2/Simple/2.0b/{service}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(
            self._runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True
        ).start()

    async def stop(self):
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_):
        await self.stop()

    def of(self, kind):
        return [message for message in self.received if isinstance(message, kind)]

    async def until(self, holds, within_s=60):
        """Wait until `holds()` is true; looked at after each message and every 50 ms."""
        deadline = asyncio.get_running_loop().time() + within_s
        while not (found := holds()):
            if asyncio.get_running_loop().time() > deadline:
                names = [oadr.wire_name(type(message)) for message in self.received]
                raise AssertionError(f"did not come true; received {names[-40:]}")
            await asyncio.sleep(0.05)
        return found

    async def _handle(self, request):
        if self.status != 200:
            self.received.append(self.status)
            return web.Response(status=self.status)
        message = oadr.parse(await request.read())
        self.received.append(message)
        self.at[id(message)] = datetime.now(UTC)
        answer = self._answer(message)
        return web.Response(body=oadr.build(answer), content_type="application/xml")

    def _answer(self, message):  # noqa: C901 - one line for each message of the standard
        scripted = self.script.get(type(message))
        if scripted is not None:
            answer = scripted(message)
            if answer is not None:
                return answer
        ok = EiResponse(request_id=getattr(message, "request_id", ""))
        match message:
            case QueryRegistration():
                return self._created(ok, known=False)
            case CreatePartyRegistration():
                self.registrations += 1
                self.registered = True
                return self._created(ok, known=True)
            case CancelPartyRegistration():
                return CanceledPartyRegistration(
                    response=ok, registration_id=message.registration_id, ven_id=VEN_ID
                )
            case Poll():
                return self.queue.pop(0) if self.queue else Response(response=EiResponse())
            case RequestEvent():
                return self.distribute()
            case RegisterReport():
                return RegisteredReport(response=ok, requests=self.requests, ven_id=VEN_ID)
            case UpdateReport():
                return UpdatedReport(response=ok, ven_id=VEN_ID)
            case CreateOpt():
                return CreatedOpt(response=ok, opt_id=message.opt_id)
            case CancelOpt():
                return CanceledOpt(response=ok, opt_id=message.opt_id)
            case CreatedEvent():
                return Response(response=ok, ven_id=VEN_ID)
        return Response(response=ok)

    def _created(self, ok, *, known):
        return CreatedPartyRegistration(
            response=ok,
            registration_id=f"reg-{self.registrations}" if known else None,
            ven_id=VEN_ID if known else None,
            vtn_id=VTN_ID,
            profiles=(Profile(name=ProfileName.B, transports=(TransportName.SIMPLE_HTTP,)),),
            poll_interval=timedelta(seconds=1) if known else None,
        )

    def distribute(self):
        return DistributeEvent(request_id="d-1", vtn_id=VTN_ID, events=tuple(self.events))

    def publish(self, *events):
        self.events = list(events)
        self.queue.append(self.distribute())

    async def whole(self, since=None):
        """The seconds of the readings reported so far, once none between them is missing.

        One that is under way is not missing: what is new goes ahead of what waits. With `since`
        there is one of a later second among them.
        """

        def without_gap():
            seconds = sorted(self.reported("usage", "power"))
            if not seconds or (since is not None and seconds[-1] <= since):
                return None
            return seconds if seconds[-1] - seconds[0] + 1 == len(seconds) else None

        return await self.until(without_gap)

    # --- what has been said ----------------------------------------------------------------------

    def answers(self):
        return [
            response for message in self.of(CreatedEvent) for response in message.event_responses
        ]

    def reported(self, specifier_id, r_id):
        """{epoch second: (value, quality)} of all acknowledged updates, the last value counts."""
        found = {}
        for message in self.of(UpdateReport):
            for report in message.reports:
                if report.report_specifier_id == specifier_id:
                    column = report.intervals.column(r_id)
                    for at, value, quality in zip(
                        report.intervals.starts_at,
                        column.values,
                        column.quality or (None,) * report.intervals.count,
                        strict=True,
                    ):
                        found[int(at.timestamp())] = (value, quality)
        return found


def usage_request(
    name="usage-1", *, back_s=2, granularity_s=1, start=None, length_s=0, rids=("power",)
):
    return ReportRequest(
        report_request_id=name,
        report_specifier_id="usage",
        granularity=timedelta(seconds=granularity_s),
        report_back=timedelta(seconds=back_s),
        interval=ReportInterval(starts_at=start or now(), duration=timedelta(seconds=length_s)),
        payloads=tuple(SpecifierPayload(r_id=r_id) for r_id in rids),
    )


def status_request(name="status-1", back_s=1, granularity_s=1, length_s=0):
    return ReportRequest(
        report_request_id=name,
        report_specifier_id="status",
        granularity=timedelta(seconds=granularity_s),
        report_back=timedelta(seconds=back_s),
        interval=ReportInterval(starts_at=now(), duration=timedelta(seconds=length_s)),
        payloads=(SpecifierPayload(r_id="status"),),
    )


def curtailment_request(name="curtailment-1", back_s=60):
    return ReportRequest(
        report_request_id=name,
        report_specifier_id="curtailment",
        granularity=timedelta(seconds=60),
        report_back=timedelta(seconds=back_s),
        interval=ReportInterval(starts_at=now(), duration=timedelta()),
        payloads=(SpecifierPayload(r_id="baseline"), SpecifierPayload(r_id="deviation")),
    )
