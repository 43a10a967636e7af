# SPDX-License-Identifier: Apache-2.0
"""The enrolment listener of a VTN as a device meets it: EST (RFC 7030).

At first nothing is believed: the authorities that the listener sends are of use only where one of
them has the fingerprint that the sheet says, and the listener's own certificate is from that one.

Imported only where something is enrolled or renewed: it takes `cryptography`.
"""

import base64
import binascii
import ssl
from collections.abc import Sequence
from typing import Final

import aiohttp
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from doorway.values import value
from ven.errors import EnrolmentFault, EnrolmentRefused

TIMEOUT_S: Final = 20.0
_MOST: Final = 256 * 1024
_EST: Final = "/.well-known/est"
_VEN: Final = "/.well-known/demandflex/ven"


class VenHere(msgspec.Struct, frozen=True, kw_only=True):
    """What the VTN says of the VEN whose certificate this is."""

    vtn_id: str
    vtn_url: str
    ven_id: str
    name: str
    resources: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@value
class Authorities:
    """What a listener sends everybody."""

    roots: tuple[x509.Certificate, ...]
    """Whom to trust as issuers of VTN certificates."""
    issuers: tuple[x509.Certificate, ...]
    """What is shown behind a certificate that was issued here."""

    def chain_of(self, leaf: x509.Certificate) -> list[x509.Certificate]:
        """The certificate, then its issuer if that is one of these."""
        return [leaf, *(one for one in self.issuers if one.subject == leaf.issuer)]


async def pinned_authorities(url: str, root: str) -> Authorities:
    """The authorities of the listener that the sheet means; `root` is a SHA-256 of it.

    Raises EnrolmentFault.
    """
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname = False
    blind.verify_mode = (
        ssl.CERT_NONE
    )  # nothing that comes is believed before it has the fingerprint
    offered = await authorities(url, blind)
    known = [one for one in offered.roots if one.fingerprint(hashes.SHA256()).hex() == root]
    if not known:
        raise EnrolmentFault(
            f"{url}: what answers there is not of the authority that the sheet names; compare "
            "--root with the sheet, and if it is right tell the operator: somebody stands between."
        )
    return await authorities(url, trusting(known))


def trusting(roots: Sequence[x509.Certificate]) -> ssl.SSLContext:
    """A context that believes in these alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(
        cadata="".join(one.public_bytes(Encoding.PEM).decode() for one in roots)
    )
    return context


async def authorities(url: str, tls: ssl.SSLContext) -> Authorities:
    """Raises EnrolmentFault."""
    found = _certificates(url, await _ask(url, "GET", f"{_EST}/cacerts", tls))
    return Authorities(
        roots=tuple(one for one in found if one.subject == one.issuer),
        issuers=tuple(one for one in found if one.subject != one.issuer),
    )


async def enrol(
    url: str, tls: ssl.SSLContext, csr: x509.CertificateSigningRequest, code: str
) -> x509.Certificate:
    """The certificate for a one-time code. Raises EnrolmentFault, EnrolmentRefused."""
    auth = aiohttp.BasicAuth("code", code)
    body = await _ask(url, "POST", f"{_EST}/simpleenroll", tls, csr=csr, auth=auth)
    return _certificates(url, body)[0]


async def renew(
    url: str, tls: ssl.SSLContext, csr: x509.CertificateSigningRequest
) -> x509.Certificate:
    """The next certificate; `tls` shows the one before. Raises as `enrol`."""
    return _certificates(url, await _ask(url, "POST", f"{_EST}/simplereenroll", tls, csr=csr))[0]


async def ven_here(url: str, tls: ssl.SSLContext) -> VenHere:
    """What the VTN says of us; `tls` shows our certificate. Raises as `enrol`."""
    try:
        return msgspec.json.decode(await _ask(url, "GET", _VEN, tls), type=VenHere)
    except msgspec.DecodeError as error:
        raise _odd(url) from error


async def _ask(
    url: str,
    method: str,
    path: str,
    tls: ssl.SSLContext,
    *,
    csr: x509.CertificateSigningRequest | None = None,
    auth: aiohttp.BasicAuth | None = None,
) -> bytes:
    headers, data = {}, None
    if csr is not None:
        data = base64.encodebytes(csr.public_bytes(Encoding.DER))
        headers = {"Content-Type": "application/pkcs10", "Content-Transfer-Encoding": "base64"}
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls),
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            ) as session,
            session.request(
                method, url + path, data=data, headers=headers, auth=auth, allow_redirects=False
            ) as answer,
        ):
            body = await answer.content.read(_MOST)
            while more := await answer.content.read(_MOST):
                body += more
                if len(body) > _MOST:
                    raise _odd(url)
            status = answer.status
    except aiohttp.ClientConnectorCertificateError as error:
        why = getattr(error.certificate_error, "verify_message", "") or str(error)
        raise EnrolmentFault(
            f"{url}: its certificate is not of the authority that is trusted here ({why}); compare "
            "the address and --root with the sheet, and look at the clock of this device."
        ) from error
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        why = str(error) or "no answer in time"
        raise EnrolmentFault(
            f"{url}: the VTN does not answer ({why}); the same command may be tried again."
        ) from error
    if status == 200:
        return body
    sentence = body[:500].decode(errors="replace").strip()
    if 400 <= status < 500:
        raise EnrolmentRefused(f"The VTN refuses ({status}): {sentence}", status=status)
    raise EnrolmentFault(f"{url}: the VTN cannot do it now (HTTP {status}): {sentence}")


def _certificates(url: str, body: bytes) -> list[x509.Certificate]:
    try:
        found = pkcs7.load_der_pkcs7_certificates(base64.b64decode(b"".join(body.split())))
    except (ValueError, binascii.Error) as error:
        raise _odd(url) from error
    if not found:
        raise _odd(url)
    return found


def _odd(url: str) -> EnrolmentFault:
    return EnrolmentFault(
        f"{url}: what answers there is no enrolment listener (EST); see the sheet."
    )
