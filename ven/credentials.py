# SPDX-License-Identifier: Apache-2.0
"""The VEN's certificate and key: into a TLS context, and in words for people.

A VEN that does not sign runs without `cryptography`, whose import takes 8 MB on a small device.
"""

import ssl
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from doorway.values import value
from oadr.fingerprint import fingerprint, sha256
from ven.config import Settings
from ven.errors import CredentialFault

CIPHERS = "ECDHE+AESGCM:ECDHE-ECDSA-AES128-SHA256:AES128-SHA256"
"""Today's suites first; the last two are those that every OpenADR VTN must offer (rule 67)."""


@value
class Credentials:
    """A certificate in plain terms."""

    not_before_at: datetime
    not_after_at: datetime
    fingerprint: str
    """The short one, to read out."""
    sha256: str
    """The full one, which the VTN compares."""


def tls_context(settings: Settings) -> ssl.SSLContext:
    """A context for mutual TLS 1.2 or later. Raises CredentialFault, naming the file."""
    return _equipped(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), settings)


def push_context(settings: Settings) -> ssl.SSLContext:
    """The same for the other direction: the VTN is the client. Raises CredentialFault."""
    return _equipped(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), settings)


def _equipped(context: ssl.SSLContext, settings: Settings) -> ssl.SSLContext:
    """Trusts no issuer but those of [vtn] ca, and of those only [vtn] fingerprints if given."""
    ca, cert, key = settings.vtn.ca, settings.ven.cert, settings.ven.key
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.verify_mode = ssl.CERT_REQUIRED
    if settings.vtn.fingerprints:
        context.sslobject_class = _pinned(settings.vtn.fingerprints)
    try:
        context.load_verify_locations(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise CredentialFault(
            f"{ca}: no trusted roots can be read from it ({_why(error)}); name the VTN's "
            "vtn-ca.crt in [vtn] ca."
        ) from error
    _der(cert)
    try:
        context.load_cert_chain(cert, key, password=lambda: "")  # else it asks at the terminal
    except (OSError, ssl.SSLError) as error:
        _check_pair(cert, key)
        raise CredentialFault(
            f"{cert}: the certificate cannot be used with {key} ({_why(error)})."
        ) from error
    return context


def _pinned(fingerprints: Collection[str]) -> type[ssl.SSLObject]:
    """TLS connections that end in the handshake where the other end is none of those named."""
    admitted = {_digits(each) for each in fingerprints}

    class Pinned(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            der = self.getpeercert(binary_form=True) or b""
            if admitted.isdisjoint({_digits(fingerprint(der)), _digits(sha256(der))}):
                raise ssl.SSLCertVerificationError("it is none of [vtn] fingerprints")

    return Pinned


def _digits(text: str) -> str:
    return text.replace(":", "").lower()


def read_credentials(cert: Path) -> Credentials:
    """The first certificate of a PEM file. Raises CredentialFault."""
    der = _der(cert)
    not_before_at, not_after_at = _validity(cert, der)
    return Credentials(
        not_before_at=not_before_at,
        not_after_at=not_after_at,
        fingerprint=fingerprint(der),
        sha256=sha256(der),
    )


def subject(cert: Path) -> str:
    """Whom the first certificate of a PEM file names (RFC 4514). Raises CredentialFault."""
    from cryptography import x509  # noqa: PLC0415 - as the caption says

    try:
        return x509.load_der_x509_certificate(_der(cert)).subject.rfc4514_string()
    except ValueError as error:
        raise _no_certificate(cert) from error


def _der(cert: Path) -> bytes:
    try:
        text = cert.read_text("ascii")
    except OSError as error:
        raise CredentialFault(
            f"{cert}: the certificate cannot be read ({error.strerror}); see [ven] cert."
        ) from error
    except UnicodeDecodeError as error:
        raise _no_certificate(cert) from error
    begin, end = text.find(ssl.PEM_HEADER), text.find(ssl.PEM_FOOTER)
    if not 0 <= begin < end:
        raise _no_certificate(cert)
    try:
        return ssl.PEM_cert_to_DER_cert(text[begin : end + len(ssl.PEM_FOOTER)])
    except ValueError as error:
        raise _no_certificate(cert) from error


def _no_certificate(cert: Path) -> CredentialFault:
    return CredentialFault(f"{cert}: this is no PEM certificate; see [ven] cert.")


# --- the validity of a DER certificate (X.690; RFC 5280 section 4.1) ------------------------------

_INTEGER, _SEQUENCE, _VERSION, _UTC_TIME, _TIME = 0x02, 0x30, 0xA0, 0x17, 0x18


def _validity(cert: Path, der: bytes) -> tuple[datetime, datetime]:
    try:
        _, certificate, _ = _element(der, _SEQUENCE)
        _, rest, _ = _element(certificate, _SEQUENCE)
        if rest[0] == _VERSION:
            _, _, rest = _element(rest, _VERSION)
        for tag in (_INTEGER, _SEQUENCE, _SEQUENCE):  # serial number, algorithm, issuer
            _, _, rest = _element(rest, tag)
        _, validity, _ = _element(rest, _SEQUENCE)
        begin, text, rest = _element(validity, _UTC_TIME, _TIME)
        end, other, _ = _element(rest, _UTC_TIME, _TIME)
        return _instant(begin, text), _instant(end, other)
    except (IndexError, ValueError) as error:
        raise _no_certificate(cert) from error


def _element(der: bytes, *tags: int) -> tuple[int, bytes, bytes]:
    """The first element of `der`: its tag, its content, and what follows. Raises ValueError."""
    tag, length, begin = der[0], der[1], 2
    if tag not in tags:
        raise ValueError(f"tag {tag:#x} where one of {tags} belongs")
    if length & 0x80:
        begin += length & 0x7F
        length = int.from_bytes(der[2:begin])
    if len(der) < begin + length:
        raise ValueError("an element is longer than what holds it")
    return tag, der[begin : begin + length], der[begin + length :]


def _instant(tag: int, text: bytes) -> datetime:
    """UTCTime has years of two digits, 1950 to 2049."""
    digits = text.decode("ascii")
    if tag == _UTC_TIME:
        digits = ("19" if digits >= "5" else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


# --------------------------------------------------------------------------------------------------


def _check_pair(cert: Path, key: Path) -> None:
    """Why TLS does not take them, where it is one of the usual mistakes. Raises CredentialFault."""
    from cryptography import x509  # noqa: PLC0415 - as the caption says
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - as the caption says

    try:
        certificate = x509.load_der_x509_certificate(_der(cert))
    except ValueError as error:
        raise _no_certificate(cert) from error
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except OSError as error:
        raise CredentialFault(
            f"{key}: the private key cannot be read ({error.strerror}); see [ven] key."
        ) from error
    except (ValueError, TypeError) as error:
        raise CredentialFault(
            f"{key}: this is no unencrypted PEM private key; see [ven] key."
        ) from error
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise CredentialFault(f"{key}: the key does not belong to the certificate in {cert}.")


def _why(error: OSError) -> str:
    return error.strerror or str(error)
