"""xmlsec1, signxml and openleadr, on none of which our signatures are built, judge them."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import signxml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

import oadr
from certs import Authority, Issued
from oadr import errors, signature
from oadr.payload import tree
from oadr.signature import DS, DSP, EXCLUSIVE, INCLUSIVE, INCLUSIVE_1_1, Signer, Verifier
from tests.strategies import MESSAGES

NOW = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)
OADR = "http://openadr.org/oadr-2.0b/2012/07"
POLL = oadr.poll.Poll(ven_id="0042")
PEER = Path(__file__).parent.parent / "interop" / "openleadr_signature.py"
KINDS = ["P-256", "RSA-2048"]


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Issued]:
    authority = Authority.create(tmp_path_factory.mktemp("signing") / "pki")
    return {"P-256": authority.ven("ecc"), "RSA-2048": authority.ven("rsa", rsa=True)}


@pytest.fixture(params=KINDS)
def party(request: pytest.FixtureRequest, parties) -> Issued:
    return parties[request.param]


@pytest.fixture
def other(party, parties) -> Issued:
    return next(issued for issued in parties.values() if issued != party)


def signer(party: Issued) -> Signer:
    return Signer(party.certificate.read_bytes(), party.key.read_bytes())


def verifier(party: Issued) -> Verifier:
    return Verifier(party.certificate.read_bytes())


def altered(body: bytes) -> bytes:
    assert b">0042<" in body
    return body.replace(b">0042<", b">0043<")


# --- xmlsec1 --------------------------------------------------------------------------------------

IDS = [
    *("--id-attr:Id", f"{OADR}:oadrSignedObject"),
    *("--id-attr:Id", f"{DS}:SignatureProperty"),
]


def xmlsec1(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["xmlsec1", *map(str, words)], check=False, capture_output=True, text=True
    )


def xmlsec1_verifies(body: bytes, party: Issued, folder: Path) -> bool:
    """By the certificate we name: the one in KeyInfo has no trusted root here."""
    file = folder / "payload.xml"
    file.write_bytes(body)
    answer = xmlsec1("--verify", "--pubkey-cert-pem", party.certificate, *IDS, file)
    return answer.returncode == 0 and "(ok/all): 2/2" in answer.stderr


@pytest.mark.parametrize("name", sorted(MESSAGES))
@settings(
    max_examples=2,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_xmlsec1_accepts_every_message_of_ours(name, data, parties, tmp_path) -> None:
    message = data.draw(MESSAGES[name])
    party = parties[data.draw(st.sampled_from(KINDS))]

    assert xmlsec1_verifies(signer(party).sign(message, now=NOW), party, tmp_path)


def test_xmlsec1_refuses_what_we_refuse(party, other, tmp_path) -> None:
    body = signer(party).sign(POLL, now=NOW)
    assert xmlsec1_verifies(body, party, tmp_path)

    assert not xmlsec1_verifies(altered(body), party, tmp_path)
    assert not xmlsec1_verifies(body, other, tmp_path)
    for bad, judge in ((altered(body), party), (body, other)):
        with pytest.raises(errors.BadSignature):
            verifier(judge).verify(oadr.checked(bad))


TEMPLATE = """<?xml version="1.0" encoding="UTF-8"?>
<oadrPayload xmlns="{oadr}" xmlns:x="urn:x">
  <{p}Signature {declared}>
    <{p}SignedInfo>
      <{p}CanonicalizationMethod Algorithm="{c14n}"/>
      <{p}SignatureMethod Algorithm="{method}"/>
      <{p}Reference URI="#body">{transforms}
        <{p}DigestMethod Algorithm="{sha256}"/><{p}DigestValue/>
      </{p}Reference>
      <{p}Reference URI="#property" Type="{ds}SignatureProperties">{transforms}
        <{p}DigestMethod Algorithm="{sha256}"/><{p}DigestValue/>
      </{p}Reference>
    </{p}SignedInfo>
    <{p}SignatureValue/>
    <{p}KeyInfo><{p}X509Data/></{p}KeyInfo>
    <{p}Object><{p}SignatureProperties>
      <{p}SignatureProperty Id="property" Target="#body">
        <dsp:ReplayProtect xmlns:dsp="{dsp}">
          <dsp:timestamp>2026-11-20T14:00:00Z</dsp:timestamp><dsp:nonce>n-1</dsp:nonce>
        </dsp:ReplayProtect>
      </{p}SignatureProperty>
    </{p}SignatureProperties></{p}Object>
  </{p}Signature>
  <oadrSignedObject xmlns:o="{oadr}" o:Id="body"><!-- a remark -->
    <oadrPoll e:schemaVersion="2.0b"
        xmlns:e="http://docs.oasis-open.org/ns/energyinterop/201110">
      <venID xmlns="http://docs.oasis-open.org/ns/energyinterop/201110">0042</venID>
    </oadrPoll>
  </oadrSignedObject>
</oadrPayload>
"""


@pytest.mark.parametrize("style", ["ds:", "default"])
@pytest.mark.parametrize("c14n", [EXCLUSIVE, INCLUSIVE, INCLUSIVE_1_1, "none"])
def test_we_accept_what_xmlsec1_signs_in_both_namespace_styles(
    party, other, style, c14n, tmp_path
) -> None:
    prefix = "ds:" if style == "ds:" else ""
    named = c14n if c14n != "none" else INCLUSIVE
    transform = f'<{prefix}Transform Algorithm="{named}"/>'
    unsigned, signed = tmp_path / "template.xml", tmp_path / "signed.xml"
    unsigned.write_text(
        TEMPLATE.format(
            p=prefix,
            declared=f'xmlns:ds="{DS}"' if prefix else f'xmlns="{DS}"',
            oadr=OADR,
            c14n=named,
            method=signer(party)._method,
            transforms=(
                f"<{prefix}Transforms>{transform}</{prefix}Transforms>" if c14n != "none" else ""
            ),
            sha256=signature.SHA256,
            ds=DS,
            dsp=DSP,
        )
    )
    keys = f"{party.key},{party.certificate}"
    answer = xmlsec1("--sign", "--privkey-pem", keys, *IDS, "--output", signed, unsigned)
    assert answer.returncode == 0, answer.stderr
    body = signed.read_bytes()
    assert xmlsec1_verifies(body, party, tmp_path)

    verified = verifier(party).verify(oadr.checked(body))

    assert (POLL, NOW, "n-1", party.sha256) == (
        oadr.read_message(verified.signed_object),
        verified.sent_at,
        verified.nonce,
        verified.certificate_sha256,
    )
    assert not xmlsec1_verifies(altered(body), party, tmp_path)
    with pytest.raises(errors.BadSignature):
        verifier(party).verify(oadr.checked(altered(body)))
    with pytest.raises(errors.BadSignature):
        verifier(other).verify(oadr.checked(body))


# --- openleadr ------------------------------------------------------------------------------------


def openleadr(*words: object) -> str:
    return subprocess.run(
        [sys.executable, PEER, *map(str, words)], check=True, capture_output=True, text=True
    ).stdout


def test_openleadr_accepts_ours_and_nothing_altered(party, tmp_path) -> None:
    good, bad = tmp_path / "good.xml", tmp_path / "bad.xml"
    good.write_bytes(signer(party).sign(POLL, now=datetime.now(UTC)))
    bad.write_bytes(altered(signer(party).sign(POLL, now=datetime.now(UTC))))

    said = [json.loads(line) for line in openleadr("verify", good, bad).splitlines()]

    assert said[0] == {"message": "oadrPoll"}
    assert "InvalidDigest" in said[1]["refused"]


def test_we_accept_what_openleadr_signs_and_nothing_altered(party, other) -> None:
    body = openleadr("sign", party.certificate, party.key, "0042").encode()

    verified = verifier(party).verify(oadr.checked(body))

    assert oadr.read_message(verified.signed_object) == POLL
    assert abs((datetime.now(UTC) - verified.sent_at).total_seconds()) < 60
    with pytest.raises(errors.BadSignature):
        verifier(party).verify(oadr.checked(altered(body)))
    with pytest.raises(errors.BadSignature):
        verifier(other).verify(oadr.checked(body))


# --- signxml --------------------------------------------------------------------------------------


def signxml_body(body: bytes, party: Issued) -> bytes | None:
    """The signed object that signxml vouches for, in canonical form; None where it refuses."""
    try:
        results = signxml.XMLVerifier().verify(
            tree(body),
            x509_cert=party.certificate.read_text(),
            expect_config=signxml.SignatureConfiguration(expect_references=2),
        )
    except (signxml.exceptions.SignXMLException, ValueError, etree.LxmlError):
        return None
    return next(
        result.signed_data for result in results if result.signed_xml.tag.endswith("SignedObject")
    )


def our_body(body: bytes, party: Issued) -> bytes | None:
    try:
        verified = verifier(party).verify(oadr.checked(body))
    except errors.Refused:
        return None
    exact: bytes = etree.tostring(verified.signed_object, method="c14n", exclusive=True)
    return exact


@pytest.mark.parametrize("name", sorted(MESSAGES))
@settings(max_examples=3)
@given(data=st.data())
def test_signxml_vouches_for_the_very_same_body(name, data, parties) -> None:
    party = parties[data.draw(st.sampled_from(KINDS))]
    body = signer(party).sign(data.draw(MESSAGES[name]), now=NOW)

    assert our_body(body, party) is not None
    assert our_body(body, party) == signxml_body(body, party)


@settings(max_examples=150)
@given(data=st.data())
def test_we_vouch_for_no_mutation_that_signxml_refuses(data, parties) -> None:
    party = parties["P-256"]
    body = bytearray(signer(party).sign(POLL, now=NOW))
    head = body.index(b"SignedInfo")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(head, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"", b" ", b"\n", b"<!---->", b"a", b"0", b"=", b"<x/>", b"&#65;"])
        )
    ours = our_body(bytes(body), party)

    assert ours is None or ours == signxml_body(bytes(body), party)
