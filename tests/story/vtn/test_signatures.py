"""XML signatures at the VTN (rule 514): who must sign, what is refused, what is answered signed."""

import dataclasses
import hashlib
from contextlib import asynccontextmanager
from datetime import timedelta

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import text
from structlog.testing import capture_logs

import oadr
from oadr.event import DistributeEvent
from oadr.poll import Poll, Response
from oadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    QueryRegistration,
)
from oadr.report import RegisteredReport, RegisterReport
from oadr.response import EiResponse
from oadr.signature import RSA_SHA256, Signer, verifier_of
from oadr.vocabulary import ServiceName
from tests.story.vtn.test_push import PushVen, pushing_vtn
from tests.story.vtn.utility import CONTEXT, Speaker, Utility, settings, values
from vtn import push
from vtn.gateway import Gateway
from vtn.proof import Proof
from vtn.store import migrate
from vtn.store.nonces import Nonces

POLL = ServiceName.POLL


class SigningVtn(Utility):
    """A VTN with proof; its two chains come from the authority."""

    async def start(self):
        await super().start()
        self.gateway = self.with_proof()

    def with_proof(self):
        return Gateway(self.office, Proof(self.settings.openadr, Nonces(self.store)))

    async def ask_for(self, signatures):
        await self.store.close()
        openadr = msgspec.structs.replace(self.settings.openadr, signatures=signatures)
        self.settings = msgspec.structs.replace(self.settings, openadr=openadr)
        await self.start()

    async def signing_ven(self, ven_id="0042", *, rsa=False):
        name = f"sign-{ven_id}-{len(list(self.authority.folder.iterdir()))}"
        ven = SigningVen(self, ven_id, self.authority.ven(name, rsa=rsa))
        await self.desk.add_ven(
            ven_id=ven_id, name=ven_id, certificate_sha256=ven.certificate, by="anna"
        )
        return ven


class SigningVen(Speaker):
    """A VEN that signs what it says and verifies what it hears."""

    def __init__(self, utility, ven_id, issued):
        pem = issued.certificate.read_bytes()
        self.der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        super().__init__(utility, ven_id, hashlib.sha256(self.der).hexdigest())
        self.signer = Signer(pem, issued.key.read_bytes())

    async def post(self, service, body, *, signed=True, gateway=None):
        """Sign and send; a signed answer is verified, and given back without its signature."""
        if signed:
            body = self.signer.sign(body, now=self.utility.clock.now())
        answer = await self.send(service, body, gateway=gateway)
        if answer.status == 200:
            assert b"Signature" in answer.body, "the answer is not signed"
            return type(answer)(200, self.verified(answer.body))
        return answer

    async def send(self, service, body, *, gateway=None):
        return await (gateway or self.utility.gateway).answer(
            service, body, certificate=self.certificate, connection=1, der=self.der
        )

    def verified(self, body):
        folder = self.utility.authority.folder
        ours = [(folder / f"vtn-{kind}.crt").read_bytes() for kind in ("ecc", "rsa")]
        verified = verifier_of(*ours).verify(oadr.checked(body))
        assert verified.sent_at == self.utility.clock.now()
        return oadr.build(oadr.read_message(verified.signed_object))

    async def register(self, **changes):
        return await super().register(**({"xml_signature": True} | changes))

    @property
    def poll_body(self):
        return oadr.build(Poll(ven_id=self.ven_id))


@asynccontextmanager
async def signing_vtn(database, folder, clock, authority):
    await migrate(database)
    if not (authority.folder / "vtn-ecc.crt").exists():
        authority.vtn(["127.0.0.1"])
    chains = [
        {"cert": authority.folder / f"vtn-{kind}.crt", "key": authority.folder / f"vtn-{kind}.key"}
        for kind in ("ecc", "rsa")
    ]
    more = {"certificates": chains, "client_ca": authority.ven_trust}
    found = SigningVtn(settings(database, folder, **more), clock)
    found.authority = authority
    await found.start()
    try:
        await found.desk.add_market_context(CONTEXT, "Peak", by="anna")
        yield found
    finally:
        await found.store.close()


@pytest.fixture
async def vtn(tmp_path, clock, authority):
    database = f"sqlite+aiosqlite:///{tmp_path / 'vtn.db'}"
    async with signing_vtn(database, tmp_path, clock, authority) as found:
        yield found


async def refused(vtn, ven, service, body, sentence, *, gateway=None):
    """403 and no OpenADR answer, a line in the log, and nothing changed."""
    before = await vtn.desk.audit()
    with capture_logs() as lines:
        answer = await ven.send(service, body, gateway=gateway)

    assert answer.status == 403, answer
    assert b"<" not in answer.body
    assert [line["event"] for line in lines] == ["refused"]
    assert sentence in lines[0]["reason"]
    assert await vtn.desk.audit() == before


@pytest.mark.parametrize("rsa", [False, True])
async def test_a_ven_that_signs_is_answered_signed_from_its_registration_to_its_end(vtn, rsa):
    """With the kind of key it has itself: a device may know no other."""
    ven = await vtn.signing_ven(rsa=rsa)
    reply = await ven.register()
    assert reply.response.ok
    assert isinstance(await ven.poll(RegisterReport), RegisterReport)
    assert (await ven.poll()).response.ok  # nothing waits: the idle answer is signed, too
    raw = await ven.send(POLL, ven.signer.sign(ven.poll_body, now=vtn.clock.now()))
    assert (RSA_SHA256.encode() in raw.body) is rsa

    cancel = CancelPartyRegistration(
        request_id="c", registration_id=reply.registration_id, ven_id="0042"
    )
    await ven.say(ServiceName.REGISTER_PARTY, cancel, CanceledPartyRegistration)
    shown = await vtn.desk.ven("0042")
    assert (shown.registered, shown.xml_signature) == (False, False)


async def test_application_errors_are_signed_as_well(vtn):
    ven = await vtn.signing_ven()
    await ven.register()

    reply = await ven.say(POLL, Poll(ven_id="another"), Response)
    assert reply.response.response_code == "452"


async def test_who_promises_signatures_must_sign_from_the_first_message_on(vtn):
    ven = await vtn.signing_ven()
    promise = oadr.build(CreatePartyRegistration(request_id="r", xml_signature=True))
    await refused(vtn, ven, ServiceName.REGISTER_PARTY, promise, "not signed")
    assert not (await vtn.desk.ven("0042")).registered

    await ven.register()
    await refused(vtn, ven, POLL, ven.poll_body, "not signed")


async def test_signing_ends_with_a_signed_registration_only(vtn):
    ven = await vtn.signing_ven()
    await ven.register()
    stop = CreatePartyRegistration(request_id="r", xml_signature=False)
    await refused(vtn, ven, ServiceName.REGISTER_PARTY, oadr.build(stop), "not signed")

    assert (await ven.say(ServiceName.REGISTER_PARTY, stop, CreatedPartyRegistration)).response.ok
    answer = await ven.send(POLL, ven.poll_body)
    assert answer.status == 200
    assert b"Signature" not in answer.body


async def test_a_replay_is_refused_and_after_a_restart_still(vtn):
    ven = await vtn.signing_ven()
    await ven.register()
    recorded = ven.signer.sign(ven.poll_body, now=vtn.clock.now())
    assert (await ven.send(POLL, recorded)).status == 200

    await refused(vtn, ven, POLL, recorded, "received before")
    await vtn.restart()
    await refused(vtn, ven, POLL, recorded, "received before")


async def test_of_two_programs_on_one_database_only_one_takes_a_message(vtn):
    ven = await vtn.signing_ven()
    await ven.register()
    other = vtn.with_proof()
    await ven.post(POLL, ven.poll_body, gateway=other)  # it has recalled what there was
    recorded = ven.signer.sign(ven.poll_body, now=vtn.clock.now())
    assert (await ven.send(POLL, recorded)).status == 200

    await refused(vtn, ven, POLL, recorded, "received before", gateway=other)


@pytest.mark.parametrize(("off_s", "sentence"), [(-61, "signed 61 s ago"), (61, "61 s ahead")])
async def test_the_window_reaches_as_far_back_as_ahead(vtn, off_s, sentence):
    ven = await vtn.signing_ven()
    await ven.register()

    def dated(seconds):
        at = vtn.clock.now() + timedelta(seconds=seconds)
        return ven.signer.sign(ven.poll_body, now=at)

    await refused(vtn, ven, POLL, dated(off_s), sentence)
    assert (await ven.send(POLL, dated(off_s - (1 if off_s > 0 else -1)))).status == 200


async def test_only_the_registered_key_counts_and_only_what_it_signed(vtn):
    ven, other = await vtn.signing_ven(), await vtn.signing_ven("0043")
    await ven.register()
    await other.register()
    now = vtn.clock.now()

    foreign = other.signer.sign(ven.poll_body, now=now)
    await refused(vtn, ven, POLL, foreign, "not made with the sender's registered key")
    altered = ven.signer.sign(ven.poll_body, now=now).replace(b"0042", b"0043")
    await refused(vtn, ven, POLL, altered, "altered")


async def test_a_message_is_read_from_the_element_that_was_signed(vtn):
    """Security facts, §2: wrapping. A second oadrSignedObject is refused before it is looked at."""
    ven = await vtn.signing_ven()
    await ven.register()
    signed = ven.signer.sign(ven.poll_body, now=vtn.clock.now())
    head, _, rest = signed.partition(b"<oadr:oadrSignedObject")
    body = rest.partition(b"</oadr:oadrSignedObject>")[0]
    inner = b"<oadr:oadrSignedObject" + body + b"</oadr:oadrSignedObject>"
    evil = inner.replace(b'oadr:Id="oadrSignedObject"', b"").replace(b"0042", b"0043")
    wrapped = head.replace(b"</ds:Object>", inner + b"</ds:Object>") + evil + b"</oadr:oadrPayload>"

    answer = await ven.send(POLL, wrapped)
    assert answer.status in (403, 406)


async def test_large_signed_messages_are_taken_too(vtn):
    ven = await vtn.signing_ven()
    await ven.register()
    asked = (await ven.offer()).requests[0].report_request_id
    now = vtn.clock.now()

    reply = await ven.update(values(asked, now, tuple(map(float, range(225)))))

    assert reply.response.ok
    series = await vtn.desk.measurements("0042", "P", now, now + timedelta(hours=1))
    assert len(series) == 225


async def test_a_ven_that_signs_is_told_in_a_signed_answer_that_it_is_not_registered(vtn):
    """Or it would ignore that, and never register again."""
    ven = await vtn.signing_ven()
    reply = await ven.say(POLL, Poll(ven_id="0042"), Response)
    assert reply.response.response_code == "463"

    query = QueryRegistration(request_id="q")
    assert (await ven.say(ServiceName.REGISTER_PARTY, query, CreatedPartyRegistration)).response.ok


async def test_a_ven_that_promised_nothing_is_served_whatever_its_signature_is_worth(vtn):
    ven, other = await vtn.signing_ven(), await vtn.signing_ven("0043")
    plain = oadr.build(CreatePartyRegistration(request_id="r", ven_id="0042"))
    assert (await ven.send(ServiceName.REGISTER_PARTY, plain)).status == 200

    forged = other.signer.sign(ven.poll_body, now=vtn.clock.now())
    answer = await ven.send(POLL, forged)
    assert answer.status == 200
    assert b"Signature" not in answer.body
    assert (await ven.send(POLL, ven.poll_body)).status == 200


async def test_everybody_signs_where_that_is_required(vtn):
    await vtn.ask_for("required")
    ven = await vtn.signing_ven()
    register = oadr.build(CreatePartyRegistration(request_id="r"))
    await refused(vtn, ven, ServiceName.REGISTER_PARTY, register, "not signed")

    assert (await ven.register(xml_signature=False)).response.ok  # answered signed all the same


async def test_nobody_registers_as_signing_where_signatures_are_off(vtn):
    await vtn.ask_for("off")
    vtn.gateway = Gateway(vtn.office)  # as the App does
    ven = await vtn.signing_ven()
    register = oadr.build(CreatePartyRegistration(request_id="r", xml_signature=True))

    reply = oadr.parse((await ven.send(ServiceName.REGISTER_PARTY, register)).body)
    assert reply.response.response_code == "459"


async def test_nonces_are_forgotten_when_they_are_stale_anyway(vtn):
    ven = await vtn.signing_ven()
    await ven.register()
    for _ in range(5):
        vtn.clock.advance(61)
        await ven.say(POLL, Poll(ven_id="0042"), Response | RegisterReport)

    async with vtn.store.read() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM nonces")) <= 2


async def test_a_certificate_with_a_key_that_cannot_verify_is_told_so_in_the_log(vtn):
    ven = await vtn.signing_ven()
    await ven.register()
    entry = vtn.office.directory.by_id("0042")
    entry.ven = dataclasses.replace(entry.ven, certificate_der=b"no certificate")

    await refused(vtn, ven, POLL, ven.poll_body, "cannot verify")


# --- over TLS, and by push -----------------------------------------------------------------------


class SigningPushVen(PushVen):
    """A push VEN that signs, and takes nothing unsigned."""

    signs = True

    def __init__(self, utility, ven_id, issued, authority):
        super().__init__(utility, ven_id, issued, authority)
        self.signer = Signer(issued.certificate.read_bytes(), issued.key.read_bytes())

    def opened(self, body):
        ours = (self.utility.authority.folder / "vtn-ecc.crt").read_bytes()
        verified = verifier_of(ours).verify(oadr.checked(body))
        return oadr.read_message(verified.signed_object)

    def sealed(self, message):
        body = super().sealed(message)
        return self.signer.sign(body, now=self.utility.clock.now()) if self.signs else body

    async def post(self, service, body):
        return await super().post(service, self.signer.sign(body, now=self.utility.clock.now()))

    async def register(self, **changes):
        return await super().register(**({"xml_signature": True} | changes))


async def test_what_is_pushed_is_signed_and_an_unsigned_answer_counts_for_nothing(
    tmp_path, clock, authority, monkeypatch
):
    monkeypatch.setattr(push, "SETTLE_S", 0.01)
    async with pushing_vtn(tmp_path, clock, authority, proof=True) as vtn:
        issued = authority.ven("push-signed")
        ven = SigningPushVen(vtn, "0042", issued, authority)
        await vtn.desk.add_ven(
            ven_id="0042", name="x", certificate_sha256=ven.certificate, by="anna"
        )
        await ven.listen()
        try:
            ven.signs = False
            await ven.register()
            ours = await ven.get(RegisterReport)
            assert (await vtn.desk.health()).messages_waiting == 1  # its answer was not signed

            await ven.say(
                ServiceName.REPORT,
                RegisteredReport(
                    response=EiResponse(request_id=ours.request_id), ven_id=ven.ven_id
                ),
                Response,
            )
            assert (await vtn.desk.health()).messages_waiting == 0
            await vtn.publish()
            assert (await ven.get(DistributeEvent)).events
        finally:
            await ven.hang_up()
