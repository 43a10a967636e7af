"""The VEN as a process that is pushed to, with and without XML signatures."""

import asyncio
import contextlib
import io
import json
import ssl
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes

import oadr
from certs.authority import Authority
from oadr.event import CreatedEvent, RequestEvent
from oadr.poll import Poll, Response
from oadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatePartyRegistration,
    QueryRegistration,
    RequestReregistration,
)
from oadr.report import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisteredReport,
    RegisterReport,
    UpdatedReport,
    UpdateReport,
)
from oadr.signature import Signer, Verifier
from tests.story.scripted_vtn import VEN_ID, ScriptedVtn, now, status_request, usage_request
from tests.story.test_ven import Site, event

PREFIX = "/OpenADR2/Simple/2.0b"


class PushingVtn(ScriptedVtn):
    """Pushes to a VEN; with `signer` everything is signed, and must be."""

    def __init__(self, authority, port, issued):
        super().__init__(authority, port)
        self.authority = authority
        self.signer = None
        self.verifier = Verifier(issued.certificate.read_bytes()) if issued else None
        self.headers = []

    def sign(self):
        key = self.authority.folder / "vtn-ecc.key"
        self.signer = Signer(key.with_suffix(".crt").read_bytes(), key.read_bytes())

    def write(self, message):
        return self.signer.sign(message, now=now()) if self.signer else oadr.build(message)

    def read(self, body):
        if not self.signer:
            return oadr.parse(body)
        return oadr.read_message(self.verifier.verify(oadr.checked(body)).signed_object)

    async def _handle(self, request):
        self.headers.append(request.headers)
        message = self.read(await request.read())
        self.received.append(message)
        return web.Response(body=self.write(self._answer(message)), content_type="application/xml")

    def context(self, stem="vtn-ecc"):
        context = ssl.create_default_context(cafile=self.authority.ven_trust)
        context.check_hostname = False  # the VTN compares the whole certificate instead
        chain = self.authority.folder / f"{stem}.crt"
        context.load_cert_chain(chain, chain.with_suffix(".key"))
        return context

    async def send(self, port, service, body, *, stem="vtn-ecc", method="POST", **headers):
        """-> HTTP status, body."""
        headers = {"Content-Type": "application/xml", **headers}
        connector = aiohttp.TCPConnector(ssl=self.context(stem))
        url = f"https://127.0.0.1:{port}{service if '/' in service else f'{PREFIX}/{service}'}"
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(
                method, url, data=io.BytesIO(body) if body else None, headers=headers
            ) as response,
        ):
            return response.status, await response.read()

    async def push(self, port, service, message):
        """-> the logical answer in the response; None for an empty one."""
        status, body = await self.send(port, service, self.write(message))
        assert status == 200, body
        return self.read(body) if body else None


class PushSite(Site):
    def __init__(self, folder, authority, url, issued, more=""):
        super().__init__(folder, authority, url, issued)
        text = self.settings.read_text().replace(str(authority.trust), str(authority.vtn_trust))
        self.settings.write_text(
            f'{text}[push]\nlisten_host = "127.0.0.1"\nlisten_port = 0\n'
            f'address = "https://ven.example:8443/"\n{more}'
        )

    async def port(self):
        deadline = asyncio.get_running_loop().time() + 60
        while not (
            ports := [each["port"] for each in self.log() if each["event"] == "push_listening"]
        ):
            assert asyncio.get_running_loop().time() < deadline, self.log()
            await asyncio.sleep(0.05)
        return ports[-1]


@pytest.fixture(scope="session")
def issued(authority):
    return authority.ven("push-ven")


@pytest.fixture
async def vtn(authority, free_port, issued):
    async with PushingVtn(authority, free_port, issued) as running:
        yield running


@pytest.fixture
async def make_site(tmp_path, authority, issued, vtn):
    async with contextlib.AsyncExitStack() as stack:

        async def make(more=""):
            site = PushSite(tmp_path, authority, vtn.url, issued, more)
            await stack.enter_async_context(site.node)
            stack.push_async_callback(_end, site)
            return site

        yield make


async def _end(site):
    if site.process is not None:
        with contextlib.suppress(ProcessLookupError):
            site.process.kill()
        await site.process.wait()


def signed(authority):
    chain = json.dumps(str(authority.folder / "vtn-ecc.crt"))
    return f"[signature]\nsign = true\nvtn_certificates = [{chain}]\n"


async def test_a_push_ven_registers_its_address_and_is_brought_everything(make_site, vtn):
    site = await make_site()
    await site.start()
    port = await site.port()
    await vtn.until(lambda: vtn.of(RequestEvent))  # rule 405

    (created,) = vtn.of(CreatePartyRegistration)  # rule 402
    assert (created.http_pull_model, created.transport_address, created.xml_signature) == (
        False,
        "https://ven.example:8443/",
        False,
    )
    answer = await vtn.push(port, "EiReport", RegisterReport(request_id="m", ven_id=VEN_ID))
    assert isinstance(answer, RegisteredReport)
    assert answer.response.request_id == "m"

    vtn.events = [event(starts_at=now() + timedelta(minutes=5))]
    assert await vtn.push(port, "EiEvent", vtn.distribute()) is None  # 200, nothing in it
    await vtn.until(vtn.answers)
    assert [answer.event_id for answer in vtn.answers()] == ["e-1"]

    request = usage_request()
    answer = await vtn.push(
        port, "EiReport", CreateReport(request_id="q", requests=(request,), ven_id=VEN_ID)
    )
    assert isinstance(answer, CreatedReport)
    assert answer.pending_report_request_ids == ("usage-1",)
    await vtn.until(lambda: vtn.of(UpdateReport))

    answer = await vtn.push(
        port, "EiReport", CancelReport(request_id="c", report_request_ids=("usage-1",))
    )
    assert isinstance(answer, CanceledReport)
    assert answer.pending_report_request_ids == ()
    assert not vtn.of(Poll)  # rule 51


async def test_reregistration_and_cancellation_are_pushed(make_site, vtn):
    site = await make_site()
    await site.start()
    port = await site.port()
    await vtn.until(lambda: vtn.of(RequestEvent))
    answer = await vtn.push(port, "EiRegisterParty", RequestReregistration(ven_id=VEN_ID))
    assert isinstance(answer, Response)
    _, again = await vtn.until(
        lambda: found if len(found := vtn.of(CreatePartyRegistration)) == 2 else None
    )
    assert (again.ven_id, again.registration_id) == (VEN_ID, "reg-1")

    answer = await vtn.push(
        port,
        "EiRegisterParty",
        CancelPartyRegistration(request_id="c", registration_id="reg-2", ven_id=VEN_ID),
    )
    assert isinstance(answer, CanceledPartyRegistration)
    assert answer.response.ok
    await vtn.until(lambda: len(vtn.of(CreatePartyRegistration)) == 3)  # rule 401: it comes back
    assert vtn.of(CreatePartyRegistration)[-1].registration_id is None


async def test_what_is_no_push_gets_its_http_status_and_changes_nothing(make_site, vtn):
    site = await make_site()
    await site.start()
    port = await site.port()
    await vtn.until(lambda: vtn.of(RequestEvent))
    vtn.events = [event()]
    good = oadr.build(vtn.distribute())

    async def status(*args, **options):
        return (await vtn.send(port, *args, **options))[0]

    assert await status("EiEvent", None, method="GET") == 501
    assert await status("/OpenADR2/Simple/2.0b/EiTea", good) == 404
    assert await status("OadrPoll", oadr.build(Poll(ven_id=VEN_ID))) == 404  # rule 51
    assert await status("EiReport", good) == 404
    assert await status("EiEvent", good, **{"Content-Type": "text/plain"}) == 406
    assert await status("EiEvent", b"<nonsense/>") == 406
    assert await status("EiEvent", b" " * (oadr.MAX_BYTES + 1)) == 413
    assert not vtn.of(CreatedEvent)
    assert await status("/any/base/OpenADR2/Simple/2.0b/EiEvent/", good) == 200  # rule 511
    await vtn.until(vtn.answers)


async def test_only_a_vtn_by_its_certificate_may_push(make_site, vtn, authority):
    authority.ven("other-ven")
    site = await make_site()
    await site.start()
    port = await site.port()
    body = oadr.build(vtn.distribute())
    with pytest.raises(aiohttp.ClientError):  # a VEN's certificate is nobody's here
        await vtn.send(port, "EiEvent", body, stem="other-ven")
    assert (await vtn.send(port, "EiEvent", body))[0] == 200


async def test_of_the_vtns_only_the_one_pinned_is_spoken_to(make_site, vtn, authority):
    chain = x509.load_pem_x509_certificates((authority.folder / "vtn-ecc.crt").read_bytes())
    digest = chain[0].fingerprint(hashes.SHA256()).hex(":").upper()  # as openssl prints it
    site = await make_site()
    pinned = f'[vtn]\nfingerprints = ["{digest}"]'
    site.settings.write_text(site.settings.read_text().replace("[vtn]", pinned))
    await site.start()
    port = await site.port()
    await vtn.until(lambda: vtn.of(RequestEvent))
    body = oadr.build(vtn.distribute())
    assert (await vtn.send(port, "EiEvent", body))[0] == 200
    with pytest.raises(aiohttp.ClientError):
        await vtn.send(port, "EiEvent", body, stem="vtn-rsa")


async def test_a_ven_that_signs_ignores_what_is_unsigned_or_comes_twice(make_site, vtn, authority):
    vtn.sign()
    site = await make_site(signed(authority))
    await site.start()
    port = await site.port()
    await vtn.until(lambda: vtn.of(RequestEvent))  # the VTN reads signed messages only
    assert vtn.of(CreatePartyRegistration)[0].xml_signature

    vtn.events = [event(starts_at=now() + timedelta(minutes=5))]
    unsigned = oadr.build(vtn.distribute())
    assert (await vtn.send(port, "EiEvent", unsigned))[0] == 403
    once = vtn.write(vtn.distribute())
    forged = once.replace(b"e-1", b"e-2")
    assert (await vtn.send(port, "EiEvent", forged))[0] == 403
    assert not vtn.of(CreatedEvent)
    assert (await vtn.send(port, "EiEvent", once))[0] == 200
    await vtn.until(vtn.answers)
    assert (await vtn.send(port, "EiEvent", once))[0] == 403

    assert await site.stop() == 0
    await site.start()  # nonces are remembered over a restart
    await vtn.until(lambda: len([e for e in site.log() if e["event"] == "push_listening"]) == 2)
    assert (await vtn.send(await site.port(), "EiEvent", once))[0] == 403
    ignored = [each["why"] for each in site.log() if each["event"] == "push_ignored"]
    assert ["not signed" in ignored[0], "altered" in ignored[1]] == [True, True]
    assert all("received before" in why for why in ignored[2:])

    request = CreateReport(request_id="q", requests=(status_request(),), ven_id=VEN_ID)
    answer = await vtn.push(await site.port(), "EiReport", request)  # and the answer is signed
    assert isinstance(answer, CreatedReport)


async def test_answers_of_the_vtn_that_are_not_signed_count_for_nothing(make_site, vtn, authority):
    vtn.sign()
    site = await make_site(signed(authority))
    vtn.script[CreatePartyRegistration] = lambda _: setattr(vtn, "signer", None)
    await site.start()
    await site.port()
    await vtn.until(lambda: any("rule 514" in each.get("why", "") for each in site.log()))

    assert json.loads((await site.run("status", "--json"))[1])["registered"] is False


async def test_a_push_that_a_vtn_could_not_bring_is_asked_for_when_it_is_back(make_site, vtn):
    vtn.requests = (usage_request(back_s=1),)
    site = await make_site()
    await site.start()
    await site.port()
    await vtn.until(lambda: vtn.of(UpdateReport))
    await vtn.stop()
    await vtn.until(lambda: any(each["event"] == "vtn_unreachable" for each in site.log()))
    vtn.events = [event()]
    vtn.received.clear()
    await vtn.start()
    await vtn.until(vtn.answers)
    assert vtn.of(RequestEvent)
    assert not vtn.of(UpdatedReport)


async def test_every_message_has_the_headers_of_the_standard(make_site, vtn):  # rule 53
    site = await make_site("ask_again_s = 1\n")
    await site.start()
    await site.port()
    await vtn.until(lambda: len(vtn.of(RequestEvent)) >= 3)  # in case that a push was lost
    for headers in vtn.headers:
        assert headers["Content-Type"] == "application/xml"
        assert headers["Host"] == f"127.0.0.1:{vtn.port}"
        assert int(headers["Content-Length"]) > 0
        assert "Transfer-Encoding" not in headers


async def test_a_vtn_with_an_expired_certificate_is_not_spoken_to(  # rule 516
    tmp_path, make_site, vtn, authority
):
    def long_ago():
        return datetime.now(UTC) - timedelta(days=400)

    old = Authority.create(tmp_path / "old", now=long_ago)
    old.vtn(["127.0.0.1"])
    site = await make_site()
    both = authority.vtn_trust.read_bytes() + old.vtn_trust.read_bytes()
    (tmp_path / "both.crt").write_bytes(both)
    text = site.settings.read_text().replace(str(authority.vtn_trust), "both.crt")
    site.settings.write_text(text)
    await vtn.stop()
    vtn.received.clear()
    async with PushingVtn(old, vtn.port, None) as expired:
        await site.start()
        port = await site.port()
        await expired.until(lambda: any("expired" in each.get("why", "") for each in site.log()))
        assert not expired.received
        expired.authority = authority  # who checks the VEN; the chain shown is the old one
        body = oadr.build(vtn.distribute())
        with pytest.raises(aiohttp.ClientError):
            await expired.send(port, "EiEvent", body, stem=str(old.folder / "vtn-ecc"))
    async with vtn:  # the VEN would be glad to speak to one that is not
        await vtn.until(lambda: vtn.of(RequestEvent))
        assert (await vtn.send(port, "EiEvent", body))[0] == 200


async def test_check_looks_at_pushes_and_signatures(make_site, vtn, authority):
    vtn.sign()
    site = await make_site(signed(authority))
    for second in range(3):
        site.node.add(now().timestamp() // 1 - 3 + second)
    status, out, _ = await site.run("check")
    assert status == 0, out
    assert "push: will be listened for; the VTN is told https://ven.example:8443/" in out
    vtn.script[QueryRegistration] = lambda _: setattr(vtn, "signer", None)
    status, out, _ = await site.run("check")
    assert (status, "signs nothing before this VEN is registered" in out) == (0, True), out
    vtn.sign()
    await site.start()
    await site.port()
    assert "this VEN runs and takes pushes" in (await site.run("check"))[1]
    text = site.settings.read_text().replace("vtn-ecc.crt", "nobody.crt")
    site.settings.write_text(text)
    status, out, _ = await site.run("check")
    assert (status, "nobody.crt: it cannot be read" in out) == (1, True), out


async def test_other_terms_mean_another_registration_under_the_same_ids(make_site, vtn):
    site = await make_site()
    await site.start()
    await site.port()
    await vtn.until(lambda: vtn.of(RequestEvent))
    assert await site.stop() == 0
    text = site.settings.read_text()
    site.settings.write_text(text[: text.index("[push]")])
    await site.start()
    await vtn.until(lambda: vtn.of(Poll))
    _, again = vtn.of(CreatePartyRegistration)
    assert (again.ven_id, again.registration_id, again.http_pull_model) == (VEN_ID, "reg-1", True)
    assert again.transport_address is None
