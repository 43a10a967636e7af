# SPDX-License-Identifier: Apache-2.0
"""What is fuzzed: each target takes any bytes, and lets out no fault but those it promises.

parse       oadr.parse: a message, Refused or InvalidContent; what it reads reads back the same
signature   a signed message, altered: refused, or it says just what was signed
gateway     the whole VTN behind its listener: an answer that is no 5xx, and OpenADR if it is a 200
front       the header of a TLS front: a certificate, or NotShown
ems         a message of the building's EMS: MessageRefused or a message that reads back the same
local       a line on the light node's socket: one answer
settings    the TOML of each program: SettingsFault
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from multidict import CIMultiDict, CIMultiDictProxy

import oadr
from certs import Authority
from doorway import Fault
from ems_bridge.errors import MessageRefused
from ems_bridge.messages import decode, encode
from light_node import settings as node_settings
from light_node.errors import LightNodeFault
from light_node.local import Answer, AnyAnswer, AnyRequest, LocalServer, Status
from oadr.errors import InvalidContent, Refused, Unbuildable
from oadr.event import RequestEvent
from oadr.opt import CancelOpt
from oadr.poll import Poll
from oadr.registration import CancelPartyRegistration, CreatePartyRegistration, QueryRegistration
from oadr.report import CancelReport, RegisterReport, Report, ReportDescription, SamplingRate
from oadr.signature import Signer, Verifier
from oadr.target import Target as EiTarget
from oadr.units import power
from oadr.vocabulary import ServiceName
from ven import config as ven_settings
from vtn import config as vtn_settings
from vtn.config import CertificateHeader, Settings
from vtn.desk import Desk as VtnDesk
from vtn.directory import Directory
from vtn.errors import NotShown
from vtn.forwarded import Front
from vtn.gateway import Gateway
from vtn.proof import Proof
from vtn.services.office import Office
from vtn.store import Store, migrate
from vtn.store.nonces import Nonces

NOW = datetime(2030, 1, 9, 14, 0, tzinfo=UTC)
SERVICES = tuple(ServiceName)


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One thing to fuzz; whatever `take` raises is a finding."""

    take: Callable[[bytes], None]
    seeds: tuple[bytes, ...] = ()
    """Beside those of tests/seeds.py."""
    close: Callable[[], None] = _nothing


def _parse(_folder: Path) -> Target:
    def take(body: bytes) -> None:
        try:
            message = oadr.parse(body)
            built = oadr.build(message)
        except (Refused, InvalidContent):
            return
        except Unbuildable as error:
            if "is not a URI" not in str(error):  # the schema admits more of them than we write
                raise
            return
        again = oadr.parse(built)
        if again != message:
            raise AssertionError(f"{message} reads back as {again}")

    return Target(take=take)


def _signature(folder: Path) -> Target:
    issued = Authority.create(folder / "pki").ven("signer")
    pem = issued.certificate.read_bytes()
    signed = Poll(ven_id="0042")
    body = Signer(pem, issued.key.read_bytes()).sign(signed, now=NOW, nonce="n-1")
    verifier = Verifier(pem)

    def take(altered: bytes) -> None:
        try:
            verified = verifier.verify(oadr.checked(altered))
            found = oadr.read_message(verified.signed_object)
        except (Refused, InvalidContent):
            return
        if (found, verified.sent_at, verified.nonce) != (signed, NOW, "n-1"):
            raise AssertionError(f"{found} was never signed")

    return Target(take=take, seeds=(body,))


# --- the VTN -------------------------------------------------------------------------------------


class _Vtn:
    """A VTN without its listener: one VEN registered, one let in only, one that signs."""

    def __init__(self, folder: Path) -> None:
        self._runner = asyncio.Runner()
        self._numbers = itertools.count(1)
        self._runner.run(self._start(folder))

    async def _start(self, folder: Path) -> None:
        authority = Authority.create(folder / "pki")
        authority.vtn(["127.0.0.1"])
        stem = authority.folder / "vtn-ecc"
        raw = {
            "vtn": {"id": "VTN-1"},
            "openadr": {
                "certificates": [{"cert": f"{stem}.crt", "key": f"{stem}.key"}],
                "client_ca": str(authority.ven_trust),
                "max_bytes": 65_536,
            },
            "operator": {"token_file": "token"},
            "store": {"url": f"sqlite+aiosqlite:///{folder / 'vtn.db'}"},
        }
        settings = msgspec.convert(raw, Settings, dec_hook=_path)
        await migrate(settings.store.url)
        self._store = store = await Store.open(settings.store.url)
        office = Office(
            settings=settings,
            store=store,
            directory=Directory(),
            now=lambda: NOW,
            new_id=lambda: f"id-{next(self._numbers)}",
        )
        self.gateway = Gateway(office, Proof(settings.openadr, Nonces(store)))
        desk = VtnDesk(office)
        self.certificates = []
        for name in ("registered", "let-in", "stranger"):
            issued = authority.ven(name)
            self.certificates.append(issued.sha256)
            if name != "stranger":
                await desk.add_ven(
                    ven_id=name,
                    name=name,
                    certificate_sha256=issued.sha256,
                    resources=("r1",),
                    by="fuzz",
                )
        for service, message in CONVERSATION:
            answer = await self.gateway.answer(
                service, oadr.build(message), certificate=self.certificates[0], connection=1
            )
            if answer.status != 200:
                raise AssertionError(answer)

    def close(self) -> None:
        self._runner.run(self._store.close())
        self._runner.close()

    def ask(self, service: ServiceName, body: bytes, who: int, connection: int) -> None:
        answer = self._runner.run(
            self.gateway.answer(
                service, body, certificate=self.certificates[who], connection=connection
            )
        )
        if answer.status == 200:
            oadr.parse(answer.body)
        elif not 400 <= answer.status < 500:
            raise AssertionError(f"{answer.status}: {answer.body!r}")


def _path(kind: type, value: object) -> object:
    return kind(value)


_HOUR = timedelta(hours=1)
_USAGE = Report(
    duration=_HOUR,
    descriptions=(
        ReportDescription(
            r_id="P",
            report_type="usage",
            unit=power(),
            reading_type="Direct Read",
            data_source=EiTarget(resource_ids=("r1",)),
            sampling_rate=SamplingRate(min_period=timedelta(seconds=4), max_period=_HOUR),
        ),
    ),
    report_request_id="0",
    report_specifier_id="usage",
    report_name="METADATA_TELEMETRY_USAGE",
    created_at=NOW,
)
CONVERSATION: tuple[tuple[ServiceName, oadr.Message], ...] = (
    (ServiceName.REGISTER_PARTY, QueryRegistration(request_id="q")),
    (ServiceName.REGISTER_PARTY, CreatePartyRegistration(request_id="r", ven_id="registered")),
    (ServiceName.REPORT, RegisterReport(request_id="m", reports=(_USAGE,), ven_id="registered")),
    (ServiceName.POLL, Poll(ven_id="registered")),
    (ServiceName.EVENT, RequestEvent(request_id="e", ven_id="registered")),
    (ServiceName.OPT, CancelOpt(request_id="c", opt_id="o", ven_id="registered")),
    (
        ServiceName.REPORT,
        CancelReport(request_id="c", report_request_ids=("id-2",), ven_id="registered"),
    ),
)
LAST = CancelPartyRegistration(request_id="c", registration_id="id-1", ven_id="registered")


def _gateway(folder: Path) -> Target:
    vtn = _Vtn(folder)

    def take(content: bytes) -> None:
        if len(content) >= 2:
            service, who = SERVICES[content[0] % len(SERVICES)], content[1] % 3
            vtn.ask(service, content[2:], who, content[1])

    said = [*CONVERSATION, (ServiceName.REGISTER_PARTY, LAST)]
    return Target(
        take=take,
        close=vtn.close,
        seeds=tuple(
            bytes([SERVICES.index(service), 0]) + oadr.build(message) for service, message in said
        ),
    )


def _front(folder: Path) -> Target:
    authority = Authority.create(folder / "pki")
    issued = authority.ven("ven")
    names: tuple[CertificateHeader, ...] = ("Client-Cert", "X-SSL-Client-Cert")
    fronts = [Front(name, authority.ven_trust) for name in names]
    now_s = datetime.now(UTC).timestamp()

    def take(content: bytes) -> None:
        if not content:
            return
        which = content[0] % 2
        value = content[1:].decode("utf-8", "surrogateescape")
        headers = CIMultiDictProxy(CIMultiDict([(names[which], value)]))
        with contextlib.suppress(NotShown):
            shown = fronts[which].shown(headers, now_s=now_s)
            if shown.sha256 != issued.sha256:
                raise AssertionError("another certificate than any that was issued")

    pem = issued.certificate.read_bytes().partition(b"-----END CERTIFICATE-----\n")
    lines = pem[0].splitlines()[1:]
    return Target(
        take=take,
        seeds=(
            b"\0:" + b"".join(lines) + b":",
            b"\1" + (pem[0] + pem[1]).replace(b"\n", b"%0A").replace(b" ", b"%20"),
        ),
    )


# --- the field -----------------------------------------------------------------------------------


def _ems(_folder: Path) -> Target:
    def take(payload: bytes) -> None:
        try:
            message = decode(payload)
        except MessageRefused:
            return
        if decode(encode(message)) != message:
            raise AssertionError(f"{message} reads back differently")

    return Target(take=take)


class _Desk:
    """Answers every request that can be read."""

    async def answer(self, request: AnyRequest) -> AnyAnswer:
        return Answer(n=request.n)

    async def watch(self) -> AsyncGenerator[Status]:
        nothing: tuple[Status, ...] = ()
        for status in nothing:
            yield status
        raise LightNodeFault("Nothing is to be seen here.")


class _Socket:
    """A light node's socket, and a line to it."""

    def __init__(self, folder: Path) -> None:
        self._runner = asyncio.Runner()
        self._exits = contextlib.AsyncExitStack()
        self._answers = msgspec.json.Decoder(AnyAnswer)
        self._runner.run(self._open(folder / "socket"))

    async def _open(self, path: Path) -> None:
        await self._exits.enter_async_context(LocalServer(path, _Desk()))
        self._reader, self._writer = await asyncio.open_unix_connection(path)
        self._exits.push_async_callback(self._hang_up)

    async def _hang_up(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    def close(self) -> None:
        self._runner.run(self._exits.aclose())
        self._runner.close()

    def ask(self, line: bytes) -> None:
        self._answers.decode(self._runner.run(self._said(line.replace(b"\n", b" "))))

    async def _said(self, line: bytes) -> bytes:
        self._writer.write(line + b"\n")
        async with asyncio.timeout(5):
            return await self._reader.readline()


def _local(folder: Path) -> Target:
    socket = _Socket(folder)
    return Target(take=socket.ask, close=socket.close)


def _settings(folder: Path) -> Target:
    file = folder / "settings.toml"
    loads: tuple[Callable[[Path], object], ...] = (
        vtn_settings.load,
        ven_settings.load,
        node_settings.load,
    )

    def take(content: bytes) -> None:
        if not content:
            return
        file.write_bytes(content[1:])
        with contextlib.suppress(Fault):
            loads[content[0] % len(loads)](file)

    return Target(take=take)


TARGETS: Mapping[str, Callable[[Path], Target]] = {
    "parse": _parse,
    "signature": _signature,
    "gateway": _gateway,
    "front": _front,
    "ems": _ems,
    "local": _local,
    "settings": _settings,
}
"""Each is made with a new folder for what it keeps."""
