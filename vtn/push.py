# SPDX-License-Identifier: Apache-2.0
"""HTTP push: what waits for a VEN is brought to it, one message at a time (rules 38, 51, 511).

    queue ──▶ POST address/OpenADR2/Simple/2.0b/<service> ──▶ 200, empty     the answer comes later
      ▲                                                   ──▶ 200, a payload  the answer, acted on
      └──────── 1 s, 2 s, 4 s ... ±10 % ◀─────────────────── anything else    tried again

The queue is the one that a poll would drain (vtn.services.poll): what is not answered is pushed
again, after a restart too. Each VEN has a line of its own, so that none waits for another. Nothing
is written before the other end has shown the very certificate that is registered for the VEN.
"""

import asyncio
import hmac
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import aiohttp
from aiohttp.client_reqrep import ClientRequest, ClientResponse
from aiohttp.connector import Connection

import oadr
from doorway import get_logger
from oadr.endpoints import MEDIA_TYPE, path
from oadr.fingerprint import sha256
from oadr.vocabulary import ServiceName
from vtn.conversation import Exchange
from vtn.directory import Entry, nobody_listens
from vtn.errors import Conflict, NotPushed, StoreUnavailable
from vtn.forwarded import Shown
from vtn.gateway import PUSHED, Gateway
from vtn.listener import push_context
from vtn.records import Ven
from vtn.revocation import RevocationLists
from vtn.services.office import Caller, Office
from vtn.services.poll import Outgoing, next_message
from vtn.services.pushed import arrived, not_arrived, turned_down

log = get_logger()

TIMEOUT_S = 15.0
"""For one exchange, from the connection to the end of the answer."""
SETTLE_S = 0.5
"""After a registration, so that its answer is with the VEN before anything else."""
FIRST_S = 1.0
SPREAD = 0.1

SERVICE_OF = {
    "oadrDistributeEvent": ServiceName.EVENT,
    "oadrCreateReport": ServiceName.REPORT,
    "oadrCancelReport": ServiceName.REPORT,
    "oadrRegisterReport": ServiceName.REPORT,
    "oadrCancelPartyRegistration": ServiceName.REGISTER_PARTY,
    "oadrRequestReregistration": ServiceName.REGISTER_PARTY,
}
"""Where each message that a VTN begins with goes."""

_wanted: ContextVar[bytes] = ContextVar("_wanted")
"""SHA-256 of the certificate that the other end of this task's request must show."""
_lists: ContextVar[RevocationLists | None] = ContextVar("_lists", default=None)
"""And on none of which it may stand."""


class WrongCertificate(aiohttp.ClientError):
    """Another certificate than the one registered for the VEN."""


class _PinnedRequest(ClientRequest):
    """Writes nothing until the other end has shown the right certificate."""

    async def send(self, conn: Connection) -> ClientResponse:
        transport = conn.transport
        tls = transport.get_extra_info("ssl_object") if transport is not None else None
        der = tls.getpeercert(binary_form=True) if tls is not None else None
        shown = sha256(der) if der else ""
        if not hmac.compare_digest(shown.encode(), _wanted.get()):
            raise WrongCertificate(
                "another certificate is shown there than the one registered for this VEN"
            )
        lists = _lists.get()
        if lists and der and lists.revoked(*_issued(der)):
            raise WrongCertificate("the certificate of this VEN is on a revocation list")
        return await super().send(conn)


def _issued(der: bytes) -> tuple[bytes, int]:
    """The issuer and the number of a certificate."""
    shown = Shown.of(der)
    return shown.issuer, shown.serial


def pause_s(failures: int, *, longest_s: float, draw: Callable[[], float]) -> float:
    """How long to wait after so many failures in a row (at least 1); `draw` gives [0, 1).

    >>> pause_s(3, longest_s=300, draw=lambda: 0.5)
    4.0
    """
    nominal = min(FIRST_S * 2.0 ** min(failures - 1, 30), longest_s)
    return nominal * (1 + SPREAD * (2 * draw() - 1))


def _registered_as(ven: Ven) -> object:
    return (ven.registration_id, ven.registered_at, ven.push_address)


@dataclass(slots=True)
class _Line:
    """The way to one VEN."""

    entry: Entry
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    registered_as: object = None
    """Registration and address that were pushed to last, or were there when pushing began."""
    not_before_s: float = 0.0
    """On the monotonic clock."""
    failures: int = 0


class Pusher:
    """Pushes to every VEN that registers for it; an async context manager."""

    def __init__(
        self,
        office: Office,
        gateway: Gateway,
        tasks: asyncio.TaskGroup,
        session: aiohttp.ClientSession,
        *,
        revocation: RevocationLists | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._office = office
        self._gateway = gateway
        self._tasks = tasks
        self._session = session
        self._revocation = revocation
        self._monotonic = monotonic
        self._draw = draw
        self._lines: dict[str, _Line] = {}
        self._running: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin with every VEN that is registered for push already."""
        for entry in self._office.directory.entries():
            if entry.ven.push_address is not None:
                self._add(_Line(entry, registered_as=_registered_as(entry.ven)))

    def ring(self, entry: Entry) -> None:
        """Something was put in for this VEN, or has changed about it."""
        line = self._lines.get(entry.ven.ven_id)
        if line is None and entry.ven.push_address is not None:
            line = self._add(_Line(entry))
        if line is not None:
            line.bell.set()

    def _add(self, line: _Line) -> _Line:
        self._lines[line.entry.ven.ven_id] = line
        task = self._tasks.create_task(self._serve(line))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return line

    async def close(self) -> None:
        """Stop; what is under way is tried again after the next start."""
        running = list(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    async def _serve(self, line: _Line) -> None:
        while True:
            line.bell.clear()
            try:
                wait_s = await self._turn(line)
            except (StoreUnavailable, Conflict) as error:
                log.warning("nothing pushed", ven=line.entry.ven.ven_id, reason=str(error))
                wait_s = self._failed(line)
            except Exception:
                log.exception("pushing failed", ven=line.entry.ven.ven_id)
                wait_s = self._failed(line)
            try:
                async with asyncio.timeout(wait_s):
                    await line.bell.wait()
            except TimeoutError:
                continue

    async def _turn(self, line: _Line) -> float | None:
        """Push the next message, if any; how long to wait then, None: until the bell rings."""
        entry, office = line.entry, self._office
        ven = entry.ven
        if ven.push_address is None or not ven.registered or ven.revoked_at is not None:
            return None
        registered_as = _registered_as(ven)
        if line.registered_as != registered_as:
            line.registered_as, line.failures = registered_as, 0
            line.not_before_s = self._monotonic() + SETTLE_S
        wait_s = line.not_before_s - self._monotonic()
        if wait_s > 0:
            return wait_s
        if not entry.is_due(office.now()):
            return self._until_due(entry)
        caller = Caller(entry, PUSHED)
        outgoing = await next_message(
            office, caller, resend_after=office.resend_after, address=ven.push_address
        )
        if outgoing is None:
            return self._until_due(entry)
        try:
            await self._push(entry, ven.push_address, outgoing)
        except NotPushed as error:
            wait_s = self._failed(line)
            log.info(
                "not pushed",
                ven=ven.ven_id,
                message=outgoing.kind,
                reason=str(error),
                again_in_s=round(wait_s, 1),
            )
            await not_arrived(office, caller, outgoing)
            return wait_s
        except BaseException:
            entry.unconfirmed = None  # nobody knows whether it arrived
            raise
        line.failures = 0
        office.directory.reach(entry, arrived=True)
        return 0.0

    def _until_due(self, entry: Entry) -> float | None:
        if entry.due_at is None:
            return None
        wait_s = (entry.due_at - self._office.now()).total_seconds()
        return wait_s if wait_s > 0 else FIRST_S  # what is put in meanwhile rings the bell

    def _failed(self, line: _Line) -> float:
        line.failures += 1
        self._office.directory.reach(line.entry, arrived=False)
        longest_s = self._office.settings.openadr.push_retry_s
        wait_s = pause_s(line.failures, longest_s=longest_s, draw=self._draw)
        line.not_before_s = self._monotonic() + wait_s
        return wait_s

    async def _push(self, entry: Entry, address: str, outgoing: Outgoing) -> None:
        """Raises NotPushed, StoreUnavailable."""
        office, ven = self._office, entry.ven
        body = await self._gateway.seal(ven, outgoing.body)
        answer, status = b"", 0
        try:
            answer = await self._post(ven.certificate_sha256, address, outgoing.kind, body)
            status = 200
        except NotPushed as error:
            answer = str(error).encode()
            raise
        finally:
            office.conversation.hear(
                Exchange(
                    office.now(),
                    ven.ven_id,
                    ven.certificate_sha256,
                    SERVICE_OF[outgoing.kind].value,
                    status,
                    body,
                    answer,
                    pushed=True,
                )
            )
        office.directory.touch(entry, office.now())
        caller = Caller(entry, PUSHED)
        await arrived(office, caller)
        if not answer:
            return
        message = await self._gateway.take(ven, answer)
        if isinstance(message, oadr.poll.Response) and not message.response.ok:
            await turned_down(office, caller, outgoing, message.response)

    async def _post(self, certificate: str, address: str, kind: str, body: bytes) -> bytes:
        """The answer's body, "" for none. Raises NotPushed."""
        _wanted.set(certificate.encode())
        _lists.set(self._revocation)
        most = self._office.settings.openadr.max_bytes
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._session.post(
                    address + path(SERVICE_OF[kind]),
                    data=body,
                    headers={"Content-Type": MEDIA_TYPE, "Accept-Encoding": "identity"},
                    allow_redirects=False,
                ) as response,
            ):
                if response.status != 200:
                    raise NotPushed(f"it answered HTTP {response.status}")
                answer = bytearray()
                async for part in response.content.iter_chunked(65_536):
                    answer += part
                    if len(answer) > most:
                        raise NotPushed(f"its answer is longer than {most} bytes")
                return bytes(answer).strip()
        except TimeoutError as error:
            raise NotPushed(f"it did not answer within {TIMEOUT_S:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NotPushed(str(error) or type(error).__name__) from error


@asynccontextmanager
async def pushing(
    tasks: asyncio.TaskGroup,
    office: Office,
    gateway: Gateway,
    revocation: RevocationLists | None = None,
) -> AsyncIterator[Pusher]:
    """Push while the block runs. Raises ListenerFault for certificates that cannot be used."""
    connector = aiohttp.TCPConnector(ssl=push_context(office.settings.openadr), limit=0)
    async with aiohttp.ClientSession(
        connector=connector,
        request_class=_PinnedRequest,
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    ) as session:
        pusher = Pusher(office, gateway, tasks, session, revocation=revocation)
        directory = office.directory
        directory.on_news = pusher.ring
        pusher.start()
        try:
            yield pusher
        finally:
            directory.on_news = nobody_listens
            await pusher.close()


async def push(office: Office, gateway: Gateway, revocation: RevocationLists | None = None) -> None:
    """Push for ever (a duty, see vtn.duties), to nobody on a revocation list."""
    async with asyncio.TaskGroup() as tasks, pushing(tasks, office, gateway, revocation):
        await asyncio.Event().wait()
