# SPDX-License-Identifier: Apache-2.0
"""The line between VEN and VTN is a black hole; when it is back, a day is owed, then three.

The days are made by filling the node's ring with readings beforehand, and by asking for them as
the VTN asks for every report. Meanwhile the live readings must go on arriving.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from chaos import ledgers
from chaos.errors import InVain
from chaos.house import House
from chaos.proxy import BLACK_HOLE, Weather
from chaos.site import judge_house, store_url
from chaos.trial import Bench, Trial
from chaos.verdict import Outcome, outcome
from light_node.quality import Quality
from light_node.reading import Reading
from light_node.ring import Ring
from vtn.orders import ReportOrder
from vtn.views import Reports

INTERVAL_S = 4
DAY = timedelta(days=1)
KEPT = 3 * DAY
"""What a node must be able to keep for a VTN that is away: 64,800 readings."""
MOST_BYTES = 10_000_000
DRAINED_WITHIN_S = 60.0
"""For one day."""
MOST_LAG_S = 15.0
"""Of the newest reading at the VTN while old ones are drained; the grid and the pace take 8 s."""
_BATCH = 15
_AWAY_S = 12.0
_LINE = Weather(delay_s=0.04, jitter_s=0.02)
"""Some 100 ms there and back, as over a mobile network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """How it went."""

    rows: int
    seconds: float
    lag_s: float
    """Of the live readings, at most, once the first had come."""
    first_live_s: float
    """When the first reading taken since was there."""


def _outage(bench: Bench) -> Outcome:
    kept = KEPT * min(bench.scale, 1.0)
    house = House(
        bench.folder, "sqlite:///vtn.db", interval_s=INTERVAL_S, proxied=True, seed=bench.seed
    )
    try:
        line = house.vtn_line
        assert line is not None
        line.open()
        house.open_vtn()
        now = datetime.now(UTC)
        bytes_kept = _fill(house, now - kept, now - timedelta(seconds=30))
        house.building.start()
        house.meter_line.__enter__()
        house.ems.start()
        house.light_node.start()
        house.ven.start()
        house.wait("readings arrive", lambda: house.readings().starts_at, within_s=60)
        bench.say(1, 3)
        line.becomes(BLACK_HOLE)
        _ask_for(house, now - min(DAY, kept))
        time.sleep(_AWAY_S)
        line.cut()
        line.becomes(_LINE)
        day = _drained(house, now - min(DAY, kept), now)
        bench.say(2, 3)
        _ask_for(house, now - kept)
        whole = _drained(house, now - kept, now)
        bench.say(3, 3)
        verdict = judge_house(house, ())
    finally:
        house.close()
    remarks = [
        f"{what}: {found:.1f}, more than {most:g}"
        for what, found, most in (
            ("bytes on the node's disk", bytes_kept, MOST_BYTES),
            ("seconds for a day", day.seconds, DRAINED_WITHIN_S),
            ("lag of the live readings (s)", max(day.lag_s, whole.lag_s), MOST_LAG_S),
            ("seconds until live readings came", day.first_live_s, MOST_LAG_S),
        )
        if found > most
    ]
    return outcome(
        bench.name,
        verdict,
        runs=2,
        measured={
            "bytes_on_the_node": bytes_kept,
            "day_rows": day.rows,
            "day_drained_s": round(day.seconds, 1),
            "day_first_live_s": round(day.first_live_s, 1),
            "day_live_lag_s": round(day.lag_s, 1),
            "three_days_rows": whole.rows,
            "three_days_drained_s": round(whole.seconds, 1),
            "three_days_live_lag_s": round(whole.lag_s, 1),
        },
        remarks=remarks,
    )


def _fill(house: House, start: datetime, end: datetime) -> int:
    """Put the readings of that time into the node's ring, as it does; what they take, in bytes."""
    path = house.folder / "ring.db"
    ring = Ring(path, boot="earlier", interval_s=INTERVAL_S)
    ticks = range(int(start.timestamp()) // INTERVAL_S, int(end.timestamp()) // INTERVAL_S)
    readings = [_reading(k, seq) for seq, k in enumerate(ticks, start=1)]
    for first in range(0, len(readings), _BATCH):
        batch = readings[first : first + _BATCH]
        ring.commit(batch, now=batch[-1].starts_at)
    taken = sum(file.stat().st_size for file in path.parent.glob("ring.db*"))
    ring.close()
    return taken


def _reading(k: int, seq: int) -> Reading:
    return Reading(
        meter="main",
        seq=seq,
        k=k,
        starts_at=float(k * INTERVAL_S),
        quality=Quality.GOOD,
        values={"active_power": 100_000.0 + seq % 5000, "energy_import": 5e6 + 111.0 * seq},
        start_error_s=0.0012,
        took_s=0.034,
    )


def _ask_for(house: House, start: datetime) -> None:
    order = ReportOrder(
        specifier="usage",
        points=("power",),
        granularity=f"{INTERVAL_S}s",
        back="60s",
        start=start.replace(microsecond=0).isoformat(),
    )
    house.operator.post("vens", house.ven_id, "reports", into=Reports, body=order)


def _drained(house: House, start: datetime, end: datetime) -> Drained:
    """Wait until the VTN holds all that the ring has of that time."""
    begun, begun_at = time.monotonic(), time.time()
    ring = ledgers.ring_readings(house.folder / "ring.db")
    due = {at for at in ring if start.timestamp() <= at < end.timestamp() - 30}
    url = store_url(house)
    lags: list[float] = []
    first_live_s = 0.0
    while True:
        held = {at for (_, r_id), at, _ in ledgers.held_readings(url) if r_id == "power"}
        seconds = time.monotonic() - begun
        newest = max(held)
        if newest >= begun_at:
            first_live_s = first_live_s or seconds
            lags.append(time.time() - newest)
        if due <= held and lags:
            return Drained(
                rows=len(due), seconds=seconds, lag_s=max(lags), first_live_s=first_live_s
            )
        if seconds > 3 * DRAINED_WITHIN_S:
            missing = len(due - held)
            raise InVain(f"{missing} of {len(due)} readings never came{house.last_words()}")
        time.sleep(0.3)


TRIALS = (
    Trial(
        name="field-outage",
        what="No line to the VTN: a day of readings follows within 60 s, live ones do not wait",
        run=_outage,
        budget_s=400,
        usual_s=80,
    ),
)
