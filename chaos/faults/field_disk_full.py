# SPDX-License-Identifier: Apache-2.0
"""The card of the site's computer, with the node's and the VEN's files, is full for a while.

Each time it is full before an event begins until the event is nearly over, and another one is
published meanwhile. Nobody dies, somebody is told, and no reading is missing in the end.
"""

import asyncio
import time
from datetime import timedelta

from chaos.field import REDUCED_W, Field, field_house, opened
from chaos.house import House
from chaos.small_disk import SmallDisk, small_disk
from chaos.trial import Bench, Trial
from chaos.verdict import Outcome, Patience, Verdict, outcome
from light_node.local import LocalClient

RUNS = 2
_SIZE = "24m"
_FULL_S = 14
_EVENT_S = 30


def _full(bench: Bench) -> Outcome:
    runs = bench.times(RUNS)
    recoveries: list[float] = []
    told = 0
    with small_disk(bench.folder / "card", size=_SIZE) as card:
        house = field_house(bench)
        _move(house, card)
        with opened(house) as site:
            for number in range(runs):
                found_s, was_told = _fill(site, card)
                recoveries.append(found_s)
                told += was_told
                bench.say(number + 1, runs)
            site.wait_until_settled()
            missing = site.missing_ticks()
            verdict = site.judge(patience=_PATIENCE)
            died = [one.name for one in (house.ven, house.light_node) if not one.alive]
    remarks = [f"{name} died" for name in died]
    if told < runs:
        remarks.append(f"the node told of its full disk {told} times of {runs}")
    return outcome(
        bench.name,
        verdict + Verdict(lost=len(missing), remarks=tuple(f"no row at {at}" for at in missing)),
        runs=len(recoveries),
        wanted=runs,
        recoveries_s=recoveries,
        remarks=remarks,
    )


_PATIENCE = Patience(settle=timedelta(seconds=20), most_times=2)
"""Where not even the reserve is left, a lease cannot be kept, and so is not renewed."""


def _move(house: House, card: SmallDisk) -> None:
    """Put the site's stores on the card; the house finds them where it expects them."""
    for file in ("ring.db", "ven.db", "plan.db"):
        (house.folder / file).symlink_to(card.folder / file)
    settings = house.folder / "site.toml"
    moved = settings.read_text().replace('path = "ring.db"', f'path = "{card.folder}/ring.db"')
    moved = moved.replace("[mqtt]", f'[mqtt]\noutbox = "{card.folder}/ems-outbox.db"')
    settings.write_text(f'{moved}[plan]\npath = "{card.folder}/plan.db"\n')
    settings = house.folder / "ven.toml"
    settings.write_text(
        settings.read_text().replace('state = "ven.db"', f'state = "{card.folder}/ven.db"')
    )


def _fill(site: Field, card: SmallDisk) -> tuple[float, bool]:
    """One time without room; how long after it readings went up again, and whether it was told."""
    house = site.house
    first = site.publish(starts_in_s=3, duration_s=_EVENT_S)
    is_told = False
    for second in range(_FULL_S):
        site.remember()
        card.fill()  # again and again: what the programs let go of is taken, too
        time.sleep(1)
        is_told |= bool(asyncio.run(_troubles(house)))
        if second == _FULL_S // 2:
            site.publish(kw=70, starts_in_s=_EVENT_S + 20, duration_s=20)
    row, before = site.newest_row(), site.acknowledged()
    card.free()
    freed_at = time.monotonic()
    site.recovery_s(freed_at, site.newest_row, above=row)
    found_s = site.recovery_s(freed_at, site.acknowledged, above=before)
    house.wait("the load is reduced", lambda: site.reduction_w() > REDUCED_W)
    assert first.ends_at is not None
    site.wait_until_settled()
    return found_s, is_told


async def _troubles(house: House) -> tuple[str, ...]:
    async with LocalClient(house.folder / "light-node.sock") as node:
        return (await node.status()).troubles


TRIALS = (
    Trial(
        name="field-disk-full",
        what="The card of the site's computer is full: no crash, it is told, nothing is missing",
        run=_full,
        budget_s=420,
        usual_s=210,
    ),
)
