# SPDX-License-Identifier: Apache-2.0
"""The Unix socket through which `ven status`, `events`, `opt` and `register` reach a running VEN.

One JSON request a connection, one JSON answer. The file's mode (0660) says who may.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from doorway import Fault, get_logger
from ven.errors import ControlFault

log = get_logger()

LINE_LIMIT = 4 * 1024 * 1024
ANSWER_S = 30.0


class Exact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every message here has."""


class AskStatus(Exact, frozen=True, kw_only=True, tag="status"):
    """How are you?"""


class AskEvents(Exact, frozen=True, kw_only=True, tag="events"):
    """What events do you know?"""


class AskOpt(Exact, frozen=True, kw_only=True, tag="opt"):
    """Opt in or out of one event."""

    event_id: str
    opt: Literal["optIn", "optOut"]
    reason: str = ""
    resource_ids: tuple[str, ...] = ()
    """Empty = the whole site."""


class Stretch(Exact, frozen=True, kw_only=True):
    """A time of an opt schedule; half open."""

    starts_at: datetime
    ends_at: datetime | None
    """None = open-ended."""


class AskSchedule(Exact, frozen=True, kw_only=True, tag="schedule"):
    """Say when the site takes part or does not."""

    opt: Literal["optIn", "optOut"]
    stretches: tuple[Stretch, ...]
    reason: str = ""
    market_context: str = ""
    resource_ids: tuple[str, ...] = ()
    device_classes: tuple[str, ...] = ()
    opt_id: str = ""


class AskSchedules(Exact, frozen=True, kw_only=True, tag="schedules"):
    """What opt schedules are in force?"""


class AskCancelSchedule(Exact, frozen=True, kw_only=True, tag="cancel-schedule"):
    """Take back the opt schedules under an optID."""

    opt_id: str


class AskRegister(Exact, frozen=True, kw_only=True, tag="register"):
    """Register (again), or cancel the registration and stay out."""

    cancel: bool = False


class ReportStatus(Exact, frozen=True, kw_only=True):
    """A report request in force."""

    report_request_id: str
    specifier_id: str
    granularity_s: float
    report_back_s: float
    last_row_at: datetime | None
    """Start of the newest live reading that the VTN has acknowledged."""
    backlog: bool
    """Whether readings from an outage are still owed."""


class VenStatus(Exact, frozen=True, kw_only=True, tag="ven-status"):
    """How the VEN is."""

    at: datetime
    name: str
    running: bool
    registered: bool
    ven_id: str = ""
    vtn_id: str = ""
    registration_id: str = ""
    terms: str = ""
    """How it is registered: "pull", or "push" and its address; and "signed"."""
    trouble: str = ""
    """What is wrong, in one sentence; empty when nothing is."""
    vtn_url: str
    vtn_answers: bool | None = None
    """None where the VEN does not run."""
    vtn_last_answer_at: datetime | None = None
    vtn_clock_offset_s: float | None = None
    """VTN clock minus ours where they differ by more than 5 s, else 0."""
    node_connected: bool | None = None
    node_guard: str = ""
    plan_refused: str = ""
    override: bool = False
    events: int = 0
    unacknowledged_answers: int = 0
    reports: tuple[ReportStatus, ...] = ()
    fingerprint: str = ""
    certificate_not_after_at: datetime | None = None
    certificate_renews_at: datetime | None = None
    """When the running VEN renews it; None where it does not."""


class EventStatus(Exact, frozen=True, kw_only=True):
    """One event in plain terms."""

    event_id: str
    modification_number: int
    status: str
    signal: str
    value: float | None
    """Of the first interval that is not over."""
    unit: str
    starts_at: datetime
    ends_at: datetime | None
    opt: str
    decided_by: str
    reason: str
    response_code: str
    acknowledged: bool
    """Whether the VTN has acknowledged this VEN's answer."""
    test: bool
    market_context: str
    out_resources: tuple[str, ...] = ()
    """Opted out while others take part."""


class Events(Exact, frozen=True, kw_only=True, tag="events"):
    """The events known."""

    events: tuple[EventStatus, ...]


class ScheduleStatus(Exact, frozen=True, kw_only=True):
    """One opt schedule."""

    opt_id: str
    opt: str
    reason: str
    market_context: str
    resource_ids: tuple[str, ...]
    device_classes: tuple[str, ...]
    stretches: tuple[Stretch, ...]
    told: bool
    """Whether the VTN has been told."""


class Schedules(Exact, frozen=True, kw_only=True, tag="schedules"):
    """The opt schedules in force."""

    schedules: tuple[ScheduleStatus, ...]


class Done(Exact, frozen=True, kw_only=True, tag="done"):
    """It is done."""

    sentence: str


class Refused(Exact, frozen=True, kw_only=True, tag="refused"):
    """It is not done, and nothing was changed."""

    sentence: str


Ask = AskStatus | AskEvents | AskOpt | AskSchedule | AskSchedules | AskCancelSchedule | AskRegister
Reply = VenStatus | Events | Schedules | Done | Refused

_asks = msgspec.json.Decoder(Ask)
_replies = msgspec.json.Decoder(Reply)


@asynccontextmanager
async def served(path: Path, answer: Callable[[Ask], Awaitable[Reply]]) -> AsyncIterator[None]:
    """Answer at the socket for as long as the block runs. The state's lock keeps others away."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ValueError):
            line = await reader.readline()
            writer.write(msgspec.json.encode(await _answered(line, answer)) + b"\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, sock=_bound(path), limit=LINE_LIMIT)
    try:
        yield
    finally:
        server.close()
        _remove(path)


async def ask(path: Path, request: Ask) -> Reply:
    """Ask a running VEN. Raises ControlFault where none answers or it refuses."""
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=LINE_LIMIT)
    except OSError as error:
        raise ControlFault(f"{path}: no VEN runs there; start it with 'ven run'.") from error
    try:
        async with asyncio.timeout(ANSWER_S):
            writer.write(msgspec.json.encode(request) + b"\n")
            await writer.drain()
            reply: Reply = _replies.decode(await reader.readline())
    except TimeoutError as error:
        raise ControlFault(
            f"{path}: the VEN has not answered within {ANSWER_S:.0f} s; it may be waiting for the "
            "VTN: see 'ven status'."
        ) from error
    except (OSError, ValueError, msgspec.DecodeError) as error:
        raise ControlFault(f"{path}: the VEN there has stopped without an answer.") from error
    finally:
        writer.close()
    if isinstance(reply, Refused):
        raise ControlFault(reply.sentence)
    return reply


def _bound(path: Path) -> socket.socket:
    _remove(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o117)  # the socket is never open to others, not even for a moment
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise ControlFault(
            f"{path}: the control socket cannot be made ({error.strerror or error}); "
            "see [ven] control."
        ) from error
    finally:
        os.umask(before)
    return listener


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


async def _answered(line: bytes, answer: Callable[[Ask], Awaitable[Reply]]) -> Reply:
    try:
        return await answer(_asks.decode(line))
    except msgspec.DecodeError as error:
        return Refused(sentence=f"This is no request: {error}.")
    except Fault as fault:
        return Refused(sentence=str(fault))
