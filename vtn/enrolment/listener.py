# SPDX-License-Identifier: Apache-2.0
"""The HTTPS listener where devices enrol: EST (RFC 7030), and nothing else.

GET  /.well-known/est/cacerts           whom to trust, and what to show behind one's certificate
POST /.well-known/est/simpleenroll      HTTP Basic, the password is a one-time code
POST /.well-known/est/simplereenroll    with the certificate that is to be renewed
GET  /.well-known/demandflex/ven        with a certificate: who its VEN is, and where it registers

A client certificate is asked for and need not be given. One request a connection, and MOST_S for
all of it: anybody may come here, so nobody may stay.
"""

import asyncio
import base64
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final, Self, cast

import msgspec
from aiohttp import BasicAuth, web
from aiohttp.web_request import BaseRequest

from certs.issuing import certs_only
from doorway import get_logger
from vtn.config import Settings
from vtn.enrolment.room import Enrolment
from vtn.errors import Conflict, NotEnrolled, StoreUnavailable
from vtn.forwarded import Shown
from vtn.greeting import Greeting
from vtn.listener import tls_context
from vtn.revocation import RevocationLists

log = get_logger()

EST: Final = "/.well-known/est"
VEN: Final = "/.well-known/demandflex/ven"
HANDSHAKE_S: Final = 10.0
MOST_S: Final = 20.0
LINGER_S: Final = 2.0
STOP_S: Final = 2.0
MOST_CONNECTIONS: Final = 200
"""Open at once; one more, and the oldest is closed."""
MOST_OF_ONE: Final = 20
"""From one address."""
MAX_BYTES: Final = 32 * 1024
"""A request for RSA-4096 has 2 KiB."""
_PLAIN: Final = {"Connection": "close", "Server": "vtn"}
"""One answer a connection; whoever comes need not know what it is made of."""
_PKCS10: Final = ("application/pkcs10", "application/octet-stream")


class VenHere(msgspec.Struct, frozen=True, kw_only=True):
    """What a device is told of itself."""

    vtn_id: str
    vtn_url: str
    ven_id: str
    name: str
    resources: tuple[str, ...]
    groups: tuple[str, ...]


def _nothing() -> None:
    """There is no connection to abort yet."""


class _Connection(web.RequestHandler):
    """One connection; however slow the other end is, it ends."""

    def __init__(self, *args: Any, listener: "EnrolmentListener", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._listener = listener
        self._timer: asyncio.TimerHandle | None = None
        self.shown: Shown | None = None
        self.abort: Callable[[], None] = _nothing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        tcp = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        tls = transport.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True) if tls is not None else None
        try:
            self.shown = Shown.of(der) if der else None
        except ValueError:  # OpenSSL takes some certificates that can be nobody's
            tcp.abort()
            return
        self.abort = tcp.abort
        peer = transport.get_extra_info("peername")
        if not self._listener.enter(self, str(peer[0]) if isinstance(peer, tuple) else ""):
            tcp.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(MOST_S, tcp.abort)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._listener.leave(self)
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def handle_error(self, *args: Any, **kwargs: Any) -> web.StreamResponse:
        """Without aiohttp's page, which shows what came back to who sent it."""
        response = super().handle_error(*args, **kwargs)
        if isinstance(response, web.Response):
            response.text = "This is no HTTP request that can be answered."
        return response


class _Server(web.Server):
    """Makes our connections instead of aiohttp's."""

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class EnrolmentListener:
    """An async context manager that listens while it is open."""

    def __init__(
        self,
        settings: Settings,
        enrolment: Enrolment,
        listening: socket.socket,
        revocation: RevocationLists,
    ) -> None:
        """Raises ListenerFault for certificates that cannot be used."""
        self._settings = settings
        self._enrolment = enrolment
        self._listening = listening
        self._revocation = revocation
        self._context = tls_context(settings.openadr)
        self._context.verify_mode = ssl.CERT_OPTIONAL
        self._open: dict[_Connection, str] = {}  # the oldest first, with its address
        self.port: int = listening.getsockname()[1]

    async def __aenter__(self) -> Self:
        self._server = _Server(
            self._handle,
            listener=self,
            keepalive_timeout=LINGER_S,
            access_log=None,
            auto_decompress=False,
            lingering_time=LINGER_S,
            max_line_size=8190,
        )
        self._greeting = Greeting(
            self._listening,
            self._server,
            self._context,
            handshake_s=HANDSHAKE_S,
            shutdown_s=LINGER_S,
        )
        self._greeting.open()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._greeting.close()
        self._server.pre_shutdown()
        await self._server.shutdown(STOP_S)

    def enter(self, connection: _Connection, peer: str) -> bool:
        """Whether a connection may stay; where there are too many the oldest makes room."""
        if list(self._open.values()).count(peer) >= MOST_OF_ONE:
            return False
        if len(self._open) >= MOST_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.abort()
        self._open[connection] = peer
        return True

    def leave(self, connection: _Connection) -> None:
        self._open.pop(connection, None)

    async def _handle(self, request: BaseRequest) -> web.Response:
        try:
            return await self._answer(request)
        except NotEnrolled as refusal:
            log.info("not enrolled", client=_peer(request), reason=str(refusal))
            return _refuse(refusal.status, str(refusal))
        except (StoreUnavailable, Conflict) as error:
            log.warning("nothing stored", client=_peer(request), reason=str(error))
            return _refuse(503, "The VTN cannot store anything at the moment; come again later.")
        except ConnectionError:
            return _refuse(400, "The connection broke.")
        except Exception:
            log.exception("a request failed", client=_peer(request))
            return _refuse(500, "The VTN could not answer; the reason is in its log.")

    async def _answer(self, request: BaseRequest) -> web.Response:
        doors: dict[str, tuple[str, Callable[[BaseRequest], Awaitable[web.Response]]]] = {
            f"{EST}/cacerts": ("GET", self._cacerts),
            f"{EST}/simpleenroll": ("POST", self._enrol),
            f"{EST}/simplereenroll": ("POST", self._renew),
            VEN: ("GET", self._ven),
        }
        found = doors.get(request.path)
        if found is None:
            return _refuse(404, f"There is {', '.join(doors)}, and nothing else.")
        method, door = found
        if request.method != method:
            return _refuse(405, f"{request.path} takes {method}.", Allow=method)
        return await door(request)

    async def _cacerts(self, _request: BaseRequest) -> web.Response:
        return _certificates(self._enrolment.authorities, "application/pkcs7-mime")

    async def _enrol(self, request: BaseRequest) -> web.Response:
        given = request.headers.get("Authorization", "")
        try:
            password = BasicAuth.decode(given, encoding="utf-8").password
        except (ValueError, UnicodeError):
            return _refuse(401, "Send the one-time code as the password (HTTP Basic).")
        body = await self._body(request)
        return _issued(await self._enrolment.enrol(password, body, peer=_peer(request)))

    async def _renew(self, request: BaseRequest) -> web.Response:
        shown = self._shown(request)
        return _issued(await self._enrolment.renew(shown.der, await self._body(request)))

    async def _ven(self, request: BaseRequest) -> web.Response:
        ven = await self._enrolment.ven_of(self._shown(request).der)
        vtn = self._settings.vtn
        here = VenHere(
            vtn_id=vtn.id,
            vtn_url=vtn.url,
            ven_id=ven.ven_id,
            name=ven.name,
            resources=ven.resources,
            groups=ven.groups,
        )
        return web.Response(
            body=msgspec.json.encode(here), content_type="application/json", headers=_PLAIN
        )

    def _shown(self, request: BaseRequest) -> Shown:
        """The certificate of the other end. Raises NotEnrolled."""
        connection = request.protocol
        assert isinstance(connection, _Connection)
        shown = connection.shown
        if shown is None:
            raise NotEnrolled("Show the certificate that is to be renewed (TLS).", status=403)
        if self._revocation.revoked(shown.issuer, shown.serial):
            raise NotEnrolled("This certificate was revoked.", status=403)
        return shown

    @staticmethod
    async def _body(request: BaseRequest) -> bytes:
        """Raises NotEnrolled."""
        if request.content_type not in _PKCS10:
            raise NotEnrolled("The content type is application/pkcs10.", status=415)
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise NotEnrolled("A body is not compressed.", status=415)
        if request.content_length is None:
            raise NotEnrolled("A body has a Content-Length and is not chunked.", status=411)
        if request.content_length > MAX_BYTES:
            raise NotEnrolled(f"A body has at most {MAX_BYTES} bytes.", status=413)
        return await request.content.read()


def _peer(request: BaseRequest) -> str:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return str(peer[0]) if isinstance(peer, tuple) else ""


def _issued(der: bytes) -> web.Response:
    return _certificates((der,), "application/pkcs7-mime; smime-type=certs-only")


def _certificates(ders: tuple[bytes, ...], kind: str) -> web.Response:
    """As RFC 7030 has it: base 64 in lines."""
    headers = {
        "Content-Type": kind,
        "Content-Transfer-Encoding": "base64",
        **_PLAIN,
    }
    return web.Response(body=base64.encodebytes(certs_only(*ders)), headers=headers)


def _refuse(status: int, sentence: str, **headers: str) -> web.Response:
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="one-time code", charset="UTF-8"'
    if status in (429, 503):
        headers["Retry-After"] = "3600" if status == 429 else "5"
    return web.Response(status=status, text=sentence, headers={**headers, **_PLAIN})
