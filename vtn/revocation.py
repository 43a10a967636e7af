# SPDX-License-Identifier: Apache-2.0
"""Certificate revocation lists: which certificates their authorities have taken back.

at the start    a list that is missing, garbled or signed by nobody in client_ca: we do not start
while serving   the same: what was last known holds on, and an alarm is raised
overdue         what it says holds on, and an alarm is raised: nobody is shut out by a late list
changed         read again within CRL_LOOK_S; open connections of who is on it are closed

OpenSSL's own check would refuse every VEN of an authority whose list is missing or overdue, which
is an outage of the whole utility; so it is asked here, of lists whose signatures we verify.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from vtn.errors import ListenerFault

CRL_LOOK_S = 5.0
"""How often it is looked whether a file has changed."""
SOON = timedelta(days=3)
"""An alarm is raised this long before a list is overdue, or in the last quarter of its time."""

_PEM = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lists:
    """One file as it was last read."""

    mark: object
    """Changes with the file."""
    serials: Mapping[bytes, frozenset[int]]
    """By the issuer's name in DER."""
    made_at: datetime
    """Of several lists the oldest."""
    next_update_at: datetime | None
    """Of several lists the first; None where none says."""


class RevocationLists:
    """The lists of some files; `look` reads again what has changed."""

    def __init__(self, files: Sequence[Path], authorities: Path) -> None:
        """`authorities` holds the certificates whose keys may sign lists (PEM).

        Raises ListenerFault, naming the file, for a list that cannot be used.
        """
        self._authorities = authorities
        self._troubles: dict[Path, str] = {}
        self._lists: dict[Path, _Lists] = {}
        for file in files:
            try:
                self._lists[file] = _read(file, authorities)
            except (OSError, ValueError) as error:
                raise ListenerFault(
                    f"{file}: no revocation list can be used here: {_sentence(error)}; give "
                    "[openadr] crl lists of the authorities of client_ca, or leave it away."
                ) from error

    def __bool__(self) -> bool:
        return bool(self._lists)

    def revoked(self, issuer: bytes, serial: int) -> bool:
        """Whether the authority of that name (DER) has taken back its certificate `serial`."""
        return any(serial in lists.serials.get(issuer, ()) for lists in self._lists.values())

    def look(self) -> bool:
        """Read again the files that have changed; whether one has been taken.

        May be called in a thread. What cannot be read is a trouble, and the former list holds on.
        """
        taken = False
        for file, known in list(self._lists.items()):
            try:
                if _mark(file) == known.mark:
                    continue
                found = _read(file, self._authorities)
                if found.made_at < known.made_at:
                    raise ValueError("it is older than the list we have")  # noqa: TRY301 - one way
            except (OSError, ValueError) as error:
                self._troubles[file] = f"{file}: not taken: {_sentence(error)}."
                continue
            self._lists[file] = found
            self._troubles.pop(file, None)
            taken = True
        return taken

    def next_update_at(self) -> dict[Path, datetime | None]:
        """From when each file is overdue."""
        return {file: lists.next_update_at for file, lists in self._lists.items()}

    def alarms(self, now: datetime) -> list[str]:
        """One sentence for each thing that a person should see to."""
        found = list(self._troubles.values())
        for file, lists in self._lists.items():
            due_at = lists.next_update_at
            if due_at is None:
                continue
            early = min(SOON, (due_at - lists.made_at) / 4)
            if now >= due_at:
                found.append(
                    f"{file}: overdue since {due_at:%Y-%m-%d %H:%M} UTC; what it says holds on, "
                    "but later revocations are unknown: get a new one."
                )
            elif now >= due_at - early:
                found.append(f"{file}: overdue from {due_at:%Y-%m-%d %H:%M} UTC; get a new one.")
        return found


def _sentence(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).removesuffix(".")


def _mark(file: Path) -> object:
    found = file.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(file: Path, authorities: Path) -> _Lists:
    """Raises OSError, ValueError."""
    mark = _mark(file)  # before the content: a change in between is seen at the next look
    content = file.read_bytes()
    signers = x509.load_pem_x509_certificates(authorities.read_bytes())
    serials: dict[bytes, frozenset[int]] = {}
    made, due = [], []
    for crl in _parsed(content):
        _check(crl, signers)
        issuer = crl.issuer.public_bytes()
        taken_back = frozenset(each.serial_number for each in crl)
        serials[issuer] = serials.get(issuer, frozenset()) | taken_back
        made.append(crl.last_update_utc)
        if crl.next_update_utc is not None:
            due.append(crl.next_update_utc)
    return _Lists(
        mark=mark,
        serials=serials,
        made_at=min(made, default=datetime.min.replace(tzinfo=UTC)),
        next_update_at=min(due, default=None),
    )


def _parsed(content: bytes) -> Iterator[x509.CertificateRevocationList]:
    if b"-----BEGIN" not in content:
        yield x509.load_der_x509_crl(content)
        return
    blocks = _PEM.findall(content)
    if not blocks:
        raise ValueError("there is none in it")
    for block in blocks:
        yield x509.load_pem_x509_crl(block)


def _check(crl: x509.CertificateRevocationList, signers: Sequence[x509.Certificate]) -> None:
    """Raises ValueError for a list that is not whole, or not signed by its authority."""
    for extension in crl.extensions:
        value = extension.value
        whole = isinstance(value, x509.IssuingDistributionPoint) and not (
            value.indirect_crl or value.only_some_reasons or value.only_contains_attribute_certs
        )
        if extension.critical and not whole:
            raise ValueError(f"it is not a whole list ({extension.oid.dotted_string} in it)")
    if not any(_signed_by(crl, signer) for signer in signers if signer.subject == crl.issuer):
        raise ValueError(f"it is not signed by an authority of {crl.issuer.rfc4514_string()}")


def _signed_by(crl: x509.CertificateRevocationList, signer: x509.Certificate) -> bool:
    try:
        key = signer.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            return False
        return crl.is_signature_valid(key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
