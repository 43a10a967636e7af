# SPDX-License-Identifier: Apache-2.0
"""The authority: a folder of keys that issues certificates for VTNs, VENs and a site's MQTT.

Three trees, so that nobody can play a part that is not theirs:

    root-ecc (pathlen 1)                root-rsa (pathlen 1)            site-ca (pathlen 0)
    ├── vtn-ca-ecc ── vtn-ecc           ├── vtn-ca-rsa ── vtn-rsa       ├── the broker
    ├── ven-ca-ecc ── each VEN          └── ven-ca-rsa ── VEN --rsa     └── light nodes, EMS
    └── enrolment-ca ── VENs that enrol (the one authority whose key is on line, at the VTN)

With HTTP push a VEN serves and a VTN is its client, so the certificates of both are good for both;
the issuer tells them apart. VENs trust `vtn-ca.crt` alone: a stolen VEN key cannot play the VTN to
other VENs. The VTN trusts `ven-ca.crt`. Each holds the issuers of one side as roots of their own
(same name, same key, signed by themselves), because not every TLS library takes an intermediate
for its anchor. ECC and RSA each have their own root, because a device that speaks RSA alone
(rules 67, 68) cannot check an ECC signature further up. The building's network has a root of its
own, so no certificate of the utility opens the building's broker.

The folder: `vtn-ca.crt` (what VENs trust), `ven-ca.crt` (what the VTN trusts), `ca.crt` (both
OpenADR roots, for who looks at both sides), `site-ca.crt` (what the site's MQTT trusts),
`authority/` (the authority's own keys, mode 0700) and a `.crt` and `.key` for each certificate
issued. A `.crt` holds the certificate followed by its intermediate, as servers and clients load
it; a `.key` has mode 0600. No file is ever overwritten but `ven-ca.crt`, when the enrolment
authority is made, and the revocation lists: `ven-ca.crl`,
`vtn-ca.crl` and `site-ca.crl` stand beside the `.crt` of the same issuers and hold what these have
taken back (`authority/revoked.csv` is where that is kept).
"""

import enum
import ipaddress
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.errors import AuthorityFault, NameRefused, NotIssuedHere, UnreadableCertificate
from oadr.fingerprint import fingerprint, sha256

ROOT_LIFE = timedelta(days=20 * 365)
INTERMEDIATE_LIFE = timedelta(days=10 * 365)
LEAF_LIFE = timedelta(days=365)
CRL_LIFE = timedelta(days=30)
BACKDATED = timedelta(hours=24)
"""A node whose clock has not been set yet still finds its certificate valid."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
_CRLS = {
    "ven-ca.crl": ("ven-ca-ecc", "ven-ca-rsa", "enrolment-ca"),
    "vtn-ca.crl": ("vtn-ca-ecc", "vtn-ca-rsa"),
    "site-ca.crl": ("site-ca",),
}
"""Each file with the issuers whose lists stand in it; the enrolment authority need not be there."""
_RESERVED = {
    *("ca", "site-ca", "vtn-ca", "ven-ca", "enrolment-ca"),
    *("vtn-ecc", "vtn-rsa", "authority"),
}
_BOTH_ENDS = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)

_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_Host = x509.DNSName | x509.IPAddress


class SiteRole(enum.StrEnum):
    """Who a certificate of the building's MQTT network is for."""

    NODE = "mqtt-node"
    EMS = "ems"
    BROKER = "broker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate just written, and where."""

    certificate: Path
    """PEM: the certificate, then its intermediate if it has one."""
    key: Path
    """PEM (PKCS 8), unencrypted, mode 0600."""
    sha256: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """One certificate of a file in plain terms."""

    subject: str
    issuer: str
    key: str
    hosts: tuple[str, ...]
    not_before_at: datetime
    not_after_at: datetime
    sha256: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationList:
    """One file of revocation lists, just written."""

    file: Path
    revoked: int
    """How many certificates stand in it."""
    next_update_at: datetime
    """Until when it must be renewed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Revoked:
    """One line of authority/revoked.csv."""

    issuer: str
    serial: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signer:
    certificate: x509.Certificate
    key: _PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A certificate that is not on the disk yet."""

    stem: str
    chain: bytes
    key: bytes
    der: bytes


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Authority:
    """One folder of the authority; make it with `create`, come back to it with `open`.

    >>> authority = Authority.create(folder)                               # doctest: +SKIP
    >>> ecc, rsa = authority.vtn(["127.0.0.1", "vtn.example"])             # doctest: +SKIP
    >>> authority.ven("hq").fingerprint                                    # doctest: +SKIP
    'B0:2C:5F:11:9A:55:0E:7D:41:C3'
    """

    def __init__(self, folder: Path, now: Callable[[], datetime] = _utc_now) -> None:
        self.folder = folder
        self._now = now

    @classmethod
    def create(cls, folder: Path, *, now: Callable[[], datetime] = _utc_now) -> "Authority":
        """Make every root and intermediate in `folder`, which must be new or empty.

        All or nothing: the folder appears complete. Raises AuthorityFault.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise AuthorityFault(
                f"{folder} is already in use, and certs never overwrites: name a new folder."
            )
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            building = Path(tempfile.mkdtemp(prefix=".certs-", dir=folder.parent))
        except OSError as error:
            raise AuthorityFault(f"{folder} cannot be made: {error.strerror}.") from error
        try:
            cls(building, now)._found()  # noqa: SLF001 -- this class's own
            building.chmod(0o755)  # what others may read lies here; the keys are closed one by one
            building.rename(folder)
        except OSError as error:
            shutil.rmtree(building, ignore_errors=True)
            raise AuthorityFault(f"{folder} cannot be filled: {error.strerror}.") from error
        return cls(folder, now)

    @classmethod
    def open(cls, folder: Path, *, now: Callable[[], datetime] = _utc_now) -> "Authority":
        """Come back to a folder that `create` made. Raises AuthorityFault if it is not one."""
        authority = cls(folder, now)
        if not (folder / "authority").is_dir():
            raise AuthorityFault(
                f"{folder} holds no authority; make one with: certs init --out {folder}"
            )
        return authority

    @property
    def trust(self) -> Path:
        """Both OpenADR roots: for who looks at VTNs and VENs alike."""
        return self.folder / "ca.crt"

    @property
    def vtn_trust(self) -> Path:
        """The issuers of VTN certificates: what a VEN trusts."""
        return self.folder / "vtn-ca.crt"

    @property
    def ven_trust(self) -> Path:
        """The issuers of VEN certificates: what a VTN trusts."""
        return self.folder / "ven-ca.crt"

    @property
    def site_trust(self) -> Path:
        """The root of the building's MQTT network."""
        return self.folder / "site-ca.crt"

    def vtn(self, hosts: Sequence[str]) -> tuple[Issued, Issued]:
        """Issue `vtn-ecc` and `vtn-rsa` for the given names and addresses; (ECC, RSA), rule 68.

        Raises NameRefused for no host or an odd one, AuthorityFault if one of them is there.
        """
        names = _checked_hosts(hosts)
        self._refuse_overwriting("vtn-ecc", "vtn-rsa")
        ecc, rsa_ = self._keep(
            self._make(
                f"vtn-{algorithm}",
                common_name=hosts[0],
                by=f"vtn-ca-{algorithm}",
                purposes=_BOTH_ENDS,
                hosts=names,
                key=_new_key(algorithm),
            )
            for algorithm in ("ecc", "rsa")
        )
        return ecc, rsa_

    def ven(self, name: str, *, rsa: bool = False, hosts: Sequence[str] = ()) -> Issued:
        """Issue a VEN certificate with the common name `name`, ECC unless `rsa`.

        `hosts` where the VEN is pushed to, for a VTN that compares them; ours compares the whole
        certificate. Raises NameRefused or, if there is one of that name, AuthorityFault.
        """
        algorithm = "rsa" if rsa else "ecc"
        made = self._make(
            _checked_name(name),
            common_name=name,
            by=f"ven-ca-{algorithm}",
            purposes=_BOTH_ENDS,
            hosts=_checked_hosts(hosts) if hosts else (),
            key=_new_key(algorithm),
        )
        return self._keep([made])[0]

    def site(self, name: str, role: SiteRole, *, hosts: Sequence[str] = ()) -> Issued:
        """Issue a certificate of the building's MQTT network; its common name is the user name.

        A broker needs at least one host, the others take none. Raises NameRefused, AuthorityFault.
        """
        broker = role is SiteRole.BROKER
        if hosts and not broker:
            raise NameRefused(
                f"Only a broker's certificate names hosts; leave --host away for a {role}."
            )
        made = self._make(
            _checked_name(name),
            common_name=name,
            by="site-ca",
            purposes=(
                ExtendedKeyUsageOID.SERVER_AUTH if broker else ExtendedKeyUsageOID.CLIENT_AUTH,
            ),
            hosts=_checked_hosts(hosts) if broker else (),
            key=_new_key("ecc"),
        )
        return self._keep([made])[0]

    def enrolment(self) -> Issued:
        """Make the authority that the VTN enrols VENs with: `enrolment-ca.crt` and its key.

        Signed by the root, which stays off line; the VTN is given the two files, and trusts it with
        the others in `ven-ca.crt`, which is written anew. Raises AuthorityFault if there is one.
        """
        stem = "enrolment-ca"
        self._refuse_overwriting(stem)
        own = self.folder / "authority" / stem
        try:
            if not own.with_name(f"{stem}.crt").exists():
                root = self._signer("root-ecc")
                name = "demandflex enrolment CA"
                self._sign_ca(stem, name, "ecc", root, pathlen=0)
            signer = self._signer(stem)
            anchor = _pem(
                self._ca(
                    "demandflex enrolment CA",
                    signer.key,
                    None,
                    pathlen=0,
                    life=INTERMEDIATE_LIFE,
                )
            )
            certificate, key = self._paths(stem)
            draft = self.ven_trust.with_name(f".ven-ca.crt-{os.getpid()}")
            _write(draft, self.ven_trust.read_bytes() + anchor, mode=0o644)
            draft.replace(self.ven_trust)
            _write(key, _key_pem(signer.key), mode=0o600)
            _write(certificate, _pem(signer.certificate), mode=0o644)
        except OSError as error:
            raise AuthorityFault(
                f"{self.folder}: the enrolment authority cannot be written: {error.strerror}."
            ) from error
        der = signer.certificate.public_bytes(serialization.Encoding.DER)
        return Issued(
            certificate=certificate, key=key, sha256=sha256(der), fingerprint=fingerprint(der)
        )

    def revoke(self, certificate: Path, *, life: timedelta = CRL_LIFE) -> RevocationList:
        """Take back the first certificate of a PEM file, for good, and renew its list.

        Again does no harm: the first time counts. Raises UnreadableCertificate, NotIssuedHere,
        AuthorityFault.
        """
        found = _read_certificates(certificate)[0]
        issuer = self._issuer_of(found)
        if issuer is None:
            raise NotIssuedHere(
                f"{certificate} was not issued by the authority in {self.folder}; whoever issued "
                "it must revoke it."
            )
        revoked = self._revoked()
        if not any((one.issuer, one.serial) == (issuer, found.serial_number) for one in revoked):
            line = f"{issuer},{found.serial_number:x},{self._now().isoformat()}\n"
            try:
                with (self.folder / "authority" / "revoked.csv").open("a", encoding="ascii") as out:
                    out.write(line)
                    out.flush()
                    os.fsync(out.fileno())
            except OSError as error:
                raise AuthorityFault(
                    f"{self.folder}: the revocation cannot be kept: {error.strerror}."
                ) from error
        file = next(file for file, issuers in _CRLS.items() if issuer in issuers)
        return self._write_list(file, life)

    def crls(self, *, life: timedelta = CRL_LIFE) -> tuple[RevocationList, ...]:
        """Renew every revocation list, each good for `life`. Raises AuthorityFault."""
        return tuple(self._write_list(file, life) for file in _CRLS)

    def _write_list(self, file: str, life: timedelta) -> RevocationList:
        now = self._now()
        revoked = self._revoked()
        number = int(now.timestamp() * 1000)
        content = b""
        count = 0
        for issuer in filter(self._has, _CRLS[file]):
            signer = self._signer(issuer)
            builder = (
                x509.CertificateRevocationListBuilder()
                .issuer_name(signer.certificate.subject)
                .last_update(now)
                .next_update(now + life)
                .add_extension(x509.CRLNumber(number), critical=False)
                .add_extension(_authority_identifier(signer.key), critical=False)
            )
            for one in revoked:
                if one.issuer == issuer:
                    count += 1
                    builder = builder.add_revoked_certificate(
                        x509.RevokedCertificateBuilder()
                        .serial_number(one.serial)
                        .revocation_date(one.at)
                        .build()
                    )
            content += builder.sign(signer.key, hashes.SHA256()).public_bytes(
                serialization.Encoding.PEM
            )
        path = self.folder / file
        draft = path.with_name(f".{file}-{os.getpid()}")
        try:
            _write(draft, content, mode=0o644)
            draft.replace(path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise AuthorityFault(f"{path} cannot be written: {error.strerror}.") from error
        return RevocationList(file=path, revoked=count, next_update_at=now + life)

    def _issuer_of(self, certificate: x509.Certificate) -> str | None:
        issuers = (issuer for issuers in _CRLS.values() for issuer in issuers)
        for issuer in filter(self._has, issuers):
            own = self._own_certificate(issuer)
            if own.subject != certificate.issuer:
                continue
            try:
                certificate.verify_directly_issued_by(own)
            except (ValueError, TypeError, InvalidSignature):
                continue
            return issuer
        return None

    def _revoked(self) -> list[_Revoked]:
        path = self.folder / "authority" / "revoked.csv"
        try:
            lines = path.read_text(encoding="ascii").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise AuthorityFault(f"{path} cannot be read: {error.strerror}.") from error
        try:
            return [
                _Revoked(issuer=issuer, serial=int(serial, 16), at=datetime.fromisoformat(at))
                for issuer, serial, at in (line.split(",") for line in lines)
            ]
        except ValueError as error:
            raise AuthorityFault(
                f"{path} is damaged ({error}): restore the authority's folder from its copy."
            ) from error

    def _found(self) -> None:
        (self.folder / "authority").mkdir(mode=0o700)
        anchors: dict[str, list[x509.Certificate]] = {"vtn": [], "ven": []}
        for algorithm in ("ecc", "rsa"):
            root = self._sign_ca(
                f"root-{algorithm}",
                f"demandflex root {algorithm.upper()}",
                algorithm,
                None,
                pathlen=1,
            )
            for party in ("vtn", "ven"):
                name = f"demandflex {party.upper()} CA {algorithm.upper()}"
                issuer = self._sign_ca(f"{party}-ca-{algorithm}", name, algorithm, root, pathlen=0)
                anchor = self._ca(name, issuer.key, None, pathlen=0, life=INTERMEDIATE_LIFE)
                anchors[party].append(anchor)
        self._sign_ca("site-ca", "demandflex site CA", "ecc", None, pathlen=0)
        roots = [self._own_certificate(f"root-{algorithm}") for algorithm in ("ecc", "rsa")]
        _write(self.trust, b"".join(map(_pem, roots)), mode=0o644)
        _write(self.vtn_trust, b"".join(map(_pem, anchors["vtn"])), mode=0o644)
        _write(self.ven_trust, b"".join(map(_pem, anchors["ven"])), mode=0o644)
        _write(self.site_trust, _pem(self._own_certificate("site-ca")), mode=0o644)

    def _sign_ca(
        self, stem: str, common_name: str, algorithm: str, by: _Signer | None, *, pathlen: int
    ) -> _Signer:
        key = _new_key(algorithm)
        life = ROOT_LIFE if by is None else INTERMEDIATE_LIFE
        certificate = self._ca(common_name, key, by, pathlen=pathlen, life=life)
        place = self.folder / "authority" / stem
        _write(place.with_name(f"{stem}.key"), _key_pem(key), mode=0o600)
        _write(place.with_name(f"{stem}.crt"), _pem(certificate), mode=0o644)
        return _Signer(certificate=certificate, key=key)

    def _ca(
        self,
        common_name: str,
        key: _PrivateKey,
        by: _Signer | None,
        *,
        pathlen: int,
        life: timedelta,
    ) -> x509.Certificate:
        """The certificate of a key that issues others; without `by` signed by itself."""
        subject = _named(common_name)
        signing = by.key if by else key
        return (
            self._draft(subject, by.certificate.subject if by else subject, key, life)
            .add_extension(x509.BasicConstraints(ca=True, path_length=pathlen), critical=True)
            .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .add_extension(_authority_identifier(signing), critical=False)
            .sign(signing, hashes.SHA256())
        )

    def _make(
        self,
        stem: str,
        *,
        common_name: str,
        by: str,
        purposes: Sequence[x509.ObjectIdentifier],
        key: _PrivateKey,
        hosts: Iterable[_Host] = (),
    ) -> _Made:
        self._refuse_overwriting(stem)
        signer = self._signer(by)
        life = min(LEAF_LIFE, signer.certificate.not_valid_after_utc - self._now())
        if life <= timedelta(0):
            raise AuthorityFault(
                f"{by} of {self.folder} has expired: make a new authority with certs init."
            )
        # RSA without ECDHE (rule 67) carries the session key under the certificate's own key
        usage = _key_usage(
            digital_signature=True, key_encipherment=isinstance(key, rsa.RSAPrivateKey)
        )
        builder = self._draft(_named(common_name), signer.certificate.subject, key, life)
        builder = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(_authority_identifier(signer.key), critical=False)
        )
        if names := list(hosts):
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(signer.key, hashes.SHA256())
        chain = (
            b""
            if signer.certificate.subject == signer.certificate.issuer
            else _pem(signer.certificate)
        )
        return _Made(
            stem=stem,
            chain=_pem(certificate) + chain,
            key=_key_pem(key),
            der=certificate.public_bytes(serialization.Encoding.DER),
        )

    def _keep(self, making: Iterable[_Made]) -> list[Issued]:
        """Write them all, or none."""
        issued = []
        files: list[tuple[Path, bytes, int]] = []
        for made in making:
            certificate, key = self._paths(made.stem)
            files += [(key, made.key, 0o600), (certificate, made.chain, 0o644)]
            issued.append(
                Issued(
                    certificate=certificate,
                    key=key,
                    sha256=sha256(made.der),
                    fingerprint=fingerprint(made.der),
                )
            )
        for number, (path, content, mode) in enumerate(files):
            try:
                _write(path, content, mode=mode)
            except OSError as error:
                for written, _, _ in files[:number]:
                    written.unlink()
                raise AuthorityFault(f"{path} cannot be written: {error.strerror}.") from error
        return issued

    def _draft(
        self, subject: x509.Name, issuer: x509.Name, key: _PrivateKey, life: timedelta
    ) -> x509.CertificateBuilder:
        now = self._now()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + life)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
        )

    def _paths(self, stem: str) -> tuple[Path, Path]:
        return self.folder / f"{stem}.crt", self.folder / f"{stem}.key"

    def _refuse_overwriting(self, *stems: str) -> None:
        for path in (path for stem in stems for path in self._paths(stem)):
            if path.exists():
                raise AuthorityFault(
                    f"{path} is there already, and certs never overwrites: "
                    "move it away first or choose another name."
                )

    def _has(self, stem: str) -> bool:
        return (self.folder / "authority" / f"{stem}.crt").exists()

    def _own_certificate(self, stem: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate(
            (self.folder / "authority" / f"{stem}.crt").read_bytes()
        )

    def _signer(self, stem: str) -> _Signer:
        path = self.folder / "authority" / f"{stem}.key"
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
            certificate = self._own_certificate(stem)
        except (OSError, ValueError, TypeError) as error:
            raise AuthorityFault(
                f"{path} or its certificate cannot be read ({error}): "
                "restore the authority's folder from its copy."
            ) from error
        assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        return _Signer(certificate=certificate, key=key)


def describe(path: Path) -> tuple[Description, ...]:
    """Every certificate of a PEM file in its order: the one issued first, then its issuers.

    Raises UnreadableCertificate.
    """
    return tuple(map(_described, _read_certificates(path)))


def _read_certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise UnreadableCertificate(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UnreadableCertificate(
            f"{path} holds no PEM certificate; name a .crt or .pem file."
        ) from error


def _described(certificate: x509.Certificate) -> Description:
    der = certificate.public_bytes(serialization.Encoding.DER)
    return Description(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        key=_kind_of_key(certificate),
        hosts=_hosts_of(certificate),
        not_before_at=certificate.not_valid_before_utc,
        not_after_at=certificate.not_valid_after_utc,
        sha256=sha256(der),
        fingerprint=fingerprint(der),
    )


def _kind_of_key(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECC {key.curve.name}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return type(key).__name__


def _hosts_of(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names)


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise NameRefused(
            f"'{name}' is no name for a certificate: use up to 64 of A-Z a-z 0-9 . _ - "
            "and begin with a letter or a digit."
        )
    if name in _RESERVED:
        raise NameRefused(f"'{name}' is a name of the authority itself: choose another.")
    return name


def _checked_hosts(hosts: Sequence[str]) -> tuple[_Host, ...]:
    if not hosts:
        raise NameRefused("A server needs at least one --host: the name or address others call.")
    return tuple(map(_checked_host, dict.fromkeys(hosts)))


def _checked_host(host: str) -> _Host:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if len(host) > 64 or not _HOST.fullmatch(host):
        raise NameRefused(
            f"'{host}' is no host name or address: "
            "write it like vtn.example, 192.0.2.7 or 2001:db8::7."
        )
    return x509.DNSName(host)


def _new_key(algorithm: str) -> _PrivateKey:
    if algorithm == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_identifier(issuer: _PrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: _PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: bytes, *, mode: int) -> None:
    """Write a new file with its mode set from its first byte on; never an existing one."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(content)
    except OSError:
        path.unlink()
        raise
