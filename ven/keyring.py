# SPDX-License-Identifier: Apache-2.0
"""Keys and certificates as files of this device: made here, written whole or not at all.

Imported only where something is enrolled, renewed, requested or imported: it takes `cryptography`.
"""

import itertools
import os
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from ven.errors import CredentialFault

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def own_key(path: Path, *, is_rsa: bool = False) -> PrivateKey:
    """The private key in this file; one is made where there is none. Raises CredentialFault.

    ECC on P-256, or RSA with 2048 bits (rule 68). It never leaves the file: mode 0600.
    """
    if not path.exists():
        made: PrivateKey = (
            rsa.generate_private_key(public_exponent=65537, key_size=2048)
            if is_rsa
            else ec.generate_private_key(ec.SECP256R1())
        )
        write_whole(path, key_pem(made), mode=0o600)
    try:
        found = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise CredentialFault(
            f"{path}: the private key cannot be read ({error.strerror}); become its owner."
        ) from error
    except (ValueError, TypeError) as error:
        raise CredentialFault(
            f"{path}: this is no unencrypted PEM private key; move it away to have one made."
        ) from error
    if not isinstance(found, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise CredentialFault(
            f"{path}: only ECC and RSA keys serve OpenADR (rule 68); move it away to have one made."
        )
    return found


def key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def request(key: PrivateKey, subject: str = "") -> x509.CertificateSigningRequest:
    """A signing request; `subject` as RFC 4514 writes it, empty where the issuer is to choose.

    Raises CredentialFault.
    """
    try:
        name = x509.Name.from_rfc4514_string(subject) if subject else x509.Name([])
    except ValueError as error:
        raise CredentialFault(
            f"'{subject}' is no subject; write it like CN=town-hall,O=Example."
        ) from error
    return x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())


def checked_chain(
    chain: Sequence[x509.Certificate], key: PrivateKey, *, now: datetime, whose: str
) -> None:
    """Whether this is the certificate of the key, and its issuers follow it in their order.

    Raises CredentialFault; `whose` begins its sentence.
    """
    leaf = chain[0]
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if leaf.public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        raise CredentialFault(
            f"{whose}: the certificate is not for the key of this device; it belongs to another "
            "request."
        )
    if now >= leaf.not_valid_after_utc:
        raise CredentialFault(f"{whose}: it expired on {leaf.not_valid_after_utc:%Y-%m-%d}.")
    if now < leaf.not_valid_before_utc:
        raise CredentialFault(
            f"{whose}: it is valid only from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; check "
            "the clock of this device."
        )
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
            raise CredentialFault(f"{whose}: it is not meant for a TLS client; ask for another.")
    except x509.ExtensionNotFound:
        pass
    for below, above in itertools.pairwise(chain):
        try:
            below.verify_directly_issued_by(above)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise CredentialFault(
                f"{whose}: '{above.subject.rfc4514_string()}' did not issue "
                f"'{below.subject.rfc4514_string()}', which stands before it; put the certificate "
                "first, then each issuer."
            ) from error


def chain_pem(chain: Sequence[x509.Certificate]) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain)


def write_whole(path: Path, content: bytes, *, mode: int) -> None:
    """All of it, on the disk, or what was there before. Raises CredentialFault."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as out:
                os.fchmod(out.fileno(), mode)
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            Path(draft).replace(path)
        except OSError:
            Path(draft).unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise CredentialFault(f"{path}: it cannot be written ({error.strerror}).") from error
