import base64
import contextlib
import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

import oadr
from oadr import errors, signature
from oadr.fingerprint import sha256
from oadr.payload import tree
from oadr.signature import DS, DSP, EXCLUSIVE, INCLUSIVE, INCLUSIVE_1_1, Signer, Verifier
from tests.strategies import MESSAGES

NOW = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)
OADR = "http://openadr.org/oadr-2.0b/2012/07"
POLL = oadr.poll.Poll(ven_id="0042")
EVIL = oadr.poll.Poll(ven_id="evil")


@dataclass(frozen=True, kw_only=True)
class Party:
    certificate: bytes
    key_pem: bytes = field(repr=False)

    @functools.cached_property
    def key(self):
        return serialization.load_pem_private_key(self.key_pem, None)

    @functools.cached_property
    def signer(self) -> Signer:
        return Signer(self.certificate, self.key_pem)

    @functools.cached_property
    def verifier(self) -> Verifier:
        return Verifier(self.certificate)


def party(key) -> Party:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a party of this test")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    return Party(
        certificate=certificate.public_bytes(serialization.Encoding.PEM),
        key_pem=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


ECC = party(ec.generate_private_key(ec.SECP256R1()))
RSA = party(rsa.generate_private_key(65537, 2048))
STRANGER = party(ec.generate_private_key(ec.SECP256R1()))
PARTIES = pytest.mark.parametrize("who", [ECC, RSA], ids=["P-256", "RSA-2048"])


def received(body: bytes, verifier: Verifier = ECC.verifier):
    """What a receiver makes of it: the message as it was signed, and when."""
    verified = verifier.verify(oadr.checked(body))
    return oadr.read_message(verified.signed_object), verified.sent_at, verified.nonce


# --- what is honest ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(MESSAGES))
@settings(max_examples=6)
@given(data=st.data())
def test_what_was_signed_reads_back_the_same(name, data) -> None:
    message = data.draw(MESSAGES[name])

    body = ECC.signer.sign(message, now=NOW, nonce="n-1")

    assert (message, NOW, "n-1") == received(body)
    assert message == oadr.parse(body)


@PARTIES
def test_a_good_signature_says_when_and_whose_it_is(who) -> None:
    body = who.signer.sign(POLL, now=NOW + timedelta(milliseconds=900), nonce="abc")

    verified = Verifier(STRANGER.certificate, who.certificate).verify(oadr.checked(body))

    der = x509.load_pem_x509_certificate(who.certificate).public_bytes(serialization.Encoding.DER)
    assert (NOW, "abc", sha256(der)) == (
        verified.sent_at,
        verified.nonce,
        verified.certificate_sha256,
    )
    assert received(body, Verifier(der)) == received(body, signature.verifier_of(who.certificate))


def test_each_signature_has_a_nonce_of_its_own() -> None:
    nonces = {received(ECC.signer.sign(POLL, now=NOW))[2] for _ in range(20)}

    assert len(nonces) == 20


def test_a_key_in_a_chain_and_under_a_passphrase_signs_too() -> None:
    locked = ECC.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    signer = Signer(ECC.certificate + RSA.certificate, locked, passphrase=b"secret")

    assert received(signer.sign(POLL, now=NOW))[0] == POLL
    with pytest.raises(errors.UnusableKey):
        Signer(ECC.certificate, locked)


def test_a_longer_curve_is_as_good() -> None:
    who = party(ec.generate_private_key(ec.SECP521R1()))

    assert received(who.signer.sign(POLL, now=NOW), who.verifier)[0] == POLL


FOREIGN = f"""<?xml version="1.0"?><!-- as others write it -->
<oadrPayload xmlns="{OADR}" xmlns:e="http://docs.oasis-open.org/ns/energyinterop/201110">
  <oadrSignedObject>
    <oadrPoll e:schemaVersion="2.0b"><e:venID>00<?x y?>4<!-- z -->2</e:venID></oadrPoll>
  </oadrSignedObject>
</oadrPayload>""".encode()


@PARTIES
def test_the_bytes_of_any_unsigned_payload_can_be_signed(who) -> None:
    for payload in (oadr.build(POLL), FOREIGN):
        assert received(who.signer.sign(payload, now=NOW), who.verifier)[0] == POLL


def test_bytes_that_are_signed_again_differ_in_nonce_and_signature_only() -> None:
    payload = oadr.build(POLL)
    first, second = (ECC.signer.sign(payload, now=NOW) for _ in range(2))

    assert received(first)[2] != received(second)[2]
    assert received(first)[0] == received(second)[0] == POLL


def test_a_comment_is_not_signed_and_does_not_stay() -> None:
    comment = b"<!-- <oadr:oadrSignedObject> -->"
    before = oadr.build(POLL).replace(
        b"<oadr:oadrSignedObject>", comment + b"<oadr:oadrSignedObject>"
    )

    for payload in (before, before.replace(b"</ei:venID>", b"<!-- z --></ei:venID>")):
        body = ECC.signer.sign(payload, now=NOW)
        assert b"<!--" not in body
        assert received(body)[0] == POLL


def test_an_id_that_is_there_already_is_kept() -> None:
    payload = oadr.build(POLL).replace(b"SignedObject>", b'SignedObject oadr:Id="mine">', 1)

    body = ECC.signer.sign(payload, now=NOW)

    assert b'URI="#mine"' in body
    assert received(body)[0] == POLL


@pytest.mark.parametrize("nonce", ["", "a b", "<", "x" * 129, "a&b", "a\r"])
def test_a_nonce_that_others_could_read_in_two_ways_is_not_written(nonce) -> None:
    with pytest.raises(errors.Unbuildable, match="nonce"):
        ECC.signer.sign(POLL, now=NOW, nonce=nonce)


def test_what_is_signed_or_no_payload_is_not_signed() -> None:
    for payload in (ECC.signer.sign(POLL, now=NOW), b"<a/>"):
        with pytest.raises(errors.Unbuildable, match="oadrPayload"):
            ECC.signer.sign(payload, now=NOW)
    with pytest.raises(errors.Malformed):
        ECC.signer.sign(b"<a>", now=NOW)


def of_version_14(pem: bytes) -> bytes:
    """A certificate in DER whose version is one that there is not."""
    der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    assert der.count(b"\xa0\x03\x02\x01\x02") == 1
    return der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x0d")


def weak(who: Party) -> Callable[[], object]:
    return lambda: Verifier(who.certificate)


@pytest.mark.parametrize(
    "load",
    [
        weak(party(rsa.generate_private_key(65537, 1024))),
        weak(party(ec.generate_private_key(ec.SECP256K1()))),
        weak(party(ed25519.Ed25519PrivateKey.generate())),
        lambda: Verifier(b"no certificate"),
        lambda: Verifier(b"-----BEGIN CERTIFICATE-----"),
        lambda: Verifier(of_version_14(ECC.certificate)),  # found by fuzzing
        Verifier,
        lambda: Signer(ECC.certificate, STRANGER.key_pem),
        lambda: Signer(ECC.certificate, RSA.key_pem),
        lambda: Signer(ECC.certificate, party(ed25519.Ed25519PrivateKey.generate()).key_pem),
        lambda: Signer(ECC.certificate, b"no key"),
    ],
)
def test_keys_that_prove_too_little_are_refused_when_they_are_loaded(load) -> None:
    with pytest.raises(errors.UnusableKey):
        load()


# --- as others write it: a signature of any form, made here step by step -------------------------

SHA1 = "http://www.w3.org/2000/09/xmldsig#sha1"
TRANSFORM = "<{p}Transforms><{p}Transform Algorithm='{algorithm}'/></{p}Transforms>"
REFERENCE = (
    "<{p}Reference URI='{uri}'>{transforms}<{p}DigestMethod Algorithm='{digest}'/>"
    "<{p}DigestValue/></{p}Reference>"
)
PROPERTY = (
    f"<{{p}}SignatureProperty {{property_id}} Target='#s'><ReplayProtect xmlns='{DSP}'>"
    "<timestamp>{timestamp}</timestamp><nonce>{nonce}</nonce></ReplayProtect>"
    "</{p}SignatureProperty>"
)
SIGNATURE = (
    "<{p}Signature {declared}><{p}SignedInfo><{p}CanonicalizationMethod Algorithm='{c14n}'/>"
    "<{p}SignatureMethod Algorithm='{method}'/>{references}</{p}SignedInfo>"
    "<{p}SignatureValue/>{key_info}<{p}Object {object_id}><{p}SignatureProperties {properties_id}>"
    "{property}</{p}SignatureProperties></{p}Object>{more}</{p}Signature>"
)
PAYLOAD = (
    "<o:oadrPayload xmlns:o='{oadr}' xmlns:unused='urn:unused'>\n {signature}\n"
    " <oadrSignedObject xmlns='{oadr}' o:Id='{body_id}'>{body}</oadrSignedObject>\n"
    "</o:oadrPayload>"
)
BODY = (
    "<oadrPoll e:schemaVersion='2.0b' xmlns:e='http://docs.oasis-open.org/ns/energyinterop/201110'>"
    "<e:venID>0042</e:venID></oadrPoll>"
)


def made(who: Party = ECC, *, skip: str = "", value: bool = True, **changed: str) -> bytes:
    """A payload signed by hand; every part of the form can be changed, then all is signed.

    But for the digest to `skip`, or everything, where working it out would take for ever.
    """
    style = {"p": "ds:", "declared": f"xmlns:ds='{DS}'"}
    if changed.pop("style", "ds:") == "default":
        style = {"p": "", "declared": f"xmlns='{DS}'"}
    own_method = signature.RSA_SHA256 if who is RSA else signature.ECDSA_SHA256
    part = {
        "oadr": OADR,
        "body": BODY,
        "body_id": "b",
        "body_uri": "#b",
        "property_uri": "#p",
        "property_id": "Id='p'",
        "object_id": "",
        "properties_id": "",
        "c14n": EXCLUSIVE,
        "algorithm": EXCLUSIVE,
        "digest": signature.SHA256,
        "method": own_method,
        "transforms": TRANSFORM,
        "timestamp": "2026-11-20T14:00:00Z",
        "nonce": "n-1",
        "key_info": "",
        "more": "",
        **style,
        **changed,
    }
    part["transforms"] = part["transforms"].format_map(part)
    part["references"] = part.get(
        "references",
        REFERENCE.format_map({**part, "uri": part["body_uri"]})
        + REFERENCE.format_map({**part, "uri": part["property_uri"]}),
    ).format_map(part)
    part["property"] = part.get("property", PROPERTY).format_map(part)
    part["signature"] = part.get("signature", SIGNATURE).format_map(part)
    root = tree(PAYLOAD.format_map(part).encode())
    return signed_by(who, root, skip=skip) if value else etree.tostring(root)


def signed_by(who: Party, root, *, skip: str = "") -> bytes:
    """Fill in every digest and the signature value, whatever they stand in."""
    for reference in root.iter(f"{{{DS}}}Reference"):
        name = reference.get("URI", "")[1:]
        if skip and name == skip:
            continue
        target = root.xpath("(//*[@*[local-name()='Id']=$name])[1]", name=name)
        content = canonical(target[0], transform_of(reference)) if target else b""
        used = reference.find(f"{{{DS}}}DigestMethod").get("Algorithm")
        digest = (hashlib.sha1 if used == SHA1 else hashlib.sha256)(content).digest()
        reference.find(f"{{{DS}}}DigestValue").text = base64.b64encode(digest).decode()
    info = next(root.iter(f"{{{DS}}}SignedInfo"))
    method = info.find(f"{{{DS}}}CanonicalizationMethod").get("Algorithm")
    content = canonical(info, method)
    if who is RSA:
        value = who.key.sign(content, padding.PKCS1v15(), hashes.SHA256())
    else:
        r, s = decode_dss_signature(who.key.sign(content, ec.ECDSA(hashes.SHA256())))
        value = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    next(root.iter(f"{{{DS}}}SignatureValue")).text = base64.b64encode(value).decode()
    return etree.tostring(root)


def transform_of(reference) -> str:
    found = reference.find(f"{{{DS}}}Transforms/{{{DS}}}Transform")
    return INCLUSIVE if found is None else found.get("Algorithm")


def canonical(element, algorithm: str) -> bytes:
    alone = etree.fromstring(etree.tostring(element, with_tail=False))
    try:
        return etree.tostring(alone, method="c14n", exclusive=algorithm == EXCLUSIVE)
    except etree.C14NError:
        return b""


@pytest.mark.parametrize("style", ["ds:", "default"])
@pytest.mark.parametrize("algorithm", [EXCLUSIVE, INCLUSIVE, INCLUSIVE_1_1])
@PARTIES
def test_both_namespace_styles_and_every_plain_canonical_form_are_read(
    who, algorithm, style
) -> None:
    body = made(who, style=style, algorithm=algorithm, c14n=algorithm)

    assert received(body, who.verifier) == (POLL, NOW, "n-1")


FORMS = {
    "no transform named": {"transforms": ""},
    "the property named by its Object": {"object_id": "Id='q'", "property_uri": "#q"},
    "the property named by its list": {"properties_id": "Id='q'", "property_uri": "#q"},
    "references the other way round": {"body_uri": "#p", "property_uri": "#b"},
    "a certificate of somebody else": {
        "key_info": "<{p}KeyInfo><{p}KeyName>root</{p}KeyName></{p}KeyInfo>"
    },
    "fractions of a second": {"timestamp": "2026-11-20T14:00:00.987654Z"},
    "white space": {"timestamp": " 2026-11-20T14:00:00Z\n", "nonce": "\n n-1 "},
}


@pytest.mark.parametrize("form", FORMS)
def test_what_the_standard_leaves_open_is_read(form) -> None:
    body = made(**{k: v.replace("{p}", "ds:") for k, v in FORMS[form].items()})

    assert received(body) == (POLL, NOW, "n-1")


def test_comments_and_instructions_between_the_letters_change_nothing() -> None:
    body = ECC.signer.sign(POLL, now=NOW, nonce="n-1")
    for split in (b"00<!-- x -->42", b"00<?x y?>42", b"<![CDATA[00]]>42", b"&#48;042"):
        assert received(body.replace(b">0042<", b">" + split + b"<")) == (POLL, NOW, "n-1")


@pytest.mark.parametrize("algorithm", [EXCLUSIVE, INCLUSIVE])
def test_a_tree_that_still_has_comments_is_not_believed(algorithm) -> None:
    body = made(algorithm=algorithm, c14n=algorithm).replace(b">0042<", b">00<!-- x -->42<")
    assert received(body)[0] == POLL

    with pytest.raises(errors.BadSignature, match="altered"):
        ECC.verifier.verify(etree.fromstring(body))


# --- what attacks ---------------------------------------------------------------------------------


def refused(body: bytes, *, by: Verifier = ECC.verifier, checked: bool = True) -> str:
    """The sentence of the refusal; the schema may be the first to refuse, if it is asked."""
    with pytest.raises(errors.Unproven) as refusal:
        by.verify(oadr.checked(body) if checked else tree(body))
    assert (refusal.value.http_status, refusal.value.response_code) == (403, "463")
    sentence = str(refusal.value)
    assert sentence.endswith((".", ")."))
    assert "\n" not in sentence
    return sentence


def test_a_message_without_a_signature_is_refused_by_its_own_name() -> None:
    with pytest.raises(errors.Unsigned):
        ECC.verifier.verify(oadr.checked(oadr.build(POLL)))


@PARTIES
@pytest.mark.parametrize(
    ("signed", "altered"),
    [
        (b">0042<", b">0043<"),
        (b"14:00:00Z</dsp", b"14:00:01Z</dsp"),
        (b">n-1<", b">n-2<"),
        (b'Target="#signature"', b'Target="#somewhere"'),
    ],
)
def test_what_was_altered_is_refused(who, signed, altered) -> None:
    body = who.signer.sign(POLL, now=NOW, nonce="n-1")
    assert body.count(signed) == 1

    assert "altered" in refused(body.replace(signed, altered), by=who.verifier)


@settings(max_examples=250)
@given(data=st.data())
def test_a_mutated_message_is_refused_or_says_what_was_signed(data) -> None:
    body = bytearray(MUTATED)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.binary(max_size=2) | st.sampled_from([b" ", b"<", b"/>", b"<!---->", b'"'])
        )
    with contextlib.suppress(errors.Refused):
        assert received(bytes(body)) == (POLL, NOW, "n-1")


MUTATED = ECC.signer.sign(POLL, now=NOW, nonce="n-1")


@PARTIES
def test_the_key_that_came_with_the_message_counts_for_nothing(who) -> None:
    body = STRANGER.signer.sign(POLL, now=NOW)

    assert received(body, STRANGER.verifier)[0] == POLL
    assert "registered key" in refused(body, by=who.verifier)


def test_a_signature_value_of_another_form_is_refused() -> None:
    body = made()
    root = tree(body)
    value = next(root.iter(f"{{{DS}}}SignatureValue"))
    raw = base64.b64decode(value.text)
    as_der = ECC.key.sign(
        canonical(next(root.iter(f"{{{DS}}}SignedInfo")), EXCLUSIVE), ec.ECDSA(hashes.SHA256())
    )
    for other in (
        *(as_der, b"", bytes(64), b"\xff" * 64, raw[:-1], b"\0" + raw, raw[32:] + raw[:32]),
        raw[:32] + b"\0" + raw[32:],  # the same two numbers
    ):
        value.text = base64.b64encode(other).decode()
        assert "registered key" in refused(etree.tostring(root))
    value.text = "!" + value.text
    assert "base64" in refused(etree.tostring(root), checked=False)


WRAPPERS = {
    "in the Object, before the property": "<ds:Object>{original}{properties}</ds:Object>",
    "in the Object, after the property": "<ds:Object>{properties}{original}</ds:Object>",
    "in an Object after": "<ds:Object>{properties}</ds:Object><ds:Object>{original}</ds:Object>",
    "in an Object before": "<ds:Object>{original}</ds:Object><ds:Object>{properties}</ds:Object>",
    "beside the ReplayProtect": "<ds:Object>{beside}</ds:Object>",
    "under the nonce": "<ds:Object>{under}</ds:Object>",
}


def moved(wrapper: str, *, evil_id: str, evil: str = "evil", who: Party = ECC, **changed) -> bytes:
    """A signed poll of 0042 moved into the wrapper, and a poll of `evil` put where it stood."""
    root = tree(made(who, **changed))
    body = root[-1]
    original = etree.tostring(body, with_tail=False).decode()
    object_ = root[0][-1]
    properties = etree.tostring(object_[0], with_tail=False).decode()
    filled = WRAPPERS[wrapper].format(
        original=original,
        properties=properties,
        beside=properties.replace("</ds:SignatureProperty>", f"{original}</ds:SignatureProperty>"),
        under=properties.replace("</nonce>", f"{original}</nonce>"),
    )
    signature_text = (
        etree.tostring(root[0], with_tail=False)
        .decode()
        .replace(etree.tostring(object_, with_tail=False).decode(), "")
    )
    head, _, tail = signature_text.partition("<ds:Object")
    tail = tail.partition("</ds:Object>")[2]
    other = original.replace(' o:Id="b"', evil_id).replace(">0042<", f">{evil}<")
    return (
        f'<o:oadrPayload xmlns:o="{OADR}" xmlns:unused="urn:unused">{head}{filled}{tail}{other}'
        "</o:oadrPayload>"
    ).encode()


@pytest.mark.parametrize("evil_id", [' o:Id="b"', ' o:Id="c"', ""])
@pytest.mark.parametrize("algorithm", [EXCLUSIVE, INCLUSIVE])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_signed_body_moved_elsewhere_lends_nothing_to_another(
    wrapper, algorithm, evil_id
) -> None:
    wrapped = moved(wrapper, evil_id=evil_id, algorithm=algorithm, c14n=algorithm)

    assert b"evil" in wrapped
    assert b"0042" in wrapped
    refused(wrapped, checked=False)


def with_children(arrange: Callable) -> bytes:
    """A signed payload whose root's children are arranged anew, with an evil body at hand."""
    root = tree(made())
    evil = tree(oadr.build(EVIL))[0]
    children = arrange(root[0], root[1], evil)
    del root[:]
    root.extend(children)
    return etree.tostring(root)


def within(outer, inner):
    outer.append(inner)
    return outer


@pytest.mark.parametrize(
    "arrange",
    [
        lambda signature, body, evil: [signature, body, evil],
        lambda signature, body, evil: [signature, evil, body],
        lambda signature, body, evil: [evil, signature, body],
        lambda signature, body, evil: [body, signature],
        lambda signature, body, evil: [signature, signature.__copy__(), body],
        lambda signature, body, evil: [signature, within(evil, body)],
        lambda signature, body, evil: [signature, within(body, evil)],
        lambda signature, body, evil: [within(evil, signature), body],
        lambda signature, body, evil: [evil, within(body, signature)],
        lambda signature, body, evil: [signature],
        lambda signature, body, evil: [body, evil],
        lambda signature, body, evil: [],
    ],
)
def test_a_payload_holds_one_signature_and_one_body_and_no_more(arrange) -> None:
    refused(with_children(arrange), checked=False)


def test_a_property_or_a_body_signed_twice_leaves_the_other_unsigned() -> None:
    assert "must name" in refused(made(body_uri="#p", body=BODY.replace("0042", "evil")))
    assert "must name" in refused(made(property_uri="#b"))


@pytest.mark.parametrize("name", ["SignatureValue", "KeyInfo", "Object", "SignatureProperties"])
def test_no_element_is_taken_for_another(name) -> None:
    body = made(key_info="<ds:KeyInfo><ds:KeyName>x</ds:KeyName></ds:KeyInfo>")
    assert received(body)[0] == POLL

    renamed = body.replace(f"ds:{name}".encode(), b"ds:Manifest")

    assert "must hold just" in refused(renamed, checked=False)


def test_a_signature_under_another_name_beside_an_empty_one_is_refused() -> None:
    root = tree(made(key_info="<ds:KeyInfo><ds:Signature/></ds:KeyInfo>"))
    root[0].tag = f"{{{DS}}}Manifest"

    assert "one Signature and one" in refused(etree.tostring(root), checked=False)


FRESH = (
    f"<dsp:ReplayProtect xmlns:dsp='{DSP}'><dsp:timestamp>2026-11-20T15:00:00Z</dsp:timestamp>"
    "<dsp:nonce>fresh</dsp:nonce></dsp:ReplayProtect>"
)
OWN = f"<ds:SignatureProperty Target='#s'>{FRESH}</ds:SignatureProperty>"
PLACES = {
    "before the signed one": ("<ReplayProtect", FRESH + "<ReplayProtect"),
    "after the signed one": ("</ReplayProtect>", "</ReplayProtect>" + FRESH),
    "in a property before": (
        "<ds:SignatureProperty ",
        f"{OWN}<ds:SignatureProperty ",
    ),
    "in a list before": (
        "<ds:SignatureProperties>",
        f"<ds:SignatureProperties>{OWN}</ds:SignatureProperties><ds:SignatureProperties>",
    ),
    "in an Object before": ("<ds:Object>", f"<ds:Object>{FRESH}</ds:Object><ds:Object>"),
    "in KeyInfo": ("<ds:Object>", f"<ds:KeyInfo>{FRESH}</ds:KeyInfo><ds:Object>"),
    "in the transform": (
        'xml-exc-c14n#"/><ds:SignatureM',
        f'xml-exc-c14n#">{FRESH}</ds:CanonicalizationMethod><ds:SignatureM',
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_fresh_replay_protect_beside_the_signed_one_is_refused(place) -> None:
    text = made().decode().replace("<ds:SignatureProperties >", "<ds:SignatureProperties>")
    old, new = PLACES[place]
    assert old in text

    refused(text.replace(old, new, 1).encode(), checked=False)


def test_thousands_of_references_are_refused_before_any_work(monkeypatch) -> None:
    one = REFERENCE.format_map(
        {"p": "ds:", "uri": "#b", "transforms": "", "digest": signature.SHA256}
    )
    body = made(references=one * 3000, value=False)

    def never(*_args: object) -> bytes:
        raise AssertionError("something was canonicalised")

    root = oadr.checked(body)
    monkeypatch.setattr(signature, "_canonical", never)
    monkeypatch.setattr(signature, "_read_reference", never)
    with pytest.raises(errors.BadSignature, match="just: CanonicalizationMethod"):
        ECC.verifier.verify(root)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_any_other_number_of_references_is_refused(count) -> None:
    names = ["#b", "#p", "#b"][:count]
    references = "".join(
        REFERENCE.format_map(
            {"p": "ds:", "uri": name, "transforms": "", "digest": signature.SHA256}
        )
        for name in names
    )

    refused(made(references=references), checked=False)


XSLT = (
    "<ds:Transforms><ds:Transform Algorithm='http://www.w3.org/TR/1999/REC-xslt-19991116'>"
    "<x:stylesheet xmlns:x='http://www.w3.org/1999/XSL/Transform'/></ds:Transform></ds:Transforms>"
)
XPATH = (
    "<ds:Transforms><ds:Transform Algorithm='http://www.w3.org/TR/1999/REC-xpath-19991116'>"
    "<ds:XPath>self::x</ds:XPath></ds:Transform></ds:Transforms>"
)
PREFIXES = (
    f"<ds:Transforms><ds:Transform Algorithm='{EXCLUSIVE}'><i:InclusiveNamespaces "
    f"xmlns:i='{EXCLUSIVE}' PrefixList='o'/></ds:Transform></ds:Transforms>"
)
BEYOND = {
    "XSLT": {"transforms": XSLT},
    "XPath": {"transforms": XPATH},
    "XPath beside C14N": {"transforms": XPATH + TRANSFORM},
    "XPath after C14N": {
        "transforms": TRANSFORM.replace("</{p}Transforms>", "") + XPATH[len("<ds:Transforms>") :]
    },
    "a prefix list": {"transforms": PREFIXES},
    "enveloped": {"algorithm": f"{DS}enveloped-signature"},
    "base64": {"algorithm": f"{DS}base64"},
    "with comments": {"algorithm": f"{EXCLUSIVE}WithComments"},
    "unknown C14N": {"c14n": "urn:mine"},
    "C14N with comments": {"c14n": f"{INCLUSIVE}#WithComments"},
    "SHA-1 digests": {"digest": SHA1},
    "SHA-512 digests": {"digest": "http://www.w3.org/2001/04/xmlenc#sha512"},
    "RSA with SHA-1": {"method": f"{DS}rsa-sha1"},
    "ECDSA with SHA-1": {"method": "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha1"},
    "HMAC with the certificate as its secret": {
        "method": "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"
    },
    "another kind of key": {"method": signature.RSA_SHA256},
    "the whole document": {"body_uri": ""},
    "an external document": {"body_uri": "http://evil.example/b"},
    "a file": {"body_uri": "file:///etc/passwd"},
    "an XPointer": {"body_uri": "#xpointer(id(&quot;b&quot;))"},
    "nothing at all": {"body_uri": "#"},
    "an unknown Id": {"body_uri": "#c"},
    "the signature itself": {"declared": f"xmlns:ds='{DS}' Id='s'", "body_uri": "#s"},
    "a certificate": {
        "key_info": "<ds:KeyInfo Id='k'><ds:KeyName>x</ds:KeyName></ds:KeyInfo>",
        "property_uri": "#k",
    },
    "a second Object": {"more": "<ds:Object/>"},
    "a manifest": {"more": "<ds:Object><ds:Manifest/></ds:Object>"},
    "two KeyInfo": {"key_info": "<ds:KeyInfo/><ds:KeyInfo/>"},
    "a timestamp without a zone": {"timestamp": "2026-11-20T14:00:00"},
    "a timestamp that is none": {"timestamp": "now"},
    "an empty nonce": {"nonce": " "},
    "an endless nonce": {"nonce": "x" * 257},
    "a structured nonce": {"nonce": "n<x/>"},
}


@pytest.mark.parametrize("what", BEYOND)
def test_whatever_is_beyond_the_profile_is_refused_though_well_signed(what) -> None:
    refused(made(**BEYOND[what]), checked=False)


def test_no_reference_without_a_name_is_followed() -> None:
    root = tree(made())
    for reference in root.iter(f"{{{DS}}}Reference"):
        del reference.attrib["URI"]

    assert "by its Id" in refused(signed_by(ECC, root))


@pytest.mark.parametrize(
    "form",
    [
        {"key_info": "<ds:KeyInfo Id='b'/>"},
        {"key_info": "<ds:KeyInfo xmlns:o='urn:x' o:Id='p'/>"},
        {"key_info": "<ds:KeyInfo ID='p'/>"},
        {"key_info": "<ds:KeyInfo id='b'/>"},
        {"key_info": "<ds:KeyInfo xml:id='b'/>"},
        {"body_id": "p", "body_uri": "#p"},
    ],
)
def test_an_id_that_stands_twice_is_refused(form) -> None:
    assert "same Id" in refused(made(**form), checked=False)


def test_duplicate_ids_are_refused_by_the_schema_too() -> None:
    with pytest.raises(errors.SchemaInvalid, match="xs:ID"):
        oadr.checked(made(object_id="Id='b'"))


@pytest.mark.parametrize("algorithm", [EXCLUSIVE, INCLUSIVE])
def test_an_element_without_a_canonical_form_is_refused_not_taken_for_empty(algorithm) -> None:
    body = BODY.replace("</e:venID>", "</e:venID><x:y xmlns:x='relative'/>")

    sentence = refused(made(body=body, algorithm=algorithm), checked=False)

    assert "canonical" in sentence


FLOOD = " ".join(f"xmlns:x{number}='urn:{number}'" for number in range(40_000))


@pytest.mark.parametrize(
    ("flooded", "done_before"),
    [
        (
            {"skip": "b", "body": BODY.replace("<oadrPoll", f"<oadrPoll {FLOOD}")},
            ["SignedInfo", "SignatureProperty"],
        ),
        ({"value": False, "declared": f"xmlns:ds='{DS}' {FLOOD}"}, []),
    ],
    ids=["in the body", "in the signature"],
)
def test_a_flood_of_namespaces_is_refused_before_any_work(
    monkeypatch, flooded, done_before
) -> None:
    body = made(algorithm=INCLUSIVE, c14n=INCLUSIVE, **flooded)
    canonicalised = []

    def seen(element, *, method="xml", **how):
        if method == "c14n":
            canonicalised.append(etree.QName(element).localname)
        return as_it_is(element, method=method, **how)

    as_it_is = etree.tostring
    monkeypatch.setattr(etree, "tostring", seen)

    assert "32 namespaces" in refused(body)

    assert canonicalised == done_before


def test_a_stranger_cannot_make_us_canonicalise_a_body(monkeypatch) -> None:
    root = oadr.checked(made(STRANGER))
    seen = []
    real = signature._canonical
    monkeypatch.setattr(
        signature,
        "_canonical",
        lambda element, how: (seen.append(element.tag), real(element, how))[1],
    )

    with pytest.raises(errors.BadSignature):
        ECC.verifier.verify(root)

    assert [f"{{{DS}}}SignedInfo"] == seen


@PARTIES
def test_verifying_leaves_the_tree_as_it_was(who) -> None:
    root = oadr.checked(made(who, algorithm=INCLUSIVE))
    before = etree.tostring(root)

    who.verifier.verify(root)

    assert before == etree.tostring(root)


def test_no_private_key_stands_beside_these_tests() -> None:
    assert "PRIVATE" + " KEY" not in Path(__file__).read_text()
