# SPDX-License-Identifier: Apache-2.0
"""The Unix socket between the two field processes: its messages, its server and its client.

One JSON message a line. A request bears a number `n` of the caller's own choice and the answer
repeats it, so that several may be under way on one connection. Answers are Answer (done), Refusal
(not done, with a sentence), or the value that was asked for. After Watch, Status is pushed on that
connection at each change and at least every 30 s, under the Watch's `n`.

Instants are aware UTC; `starts_at` columns are epoch seconds. Power is in W, positive for
consumption.
"""

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Annotated, Literal, Protocol, Self, TypeVar

import msgspec

from doorway import get_logger
from light_node.errors import LightNodeFault, NodeRefused, NodeUnreachable

log = get_logger()

LINE_LIMIT = 16 * 1024 * 1024
"""The longest line, in bytes: a day of 4 s readings and a plan of thousands of steps fit."""
SPAN_ROWS = 21_600
"""The most rows of one answer to GetSpan: a day at 4 s."""
PUSH_EVERY_S = 30.0
WATTS = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
CapWord = Literal["", "init", "normal", "limited", "failsafe"]
"""Where the cap for the grid's sake stands; "" where the site has none."""
NodeEventStatus = Literal["far", "near", "active", "completed", "cancelled"]


class Exact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every message here has: frozen, by keyword, no unknown fields."""


# --- the plan ----------------------------------------------------------------------------------


class Delta(Exact, frozen=True, kw_only=True, tag="delta"):
    """A change against what the building would otherwise use; negative = reduce."""

    watts: WATTS


class Limit(Exact, frozen=True, kw_only=True, tag="limit"):
    """Limits on the whole load; at least one of them is given."""

    max_watts: WATTS | None = None
    min_watts: WATTS | None = None

    def __post_init__(self) -> None:
        if self.max_watts is None and self.min_watts is None:
            raise ValueError("a limit needs max_watts or min_watts")


class Share(Exact, frozen=True, kw_only=True, tag="share"):
    """A multiple of the baseline: 0.8 = use four fifths of it."""

    of_baseline: Annotated[float, msgspec.Meta(ge=0, le=10)]


class Keep(Exact, frozen=True, kw_only=True, tag="keep"):
    """Nothing to hold: a price, SIMPLE level 0."""


Target = Delta | Limit | Share | Keep


class Step(Exact, frozen=True, kw_only=True):
    """One interval of one event: what is to be held from `starts_at` until before `ends_at`."""

    event_id: Annotated[str, msgspec.Meta(min_length=1)]
    modification_number: Annotated[int, msgspec.Meta(ge=0)]
    priority: Annotated[int, msgspec.Meta(ge=0)]
    """0 = lowest, then 1 = highest, 2 ... (rule 3)."""
    starts_at: Instant
    ends_at: Instant | None
    """None = open-ended: until the plan is replaced."""
    target: Target
    ramp_w_per_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    signal_name: str
    signal_type: str
    unit: str = ""
    value: float
    market_context: str = ""
    test: bool = False
    part: Literal["active", "ramp_up", "recovery"] = "active"
    """Ramp-up and recovery are held like the rest, but what they bring is not what was ordered."""


class NoticeValue(Exact, frozen=True, kw_only=True):
    """The value of a signal in one interval."""

    starts_at: Instant
    ends_at: Instant | None
    value: float


class Notice(Exact, frozen=True, kw_only=True):
    """An event in plain terms for the EMS, opted in or not; prices travel this way."""

    event_id: str
    modification_number: int
    status: NodeEventStatus
    starts_at: Instant
    ends_at: Instant | None
    signal_name: str
    signal_type: str
    unit: str = ""
    opt: Literal["optIn", "optOut", ""] = ""
    comment: str = ""
    test: bool = False
    values: tuple[NoticeValue, ...] = ()


# --- requests ----------------------------------------------------------------------------------


class Request(Exact, frozen=True, kw_only=True):
    """A question or an order to the node."""

    n: int


class PutPlan(Request, frozen=True, kw_only=True, tag="PutPlan"):
    """The whole plan; replaces the one held. Answered when it is on disk.

    The node goes on executing it while the VEN is down, and never extends it.
    """

    version: Annotated[int, msgspec.Meta(ge=0)]
    steps: tuple[Step, ...]
    """Those of one event ascend and do not overlap."""
    notices: tuple[Notice, ...] = ()


class GetReadings(Request, frozen=True, kw_only=True, tag="GetReadings"):
    """Readings on disk with a row id above `after`, oldest first; waits for the first of them."""

    after: Annotated[int, msgspec.Meta(ge=0)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=SPAN_ROWS)] = 900
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=600)] = 0.0
    meter: str = ""
    """"" = the site's meter, on which curtailment is measured."""
    delivered: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Rows up to this id have reached the VTN: on a full disk they may give way."""


class GetSpan(Request, frozen=True, kw_only=True, tag="GetSpan"):
    """Readings on disk with starts_at in [starts_at, ends_at), at most SPAN_ROWS."""

    starts_at: Instant
    ends_at: Instant
    meter: str = ""


class GetCurtailment(Request, frozen=True, kw_only=True, tag="GetCurtailment"):
    """What an event has brought so far."""

    event_id: str


class GetStatus(Request, frozen=True, kw_only=True, tag="GetStatus"):
    """How the node is."""


class Watch(Request, frozen=True, kw_only=True, tag="Watch"):
    """Push Status on this connection from now on."""


class SetOverride(Request, frozen=True, kw_only=True, tag="SetOverride"):
    """The installer's or occupant's override: no lease while it is active."""

    active: bool
    reason: str = ""
    until: Instant | None = None


class ImportHistory(Request, frozen=True, kw_only=True, tag="ImportHistory"):
    """Take in earlier days of a meter, all or nothing; what was measured is never replaced."""

    quarters: tuple[tuple[int, WATTS], ...]
    """(starts_at in epoch seconds, mean watts) of quarters of an hour."""
    meter: str = ""


class VtnHeard(Request, frozen=True, kw_only=True, tag="VtnHeard"):
    """The VTN has answered the VEN since the last word of this: the utility's heartbeat."""


AnyRequest = (
    PutPlan
    | GetReadings
    | GetSpan
    | GetCurtailment
    | GetStatus
    | Watch
    | SetOverride
    | ImportHistory
    | VtnHeard
)


# --- answers -----------------------------------------------------------------------------------


class Answer(Exact, frozen=True, kw_only=True, tag="Answer"):
    """Done, and on disk."""

    n: int


class Refusal(Exact, frozen=True, kw_only=True, tag="Refusal"):
    """Not done, and nothing was changed."""

    n: int
    sentence: str


class Readings(Exact, frozen=True, kw_only=True, tag="Readings"):
    """Readings as columns of equal length."""

    n: int
    cursor: int
    """Row id to ask on from: the last id here, or the `after` of the request when there is none."""
    ids: list[int]
    starts_at: list[float]
    watts: list[float | None]
    energy_wh: list[float | None]
    """The meter's import counter, Wh."""
    quality: list[str]
    """As light_node.quality.to_text gives it: "good" or names joined by "+"."""
    start_error_ms: list[float] = []
    """How long after its tick each reading's request left for the meter."""


class Curtailment(Exact, frozen=True, kw_only=True, tag="Curtailment"):
    """What an event ordered and brought, up to now or, `final`, to its end."""

    n: int
    event_id: str
    modification_number: int
    baseline_method: str
    fallback: bool
    """Whether the method is another than the one asked for in the settings."""
    starts_at: Instant
    ends_at: Instant | None
    """None = open-ended and still running."""
    ordered_w: float
    """Mean reduction ordered over the time passed; positive = less consumption."""
    delivered_w: float | None
    """Mean of baseline minus measured over the same time; None without one good reading."""
    fraction: float | None
    """delivered / ordered; None when nothing was ordered or measured."""
    samples_expected: int
    samples_received: int
    baseline: list[tuple[float, float]]
    """(starts_at, watts) of each 60 s from the event's start, as far as time has passed."""
    delivered: list[tuple[float, float | None]]
    """(starts_at, baseline minus measured) of the same intervals; None without a good reading."""
    setpoint_acknowledged: bool
    final: bool
    effect: Literal["", "reached", "partial", "not reached"] = ""
    """The last verdict of the node's own meter on a lease of the event; "" = none yet."""


class MeterStatus(Exact, frozen=True, kw_only=True):
    """One meter as last seen."""

    id: str
    profile: str
    online: bool
    last_good_at: Instant | None
    last_watts: float | None
    quality: str


class OfferState(Exact, frozen=True, kw_only=True):
    """How far the EMS says that it could move the load now."""

    down_w: float
    up_w: float
    min_duration_s: float
    max_duration_s: float | None
    """None = as long as it is asked for."""
    notice_s: float
    valid_until: Instant


class EmsState(Exact, frozen=True, kw_only=True):
    """The building's EMS as last heard."""

    broker_connected: bool
    online: bool | None
    """None = nothing was ever heard of it."""
    last_seen_at: Instant | None
    offer: OfferState | None = None
    """None = it has made none, or it has run out."""


class LeaseState(Exact, frozen=True, kw_only=True):
    """The lease in force."""

    event_id: str
    seq: int
    target: str
    """In words, for people."""
    delta_w: float | None
    max_w: float | None
    min_w: float | None
    issued_at: Instant
    not_after: Instant
    acknowledged: str
    """The EMS's last word on it: ACCEPTED, STARTED ...; "" = none yet."""
    acknowledged_at: Instant | None
    applied_w: float | None


class OverrideState(Exact, frozen=True, kw_only=True):
    """Whether a person at the building has opted out."""

    active: bool
    reason: str = ""
    until: Instant | None = None
    source: Literal["", "ems", "local"] = ""
    spares: tuple[str, ...] = ()
    """Market contexts whose events it does not reach: caps for the grid's sake."""


class WriteState(Exact, frozen=True, kw_only=True):
    """One device that is steered over Modbus."""

    asset: str
    wanted_w: float | None
    """What it should hold; None = it is let go."""
    held_w: float | None
    """What it was told and has read back."""
    told_at: Instant | None
    writes: int
    """Since ever, and how many were put off to spare its memory."""
    refused: int
    trouble: str = ""


class EffectState(Exact, frozen=True, kw_only=True):
    """What the site's own meter saw of the lease in force."""

    event_id: str
    verdict: Literal["reached", "partial", "not reached"]
    target_w: float
    actual_w: float
    reached_after_s: float | None
    at: Instant


class Status(Exact, frozen=True, kw_only=True, tag="Status"):
    """How the node is."""

    n: int
    at: Instant
    boot: str
    version: str
    meters: tuple[MeterStatus, ...]
    ems: EmsState
    lease: LeaseState | None
    override: OverrideState
    plan_version: int
    plan_steps: int
    ring_rows: int
    guard: Literal["init", "normal", "limited", "failsafe"]
    troubles: tuple[str, ...] = ()
    """What somebody should look at, each in one sentence."""
    grid_cap: CapWord = ""
    read_only: bool = False
    """The node measures and reports, and asks nothing of anybody."""
    writes: tuple[WriteState, ...] = ()
    effect: EffectState | None = None
    """None = no lease is in force, or it is too early to say."""


AnyAnswer = Answer | Refusal | Readings | Curtailment | Status
A = TypeVar("A", Answer, Readings, Curtailment, Status)

_requests = msgspec.json.Decoder(AnyRequest)
_answers = msgspec.json.Decoder(AnyAnswer)
_numbers = msgspec.json.Decoder(dict[str, object])
_encoder = msgspec.json.Encoder()


def _line(message: AnyRequest | AnyAnswer) -> bytes:
    return _encoder.encode(message) + b"\n"


# --- the server --------------------------------------------------------------------------------


class Desk(Protocol):
    """Who answers: the node. Each method raises a LightNodeFault to refuse."""

    async def answer(self, request: AnyRequest) -> AnyAnswer:
        """Answer one request other than Watch."""

    def watch(self) -> AsyncGenerator[Status]:
        """Give the present Status, then one at each change (`n` is filled in here)."""


class LocalServer:
    """Listens on a Unix socket that only its owner and group can open."""

    def __init__(self, path: Path, desk: Desk) -> None:
        self._path = path
        self._desk = desk
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        await clear_the_way(self._path)
        try:
            server = await asyncio.start_unix_server(
                self._serve, self._path, limit=LINE_LIMIT, start_serving=False
            )
            os.chmod(self._path, 0o660)  # noqa: PTH101 - on a path nobody else can have changed yet
            await server.start_serving()
        except OSError as error:
            raise LightNodeFault(
                f"{self._path}: the socket cannot be opened: {error.strerror}; "
                "set another [socket] path (at most 107 bytes long)."
            ) from error
        self._server = server
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        sending = asyncio.Lock()

        async def send(answer: AnyAnswer) -> None:
            async with sending:
                writer.write(_line(answer))
                await writer.drain()

        under_way: set[asyncio.Task[None]] = set()
        try:
            async with asyncio.TaskGroup() as group:
                while line := await reader.readline():
                    handling = group.create_task(self._handle(line, send))
                    under_way.add(handling)
                    handling.add_done_callback(under_way.discard)
                for handling in under_way:
                    handling.cancel()  # nobody is left to be answered
        except* ConnectionError:
            pass
        except* ValueError:
            log.warning("local_line_too_long", limit=LINE_LIMIT)
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _handle(self, line: bytes, send: Callable[[AnyAnswer], Awaitable[None]]) -> None:
        try:
            request = _requests.decode(line)
        except (msgspec.DecodeError, ValueError) as error:
            await send(Refusal(n=_number_in(line), sentence=f"This is no request: {error}."))
            return
        try:
            if isinstance(request, Watch):
                async with contextlib.aclosing(self._desk.watch()) as statuses:
                    async for status in statuses:
                        await send(msgspec.structs.replace(status, n=request.n))
            else:
                await send(await self._desk.answer(request))
        except LightNodeFault as fault:
            await send(Refusal(n=request.n, sentence=str(fault)))


async def clear_the_way(path: Path) -> None:
    """Remove the socket of a node that was killed; raise LightNodeFault where one is listening."""
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError as error:
        if not path.exists():  # noqa: ASYNC240 - once, before anything runs
            return
        if isinstance(error, ConnectionRefusedError) and path.is_socket():  # noqa: ASYNC240 - as above
            path.unlink()  # noqa: ASYNC240 - as above
            return
        raise LightNodeFault(
            f"{path}: this is not a socket of ours ({error.strerror}); remove it or set another "
            "[socket] path."
        ) from error
    writer.close()
    raise LightNodeFault(
        f"{path}: another light node is running there; stop it or set another [socket] path."
    )


def _number_in(line: bytes) -> int:
    with contextlib.suppress(msgspec.DecodeError, ValueError):
        n = _numbers.decode(line).get("n")
        if isinstance(n, int):
            return n
    return 0


# --- the client --------------------------------------------------------------------------------


class LocalClient:
    """One connection to the node; `async with` opens it. It does not reconnect by itself.

    Each method raises NodeUnreachable when the connection is lost and NodeRefused with the node's
    sentence when it refuses. Methods may be called concurrently.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[AnyAnswer]] = {}
        self._watches: dict[int, asyncio.Queue[Status | None]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        try:
            reader, self._writer = await asyncio.open_unix_connection(self._path, limit=LINE_LIMIT)
        except OSError as error:
            raise NodeUnreachable(
                f"{self._path}: no light node listens there ({error.strerror}); start it with "
                "'light-node run', or correct the socket's path."
            ) from error
        self._reading = asyncio.create_task(self._read(reader))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._writer is not None
        assert self._reading is not None
        self._writer.close()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def put_plan(
        self, version: int, steps: tuple[Step, ...], notices: tuple[Notice, ...] = ()
    ) -> None:
        """Replace the node's plan; returns when it is on the node's disk."""
        n = next(self._numbers)
        await self._ask(PutPlan(n=n, version=version, steps=steps, notices=notices), Answer)

    async def readings(
        self,
        *,
        after: int = 0,
        limit: int = 900,
        wait_s: float = 0.0,
        meter: str = "",
        delivered: int = 0,
    ) -> Readings:
        """Readings with a row id above `after`; waits up to `wait_s` for the first of them."""
        request = GetReadings(
            n=next(self._numbers),
            after=after,
            limit=limit,
            wait_s=wait_s,
            meter=meter,
            delivered=delivered,
        )
        return await self._ask(request, Readings)

    async def span(self, starts_at: datetime, ends_at: datetime, *, meter: str = "") -> Readings:
        """Readings by time, at most SPAN_ROWS."""
        n = next(self._numbers)
        return await self._ask(
            GetSpan(n=n, starts_at=starts_at, ends_at=ends_at, meter=meter), Readings
        )

    async def curtailment(self, event_id: str) -> Curtailment:
        """What an event has brought so far."""
        n = next(self._numbers)
        return await self._ask(GetCurtailment(n=n, event_id=event_id), Curtailment)

    async def status(self) -> Status:
        """How the node is."""
        return await self._ask(GetStatus(n=next(self._numbers)), Status)

    async def set_override(
        self, *, active: bool, reason: str = "", until: datetime | None = None
    ) -> None:
        """Opt out on the spot, or withdraw it."""
        n = next(self._numbers)
        await self._ask(SetOverride(n=n, active=active, reason=reason, until=until), Answer)

    async def import_history(self, quarters: Iterable[tuple[int, float]], *, meter: str) -> None:
        """Take in earlier days: (starts_at, mean watts) of quarters."""
        n = next(self._numbers)
        await self._ask(ImportHistory(n=n, quarters=tuple(quarters), meter=meter), Answer)

    async def vtn_heard(self) -> None:
        """Pass on a sign of life of the VTN."""
        await self._ask(VtnHeard(n=next(self._numbers)), Answer)

    async def watch(self) -> AsyncIterator[Status]:
        """The present Status and each change, until the connection is lost (NodeUnreachable)."""
        n = next(self._numbers)
        queue: asyncio.Queue[Status | None] = asyncio.Queue()
        self._watches[n] = queue
        try:
            await self._send(Watch(n=n))
            while (status := await queue.get()) is not None:
                yield status
        finally:
            del self._watches[n]
        raise self._lost()

    async def _ask(self, request: AnyRequest, kind: type[A]) -> A:
        future: asyncio.Future[AnyAnswer] = asyncio.get_running_loop().create_future()
        self._waiting[request.n] = future
        try:
            await self._send(request)
            answer = await future
        finally:
            del self._waiting[request.n]
        if isinstance(answer, Refusal):
            raise NodeRefused(answer.sentence)
        if not isinstance(answer, kind):
            raise NodeRefused(
                f"{self._path}: the node answered {type(request).__name__} with "
                f"{type(answer).__name__}; update the older of the two programs."
            )
        return answer

    async def _send(self, request: AnyRequest) -> None:
        if self._writer is None or self._reading is None or self._reading.done():
            raise self._lost()
        try:
            self._writer.write(_line(request))
            await self._writer.drain()
        except ConnectionError as error:
            raise self._lost() from error

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._take(_answers.decode(line))
        except (ConnectionError, msgspec.DecodeError, ValueError) as error:
            log.warning("local_connection_lost", error=str(error))
        finally:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(self._lost())
            for queue in self._watches.values():
                queue.put_nowait(None)

    def _take(self, answer: AnyAnswer) -> None:
        future = self._waiting.get(answer.n)
        queue = self._watches.get(answer.n)
        if future is not None and not future.done():
            future.set_result(answer)
        elif queue is not None and isinstance(answer, Status):
            queue.put_nowait(answer)

    def _lost(self) -> NodeUnreachable:
        return NodeUnreachable(
            f"{self._path}: the light node has closed the connection; it is started with "
            "'light-node run'."
        )
