# SPDX-License-Identifier: Apache-2.0
"""Certificates as an operator pastes and reads them."""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from oadr.fingerprint import sha256
from vtn.errors import Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a page says of a certificate."""

    subject: str
    issuer: str
    begins_at: datetime
    ends_at: datetime


def der_of(pem: str, field: str) -> tuple[bytes | None, str]:
    """The DER certificate and its SHA-256; nothing of nothing. Raises Invalid, naming `field`."""
    if not pem.strip():
        return None, ""
    try:
        found = x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise Invalid(
            f"{field}: this is no certificate; paste it whole, from -----BEGIN CERTIFICATE----- on."
        ) from error
    der = found.public_bytes(Encoding.DER)
    return der, sha256(der)


def shown(der: bytes | None) -> Shown | None:
    """None for what has not been seen yet, or cannot be read."""
    if der is None:
        return None
    try:
        found = x509.load_der_x509_certificate(der)
        return Shown(
            subject=found.subject.rfc4514_string(),
            issuer=found.issuer.rfc4514_string(),
            begins_at=found.not_valid_before_utc,
            ends_at=found.not_valid_after_utc,
        )
    except ValueError:
        return None
