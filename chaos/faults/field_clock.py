# SPDX-License-Identifier: Apache-2.0
"""The clock of the site's computer jumps by hours in an event, or wakes up a day behind.

libfaketime moves the wall clock of the VEN and the light node together; the VTN, the EMS and the
building keep the true time. Readings bear the instants they were given, also wrong ones, and all of
them go up; no event is held outside its time, and each is held again once the clock is right.
"""

import time
from datetime import timedelta
from pathlib import Path

from chaos import ledgers
from chaos.errors import SetUpFault
from chaos.field import REDUCED_W, Field, field_house, opened
from chaos.trial import Bench, Trial
from chaos.verdict import Outcome, Patience, Verdict, outcome

JUMPS_S = {"ahead": 3600, "behind": -3600, "leap_second": -1, "woken_a_day_behind": -86_400}
_LIBRARIES = "*-linux-gnu/faketime/libfaketimeMT.so.1"
_WRONG_S = 5.0
_EVENT_S = 30
_PATIENCE = Patience(settle=timedelta(seconds=12), most_times=2)
"""A clock that jumps over an event's end lets go of it, until it is right again."""


def _jumped(bench: Bench) -> Outcome:
    library = next(Path("/usr/lib").glob(_LIBRARIES), None)
    if library is None:
        raise SetUpFault("libfaketime is missing; run scripts/packages as root.")
    house = field_house(bench)
    clock, sign = bench.folder / "clock", bench.folder / "synchronized"
    for name in ("site.toml", "ven.toml"):
        settings = bench.folder / name
        settings.write_text(f'{settings.read_text()}[clock]\nsynchronized_file = "{sign}"\n')
    for program in (house.ven, house.light_node):
        program.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
    _set(clock, 0)
    sign.touch()
    recoveries: dict[str, float] = {}
    held_again: list[float] = []
    with opened(house) as site:
        site.since_row = site.newest_row()
        for number, (jump, offset_s) in enumerate(JUMPS_S.items()):
            site.publish(starts_in_s=3, duration_s=_EVENT_S)
            if jump == "woken_a_day_behind":
                house.light_node.stop()
                house.ven.stop()
                sign.unlink()
                _set(clock, offset_s)
                before = site.acknowledged()
                house.light_node.start()
                house.ven.start()
                since = house.ven.started_at
            else:
                house.wait("the load falls", lambda: site.reduction_w() > REDUCED_W)
                before = site.acknowledged()
                _set(clock, offset_s)
                since = time.monotonic()
            recoveries[jump] = site.recovery_s(since, site.acknowledged, above=before, within_s=40)
            time.sleep(_WRONG_S)
            _set(clock, 0)
            sign.touch()
            right_at = time.monotonic()
            house.wait("the load is reduced again", lambda: site.reduction_w() > REDUCED_W)
            held_again.append(time.monotonic() - right_at)
            site.wait_until_settled()
            bench.say(number + 1, len(JUMPS_S))
        verdict = site.judge(patience=_PATIENCE)
        disorder = _disorder(site)
    return outcome(
        bench.name,
        verdict + Verdict(doubled=len(disorder), remarks=disorder),
        runs=len(recoveries),
        wanted=len(JUMPS_S),
        recoveries_s=recoveries.values(),
        measured={
            "held_again_after_s": round(max(held_again), 1),
            **{f"{jump}_recovery_s": round(took_s, 2) for jump, took_s in recoveries.items()},
        },
    )


def _disorder(site: Field) -> tuple[str, ...]:
    """Where the rows of one run of the node are not numbered one after the other."""
    found = []
    last: dict[int, int] = {}
    with ledgers.ring_beside_node(site.ring) as database:
        for boot, seq in database.execute("SELECT boot, seq FROM reading ORDER BY id"):
            if seq != last.get(boot, 0) + 1:
                found.append(f"row {seq} after row {last.get(boot)} of run {boot}")
            last[boot] = seq
    return tuple(found)


def _set(clock: Path, offset_s: int) -> None:
    """All at once: the file is read at any moment."""
    fresh = clock.with_suffix(".new")
    fresh.write_text(f"{offset_s:+d}\n")
    fresh.replace(clock)


TRIALS = (
    Trial(
        name="field-clock",
        what="The site's clock jumps by hours or wakes up a day behind: order kept, events in time",
        run=_jumped,
        budget_s=480,
        usual_s=230,
    ),
)
