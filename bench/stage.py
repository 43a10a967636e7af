# SPDX-License-Identifier: Apache-2.0
"""The stage of a run: its folder, its authority, and VENs with certificates of their own."""

import shutil
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bench.load import client_context
from certs.authority import Authority, Issued
from oadr.signature import Signer, Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One VEN of a benchmark."""

    ven_id: str
    issued: Issued
    trust: Path

    def context(self) -> ssl.SSLContext:
        """Its side of mutual TLS."""
        return client_context(
            trust=self.trust, certificate=self.issued.certificate, key=self.issued.key
        )

    def der(self) -> bytes:
        """Its certificate."""
        pem = self.issued.certificate.read_bytes()
        return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)

    def signer(self) -> Signer:
        """Signs with the key of its certificate."""
        return Signer(self.issued.certificate.read_bytes(), self.issued.key.read_bytes())


class Stage:
    """A folder that is cleared first.

    With `profiles` our VTN is sampled while it serves and leaves there what it found: see
    bench.profiled. It costs some percent, so such a run has no figures to keep.
    """

    def __init__(self, folder: Path, *, profiles: Path | None = None) -> None:
        if profiles is not None:
            profiles.mkdir(parents=True, exist_ok=True)
        self.profiles = profiles
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder
        self.authority = Authority.create(folder / "pki")
        self.authority.vtn(["127.0.0.1"])
        self._issued = 0

    @property
    def pki(self) -> Path:
        return self.authority.folder

    def chain(self, kind: str) -> tuple[Path, Path]:
        """The VTN's certificate and key; `kind` is "ecc" or "rsa"."""
        return self.pki / f"vtn-{kind}.crt", self.pki / f"vtn-{kind}.key"

    def vtn_verifier(self) -> Verifier:
        """Verifies what a VTN has signed with either key."""
        return Verifier(*(self.chain(kind)[0].read_bytes() for kind in ("ecc", "rsa")))

    def sites(self, count: int, *, rsa: bool = False) -> list[Site]:
        """So many fresh VENs."""
        made = []
        for _ in range(count):
            self._issued += 1
            ven_id = (
                f"ven-{self._issued:05}"  # a venID of digits alone openleadr takes for a number
            )
            issued = self.authority.ven(ven_id, rsa=rsa)
            made.append(Site(ven_id=ven_id, issued=issued, trust=self.authority.vtn_trust))
        return made
