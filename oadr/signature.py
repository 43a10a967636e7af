# SPDX-License-Identifier: Apache-2.0
"""XML signatures with ReplayProtect, one fixed profile: sign a payload, verify one (rule 514).

    oadr:oadrPayload
    ├── ds:Signature
    │   ├── ds:SignedInfo         two references, SHA-256, at most one C14N transform each
    │   ├── ds:SignatureValue     RSA-SHA256 or ECDSA-SHA256
    │   ├── ds:KeyInfo            written for others, never read: the registered certificate counts
    │   └── ds:Object ─ ds:SignatureProperties ─ ds:SignatureProperty ─ dsp:ReplayProtect
    └── oadr:oadrSignedObject     what the message is read from

One reference names the oadrSignedObject, the other the Object, SignatureProperties or
SignatureProperty around the ReplayProtect. Whatever else an XML signature may be is refused before
any cryptography, so there is nothing to wrap, to transform or to count: references are compared
with the Ids of those elements where they stand and never looked up. Comments and processing
instructions are gone when a payload has been parsed: they are neither verified nor read.

    root = oadr.checked(body)
    verified = verifier.verify(root)
    await window.admit(...)                              # oadr.replay
    message = oadr.read_message(verified.signed_object)
"""

import base64
import binascii
import functools
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from lxml import etree

from oadr.codec import Element, clark
from oadr.errors import BadSignature, OadrError, Unbuildable, Unsigned, UnusableKey
from oadr.moments import read_instant, write_instant
from oadr.payload import Message, build, tree

DS = "http://www.w3.org/2000/09/xmldsig#"
DSP = "http://openadr.org/oadr-2.0b/2012/07/xmldsig-properties"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
INCLUSIVE = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
INCLUSIVE_1_1 = "http://www.w3.org/2006/12/xml-c14n11"
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
ECDSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"

LEAST_RSA_BITS = 2048
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_MOST_NAMESPACES = 32
"""In scope at once. Copying an element out of its document and inclusive C14N take their square:
without a limit one message of 1 MiB would keep us busy for many seconds."""
_LONGEST_NONCE = 256

_PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
_SHA256 = hashes.SHA256()
_PKCS1 = padding.PKCS1v15()
_ECDSA = ec.ECDSA(_SHA256)


# --- signing -------------------------------------------------------------------------------------

_BODY_ID = "oadrSignedObject"
_PROPERTY_ID = "replayProtect"
_NONCE = re.compile(r"[A-Za-z0-9+/=_.:-]{1,128}")
_BODY_OPEN = b"<oadr:oadrSignedObject>"
_BODY_OPEN_WITH_ID = f'<oadr:oadrSignedObject oadr:Id="{_BODY_ID}">'.encode()
_DECLARED = f' xmlns:ds="{DS}"'
_SHORT = 2048
"""Bytes of an unsigned payload that is remembered once it was signed."""


class Signer:
    """Signs payloads with one key, which is loaded once."""

    def __init__(
        self, certificate_pem: bytes, key_pem: bytes, *, passphrase: bytes | None = None
    ) -> None:
        """Of a chain, the first certificate is the key's own; it goes into KeyInfo.

        Raises UnusableKey for what is not PEM, for a key other than RSA from 2048 bits or ECC on
        P-256 or a longer NIST curve, and for one that is not the certificate's.
        """
        certificate = _load_certificate(certificate_pem)
        try:
            key = serialization.load_pem_private_key(key_pem, passphrase)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise UnusableKey(f"The signing key cannot be read as PEM: {error}.") from error
        public_key = _checked_key(certificate)
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) or (
            key.public_key() != public_key
        ):
            raise UnusableKey("The signing key is not the key of the certificate; name its pair.")
        self._method = _method(public_key)
        self._sign = _sign_with(key)
        lines = certificate.public_bytes(serialization.Encoding.PEM).decode().split("\n")
        # in lines of 64, because some take the text for a PEM block as it stands
        self._certificate = "\n".join(lines[1:-2])

    def sign(self, payload: Message | bytes, *, now: datetime, nonce: str | None = None) -> bytes:
        """The message, or the bytes of an unsigned payload, as a signed oadrPayload.

        `nonce` is a fresh random one unless given: letters, digits and `+/=_.:-`, at most 128.
        A message that is sent again must be signed again. Raises Unbuildable where that cannot be
        signed, and what `oadr.payload.tree` raises for bytes that are no XML.
        """
        nonce = secrets.token_hex(16) if nonce is None else nonce
        if not _NONCE.fullmatch(nonce):
            raise Unbuildable("nonce: use 1 to 128 letters, digits and +/=_.:- for it.")
        body = payload if isinstance(payload, bytes) else build(payload)
        ready = _ready(body) if len(body) > _SHORT else _ready_again(body)
        if ready is not None:
            head, rest, reference = ready
            return b"".join((head, self._signature(reference, now, nonce).encode(), rest))
        root = _unsigned(body)
        body_id = root[0].get(_OADR_ID)
        if body_id is None:
            body_id = _BODY_ID
            root[0].set(_OADR_ID, body_id)
        signature = self._signature(_reference_to(root[0], body_id), now, nonce)
        root.insert(0, etree.fromstring(signature))
        signed: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8")
        return signed

    def _signature(self, reference: str, now: datetime, nonce: str) -> str:
        """A ds:Signature whose signed parts are written in canonical form to begin with.

        `reference` is that to the oadrSignedObject.
        """
        property_ = (
            f' Id="{_PROPERTY_ID}" Target="#signature"><dsp:ReplayProtect xmlns:dsp="{DSP}">'
            f"<dsp:timestamp>{write_instant(now)}</dsp:timestamp><dsp:nonce>{nonce}</dsp:nonce>"
            "</dsp:ReplayProtect></ds:SignatureProperty>"
        )
        canonical_property = f"<ds:SignatureProperty{_DECLARED}{property_}".encode()
        info = (
            f'><ds:CanonicalizationMethod Algorithm="{EXCLUSIVE}"></ds:CanonicalizationMethod>'
            f'<ds:SignatureMethod Algorithm="{self._method}"></ds:SignatureMethod>'
            f"{reference}{_reference(_PROPERTY_ID, canonical_property)}</ds:SignedInfo>"
        )
        value = base64.b64encode(self._sign(f"<ds:SignedInfo{_DECLARED}{info}".encode())).decode()
        return (
            f'<ds:Signature{_DECLARED} Id="signature"><ds:SignedInfo{info}'
            f"<ds:SignatureValue>{value}</ds:SignatureValue><ds:KeyInfo><ds:X509Data>"
            f"<ds:X509Certificate>{self._certificate}</ds:X509Certificate>"
            "</ds:X509Data></ds:KeyInfo><ds:Object><ds:SignatureProperties><ds:SignatureProperty"
            f"{property_}</ds:SignatureProperties></ds:Object></ds:Signature>"
        )


def _ready(body: bytes) -> tuple[bytes, bytes, str] | None:
    """What comes before and after the Signature, and the reference to the body.

    Of a payload as `build` writes it: its oadrSignedObject only gets its Id. None for others.
    """
    if b"<!" in body or body.count(b"<?") > 1:
        return None  # comments and the like are not signed, so they must not stay
    head, _, rest = body.partition(_BODY_OPEN)
    rest = _BODY_OPEN_WITH_ID + rest
    try:
        signed_object = _unsigned(head + rest)[0]
    except OadrError:
        return None  # its fault, if it has one, is told of the body as it came
    if signed_object.get(_OADR_ID) != _BODY_ID:
        return None
    return head, rest, _reference_to(signed_object, _BODY_ID)


_ready_again = functools.lru_cache(maxsize=1024)(_ready)
"""The answer to a poll for which nothing waits is the same each time."""


def _reference_to(signed_object: Element, body_id: str) -> str:
    return _reference(body_id, _canonical(signed_object, EXCLUSIVE))


def _unsigned(body: bytes) -> Element:
    root = tree(body, max_bytes=len(body))
    if root.tag != _PAYLOAD or [child.tag for child in root] != [_SIGNED_OBJECT]:
        raise Unbuildable("Only an oadrPayload that holds an oadrSignedObject alone can be signed.")
    return root


def _reference(to: str, canonical: bytes) -> str:
    digest = base64.b64encode(hashlib.sha256(canonical).digest()).decode()
    return (
        f'<ds:Reference URI="#{to}"><ds:Transforms><ds:Transform Algorithm="{EXCLUSIVE}">'
        f'</ds:Transform></ds:Transforms><ds:DigestMethod Algorithm="{SHA256}"></ds:DigestMethod>'
        f"<ds:DigestValue>{digest}</ds:DigestValue></ds:Reference>"
    )


def _sign_with(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> Callable[[bytes], bytes]:
    if isinstance(key, rsa.RSAPrivateKey):
        return lambda content: key.sign(content, _PKCS1, _SHA256)
    length = _coordinate_length(key.curve)

    def sign(content: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(content, _ECDSA))
        return r.to_bytes(length, "big") + s.to_bytes(length, "big")

    return sign


# --- verifying -----------------------------------------------------------------------------------

_OADR_ID = clark("oadr:Id")
_PAYLOAD = clark("oadr:oadrPayload")
_SIGNED_OBJECT = clark("oadr:oadrSignedObject")
_SIGNATURE = f"{{{DS}}}Signature"
_REPLAY_PROTECT = f"{{{DSP}}}ReplayProtect"
_INFO, _VALUE, _KEY_INFO, _OBJECT = (
    f"{{{DS}}}{name}" for name in ("SignedInfo", "SignatureValue", "KeyInfo", "Object")
)
_C14N_METHOD, _SIGNATURE_METHOD, _REFERENCE = (
    f"{{{DS}}}{name}" for name in ("CanonicalizationMethod", "SignatureMethod", "Reference")
)
_TRANSFORMS, _TRANSFORM, _DIGEST_METHOD, _DIGEST_VALUE = (
    f"{{{DS}}}{name}" for name in ("Transforms", "Transform", "DigestMethod", "DigestValue")
)
_PROPERTIES, _PROPERTY = (
    f"{{{DS}}}{name}" for name in ("SignatureProperties", "SignatureProperty")
)
_TIMESTAMP, _NONCE_TAG = (f"{{{DSP}}}{name}" for name in ("timestamp", "nonce"))
_IDS = etree.XPath("//@*[local-name()='Id' or local-name()='ID' or local-name()='id']")
_C14N = (EXCLUSIVE, INCLUSIVE, INCLUSIVE_1_1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a good signature vouches for; nothing else of the payload may be believed."""

    signed_object: Element
    """The very oadrSignedObject whose digest was signed: hand it to `oadr.read_message`."""
    sent_at: datetime
    """When it was signed by the sender's clock, whole seconds; `oadr.replay` judges it."""
    nonce: str
    certificate_sha256: str
    """Which of the registered certificates it was, as `oadr.fingerprint.sha256` writes it."""


@dataclass(frozen=True, slots=True)
class _Registered:
    method: str
    key: _PublicKey
    sha256: str


@dataclass(frozen=True, slots=True)
class _Parts:
    """The elements of a payload in the one form that is accepted, and how each was made bytes."""

    info: Element
    info_c14n: str
    method: str
    value: bytes
    replay_protect: Element
    signed: Sequence[tuple[Element, str, bytes]]
    """Both signed elements with their canonical form and digest; the oadrSignedObject is last."""


class Verifier:
    """Verifies the messages of one party by its registered certificates, which are loaded once.

    There may be several: while one is renewed, or because a VTN holds an ECC and an RSA one.
    """

    def __init__(self, *certificates: bytes) -> None:
        """Certificates as PEM (of a chain the first counts) or DER. Raises UnusableKey.

        Their dates and revocation are the business of whoever registered them (rule 516).
        """
        if not certificates:
            raise UnusableKey("A signature can be verified with a certificate only; name one.")
        loaded = [_load_certificate(certificate) for certificate in certificates]
        self._registered = [
            _Registered(_method(key), key, certificate.fingerprint(_SHA256).hex())
            for certificate in loaded
            for key in (_checked_key(certificate),)
        ]

    def verify(self, root: Element) -> Verified:
        """Verify the signature of a `checked` payload.

        Raises Unsigned where there is none, and BadSignature, with the reason, for any that is not
        of the fixed profile or that no registered key made over just these contents.
        """
        parts = _parts(root)
        registered = self._who_signed(parts)
        for element, algorithm, digest in parts.signed:
            found = hashlib.sha256(_canonical(element, algorithm)).digest()
            if not hmac.compare_digest(found, digest):
                name = etree.QName(element).localname
                raise BadSignature(f"The {name} is not what was signed: it was altered.")
        sent_at, nonce = _read_replay_protect(parts.replay_protect)
        return Verified(
            signed_object=parts.signed[-1][0],
            sent_at=sent_at,
            nonce=nonce,
            certificate_sha256=registered.sha256,
        )

    def _who_signed(self, parts: _Parts) -> _Registered:
        """Before any digest: only a registered sender can make us canonicalise a whole body."""
        content = _canonical(parts.info, parts.info_c14n)
        for registered in self._registered:
            if registered.method == parts.method and _is_signed(
                registered.key, parts.value, content
            ):
                return registered
        raise BadSignature("The signature was not made with the sender's registered key.")


@functools.lru_cache(maxsize=4096)
def verifier_of(*certificates: bytes) -> Verifier:
    """A Verifier of these certificates, remembered for the 4,096 parties last heard of."""
    return Verifier(*certificates)


def _parts(root: Element) -> _Parts:
    """Take a payload apart; whatever is not just the fixed profile is refused here."""
    tags = [child.tag for child in root[:3]]
    if root.tag == _PAYLOAD and tags == [_SIGNED_OBJECT]:
        raise Unsigned("The message is not signed, and signatures are asked for (rule 514).")
    if root.tag != _PAYLOAD or tags != [_SIGNATURE, _SIGNED_OBJECT]:
        raise BadSignature("An oadrPayload holds one Signature and one oadrSignedObject.")
    signature, signed_object = root
    if len(signature) == 4:
        info, value, _, object_ = _children(signature, _INFO, _VALUE, _KEY_INFO, _OBJECT)
    else:
        info, value, object_ = _children(signature, _INFO, _VALUE, _OBJECT)
    c14n, method, *references = _children(
        info, _C14N_METHOD, _SIGNATURE_METHOD, _REFERENCE, _REFERENCE
    )
    (properties,) = _children(object_, _PROPERTIES)
    (property_,) = _children(properties, _PROPERTY)
    (replay_protect,) = _children(property_, _REPLAY_PROTECT)
    if len(list(root.iter(_SIGNATURE, _SIGNED_OBJECT, _REPLAY_PROTECT))) != 3:
        raise BadSignature("There is a second Signature, oadrSignedObject or ReplayProtect.")
    ids = _IDS(root)
    if len(ids) != len(set(ids)):
        raise BadSignature("Two elements bear the same Id.")
    bodies = {signed_object.get(_OADR_ID): signed_object}
    properties_ = {element.get("Id"): element for element in (object_, properties, property_)}
    first, second = (_read_reference(reference) for reference in references)
    if second[0] in properties_:
        first, second = second, first
    signed = [
        (_target(first[0], properties_), first[1], first[2]),
        (_target(second[0], bodies), second[1], second[2]),
    ]
    return _Parts(
        info=info,
        info_c14n=_algorithm(c14n, _C14N),
        method=_algorithm(method, (RSA_SHA256, ECDSA_SHA256)),
        value=_bytes(value),
        replay_protect=replay_protect,
        signed=signed,
    )


def _children(element: Element, *tags: str) -> list[Element]:
    """The children, which must be just these; a thousand too many cost no more than one."""
    children = list(element) if len(element) == len(tags) else []
    if [child.tag for child in children] != list(tags):
        names = ", ".join(tag.rpartition("}")[2] for tag in tags)
        raise BadSignature(
            f"The {etree.QName(element).localname} of a signature must hold just: {names}."
        )
    return children


def _read_reference(reference: Element) -> tuple[str, str, bytes]:
    """The Id it names, the canonical form, and the digest."""
    algorithm = INCLUSIVE  # what XML-DSig prescribes where no transform is named
    if len(reference) == 3:
        transforms, method, value = _children(reference, _TRANSFORMS, _DIGEST_METHOD, _DIGEST_VALUE)
        (transform,) = _children(transforms, _TRANSFORM)
        algorithm = _algorithm(transform, _C14N)
    else:
        method, value = _children(reference, _DIGEST_METHOD, _DIGEST_VALUE)
    _algorithm(method, (SHA256,))
    uri = reference.get("URI", "")
    if not uri.startswith("#"):
        raise BadSignature("A reference must name an element of this payload by its Id.")
    return uri[1:], algorithm, _bytes(value)


def _target(name: str, candidates: dict[str | None, Element]) -> Element:
    element = candidates.get(name)
    if element is None:
        raise BadSignature(
            "The references must name the oadrSignedObject and what holds the ReplayProtect."
        )
    return element


def _algorithm(element: Element, admitted: Sequence[str]) -> str:
    algorithm: str = element.get("Algorithm", "")
    if algorithm not in admitted or len(element):
        name = etree.QName(element).localname
        raise BadSignature(f"The {name} must be, without parameters: {' or '.join(admitted)}.")
    return algorithm


def _bytes(element: Element) -> bytes:
    text = "".join((element.text or "").split())
    try:
        return binascii.a2b_base64(text.encode(), strict_mode=True)
    except ValueError as error:
        name = etree.QName(element).localname
        raise BadSignature(f"The {name} is not base64: {error}.") from error


def _canonical(element: Element, algorithm: str) -> bytes:
    """The element in canonical form.

    A payload that we parsed has no comments left. Should a tree have some, they count, so that none
    can split a text between what is verified and what is read. Inclusive 1.0 and 1.1 differ in what
    xml:base and xml:id an element inherits; a schema-valid payload has none to hand down.
    """
    try:
        if algorithm != EXCLUSIVE:
            element = _uprooted(element)
        canonical: bytes = etree.tostring(
            element, method="c14n", exclusive=algorithm == EXCLUSIVE, with_comments=True
        )
    except etree.LxmlError as error:
        raise BadSignature(f"A signed element has no canonical form: {error}.") from error
    return canonical


def _uprooted(element: Element) -> Element:
    """A copy that stands alone and declares all its namespaces.

    lxml canonicalises an element within its document without what its ancestors declare.
    """
    in_scope = len(element.nsmap)
    if in_scope <= _MOST_NAMESPACES:
        alone = etree.XMLParser(resolve_entities=False, no_network=True)
        copy = etree.fromstring(etree.tostring(element, with_tail=False), alone)
        in_scope = _most_in_scope(copy)
    if in_scope > _MOST_NAMESPACES:
        raise BadSignature(f"More than {_MOST_NAMESPACES} namespaces are in scope at once.")
    return copy


def _most_in_scope(element: Element) -> int:
    """How many namespaces are in scope where there are most, or enough to be too many."""
    most = in_scope = 0
    for event, _ in etree.iterwalk(element, events=("start-ns", "end-ns")):
        in_scope += 1 if event == "start-ns" else -1
        most = max(most, in_scope)
        if most > _MOST_NAMESPACES:
            break
    return most


def _is_signed(key: _PublicKey, value: bytes, content: bytes) -> bool:
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(value, content, _PKCS1, _SHA256)
            return True
        length = _coordinate_length(key.curve)
        if len(value) != 2 * length:
            return False
        r, s = int.from_bytes(value[:length], "big"), int.from_bytes(value[length:], "big")
        key.verify(encode_dss_signature(r, s), content, _ECDSA)
    except InvalidSignature:
        return False
    return True


def _read_replay_protect(element: Element) -> tuple[datetime, str]:
    timestamp, nonce = _children(element, _TIMESTAMP, _NONCE_TAG)
    text = (nonce.text or "").strip()
    if not 0 < len(text) <= _LONGEST_NONCE or len(nonce) or len(timestamp):
        raise BadSignature(f"The nonce is not text of 1 to {_LONGEST_NONCE} characters.")
    try:
        return read_instant(timestamp.text or ""), text
    except ValueError as error:
        raise BadSignature(f"The timestamp of the signature cannot be used: {error}.") from error


# --- keys ----------------------------------------------------------------------------------------


def _load_certificate(encoded: bytes) -> x509.Certificate:
    try:
        if b"-----BEGIN" in encoded:
            return x509.load_pem_x509_certificate(encoded)
        return x509.load_der_x509_certificate(encoded)
    except (ValueError, x509.InvalidVersion) as error:
        raise UnusableKey(f"The certificate cannot be read as PEM or DER: {error}.") from error


def _checked_key(certificate: x509.Certificate) -> _PublicKey:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnusableKey(f"The certificate's key cannot be read: {error}.") from error
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= LEAST_RSA_BITS:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return key
    raise UnusableKey(
        f"The certificate's key is neither RSA from {LEAST_RSA_BITS} bits nor ECC on P-256, P-384 "
        "or P-521; have a certificate issued for one that is."
    )


def _method(key: _PublicKey) -> str:
    return RSA_SHA256 if isinstance(key, rsa.RSAPublicKey) else ECDSA_SHA256


def _coordinate_length(curve: ec.EllipticCurve) -> int:
    return (curve.key_size + 7) // 8
