# SPDX-License-Identifier: Apache-2.0
"""A utility with many nodes, an event under way and a day of readings, written through the store.

What the console has to show is made in seconds that way, where VENs that register, answer and
report would take hours. The VTN that serves it is a process of its own, started as usual.
"""

import asyncio
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from chaos.program import Program, command, wait_for
from chaos.utility import CONTEXT, Utility
from oadr.event import EventResponse
from oadr.vocabulary import OptType
from vtn import config
from vtn.accounts import Role
from vtn.accounts.views import OneTime
from vtn.desk import Desk
from vtn.directory import Directory
from vtn.operator_client import OperatorClient
from vtn.orders import EventOrder, SignalOrder, draft
from vtn.records import EventRecord, Point, Samples
from vtn.services.office import Office
from vtn.store import Store, events, measurements, vens
from vtn.store.tables import ResourceRow, VenRow
from vtn.views import EventView

STEP_S: Final = 4
DAY_READINGS: Final = 24 * 3600 // STEP_S
GOOD: Final = "Quality Good"
_POLL_S: Final = 3600.0
"""Nobody polls here, and yet the nodes are to count as online for a while."""
_AGO: Final = timedelta(minutes=40)
"""How long ago the event began."""
_NOTICE: Final = timedelta(minutes=20)
_PLACES: Final = ("mill", "bakery", "school", "depot", "clinic", "library", "foundry", "pool")


class Town:
    """A VTN with `nodes` nodes; `asked` of them are in an event that runs."""

    def __init__(self, folder: Path, *, nodes: int = 10_000, asked: int = 240) -> None:
        """Nothing is made or started yet."""
        self._utility = Utility(folder, f"sqlite:///{folder / 'vtn.db'}")
        self.nodes = nodes
        self.asked = asked
        self.event_id = "peak-tuesday"
        self.proposal_id = ""
        """Of an event that waits for a second person; known when `open` is through."""
        self.measured_node = _ven_id(asked)
        """One with a day of readings; it is in no event that runs."""

    @property
    def folder(self) -> Path:
        return self._utility.folder

    @property
    def address(self) -> str:
        """Of the console."""
        return f"http://127.0.0.1:{self._utility.operator_port}"

    @property
    def vtn(self) -> Program:
        return self._utility.vtn

    def open(self) -> None:
        """Fill the database and serve it. Raises InVain."""
        settings = self._utility.settings_file
        made = Program("made", command("vtn", "init", "--config", settings), self.folder)
        made.start()
        words = self._utility.last_words
        wait_for("the database is made", lambda: not made.alive, words=words)
        with ThreadPoolExecutor(1) as aside:  # where no other loop runs
            aside.submit(asyncio.run, self._fill()).result()
        self._utility.vtn.start()
        self._utility.operator = OperatorClient.at(config.load(settings))
        self._utility.wait_ready()

    def publish(self, name: str, starts_at: datetime, *, node: str) -> None:
        """An event of a minute for one node, through the API. Raises RefusedByVtn, NoAnswer."""
        order = _order("", name, starts_at, kilowatts=-5)
        self._utility.operator.post(
            "events",
            into=EventView,
            body=msgspec.structs.replace(order, vens=(node,), duration="1m"),
        )

    def new_user(self, name: str, *roles: Role) -> str:
        """Let an operator in; their one-time password."""
        body = {"name": name, "roles": roles}
        return self._utility.operator.post("users", into=OneTime, body=body).password

    def close(self) -> None:
        """Stop the VTN."""
        self._utility.close()

    async def _fill(self) -> None:
        settings = config.load(self._utility.settings_file)
        store = await Store.open(settings.store.url)
        try:
            now = datetime.now(UTC).replace(second=0, microsecond=0)
            async with store.write() as connection:
                await _add_nodes(connection, self.nodes, now)
            async with store.read() as connection:
                directory = Directory(await vens.every(connection))
            began = now - _AGO
            desk = Desk(
                Office(
                    settings=settings,
                    store=store,
                    directory=directory,
                    now=lambda: began - _NOTICE,
                )
            )
            await desk.add_market_context(CONTEXT, "Summer peaks", by="anna")
            every = [_ven_id(number) for number in range(self.nodes)]
            north, south = every[: self.asked], every[self.asked :][:500]
            await desk.add_group("north", "North district", ven_ids=north, by="anna")
            await desk.add_group("south", "South district", ven_ids=south, by="anna")
            peak = _order(self.event_id, "Peak Tuesday", began, group="north", kilowatts=-20)
            evening = now + timedelta(hours=5)
            later = _order("evening", "Evening peak", evening, group="south", kilowatts=-5)
            record = await _publish(desk, peak, began)
            await _publish(desk, later, began)
            night = now + timedelta(hours=9)
            waits = _order("night", "Night trial", night, group="north", kilowatts=-40)
            proposal = await desk.propose_event(
                draft(waits, now=began - _NOTICE), by="operator:bert"
            )
            self.proposal_id = proposal.proposal_id
            async with store.write() as connection:
                await _answers(connection, record, began)
                await measurements.store(connection, _values(record, now))
                await measurements.store(connection, _day(self.measured_node, now))
        finally:
            await store.close()


def _ven_id(number: int) -> str:
    return f"{_PLACES[number % len(_PLACES)]}-{number:05}"


async def _add_nodes(connection: AsyncConnection, count: int, now: datetime) -> None:
    """One in 60 was not heard of for long, one in 200 never registered."""
    rows = []
    for number in range(count):
        expected, silent = number % 200 == 199, number % 60 == 59
        heard_at = now - (timedelta(hours=5) if silent else timedelta(seconds=number % 1000))
        rows.append(
            {
                "ven_id": _ven_id(number),
                "name": f"{_PLACES[number % len(_PLACES)].title()} {number}",
                "certificate_sha256": f"{number:064x}",
                "added_at": now - timedelta(days=90),
                "added_by": "anna",
                "registration_id": None if expected else f"r-{number}",
                "registered_at": None if expected else now - timedelta(days=89),
                "poll_interval_s": _POLL_S,
                "last_contact_at": None if expected else heard_at,
            }
        )
    await connection.execute(insert(VenRow), rows)
    resources = [{"ven_id": row["ven_id"], "resource_id": "building"} for row in rows]
    await connection.execute(insert(ResourceRow), resources)


def _order(
    event_id: str, name: str, starts_at: datetime, *, kilowatts: float, group: str = ""
) -> EventOrder:
    return EventOrder(
        event_id=event_id,
        signals=(SignalOrder(name="LOAD_DISPATCH", type="delta", unit="kW", value=kilowatts),),
        start=starts_at.isoformat(),
        duration="2h",
        groups=(group,) if group else (),
        market_context=CONTEXT,
        comment=name,
    )


async def _publish(desk: Desk, order: EventOrder, began: datetime) -> EventRecord:
    return await desk.publish_event(draft(order, now=began - _NOTICE), by="operator:anna")


async def _answers(connection: AsyncConnection, record: EventRecord, at: datetime) -> None:
    """One in 40 opted out, one in 50 has not answered."""
    event = record.event
    for number, ven_id in enumerate(sorted(record.ven_ids)):
        await events.handed(connection, ven_id, [event], at=at - timedelta(minutes=15))
        if number % 50 == 49:
            continue
        answer = EventResponse(
            request_id="r",
            event_id=event.event_id,
            modification_number=event.modification_number,
            opt_type=OptType.OPT_OUT if number % 40 == 39 else OptType.OPT_IN,
        )
        await events.answer(connection, ven_id, [answer], at=at - timedelta(minutes=14), handed={})
        await events.acknowledge(connection, ven_id, {event.event_id: event.modification_number})


def _values(record: EventRecord, now: datetime) -> Iterator[Samples]:
    """What the nodes in the event report: power, and each minute baseline and deviation."""
    began, until = int(record.event.starts_at.timestamp()), int(now.timestamp())
    minutes, readings = range(began, until - 60, 60), range(began - 900, until, STEP_S)
    for number, ven_id in enumerate(sorted(record.ven_ids)):
        if number % 40 == 39 or number % 50 == 49:
            continue
        baseline = 60_000.0 + 900.0 * (number % 37)
        most = 11_000.0 if number % 17 == 16 else 19_600.0

        def given(at: int, most: float = most) -> float:
            """It comes within three minutes, and wavers a little."""
            return min(1.0, max(0, at - began) / 180) * (most + 400.0 * math.sin(at / 300))

        drawn = [baseline + 700.0 * math.sin(at / 97 + number) - given(at) for at in readings]
        yield _samples(_power(ven_id), readings, drawn)
        for kind, watts in (
            ("baseline", [baseline] * len(minutes)),
            ("deviation", [-given(at + 30) for at in minutes]),
        ):
            claimed = Point(
                ven_id=ven_id, r_id=kind, report_name="x-CURTAILMENT", report_type=kind, unit="W"
            )
            yield _samples(claimed, minutes, watts)


def _day(ven_id: str, now: datetime) -> Iterator[Samples]:
    """24 hours of one building, every 4 seconds."""
    end = int(now.timestamp()) // STEP_S * STEP_S
    readings = range(end - DAY_READINGS * STEP_S, end, STEP_S)
    day = [
        60_000.0
        + 25_000.0 * math.sin(at / 86_400 * math.tau - 2)
        + 4_000.0 * math.sin(at / 700)
        + 900.0 * math.sin(at / 11)
        for at in readings
    ]
    yield _samples(_power(ven_id), readings, day)


def _power(ven_id: str) -> Point:
    return Point(
        ven_id=ven_id, r_id="power", report_name="TELEMETRY_USAGE", report_type="usage", unit="W"
    )


def _samples(point: Point, at: range, values: Sequence[float]) -> Samples:
    return Samples(point=point, starts_at=at, values=tuple(values), quality=(GOOD,) * len(values))
