# SPDX-License-Identifier: Apache-2.0
"""`vtn check`: what is missing before `vtn serve`, in plain words. Changes nothing."""

import errno
import socket
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.issuing import Issuer
from doorway import Fault
from vtn.accounts.oidc import Oidc
from vtn.config import Chain, OperatorSettings, Settings, is_loopback
from vtn.credential import read_token
from vtn.enrolment.trust import trusted
from vtn.errors import ProviderFault, VtnError
from vtn.revocation import RevocationLists
from vtn.store.engine import refuse_newer, revision
from vtn.store.line import is_shared
from vtn.views import Finding

SOON: Final = timedelta(days=30)


async def check(settings: Settings, *, now: datetime) -> list[Finding]:
    """Everything that can be told without serving."""
    return [
        *_certificates(settings, now),
        *_roots(settings.openadr.client_ca, now),
        *_lists(settings, now),
        _token(settings.operator.token_file),
        await _database(settings.store.url),
        *_workers(settings),
        _port("openadr", settings.openadr.host, settings.openadr.port),
        _port("operator", settings.operator.host, settings.operator.port),
        *_in_the_clear(settings.operator),
        *_enrolment(settings, now),
        *await _provider(settings.operator, now),
    ]


async def _provider(operator: OperatorSettings, now: datetime) -> list[Finding]:
    """Whether operators can log in at the identity provider, as far as it says of itself."""
    if operator.oidc is None:
        return []
    subject, found = "operator oidc", []
    secret = operator.oidc.client_secret_file
    if secret is not None and not secret.is_file():
        sentence = f"{secret}: this file is missing; put the client's secret into it."
        found.append(Finding(subject=subject, sentence=sentence, ok=False))
    elif secret is not None and (mode := _open_to_others(secret)):
        sentence = f"{secret}: others can read it (mode {mode:03o}); chmod 600 it."
        found.append(Finding(subject=subject, sentence=sentence, warning=True))
    try:
        await Oidc(operator.oidc, now=lambda: now).end_url()
    except ProviderFault as fault:
        sentence = f"{operator.oidc.issuer}: {fault}"
        return [*found, Finding(subject=subject, sentence=sentence, warning=True)]
    return [*found, Finding(subject=subject, sentence=f"{operator.oidc.issuer} answers.")]


def _enrolment(settings: Settings, now: datetime) -> Iterator[Finding]:
    """The authority on line: whether it can issue, and the VTN believes it."""
    enrolment = settings.enrolment
    if enrolment is None:
        return
    subject = "enrolment"
    yield _port(subject, enrolment.host, enrolment.port)
    try:
        Issuer.load(enrolment.cert, enrolment.key)
        trusted(enrolment)
        own = _load(enrolment.cert)[0]
        believed = any(_spki_of(one) == _spki_of(own) for one in _load(settings.openadr.client_ca))
    except (Fault, _Wrong) as fault:
        yield Finding(subject=subject, sentence=f"[enrolment] {fault}", ok=False)
        return
    if not believed:
        yield Finding(
            subject=subject,
            sentence=f"{settings.openadr.client_ca}: the enrolment authority is not in it, so who "
            "enrols could not connect; take the ven-ca.crt that certs enrolment wrote.",
            ok=False,
        )
        return
    yield _valid(subject, enrolment.cert, own, now)
    if mode := _open_to_others(enrolment.key):
        yield Finding(
            subject=subject,
            sentence=f"{enrolment.key}: others can read it (mode {mode:03o}); chmod 600 it.",
            warning=True,
        )


def _certificates(settings: Settings, now: datetime) -> Iterator[Finding]:
    kinds = set()
    for chain in settings.openadr.certificates:
        subject = f"certificate {chain.cert.name}"
        try:
            certificate, finding = _chain(chain, now)
        except _Wrong as wrong:
            yield Finding(subject=subject, sentence=str(wrong), ok=False)
            continue
        yield finding
        kinds.add(type(certificate.public_key()))
        if not _may_call(certificate):
            yield Finding(
                subject=subject,
                sentence=f"{chain.cert}: it is good for a server only; VENs that are pushed to "
                "will refuse it. Have it issued for clients, too.",
                warning=True,
            )
        if mode := _open_to_others(chain.key):
            yield Finding(
                subject=f"key {chain.key.name}",
                sentence=f"{chain.key}: others can read it (mode {mode:03o}); chmod 600 it.",
                warning=True,
            )
    known = [kind for kind in (ec.EllipticCurvePublicKey, rsa.RSAPublicKey) if _any(kinds, kind)]
    if len(known) == 1:
        missing = "RSA" if known[0] is ec.EllipticCurvePublicKey else "ECC"
        yield Finding(
            subject="certificates",
            sentence=f"There is no {missing} certificate; VENs that speak {missing} alone cannot "
            "connect (rules 67 and 68).",
            warning=True,
        )


def _may_call(certificate: x509.Certificate) -> bool:
    """Whether it is good for a TLS client, as which the VTN pushes."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.CLIENT_AUTH in usage


def _any(kinds: set[type], kind: type) -> bool:
    return any(issubclass(each, kind) for each in kinds)


class _Wrong(Exception):
    """A file that cannot be used; the sentence."""


def _chain(chain: Chain, now: datetime) -> tuple[x509.Certificate, Finding]:
    certificate = _load(chain.cert)[0]
    try:
        key = serialization.load_pem_private_key(_read(chain.key), password=None)
    except (ValueError, TypeError) as error:
        raise _Wrong(f"{chain.key}: this is no unencrypted PEM key.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise _Wrong(f"{chain.key}: only ECC and RSA keys serve OpenADR (rule 68).")
    if _spki(key.public_key()) != _spki_of(certificate):
        raise _Wrong(f"{chain.key} is not the key of {chain.cert}; give the one it was made with.")
    return certificate, _valid(f"certificate {chain.cert.name}", chain.cert, certificate, now)


def _spki(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _spki_of(certificate: x509.Certificate) -> bytes:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        return b""
    return _spki(key)


def _roots(file: Path, now: datetime) -> Iterator[Finding]:
    subject = f"client_ca {file.name}"
    try:
        roots = _load(file)
    except _Wrong as wrong:
        yield Finding(subject=subject, sentence=str(wrong), ok=False)
        return
    for root in roots:
        yield _valid(subject, file, root, now)


def _valid(subject: str, file: Path, certificate: x509.Certificate, now: datetime) -> Finding:
    name = certificate.subject.rfc4514_string()
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begins:
        return Finding(
            subject=subject,
            sentence=f"{file}: {name} is valid from {begins:%Y-%m-%d} only; see the clock.",
            ok=False,
        )
    if now >= ends:
        return Finding(
            subject=subject,
            sentence=f"{file}: {name} expired on {ends:%Y-%m-%d}; renew it.",
            ok=False,
        )
    left = f"{name}, valid until {ends:%Y-%m-%d}"
    if ends - now < SOON:
        return Finding(
            subject=subject, sentence=f"{left}: {(ends - now).days} days left.", warning=True
        )
    return Finding(subject=subject, sentence=f"{left}.")


def _load(file: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(file))
    except ValueError as error:
        raise _Wrong(f"{file}: this holds no PEM certificate.") from error


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise _Wrong(f"{file}: {(error.strerror or str(error)).lower()}.") from error


def _open_to_others(file: Path) -> int:
    """The mode of a file that others than its owner and group can use; else 0."""
    mode = stat.S_IMODE(file.stat().st_mode)
    return mode if mode & 0o007 else 0


def _token(file: Path) -> Finding:
    try:
        read_token(file)
    except VtnError as fault:
        return Finding(subject="operator token", sentence=str(fault), ok=False)
    if mode := _open_to_others(file):
        return Finding(
            subject="operator token",
            sentence=f"{file}: others can read it (mode {mode:03o}); chmod 600 it.",
            warning=True,
        )
    return Finding(subject="operator token", sentence=f"{file} is there.")


async def _database(url: str) -> Finding:
    try:
        found, head = await revision(url)
    except VtnError as fault:
        return Finding(subject="database", sentence=str(fault), ok=False)
    if found == head:
        return Finding(subject="database", sentence=f"It is at version {head}, as it should be.")
    try:
        if found is not None:
            refuse_newer(url, found)
    except VtnError as fault:
        return Finding(subject="database", sentence=str(fault), ok=False)
    state = (
        "has no tables yet; run vtn init"
        if found is None
        else f"is at version {found}, not {head}; run vtn upgrade"
    )
    return Finding(subject="database", sentence=f"It {state}.", ok=False)


def _workers(settings: Settings) -> Iterator[Finding]:
    if settings.vtn.workers > 1 and not is_shared(settings.store.url):
        yield Finding(
            subject="workers",
            sentence=f"SQLite serves one process, not {settings.vtn.workers}; set [vtn] workers "
            "to 1, or [store] url to a PostgreSQL database.",
            ok=False,
        )


def _lists(settings: Settings, now: datetime) -> Iterator[Finding]:
    """The revocation lists; that there is none is no finding."""
    openadr = settings.openadr
    for file in openadr.crl:
        subject = f"crl {file.name}"
        try:
            lists = RevocationLists([file], openadr.client_ca)
        except VtnError as error:
            yield Finding(subject=subject, sentence=str(error), ok=False)
            continue
        alarms = lists.alarms(now)
        for sentence in alarms:
            yield Finding(subject=subject, sentence=sentence, warning=True)
        due_at = lists.next_update_at()[file]
        if not alarms and due_at is not None:
            yield Finding(subject=subject, sentence=f"{file} holds until {due_at:%Y-%m-%d}.")


def _in_the_clear(operator: OperatorSettings) -> Iterator[Finding]:
    """Without TLS the operator's token, and passwords, are for this machine."""
    if operator.cert is not None or is_loopback(operator.host):
        return
    yield Finding(
        subject="operator host",
        sentence=f"{operator.host}: the token and passwords cross the network in the clear; set "
        "cert and key, or listen on 127.0.0.1 and put TLS or SSH in front.",
        warning=True,
    )


def _port(subject: str, host: str, port: int) -> Finding:
    subject = f"{subject} port"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return Finding(
                subject=subject,
                sentence=f"{host}:{port} is in use; by a running `vtn serve`, it is to be hoped.",
                warning=True,
            )
        reason = (error.strerror or str(error)).lower()
        return Finding(
            subject=subject, sentence=f"{host}:{port} cannot be taken: {reason}.", ok=False
        )
    return Finding(subject=subject, sentence=f"{host}:{port} is free.")
