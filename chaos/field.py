# SPDX-License-Identifier: Apache-2.0
"""A whole house in which events hardly ever cease, for the faults that strike at the site."""

import contextlib
import math
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path

from chaos import ledgers
from chaos.errors import InVain
from chaos.house import House
from chaos.program import Program
from chaos.proxy import Direction
from chaos.site import order, store_url
from chaos.trial import Bench
from chaos.utility import CONTEXT
from chaos.verdict import Order, Patience, Verdict, judge_order, judge_samples, judge_site
from vtn.orders import EventOrder, SignalOrder
from vtn.views import EventView

LEAD_S = 4
EVENT_S = 24
PAUSE_S = 16
"""After an event the load has so long to be its own again."""
KW = 60.0
REDUCED_W = 30_000.0
"""From here on the load counts as reduced."""
_PATIENCE_S = 2.0
_BAD = "Quality Bad"


class Field:
    """The house, and what was ordered of it."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.orders: dict[str, Order] = {}
        self.said: dict[float, float | None] = {}
        """Every row that was seen on the node's disk: what may give way there later counts, too."""
        self.since_row = 0
        """Rows up to this one may be at the VTN; later ones must be."""
        self._due: set[float] = set()
        self._next_at = datetime.now(UTC)

    @property
    def ring(self) -> Path:
        """The file of the node's readings."""
        return self.house.folder / "ring.db"

    def publish(self, *, kw: float = KW, starts_in_s: float, duration_s: int) -> EventView:
        """An event that reduces the load; noted as an order."""
        starts_at = datetime.now(UTC) + timedelta(seconds=starts_in_s)
        wanted = SignalOrder(name="LOAD_DISPATCH", type="delta", unit="kW", value=-kw)
        event = self.house.operator.post(
            "events",
            into=EventView,
            body=EventOrder(
                signals=(wanted,),
                start=starts_at.replace(microsecond=0).isoformat(),
                duration=f"{duration_s}s",
                market_context=CONTEXT,
                vens=(self.house.ven_id,),
            ),
        )
        self.orders[event.event_id] = order(event)
        return event

    def cancel(self, event: EventView, *, known_after_s: float) -> None:
        """Call an event off; the site may hold it for so long from now."""
        self.house.operator.post("events", event.event_id, "cancel", into=EventView)
        known_at = datetime.now(UTC) + timedelta(seconds=known_after_s)
        self.orders[event.event_id] = order(event, until=known_at)

    def keep_busy(self) -> None:
        """Publish the next event when its time has come; to be called again and again."""
        if datetime.now(UTC) >= self._next_at:
            event = self.publish(starts_in_s=LEAD_S, duration_s=EVENT_S)
            assert event.ends_at is not None
            self._next_at = event.ends_at + timedelta(seconds=PAUSE_S - LEAD_S)

    def wait_until_settled(self) -> None:
        """Come back when the load has had its time after the last event."""
        last = max(one.ends_at for one in self.orders.values())
        self.house.sleep_until(last + timedelta(seconds=PAUSE_S))

    def reduction_w(self) -> float:
        """What the building's load is reduced by now, by its own ledger."""
        return self.house.loads()[-1].reduction_w

    # --- what its programs have on their disks ---------------------------------------------------

    def acknowledged(self) -> int:
        """How many samples the VTN holds, and so has acknowledged or is about to."""
        return len(ledgers.held_readings(store_url(self.house)))

    def newest_row(self) -> int:
        """The last row on the node's disk."""
        with ledgers.ring_beside_node(self.ring) as database:
            (newest,) = database.execute("SELECT coalesce(max(id), 0) FROM reading").fetchone()
        return int(newest)

    def rows(self) -> set[tuple[int, float, float | None]]:
        """All rows on the node's disk: id, instant, watts."""
        with ledgers.ring_beside_node(self.ring) as database:
            return {*database.execute("SELECT id, starts_at, watts FROM reading")}

    def remember(self) -> None:
        """Note what is on the node's disk now."""
        rows = sorted(self.rows(), key=itemgetter(0))
        self.said |= {at: watts for _, at, watts in rows}
        self._due |= {at for row_id, at, _ in rows if row_id > self.since_row}

    def judge(self, *, patience: Patience | None = None, drained_within_s: float = 60.0) -> Verdict:
        """Wait until all that was ever seen on the node's disk is at the VTN, then judge it all.

        A gap counts as what it is: at the VTN it must be there, and be bad. What the VEN says when
        it knows nothing (rule 318) is no sample.
        """
        self.remember()
        series = (self.house.ven_id, self.house.power())
        url = store_url(self.house)
        deadline = time.monotonic() + drained_within_s
        while True:
            held = ledgers.held_with_quality(url, series)
            first = min((at for at, _, _ in held), default=math.inf)
            due = {at for at in self._due if at >= first}
            if due <= {at for at, _, _ in held} or time.monotonic() > deadline:
                break
            time.sleep(0.3)
        self.remember()
        gaps = {at for at, watts in self.said.items() if watts is None}
        invented = [at for at, _, word in held if at in gaps and not word.startswith(_BAD)]
        loads = [(one.at, one.reduction_w) for one in self.house.loads()]
        return (
            judge_samples(
                {series: {at: watts for at, watts in self.said.items() if watts is not None}},
                {series: due - gaps},
                [(series, at, value) for at, value, word in held if not word.startswith(_BAD)],
            )
            + Verdict(
                lost=len(gaps & due - {at for at, _, _ in held}),
                doubled=len(invented),
                remarks=tuple(f"a gap that has a value: {at:.0f}" for at in invented),
            )
            + judge_site(loads, list(self.orders.values()), patience)
            + judge_order(ledgers.obeyed(self.house.ems.log))
        )

    def missing_ticks(self) -> list[float]:
        """Instants of the grid between the first and the last row for which there is no row."""
        self.remember()
        found = self.said
        first, last = int(min(found)), int(max(found))
        return [at for at in range(first, last, self.house.interval_s) if float(at) not in found]

    def obeyed(self, *, after: int = 0) -> list[tuple[int, str]]:
        """The set-points above a number that the EMS accepted: number and event."""
        with closing(_read_only(self.house.folder / "plan.db")) as database:
            events = dict(database.execute("SELECT seq, event_id FROM lease").fetchall())
        accepted = ledgers.obeyed(self.house.ems.log)
        return [(seq, events.get(seq, "")) for seq in accepted if seq > after]

    def recovery_s(
        self, since: float, ask: Callable[[], int], *, above: int, within_s: float = 30.0
    ) -> float:
        """Seconds from `since` (time.monotonic) until `ask` gives more than `above`."""
        while True:
            with contextlib.suppress(sqlite3.Error):  # the file may just be opened anew
                if ask() > above:
                    return time.monotonic() - since
            if time.monotonic() - since > within_s:
                raise InVain(f"Nothing went on within {within_s:g} s{self.house.last_words()}")
            time.sleep(0.01)


def field_house(bench: Bench, *, proxied: bool = False) -> House:
    """A house in the trial's folder, not yet opened."""
    return House(bench.folder, "sqlite:///vtn.db", proxied=proxied, seed=bench.seed)


def field(bench: Bench, *, proxied: bool = False) -> contextlib.AbstractContextManager[Field]:
    """A house in the trial's folder, opened."""
    return opened(field_house(bench, proxied=proxied))


@contextlib.contextmanager
def opened(house: House) -> Iterator[Field]:
    """Everything in the house started; closed in the end."""
    try:
        house.open()
        yield Field(house)
    finally:
        house.close()


def kill_as_written(program: Program, log: Path) -> None:
    """Kill as soon as SQLite's log is written to: at a commit, or in the middle of it."""
    before = _written_at(log)
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and _written_at(log) == before:
        time.sleep(0.0002)
    program.kill()


def kill_as_said(program: Program, house: House, direction: Direction) -> None:
    """Kill when something is under way between the VEN and the VTN; it does not arrive."""
    line = house.vtn_line
    assert line is not None
    struck = threading.Event()

    def on_chunk(way: Direction, _: bytes) -> bool:
        if way is direction and not struck.is_set():
            program.signal(signal.SIGKILL)
            struck.set()
        return not struck.is_set()

    line.on_chunk = on_chunk
    struck.wait(_PATIENCE_S)
    program.kill()
    line.on_chunk = None


def _written_at(log: Path) -> int:
    try:
        return log.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2)
