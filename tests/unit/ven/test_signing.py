"""Signatures of the VEN and of its VTN; xmlsec1 and openleadr judge them in tests/story."""

from datetime import timedelta

import pytest

import oadr
from oadr.errors import BadSignature, ReplayedMessage, StaleMessage, Unsigned
from oadr.poll import Poll, Response
from oadr.response import EiResponse
from oadr.signature import Signer, Verifier
from tests.unit.ven.makers import settings
from ven.client import VtnClient
from ven.errors import CredentialFault, StateFault, Unproven
from ven.signing import NonceFile, Seal
from ven.state import State

POLL = Poll(ven_id="ven")
ANSWER = Response(response=EiResponse(), ven_id="ven")


@pytest.fixture(scope="session")
def issued(authority):
    return authority.ven("signing-ven")


@pytest.fixture
def here(tmp_path, authority, issued):
    return settings(
        tmp_path,
        ven={"cert": str(issued.certificate), "key": str(issued.key)},
        signature={"sign": True, "vtn_certificates": [str(authority.folder / "vtn-ecc.crt")]},
    )


@pytest.fixture
def vtn(authority):
    key = authority.folder / "vtn-ecc.key"
    return Signer(key.with_suffix(".crt").read_bytes(), key.read_bytes())


@pytest.fixture
def store(tmp_path):
    State.open(tmp_path / "ven.db").close()
    nonces = NonceFile(tmp_path / "ven.db")
    yield nonces
    nonces.close()


async def test_what_the_ven_signs_its_own_certificate_proves(here, issued, clock):  # rule 514
    seal = await Seal.of(here, now=clock.now)
    first, second = seal.sign(POLL), seal.sign(POLL)
    verifier = Verifier(issued.certificate.read_bytes())

    verified = verifier.verify(oadr.checked(first))
    assert oadr.read_message(verified.signed_object) == POLL
    assert verified.nonce != verifier.verify(oadr.checked(second)).nonce  # sent again, signed anew


async def test_what_the_vtn_signs_is_read_once(here, vtn, clock):
    seal = await Seal.of(here, now=clock.now)
    body = vtn.sign(ANSWER, now=clock.now())
    assert await seal.open(body) == ANSWER
    with pytest.raises(ReplayedMessage):
        await seal.open(body)


async def test_nonces_are_remembered_over_a_restart(here, vtn, clock, store):
    body = vtn.sign(ANSWER, now=clock.now())
    await (await Seal.of(here, now=clock.now, store=store)).open(body)
    clock.advance(30)
    with pytest.raises(ReplayedMessage):
        await (await Seal.of(here, now=clock.now, store=store)).open(body)


async def test_nonces_are_forgotten_when_their_messages_are_stale(here, vtn, clock, store):
    seal = await Seal.of(here, now=clock.now, store=store)
    for _ in range(5):
        await seal.open(vtn.sign(ANSWER, now=clock.now()))
        clock.advance(100)
    kept = await store.recall(clock.now() - timedelta(days=1))
    assert len(kept) <= 2


@pytest.mark.parametrize("ahead_s", [-62, 62])
async def test_the_window_is_open_both_ways(here, vtn, clock, ahead_s):
    seal = await Seal.of(here, now=clock.now)
    at = clock.now() + timedelta(seconds=ahead_s)
    with pytest.raises(StaleMessage):
        await seal.open(vtn.sign(ANSWER, now=at))


@pytest.mark.parametrize("body", [b"", b" \n", oadr.build(ANSWER)])
async def test_unsigned_is_no_message(here, clock, body):
    seal = await Seal.of(here, now=clock.now)
    with pytest.raises(Unsigned):
        await seal.open(body)


async def test_another_certificate_of_the_same_authority_proves_nothing(here, authority, clock):
    key = authority.folder / "vtn-rsa.key"
    other = Signer(key.with_suffix(".crt").read_bytes(), key.read_bytes())
    seal = await Seal.of(here, now=clock.now)
    with pytest.raises(BadSignature):
        await seal.open(other.sign(ANSWER, now=clock.now()))


async def test_an_answer_that_is_not_signed_is_no_answer(here, clock):
    client = VtnClient(here.vtn, None, now=clock.now, seal=await Seal.of(here, now=clock.now))
    with pytest.raises(Unproven, match=r"ignored \(rule 514\)"):
        await client._parsed("https://vtn.example", oadr.build(ANSWER))


async def test_keys_that_cannot_be_used_are_named(tmp_path, here, authority, clock):
    (tmp_path / "odd.crt").write_text("odd")
    for table, text in (
        ({"ven": {"cert": "odd.crt"}}, "odd.crt: messages cannot be signed"),
        ({"signature": {"sign": True, "vtn_certificates": ["none.crt"]}}, "none.crt"),
        ({"signature": {"sign": True, "vtn_certificates": ["odd.crt"]}}, "vtn_certificates"),
    ):
        tables = {
            "ven": {"cert": str(here.ven.cert), "key": str(here.ven.key)},
            "signature": {
                "sign": True,
                "vtn_certificates": [str(here.signature.vtn_certificates[0])],
            },
        }
        for name, changed in table.items():
            tables[name] = {**tables[name], **changed}
        with pytest.raises(CredentialFault, match=text):
            await Seal.of(settings(tmp_path, **tables), now=clock.now)


def test_to_sign_the_vtns_certificates_must_be_named():
    with pytest.raises(Exception, match="vtn_certificates must be named"):
        settings(signature={"sign": True})


async def test_a_nonce_that_cannot_be_kept_is_a_fault(here, vtn, clock, store):
    seal = await Seal.of(here, now=clock.now, store=store)
    store._connection.execute("PRAGMA query_only=1")  # as a disk that refuses

    with pytest.raises(StateFault, match="nonce"):
        await seal.open(vtn.sign(ANSWER, now=clock.now()))
