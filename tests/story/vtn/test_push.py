"""VENs that are pushed to: their own HTTPS endpoints, over mutual TLS, on loopback."""

import asyncio
import hashlib
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from structlog.testing import capture_logs

import oadr
from demo.ports import free_port
from oadr.event import CreatedEvent, DistributeEvent, EventResponse
from oadr.poll import Poll, Response
from oadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    RequestReregistration,
)
from oadr.report import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisteredReport,
    RegisterReport,
    ReportInterval,
    ReportRequest,
    SpecifierPayload,
)
from oadr.response import EiResponse
from oadr.vocabulary import OptType, ResponseRequired, ServiceName
from tests.story.vtn.utility import CONTEXT, Speaker, Utility, settings, values
from vtn import push
from vtn.gateway import Answer, Gateway
from vtn.proof import Proof
from vtn.push import pushing
from vtn.records import RequestState
from vtn.revocation import RevocationLists
from vtn.store import migrate
from vtn.store.nonces import Nonces

WITHIN_S = 60.0


class PushVen(Speaker):
    """A VEN with an endpoint of its own: keeps what it is pushed, and answers as it is told."""

    def __init__(self, utility, ven_id, issued, authority):
        der = x509.load_pem_x509_certificate(issued.certificate.read_bytes()).public_bytes(
            Encoding.DER
        )
        super().__init__(utility, ven_id, hashlib.sha256(der).hexdigest())
        self.der = der
        self.issued = issued
        self.pushed: list[oadr.Message] = []
        self.paths: list[str] = []
        self.requests: list[dict] = []
        self.callers: list[str] = []
        self.status = 200
        self.answers = True
        self.stalls = asyncio.Event()
        self.stalls.set()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.verify_mode = ssl.CERT_REQUIRED
        self._tls.load_verify_locations(authority.vtn_trust)
        self.show(issued)

    def show(self, issued):
        """The certificate that its endpoint presents from now on."""
        self._tls.load_cert_chain(issued.certificate, issued.key)

    async def post(self, service, body):
        answer = await self.utility.gateway.answer(
            service, body, certificate=self.certificate, connection=1, der=self.der
        )
        return Answer(answer.status, answer.body)

    async def listen(self, port=None):
        """At `port`, or one that stays free when this is hung up and listened at again."""
        app = web.Application()
        app.router.add_post("/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner,
            "127.0.0.1",
            port or free_port(),
            ssl_context=self._tls,
            reuse_address=True,
        )
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def hang_up(self):
        await self._runner.cleanup()

    @property
    def address(self):
        return f"https://127.0.0.1:{self.port}"

    async def _take(self, request):
        body = await request.read()
        self.requests.append({"headers": dict(request.headers), "body": body})
        await self.stalls.wait()
        if self.status != 200:
            return web.Response(status=self.status)
        peer = request.transport.get_extra_info("peercert")
        self.callers.append(dict(pair[0] for pair in peer["issuer"])["commonName"])
        self.paths.append(request.path)
        message = self.opened(body)
        self.pushed.append(message)
        answer = self.fitting(message) if self.answers else None
        content = self.sealed(answer) if answer else b""
        return web.Response(body=content, content_type="application/xml" if content else None)

    def opened(self, body):
        return oadr.parse(body)

    def sealed(self, message):
        return oadr.build(message)

    def fitting(self, message):
        response = EiResponse(request_id=getattr(message, "request_id", ""))
        if isinstance(message, RegisterReport):
            return RegisteredReport(response=response, ven_id=self.ven_id)
        if isinstance(message, CreateReport):
            ids = tuple(one.report_request_id for one in message.requests)
            return CreatedReport(
                response=response, pending_report_request_ids=ids, ven_id=self.ven_id
            )
        if isinstance(message, CancelReport):
            return CanceledReport(response=response, ven_id=self.ven_id)
        if isinstance(message, CancelPartyRegistration):
            return CanceledPartyRegistration(
                response=response, registration_id=message.registration_id, ven_id=self.ven_id
            )
        return None

    async def register(self, **changes):
        given = {"http_pull_model": False, "transport_address": self.address}
        return await super().register(**(given | changes))

    async def get(self, kind, count=1):
        """The `count`-th message of this kind that it was pushed, once it is there."""
        found = []

        def there():
            found[:] = [one for one in self.pushed if isinstance(one, kind)]
            return len(found) >= count

        await until(f"{count} {kind.__name__}", there)
        return found[count - 1]


async def until(what, condition):
    deadline = asyncio.get_running_loop().time() + WITHIN_S
    while not (got := condition()):
        assert asyncio.get_running_loop().time() < deadline, f"{what}: not within {WITHIN_S} s"
        await asyncio.sleep(0.02)
    return got


async def becomes(what, question):
    """Ask the VTN again and again until the answer is yes."""
    deadline = asyncio.get_running_loop().time() + WITHIN_S
    while not await question():
        assert asyncio.get_running_loop().time() < deadline, f"{what}: not within {WITHIN_S} s"
        await asyncio.sleep(0.02)


class Pushing(Utility):
    """A VTN that pushes; `restart` breaks off whatever is under way."""

    signs = False
    revocation = None

    async def start(self):
        await super().start()
        if self.signs:
            proof = Proof(self.settings.openadr, Nonces(self.store))
            self.gateway = Gateway(self.office, proof)
        self._exits = AsyncExitStack()
        tasks = await self._exits.enter_async_context(asyncio.TaskGroup())
        await self._exits.enter_async_context(
            pushing(tasks, self.office, self.gateway, self.revocation)
        )

    async def stop(self):
        await self._exits.aclose()
        await self.store.close()

    async def restart(self):
        await self.stop()
        await self.start()


@asynccontextmanager
async def pushing_vtn(folder, clock, authority, *, proof=False):
    database = f"sqlite+aiosqlite:///{folder / 'vtn.db'}"
    await migrate(database)
    stem = authority.folder / "vtn-ecc"
    if not stem.with_suffix(".crt").exists():
        authority.vtn(["127.0.0.1"])
    chains = [{"cert": stem.with_suffix(".crt"), "key": stem.with_suffix(".key")}]
    more = {"certificates": chains, "client_ca": authority.ven_trust}
    found = Pushing(settings(database, folder, **more), clock)
    found.signs = proof
    found.authority = authority
    await found.start()
    try:
        await found.desk.add_market_context(CONTEXT, "Peak", by="anna")
        yield found
    finally:
        await found.stop()


@pytest.fixture
async def vtn(tmp_path, clock, authority, monkeypatch):
    monkeypatch.setattr(push, "SETTLE_S", 0.01)
    monkeypatch.setattr(push, "FIRST_S", 0.05)
    async with pushing_vtn(tmp_path, clock, authority) as found:
        yield found


@pytest.fixture
async def open_ven(vtn):
    vens = []

    async def opened(ven_id="0042", kind=PushVen, *, registers=True):
        name = f"push-{ven_id}-{len(list(vtn.authority.folder.iterdir()))}"
        ven = kind(vtn, ven_id, vtn.authority.ven(name), vtn.authority)
        await vtn.desk.add_ven(
            ven_id=ven_id,
            name=ven_id,
            certificate_sha256=ven.certificate,
            resources=("r1",),
            by="anna",
        )
        await ven.listen()
        vens.append(ven)
        if registers:
            await ven.register()
            await ven.get(RegisterReport)
        return ven

    yield opened
    for ven in vens:
        await ven.hang_up()


async def queue_of(vtn):
    return (await vtn.desk.health()).messages_waiting


async def test_a_ven_that_registers_for_push_is_brought_our_metadata(vtn, open_ven):
    """Rules 38, 51, 301, 402, 405 and 511."""
    ven = await open_ven()

    assert ven.paths == ["/OpenADR2/Simple/2.0b/EiReport"]
    assert ven.callers == ["demandflex VTN CA ECC"]
    headers = ven.requests[0]["headers"]
    assert headers["Content-Type"] == "application/xml"
    assert int(headers["Content-Length"]) == len(ven.requests[0]["body"])
    assert "Transfer-Encoding" not in headers
    await wait_for_empty(vtn)
    shown = await vtn.desk.ven("0042")
    assert shown.push_address == ven.address
    assert shown.certificate_der == ven.der  # added by its fingerprint alone, seen since


async def test_nothing_is_pushed_to_a_certificate_on_a_revocation_list(vtn, open_ven, authority):
    ven = await open_ven()
    crl = authority.revoke(ven.issued.certificate).file
    vtn.revocation = RevocationLists([crl], authority.ven_trust)
    await vtn.restart()

    with capture_logs() as lines:
        await vtn.publish()
        await until("a refusal", lambda: [one for one in lines if one["event"] == "not pushed"])

    assert "revocation list" in next(one for one in lines if one["event"] == "not pushed")["reason"]
    assert len(ven.requests) == 1  # our metadata, before that


async def wait_for_empty(vtn):
    async def is_empty():
        return await queue_of(vtn) == 0

    await becomes("the queue is empty", is_empty)


@pytest.mark.parametrize("tail", ["/", "/OpenADR2/Simple/2.0b", "/OpenADR2/Simple/2.0b/"])
async def test_the_address_may_end_as_it_likes(vtn, open_ven, tail):
    """Rule 511, and test N0_5050, which toggles the slash."""
    ven = await open_ven(registers=False)
    await ven.register(transport_address=ven.address + tail)

    await ven.get(RegisterReport)
    assert ven.paths == ["/OpenADR2/Simple/2.0b/EiReport"]


async def test_an_event_is_pushed_and_answered_later_or_in_the_same_exchange(vtn, open_ven):
    """An empty HTTP 200 acknowledges; oadrCreatedEvent follows, by itself or as the answer."""
    ven = await open_ven()
    record = await vtn.publish()
    event = (await ven.get(DistributeEvent)).events[0]
    assert ven.paths[-1] == "/OpenADR2/Simple/2.0b/EiEvent"
    assert not (await vtn.desk.event(record.event.event_id)).answers

    assert (await ven.answer(event)).ok
    ven.fitting = lambda message: CreatedEvent(
        response=EiResponse(),
        event_responses=tuple(
            EventResponse(
                request_id=message.request_id,
                event_id=one.event_id,
                modification_number=one.modification_number,
                opt_type=OptType.OPT_OUT,
            )
            for one in message.events
        ),
        ven_id=ven.ven_id,
    )
    await vtn.desk.cancel_event(record.event.event_id, by="anna")
    await ven.get(DistributeEvent, 2)

    async def answered():
        return (await vtn.desk.event(record.event.event_id)).answers["0042"]

    async def is_out():
        return (await answered()).opt_type is OptType.OPT_OUT

    await becomes("the opt-out is known", is_out)
    assert (await answered()).modification_number == 1


async def test_an_event_that_wants_no_answer_is_pushed_once(vtn, open_ven, clock):
    """Rule 12: HTTP 200 shows that it has arrived."""
    ven = await open_ven()
    record = await vtn.publish(response_required=ResponseRequired.NEVER)
    await ven.get(DistributeEvent)

    async def is_acknowledged():
        delivery = (await vtn.desk.event(record.event.event_id)).deliveries["0042"]
        return delivery.acknowledged_modification == 0

    await becomes("the event is acknowledged", is_acknowledged)
    clock.advance(60)
    vtn.office.directory.wake(["0042"])
    await asyncio.sleep(0.2)
    assert sum(isinstance(one, DistributeEvent) for one in ven.pushed) == 1


async def test_what_nobody_answers_is_pushed_again(vtn, open_ven, clock):
    """Rule 52; the answer is the logical one, not the HTTP 200."""
    ven = await open_ven()
    await vtn.publish()
    await ven.get(DistributeEvent)

    clock.advance(11)
    vtn.office.directory.wake(["0042"])

    again = await ven.get(DistributeEvent, 2)
    assert again.events[0].created_at == clock.now()  # made fresh (rule 115)


async def test_reports_are_asked_for_cancelled_and_sent(vtn, open_ven, clock):
    ven = await open_ven()
    asked = (await ven.offer()).requests[0].report_request_id
    await ven.say(
        ServiceName.REPORT,
        CreatedReport(
            response=EiResponse(request_id="meta"),
            pending_report_request_ids=(asked,),
            ven_id=ven.ven_id,
        ),
        Response,
    )
    request = ReportRequest(
        report_request_id="mine",
        report_specifier_id="usage",
        granularity=timedelta(seconds=60),
        report_back=timedelta(seconds=60),
        interval=ReportInterval(starts_at=clock.now(), duration=timedelta(0)),
        payloads=(SpecifierPayload(r_id="P"),),
    )
    await vtn.desk.request_report("0042", request, by="anna")
    await ven.get(CreateReport)
    await until_state(vtn, "mine", RequestState.ACTIVE)
    assert (await ven.update(values("mine", clock.now(), (1.0,), step_s=60))).response.ok

    await vtn.desk.cancel_report("0042", "mine", by="anna")
    await ven.get(CancelReport)
    await until_state(vtn, "mine", RequestState.CANCELLED)


async def until_state(vtn, name, state):
    async def is_so():
        reports = await vtn.desk.reports("0042")
        found = {one.request.report_request_id: one for one in reports.requests}
        return found[name].state is state

    await becomes(f"{name} is {state}", is_so)


async def test_a_report_request_that_is_turned_down_is_not_pushed_again(vtn, open_ven, clock):
    ven = await open_ven()
    await ven.offer()
    ven.fitting = lambda message: Response(
        response=EiResponse(response_code="461", description="no such report"), ven_id=ven.ven_id
    )
    request = ReportRequest(
        report_request_id="mine",
        report_specifier_id="usage",
        granularity=timedelta(0),
        report_back=timedelta(0),
        payloads=(SpecifierPayload(r_id="P"),),
    )
    await vtn.desk.request_report("0042", request, by="anna")

    await until_state(vtn, "mine", RequestState.REFUSED)


async def test_the_operator_ends_a_registration_by_push(vtn, open_ven):
    """Test N0_5040."""
    ven = await open_ven()
    await vtn.desk.request_reregistration("0042", by="anna")
    await ven.get(RequestReregistration)
    await ven.register(registration_id=ven.registration_id)

    await vtn.desk.cancel_registration("0042", by="anna")
    await ven.get(CancelPartyRegistration)

    async def is_out():
        return not (await vtn.desk.ven("0042")).registered

    await becomes("the VEN is no longer registered", is_out)
    shown = await vtn.desk.ven("0042")
    assert (shown.registered, shown.push_address) == (False, None)


async def test_a_poll_of_a_ven_that_is_pushed_to_is_refused(vtn, open_ven):
    """Rules 51 and 500: oadrPoll is for pull only; nothing is handed out twice."""
    ven = await open_ven()
    reply = await ven.say(ServiceName.POLL, Poll(ven_id="0042"), Response)
    assert reply.response.response_code == "451"

    await ven.register(http_pull_model=True, transport_address=None)
    assert isinstance(await ven.poll(RegisterReport), RegisterReport)


@pytest.mark.parametrize("status", [503, 500, 404, 406, 302])
async def test_what_is_not_taken_is_tried_again(vtn, open_ven, status):
    """§9.1: anything but HTTP 200; truncated back-off, ±10 %."""
    ven = await open_ven()
    ven.status = status
    await vtn.publish()
    await until("three attempts", lambda: len(ven.requests) >= 4)
    assert len(ven.pushed) == 1

    ven.status = 200
    await ven.get(DistributeEvent)


@pytest.mark.parametrize("wanted", ResponseRequired)
async def test_what_does_not_arrive_is_no_attempt(vtn, open_ven, wanted, monkeypatch):
    """Rule 52: a VEN that was away for long still hears of a cancellation."""
    monkeypatch.setattr(push, "FIRST_S", 0.002)
    ven = await open_ven()
    record = await vtn.publish(response_required=wanted)
    await ven.answer((await ven.get(DistributeEvent)).events[0])
    ven.status = 503
    await vtn.desk.cancel_event(record.event.event_id, by="anna")
    asked = len(ven.requests)
    await until("many attempts", lambda: len(ven.requests) > asked + 8)
    delivery = (await vtn.desk.event(record.event.event_id)).deliveries["0042"]
    assert delivery.attempts <= 2

    ven.status = 200
    message = await ven.get(DistributeEvent, 2)
    assert message.events[0].modification_number == 1


async def test_messages_keep_their_order_when_the_first_does_not_arrive(vtn, open_ven):
    """Rules 301 and 309: our metadata before any event."""
    ven = await open_ven(registers=False)
    ven.status = 503
    await ven.register()
    await vtn.publish()
    await until("some attempts", lambda: len(ven.requests) >= 3)
    ven.status = 200

    await ven.get(DistributeEvent)
    assert [type(one) for one in ven.pushed] == [RegisterReport, DistributeEvent]


async def test_an_endpoint_that_is_away_loses_nothing_over_a_restart_of_ours(vtn, open_ven, clock):
    ven = await open_ven()
    await ven.hang_up()
    record = await vtn.publish()
    await asyncio.sleep(0.2)
    clock.advance(11)
    await vtn.restart()
    assert not (await vtn.desk.event(record.event.event_id)).answers

    await ven.listen(ven.port)
    event = (await ven.get(DistributeEvent)).events[0]
    assert event.event_id == record.event.event_id


async def test_one_that_stalls_holds_up_nobody_else(vtn, open_ven):
    slow, quick = await open_ven("slow"), await open_ven("quick")
    slow.stalls.clear()
    await vtn.publish()

    await quick.get(DistributeEvent)
    await until("the slow one is asked", lambda: len(slow.requests) == 2)
    assert len(slow.pushed) == 1
    slow.stalls.set()
    await slow.get(DistributeEvent)


async def test_nothing_is_written_to_another_certificate(vtn, open_ven, authority):
    """Not even to one of the same authority: it is the certificate of another VEN."""
    thief = await open_ven("thief", registers=False)
    ven = await open_ven("0042", registers=False)
    await ven.register(transport_address=thief.address)
    await asyncio.sleep(0.4)

    assert thief.requests == []
    assert await queue_of(vtn) == 1
    await ven.register()
    await ven.get(RegisterReport)


async def test_a_revoked_ven_is_not_pushed_to(vtn, open_ven):
    ven = await open_ven()
    await vtn.desk.revoke_ven("0042", by="anna")
    vtn.office.directory.wake(["0042"])
    await asyncio.sleep(0.2)

    assert len(ven.requests) == 1


@pytest.mark.parametrize("body", [b"nonsense", b"<a/>", oadr.build(Poll(ven_id="0042"))])
async def test_an_answer_that_is_none_changes_nothing_and_stops_nothing(vtn, open_ven, body):
    ven = await open_ven()
    ven.fitting = lambda _message: b"some"
    ven.sealed = lambda _message: body
    record = await vtn.publish()
    await ven.get(DistributeEvent)
    await vtn.desk.cancel_event(record.event.event_id, by="anna")

    again = await ven.get(DistributeEvent, 2)
    assert again.events[0].modification_number == 1


async def test_an_answer_in_the_name_of_another_ven_counts_for_nothing(vtn, open_ven):
    """Rule 517: it is the certificate that says who answers."""
    ven = await open_ven("0042", registers=False)
    ven.fitting = lambda message: RegisteredReport(
        response=EiResponse(request_id=message.request_id), ven_id="another"
    )
    await ven.register()
    await ven.get(RegisterReport)
    await asyncio.sleep(0.2)

    assert await queue_of(vtn) == 1
