# SPDX-License-Identifier: Apache-2.0
"""What the programs of the field put on their disk, in a process of its own.

    python -m chaos.field_writer FOLDER ACKS ROUNDS SEED

The real stores of the light node (ring, plan, outbox) and of the VEN (state) take made-up things,
each with a number that rises, and whatever a store has taken is noted in the file ACKS, one JSON
object a line, in one write. `found_in` reads the stores again, after a power cut for instance.
"""

import os
import random
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import msgspec

from ems_bridge.messages import Reason, SetPoint
from ems_bridge.outbox import Outbox
from light_node.local import Delta, Step
from light_node.plan import Plan
from light_node.quality import Quality
from light_node.reading import Reading
from light_node.ring import Ring
from light_node.setpoint import GuardState, Held
from light_node.store import Store
from oadr.event import CreatedEvent
from oadr.report import ReportInterval, ReportRequest, SpecifierPayload
from oadr.response import EiResponse
from oadr.vocabulary import ServiceName
from ven.spool import Spool
from ven.state import InForce, State

STARTS_AT = datetime(2030, 1, 9, 14, 0, tzinfo=UTC)
INTERVAL_S = 4.0
BATCH = 15
"""So many readings at once in quiet times: a minute of them."""
REOPENED_EVERY = 120
_METER = "main"


class Numbers(msgspec.Struct, kw_only=True):
    """How far each store has come; of what was acknowledged, or of what is found."""

    ring: int = 0
    plan: int = 0
    lease: int = 0
    letter: int = 0
    spool: int = 0
    answer: int = 0


class Stores:
    """All stores of one site in one folder."""

    def __init__(self, folder: Path, boot: str) -> None:
        self.ring = Ring(folder / "ring.db", boot=boot, interval_s=INTERVAL_S)
        self.plan = Store(folder / "plan.db")
        self.outbox = Outbox(folder / "ems-outbox.db")
        self.state = State.open(folder / "ven.db")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for store in (self.ring, self.plan, self.outbox, self.state):
            store.close()


def reading(seq: int) -> Reading:
    """The reading of that number."""
    at = STARTS_AT.timestamp() + seq * INTERVAL_S
    return Reading(
        meter=_METER,
        seq=seq,
        k=int(at // INTERVAL_S),
        starts_at=at,
        quality=Quality.GOOD,
        values={"active_power": watts(seq), "energy_import": float(seq)},
    )


def watts(seq: int) -> float:
    """What the meter said at that reading."""
    return 100_000.0 + seq * 0.5


def plan(version: int) -> Plan:
    """A plan of one step."""
    step = Step(
        event_id=f"event-{version}",
        modification_number=version,
        priority=1,
        starts_at=STARTS_AT,
        ends_at=STARTS_AT + timedelta(hours=1),
        target=Delta(watts=-float(version)),
        signal_name="LOAD_DISPATCH",
        signal_type="delta",
        value=-float(version),
    )
    return Plan(version=version, steps=(step,) * (1 + version % 20))


def lease(seq: int) -> SetPoint:
    """A set-point."""
    return SetPoint(
        id="event:1",
        seq=seq,
        issued_at=STARTS_AT,
        not_before=STARTS_AT,
        not_after=STARTS_AT + timedelta(seconds=120),
        ttl_s=120,
        delta_w=-float(seq),
        reason=Reason(
            event_id="event",
            modification_number=1,
            signal_name="LOAD_DISPATCH",
            signal_type="delta",
        ),
    )


REQUEST = ReportRequest(
    report_request_id="request",
    report_specifier_id="usage",
    granularity=timedelta(seconds=4),
    report_back=timedelta(seconds=60),
    interval=ReportInterval(starts_at=STARTS_AT, duration=timedelta(0)),
    payloads=(SpecifierPayload(r_id="power"),),
)


def write(folder: Path, acks: Path, *, rounds: int, seed: int) -> None:
    """Put things on the disk in a random order; every one that was taken is noted."""
    chance = random.Random(seed)  # noqa: S311 - an order, not a secret
    done = Numbers()
    ledger = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    begun = 0
    while begun < rounds:
        with Stores(folder, boot=f"boot-{begun}") as stores:
            for _ in range(min(REOPENED_EVERY, rounds - begun)):
                _do_one(stores, done, chance)
                os.write(ledger, msgspec.json.encode(done) + b"\n")
                begun += 1
    os.close(ledger)


def _do_one(stores: Stores, done: Numbers, chance: random.Random) -> None:
    match chance.randrange(8):
        case 0 | 1 | 2:
            last = done.ring + (1 if chance.random() < 0.6 else BATCH)
            stores.ring.commit(
                [reading(seq) for seq in range(done.ring + 1, last + 1)],
                now=reading(last).starts_at,
            )
            done.ring = last
        case 3:
            stores.plan.save_plan(plan(done.plan + 1), {}, now=STARTS_AT)
            done.plan += 1
        case 4:
            made = lease(done.lease + 1)
            held = Held(seq=made.seq, lease=made, state=GuardState.LIMITED)
            stores.plan.save_held(held, made)
            done.lease += 1
        case 5:
            payload = f"{done.letter + 1}".encode() * 50
            stores.outbox.put("topic", payload, supersedes="limit")
            done.letter += 1
        case 6:
            spool = Spool(after=done.spool + 1)
            stores.state.put_request(InForce(request=REQUEST, taken_at=STARTS_AT, spool=spool))
            done.spool += 1
        case _:
            with stores.state.transaction():
                for old in stores.state.answers():
                    stores.state.drop_answer(old.n)
                answer = CreatedEvent(response=EiResponse(), ven_id=f"{done.answer + 1}")
                stores.state.put_answer(ServiceName.EVENT, answer)
            done.answer += 1


def found_in(folder: Path) -> Numbers:
    """Open every store and read what it has. Raises what the stores raise, and Damaged."""
    with Stores(folder, boot="boot-after") as stores:
        found = Numbers(ring=_whole_ring(stores.ring))
        kept = stores.plan.plan()
        found.plan = kept.version
        held = stores.plan.held()
        found.lease = held.seq
        if (kept.version and kept != plan(kept.version)) or (
            held.lease is not None and held.lease != lease(held.seq)
        ):
            raise Damaged("The plan or the lease is not as it was written.")
        letters = stores.outbox.due(STARTS_AT, limit=10)
        found.letter = max(
            (int(one.payload[: len(one.payload) // 50]) for one in letters), default=0
        )
        spool = next((one.spool for one in stores.state.requests().values()), None)
        found.spool = spool.after if spool is not None else 0
        answers = [one.message for one in stores.state.answers()]
        found.answer = max(
            (int(one.ven_id or 0) for one in answers if isinstance(one, CreatedEvent)), default=0
        )
    if aside := [*folder.glob("*.damaged-*")]:
        raise Damaged(f"{aside[0].name}: it was damaged, and set aside.")
    for name in ("ring", "plan", "ems-outbox", "ven"):
        with closing(sqlite3.connect(folder / f"{name}.db")) as database:
            (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
            if verdict != "ok":
                raise Damaged(f"{name}.db: {verdict}")
    return found


class Damaged(Exception):
    """A store opens, and what is in it was never put there."""


def _whole_ring(ring: Ring) -> int:
    columns = ring.readings(_METER, after=0, limit=1_000_000)
    seqs = range(1, len(columns.ids) + 1)
    if columns.ids != [*seqs] or columns.watts != [watts(seq) for seq in seqs]:
        raise Damaged("The ring has gaps, or readings that were never taken.")
    return len(columns.ids)


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]), rounds=int(sys.argv[3]), seed=int(sys.argv[4]))
