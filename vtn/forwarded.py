# SPDX-License-Identifier: Apache-2.0
"""Certificates as they are shown to us: by TLS itself, or by a TLS front in a header.

A front is believed in one thing only: that whoever spoke to it held the key of the certificate it
hands on. Whether that certificate is one of our authorities' and still valid is looked at here.
"""

import binascii
import functools
import hashlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)
from multidict import CIMultiDictProxy

from vtn.config import CertificateHeader
from vtn.errors import ListenerFault, NotShown

HEADERS: Final = ("Client-Cert", "Client-Cert-Chain", "X-SSL-Client-Cert")
"""What only a front may say."""
_VERIFIED_S = 3600
"""For how long an issuer is taken to be as it was when it was last looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A certificate whose key the other end has been seen to hold."""

    der: bytes
    sha256: str
    issuer: bytes
    """Its name in DER."""
    serial: int
    not_before_s: float
    """Seconds since 1970."""
    not_after_s: float

    @classmethod
    def of(cls, der: bytes) -> "Shown":
        """Raises ValueError for what is no certificate."""
        certificate = _loaded(der)
        return cls(
            der=der,
            sha256=hashlib.sha256(der).hexdigest(),
            issuer=certificate.issuer.public_bytes(),
            serial=certificate.serial_number,
            not_before_s=certificate.not_valid_before_utc.timestamp(),
            not_after_s=certificate.not_valid_after_utc.timestamp(),
        )


def _loaded(der: bytes) -> x509.Certificate:
    """Raises ValueError, also for a version that there is not."""
    try:
        return x509.load_der_x509_certificate(der)
    except x509.InvalidVersion as error:
        raise ValueError(str(error)) from error


class Front:
    """Reads the header of a TLS front, and verifies what stands in it."""

    def __init__(self, header: CertificateHeader, authorities: Path) -> None:
        """Raises ListenerFault where there are no authorities to verify by."""
        self._header = header
        try:
            self._store = Store(x509.load_pem_x509_certificates(authorities.read_bytes()))
        except (OSError, ValueError) as error:
            raise ListenerFault(
                f"{authorities}: no certificates of VEN authorities can be read here; give "
                "[openadr] client_ca a PEM file."
            ) from error
        self._verified = functools.lru_cache(maxsize=4096)(self._verify)

    def shown(self, headers: CIMultiDictProxy[str], *, now_s: float) -> Shown:
        """The certificate that the front hands on.

        Raises NotShown where there is none, or one that `now_s` (since 1970) does not let in.
        """
        values = headers.getall(self._header, [])
        if len(values) != 1:
            raise NotShown(f"The TLS front is to send one {self._header} header, and does not.")
        shown = self._verified(values[0], int(now_s // _VERIFIED_S))
        if not shown.not_before_s <= now_s <= shown.not_after_s:
            raise NotShown("The certificate is not valid now; renew it.")
        return shown

    def _verify(self, value: str, period: int) -> Shown:
        """The certificate, if an authority that is valid in this period issued it."""
        try:
            der = _der(self._header, value)
            certificate = _loaded(der)
            shown = Shown.of(der)
            # its own dates are compared at each request, exactly
            at_s = min(max(period * _VERIFIED_S, shown.not_before_s), shown.not_after_s)
            verifier = (
                PolicyBuilder()
                .store(self._store)
                .time(datetime.fromtimestamp(at_s, UTC))
                .extension_policies(ca_policy=_OF_AUTHORITIES, ee_policy=_OF_VENS)
                .build_client_verifier()
            )
            verifier.verify(certificate, [])
        except (ValueError, VerificationError, x509.UnsupportedGeneralNameType) as error:
            raise NotShown("The certificate was not issued by an authority of ours.") from error
        return shown


def _der(header: CertificateHeader, value: str) -> bytes:
    """Raises ValueError."""
    if header == "Client-Cert":  # RFC 9440: a byte sequence of RFC 8941
        if not (len(value) > 2 and value[0] == value[-1] == ":"):
            raise ValueError("no byte sequence")
        return binascii.a2b_base64(value[1:-1].encode("ascii"), strict_mode=True)
    return ssl.PEM_cert_to_DER_cert(unquote_to_bytes(value).decode("ascii").strip())


def _for_clients(
    _policy: Policy, _certificate: x509.Certificate, purposes: x509.ExtendedKeyUsage | None
) -> None:
    if purposes is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
        raise ValueError("not for clients")


_OF_AUTHORITIES = ExtensionPolicy.webpki_defaults_ca()
_OF_VENS = ExtensionPolicy.permit_all().may_be_present(
    x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _for_clients
)
"""No name is asked for: the whole certificate is who it is."""
