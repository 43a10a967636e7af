# SPDX-License-Identifier: Apache-2.0
"""XML signatures: which VEN must sign, whether it did, and our own beneath what it gets (rule 514).

                              off        when the VEN signs              required
    registers as signing      459        must sign from that on          as everybody
    everybody else            as is      as is; signed answers to signed must sign

Who need not sign and does is answered signed where the signature is good: a VEN whose registration
we have lost would else ignore the very answer that tells it so. A message without proof, where it
is asked for, is answered 403 and nothing else. The certificate that counts is the registered one,
which is also that of the connection; what KeyInfo says is never read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

import oadr
from oadr.codec import Element
from oadr.errors import BadSignature, InvalidContent, Unproven, UnusableKey
from oadr.registration import CreatePartyRegistration
from oadr.replay import Nonce, NonceWindow
from oadr.signature import Signer, Verified, Verifier, verifier_of
from vtn.config import Chain, OpenAdrSettings
from vtn.errors import ListenerFault
from vtn.records import Ven
from vtn.services.office import Office
from vtn.store.nonces import Nonces


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a body turned out to be."""

    content: oadr.Message | InvalidContent
    verified: Verified | None = None
    """None where no signature was asked for."""
    signed: bool = False
    """Whether it bears a good signature, asked for or not."""


class Proof:
    """Verifies what VENs say, and signs what they are told."""

    def __init__(self, settings: OpenAdrSettings, nonces: Nonces) -> None:
        """Raises ListenerFault, naming the file, for a chain that cannot sign."""
        self._required = settings.signatures == "required"
        self._signers = _signers(settings.certificates)
        self._window = NonceWindow(window=timedelta(seconds=settings.window_s), store=nonces)
        self._recalled = False

    def asks(self, ven: Ven) -> bool:
        """Whether what this VEN says must be signed."""
        return self._required or ven.xml_signature

    def open(self, body: bytes, ven: Ven, der: bytes | None, *, max_bytes: int) -> Opened:
        """The message in a body; where it must be signed, read from what was verified.

        `der` is the certificate of the connection, which is the registered one. A registration that
        promises signatures must itself be signed. Raises Refused; `admit` must follow.
        """
        root = oadr.checked(body, max_bytes=max_bytes)
        asked = self.asks(ven)
        if not asked:
            content = _content(root[-1])
            asked = isinstance(content, CreatePartyRegistration) and content.xml_signature
        try:
            verified = _verifier(ven.certificate_der or der).verify(root)
        except Unproven:
            if asked:
                raise
            return Opened(content=content)
        content = _content(verified.signed_object)
        return Opened(content=content, verified=verified if asked else None, signed=True)

    async def admit(self, office: Office, ven: Ven, verified: Verified) -> None:
        """Let a verified message count, this once; its nonce is on the disk when this returns.

        Raises Unproven outside the window and for a replay, NonceMemoryFull, StoreUnavailable.
        """
        now = office.now()
        if not self._recalled:
            await self._window.recall(now=now)
            self._recalled = True
        nonce = Nonce(sender=ven.ven_id, value=verified.nonce, sent_at=verified.sent_at)
        await self._window.admit(nonce, now=now)

    def sealed(self, office: Office, ven: Ven, der: bytes | None, body: bytes) -> bytes:
        """The payload, signed with the key whose kind is that of the VEN's own."""
        der = ven.certificate_der or der
        kind = der is not None and _is_rsa(der)
        signer = self._signers.get(kind) or next(iter(self._signers.values()))
        return signer.sign(body, now=office.now())


def _content(signed_object: Element) -> oadr.Message | InvalidContent:
    try:
        return oadr.read_message(signed_object)
    except InvalidContent as error:
        return error


def _verifier(der: bytes | None) -> Verifier:
    if der is None:
        raise BadSignature("The certificate of this VEN is not known yet; add it with --cert.")
    try:
        return verifier_of(der)
    except UnusableKey as error:
        raise BadSignature(f"The registered certificate cannot verify: {error}") from error


def _signers(chains: Sequence[Chain]) -> Mapping[bool, Signer]:
    """RSA or not -> the first chain of that kind."""
    signers: dict[bool, Signer] = {}
    for chain in chains:
        try:
            certificate = chain.cert.read_bytes()
            signer = Signer(certificate, chain.key.read_bytes())
            key = x509.load_pem_x509_certificate(certificate).public_key()
        except (OSError, ValueError, UnusableKey) as error:
            raise ListenerFault(
                f"{chain.cert} with {chain.key}: this cannot sign ({error}); see "
                '[[openadr.certificates]], or set signatures = "off".'
            ) from error
        signers.setdefault(isinstance(key, rsa.RSAPublicKey), signer)
    return signers


@lru_cache(maxsize=4096)
def _is_rsa(der: bytes) -> bool:
    try:
        return isinstance(x509.load_der_x509_certificate(der).public_key(), rsa.RSAPublicKey)
    except ValueError:
        return False
