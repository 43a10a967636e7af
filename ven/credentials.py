# SPDX-License-Identifier: Apache-2.0
"""The VEN's certificate and key: into a TLS context, and in words for people."""

import ssl
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from oadr.fingerprint import fingerprint, sha256
from ven.config import Settings
from ven.errors import CredentialFault

CIPHERS = "ECDHE+AESGCM:ECDHE-ECDSA-AES128-SHA256:AES128-SHA256"
"""Today's suites first; the last two are those that every OpenADR VTN must offer (rule 67)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A certificate in plain terms."""

    subject: str
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
    certificate = _certificate(cert)
    _check_pair(certificate, cert, key)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
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
    certificate = _certificate(cert)
    der = certificate.public_bytes(serialization.Encoding.DER)
    return Credentials(
        subject=certificate.subject.rfc4514_string(),
        not_before_at=certificate.not_valid_before_utc,
        not_after_at=certificate.not_valid_after_utc,
        fingerprint=fingerprint(der),
        sha256=sha256(der),
    )


def _certificate(cert: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(cert.read_bytes())
    except OSError as error:
        raise CredentialFault(
            f"{cert}: the certificate cannot be read ({error.strerror}); see [ven] cert."
        ) from error
    except ValueError as error:
        raise CredentialFault(f"{cert}: this is no PEM certificate; see [ven] cert.") from error


def _check_pair(certificate: x509.Certificate, cert: Path, key: Path) -> None:
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
