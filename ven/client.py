# SPDX-License-Identifier: Apache-2.0
"""One message to the VTN, one message back: mutual TLS, kept alive, checked by the schema."""

import asyncio
import ssl
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Protocol, Self

import oadr
from doorway import get_logger
from doorway.spared import trusting_nobody
from oadr.poll import Response
from oadr.vocabulary import ServiceName
from ven.config import VtnSettings
from ven.errors import Overloaded, Stumbled, TurnedAway, Unproven, Unreachable, Unusable

# It reads every authority of the machine, for a context that nobody here uses: 36 ms, 2.6 MB.
with trusting_nobody():
    import aiohttp

log = get_logger()

CLOCK_TOLERANCE_S = 5.0
"""The Date header counts whole seconds and has travelled; less than this says nothing."""
CONNECTIONS = 4
_HEADERS = {"Content-Type": oadr.endpoints.MEDIA_TYPE, "Accept": oadr.endpoints.MEDIA_TYPE}
_ADVICE = {
    403: (
        "give the VTN's operator this VEN's fingerprint ('ven fingerprint'); where messages are "
        "signed, compare the clocks and the certificates"
    ),
    404: "check [vtn] url",
    406: "the VTN found the message invalid",
    413: "the message is too long for the VTN",
    501: "check [vtn] url",
}


class Seal(Protocol):
    """What the client needs of ven.signing, which is loaded only where signatures are asked for."""

    def sign(self, message: oadr.Message) -> bytes: ...

    async def open(self, body: bytes) -> oadr.Message: ...


class VtnClient:
    """The connection to one VTN; `async with` opens it. Calls may be made concurrently."""

    def __init__(
        self,
        settings: VtnSettings,
        tls: ssl.SSLContext,
        *,
        now: Callable[[], datetime],
        seal: Seal | None = None,
    ) -> None:
        """With a `seal` every message is signed, anew at each try, and every answer must be."""
        self._seal = seal
        self._url = base_url(settings.url)
        self._timeout_s = settings.timeout_s
        self._tls = tls
        self._now = now
        self._session: aiohttp.ClientSession | None = None
        self.clock_offset_s: float | None = None
        """VTN clock minus ours where they differ by more than CLOCK_TOLERANCE_S, else 0; None
        before the first answer."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=CONNECTIONS, keepalive_timeout=75),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def post(self, service: ServiceName, message: oadr.Message) -> oadr.Message:
        """Send one message and return the VTN's answer, whatever it is.

        Raises Unreachable (also for answers that are no OpenADR, or prove nothing where signatures
        are asked for), Overloaded, TurnedAway, Unusable.
        """
        assert self._session is not None
        url = f"{self._url}/{service.value}"
        body = oadr.build(message) if self._seal is None else self._seal.sign(message)
        try:
            async with self._session.post(url, data=body, allow_redirects=False) as response:
                received = await _read(response)
                self._compare_clocks(response.headers.get("Date"))
                status = response.status
                retry_after = response.headers.get("Retry-After")
        except aiohttp.ClientConnectorCertificateError as error:
            why = getattr(error.certificate_error, "verify_message", "") or str(error)
            raise Unreachable(
                f"{url}: the VTN's certificate is not good by [vtn] ca ({why}); check both."
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"{url}: the VTN does not answer ({_why(error)}).") from error
        if status != 200:
            raise _by_status(url, status, self._seconds(retry_after))
        return await self._parsed(url, received)

    async def _parsed(self, url: str, received: bytes) -> oadr.Message:
        try:
            if self._seal is not None:
                return await self._seal.open(received)
            if not received.strip():
                # Nothing at all is how a VTN may acknowledge what wants no answer, as in push.
                return Response(response=oadr.EiResponse())
            return oadr.parse(received)
        except oadr.InvalidContent as error:
            raise Unusable(
                f"{url}: {error}",
                response_code=error.response_code,
                message=error.message,
                request_id=error.request_id,
            ) from error
        except oadr.errors.Unproven as error:
            raise Unproven(f"{url}: the answer is ignored (rule 514): {error}") from error
        except oadr.OadrError as error:
            raise Unreachable(f"{url}: the answer is not OpenADR 2.0b: {error}") from error

    def _seconds(self, retry_after: str | None) -> float | None:
        """Retry-After: a number of seconds, or a date; None for neither."""
        if retry_after is None:
            return None
        if retry_after.isascii() and retry_after.isdigit():
            return float(retry_after)
        try:
            return (parsedate_to_datetime(retry_after) - self._now()).total_seconds()
        except (ValueError, TypeError):  # TypeError: a date without a zone
            return None

    def _compare_clocks(self, date: str | None) -> None:
        if date is None:
            return
        try:
            offset_s = (parsedate_to_datetime(date) - self._now()).total_seconds()
        except (ValueError, TypeError):  # TypeError: a Date without a zone
            return
        apart = abs(offset_s) > CLOCK_TOLERANCE_S
        if apart and not self.clock_offset_s:
            log.warning("clocks_differ", vtn_ahead_by_s=round(offset_s, 1))
        elif not apart and self.clock_offset_s:
            log.info("clocks_agree_again")
        self.clock_offset_s = offset_s if apart else 0.0


def base_url(url: str) -> str:
    """`https://host` or `https://host/OpenADR2/Simple/2.0b/` -> the latter without the slash."""
    base = url.rstrip("/")
    return base if base.endswith(oadr.endpoints.PREFIX) else base + oadr.endpoints.PREFIX


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole body, but never more than a payload may have (nor what a bomb unpacks to)."""
    received = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        received += chunk
        if len(received) > oadr.MAX_BYTES:
            response.close()
            raise aiohttp.ClientPayloadError("the answer is too long")
    return bytes(received)


def _by_status(
    url: str, status: int, retry_after_s: float | None = None
) -> Unreachable | TurnedAway:
    if status in (429, 503):
        return Overloaded(
            f"{url}: the VTN is overloaded (HTTP {status}).", retry_after_s=retry_after_s
        )
    if status == 500:
        return Stumbled(f"{url}: the VTN failed at the message (HTTP 500).", http_status=500)
    if status in _ADVICE:
        return TurnedAway(
            f"{url}: the VTN turned the message away with HTTP {status}; {_ADVICE[status]}.",
            http_status=status,
        )
    return Unreachable(f"{url}: the VTN answered with HTTP {status}.")


def _why(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
