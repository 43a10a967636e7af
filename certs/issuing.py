# SPDX-License-Identifier: Apache-2.0
"""Issuing from requests: what the one authority that is on line may do, and nothing more.

request (PKCS 10)                             refused, in one sentence
not signed by its own key                     it proves nothing
ECC other than P-256, RSA below 2048          rule 68 and today's measure
a subject other than the VEN's common name    nobody chooses who they are
alternative names                             as above

Extensions that a request asks for are never copied.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.errors import AuthorityFault, RequestRefused

BACKDATED: Final = timedelta(hours=24)
"""A device whose clock has not been set yet still finds its certificate valid."""
_RSA_BITS: Final = (2048, 4096)
_PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A certificate signing request that could be granted."""

    key: _PublicKey
    key_sha256: str
    """Over the key alone (SubjectPublicKeyInfo, DER): the same in every request for that key."""
    common_name: str
    """Empty where it leaves the name to the issuer."""

    def refuse_another_name(self, common_name: str) -> None:
        """Raises RequestRefused where it asks to be somebody else."""
        if self.common_name not in ("", common_name):
            raise RequestRefused(
                f"The request is for the name '{self.common_name}', but this is for "
                f"'{common_name}'; leave the subject empty, or write CN={common_name}."
            )


def read_request(body: bytes) -> Request:
    """A PKCS 10 request: DER, the same in base 64 (RFC 7030), or PEM. Raises RequestRefused."""
    try:
        csr = _loaded(body)
        good = csr.is_signature_valid
        key = csr.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise RequestRefused(
            "This is no certificate signing request (PKCS 10) that can be read; make one with "
            "`ven enroll` or `openssl req -new`."
        ) from error
    if not good:
        raise RequestRefused(
            "The request is not signed with its own key, or was changed since; make a new one."
        )
    return Request(
        key=_checked_key(key),
        key_sha256=hashlib.sha256(_spki(key)).hexdigest(),
        common_name=_checked_names(csr),
    )


def _loaded(body: bytes) -> x509.CertificateSigningRequest:
    if b"-----BEGIN" in body:
        return x509.load_pem_x509_csr(body)
    if body[:1] != b"\x30":
        try:
            body = base64.b64decode(b"".join(body.split()), validate=True)
        except binascii.Error as error:
            raise ValueError("no base 64") from error
    return x509.load_der_x509_csr(body)


def _checked_key(key: object) -> _PublicKey:
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, ec.SECP256R1):
            raise RequestRefused(
                f"The key is on the curve {key.curve.name}; OpenADR takes ECC on P-256 "
                "(rule 68), or RSA with 2048 bits."
            )
        return key
    if isinstance(key, rsa.RSAPublicKey):
        least, most = _RSA_BITS
        if not least <= key.key_size <= most:
            raise RequestRefused(
                f"The RSA key has {key.key_size} bits; {least} to {most} are taken, or ECC on "
                "P-256."
            )
        return key
    raise RequestRefused("The key is neither ECC on P-256 nor RSA (rule 68); make another.")


def _checked_names(csr: x509.CertificateSigningRequest) -> str:
    try:
        extensions = csr.extensions
    except (ValueError, x509.DuplicateExtension) as error:
        raise RequestRefused("The request asks for extensions that cannot be read.") from error
    if any(each.oid == x509.SubjectAlternativeName.oid for each in extensions):
        raise RequestRefused(
            "The request asks for alternative names; a VEN has none: leave subjectAltName away."
        )
    names = list(csr.subject)
    if not names:
        return ""
    if len(names) != 1 or names[0].oid != NameOID.COMMON_NAME:
        raise RequestRefused(
            f"The request is for the subject '{csr.subject.rfc4514_string()}'; it may hold a "
            "common name (CN) and nothing else, or be empty."
        )
    return str(names[0].value)


class Issuer:
    """The enrolment authority: a certificate and its key, kept apart from all others."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def load(cls, cert: Path, key: Path) -> "Issuer":
        """Raises AuthorityFault, naming the file."""
        try:
            certificate = x509.load_pem_x509_certificate(cert.read_bytes())
            constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        except OSError as error:
            raise AuthorityFault(f"{cert}: it cannot be read ({error.strerror}).") from error
        except (ValueError, x509.ExtensionNotFound) as error:
            raise AuthorityFault(
                f"{cert}: this is no certificate of an authority; make one with certs enrolment."
            ) from error
        try:
            private = serialization.load_pem_private_key(key.read_bytes(), password=None)
        except OSError as error:
            raise AuthorityFault(f"{key}: it cannot be read ({error.strerror}).") from error
        except (ValueError, TypeError) as error:
            raise AuthorityFault(f"{key}: this is no unencrypted PEM private key.") from error
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise AuthorityFault(f"{key}: the enrolment authority's key is ECC on P-256.")
        if _spki(private.public_key()) != _spki(certificate.public_key()):
            raise AuthorityFault(f"{key} is not the key of {cert}; give the pair.")
        if not constraints.value.ca or constraints.value.path_length != 0:
            raise AuthorityFault(
                f"{cert}: it may not issue certificates, or might make authorities (pathlen); "
                "make one with certs enrolment."
            )
        return cls(certificate, private)

    @property
    def der(self) -> bytes:
        """The authority's own certificate: what a VEN shows behind its own."""
        return self._certificate.public_bytes(serialization.Encoding.DER)

    def issue(self, request: Request, common_name: str, *, life: timedelta, now: datetime) -> bytes:
        """A VEN's certificate (DER) for the key of the request. Raises AuthorityFault."""
        until = min(now + life, self._certificate.not_valid_after_utc)
        if until <= now:
            raise AuthorityFault(
                "The enrolment authority's certificate has expired; make another with certs "
                "enrolment."
            )
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            # RSA without ECDHE (rule 67) carries the session key under the certificate's own key
            key_encipherment=isinstance(request.key, rsa.RSAPublicKey),
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=False,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        purposes = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._certificate.subject)
            .public_key(request.key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - BACKDATED, self._certificate.not_valid_before_utc))
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(request.key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.DER)


def certs_only(*ders: bytes) -> bytes:
    """Certificates as EST hands them out: PKCS 7 with nothing but them (DER)."""
    return pkcs7.serialize_certificates(
        [x509.load_der_x509_certificate(der) for der in ders], serialization.Encoding.DER
    )


def common_name_of(der: bytes) -> str:
    """The one common name that is a certificate's whole subject; empty where it is otherwise."""
    names = list(x509.load_der_x509_certificate(der).subject)
    if len(names) != 1 or names[0].oid != NameOID.COMMON_NAME:
        return ""
    return str(names[0].value)


def key_sha256_of(der: bytes) -> str:
    """Of a certificate's key, as Request.key_sha256."""
    return hashlib.sha256(_spki(x509.load_der_x509_certificate(der).public_key())).hexdigest()


def _spki(key: object) -> bytes:
    assert hasattr(key, "public_bytes")
    encoded: bytes = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded
