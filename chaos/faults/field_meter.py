# SPDX-License-Identifier: Apache-2.0
"""The meters of a site fall silent, lose their power, stand still, or their line garbles them.

One on Modbus TCP and one on a serial line, on the 4 s grid of the field. What a meter did not say
is a gap with its reason, nothing is made up, and within 12 s the node says which meter is not to be
believed.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from chaos.program import Program, command
from chaos.serial_meter import Line, SerialMeter
from chaos.trial import Bench, Trial
from chaos.verdict import MOST_REMARKS, Outcome, Verdict, outcome
from light_node.errors import NodeUnreachable
from light_node.local import LocalClient, Readings
from light_node.profile import load_profile
from light_node.quality import is_usable
from light_node.simulator import SimulatedMeter

ALARM_WITHIN_S = 12.0
_INTERVAL_S = 4
_FAULT_S = 14
_BETWEEN_S = 6
_START_W = {"main": 100_000, "heat": 20_000}


Act = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one meter."""

    what: str
    meter: str
    begin: Act
    end: Act


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """One fault of one meter: [began, ended), epoch seconds; when it was told, seconds later."""

    what: str
    meter: str
    began: float
    ended: float
    told_after_s: float | None

    def covers(self, meter: str, at: float) -> bool:
        """Whether a reading of that tick must not be believed.

        One that stands still may pass for good until it has done so for a while.
        """
        grace_s = ALARM_WITHIN_S if self.what == "frozen" else 0.0
        return meter == self.meter and self.began + grace_s < at < self.ended - _INTERVAL_S


class Said:
    """What a meter has said: another number each time, so that each can be found again."""

    def __init__(self, first: int) -> None:
        self._numbers: Iterator[int] = itertools.count(first)
        self.values: set[float] = set()

    def next(self) -> float:
        """What it says now."""
        value = float(next(self._numbers))
        self.values.add(value)
        return value


def _meters(bench: Bench) -> Outcome:
    return asyncio.run(_play(bench))


async def _play(bench: Bench) -> Outcome:
    profile = load_profile("sdm630")
    said = {name: Said(first) for name, first in _START_W.items()}
    main = SimulatedMeter(profile, lambda: {"active_power": said["main"].next()})
    heat = SerialMeter(profile, said["heat"].next)
    async with main, heat:
        (bench.folder / "site.toml").write_text(_settings(main.port, heat.port))
        words = command("light-node", "run", "--config", bench.folder / "site.toml")
        node = Program("light-node", words, bench.folder)
        node.start()
        try:
            struck = await _strike(bench, main, heat)
            async with LocalClient(bench.folder / "light-node.sock") as client:
                rows = {name: await client.readings(meter=name) for name in said}
        finally:
            await asyncio.to_thread(node.stop)
    verdict = _judge(rows, said, struck)
    late = [
        f"{one.what} of {one.meter} was told after {one.told_after_s}"
        for one in struck
        if one.told_after_s is None or one.told_after_s > ALARM_WITHIN_S
    ]
    return outcome(
        bench.name,
        verdict,
        runs=len(struck),
        wanted=6,
        measured={
            f"{one.what.replace(' ', '_')}_told_after_s": round(one.told_after_s, 1)
            for one in struck
            if one.told_after_s is not None
        },
        remarks=late,
    )


def _settings(port: int, serial: str) -> str:
    return f"""
[site]
id = "hq"
[[meter]]
id = "main"
profile = "sdm630"
host = "127.0.0.1"
port = {port}
[[meter]]
id = "heat"
role = "sub"
profile = "sdm630"
serial = "{serial}"
[ring]
path = "ring.db"
commit_s = 1
[sampling]
interval_s = {_INTERVAL_S}
"""


async def _strike(bench: Bench, main: SimulatedMeter, heat: SerialMeter) -> list[Struck]:
    struck: list[Struck] = []
    faults = _faults(main, heat)
    for fault in faults:
        await _until(bench, fault.meter, believed=True, within_s=60.0)
        await asyncio.sleep(_BETWEEN_S + bench.chance.uniform(0, _INTERVAL_S))
        began = time.time()
        await fault.begin()
        told_after_s = await _until(bench, fault.meter, believed=False, within_s=_FAULT_S)
        await asyncio.sleep(max(0.0, began + _FAULT_S - time.time()))
        ended = time.time()
        await fault.end()
        struck.append(
            Struck(
                what=fault.what,
                meter=fault.meter,
                began=began,
                ended=ended,
                told_after_s=told_after_s,
            )
        )
        bench.say(len(struck), len(faults))
    await _until(bench, "main", believed=True, within_s=60.0)
    await asyncio.sleep(_BETWEEN_S)
    return struck


def _faults(main: SimulatedMeter, heat: SerialMeter) -> tuple[Fault, ...]:
    async def silent(is_so: bool) -> None:
        main.silent = is_so

    async def frozen(is_so: bool) -> None:
        main.frozen = is_so

    async def busy(is_so: bool) -> None:
        main.busy = is_so

    async def line(becomes: Line) -> None:
        heat.line = becomes

    return (
        Fault("silent", "main", partial(silent, True), partial(silent, False)),
        Fault("without power", "main", main.stop, main.start),
        Fault("frozen", "main", partial(frozen, True), partial(frozen, False)),
        Fault("busy", "main", partial(busy, True), partial(busy, False)),
        Fault("wrong CRC", "heat", partial(line, Line.GARBLED), partial(line, Line.GOOD)),
        Fault("unplugged", "heat", partial(line, Line.UNPLUGGED), partial(line, Line.GOOD)),
    )


async def _until(bench: Bench, meter: str, *, believed: bool, within_s: float) -> float | None:
    """Seconds until the node says so of a meter; None if it does not."""
    begun = time.monotonic()
    while time.monotonic() - begun < within_s:
        with contextlib.suppress(NodeUnreachable):
            async with LocalClient(bench.folder / "light-node.sock") as node:
                status = await node.status()
            one = next(one for one in status.meters if one.id == meter)
            told = any(meter in trouble for trouble in status.troubles)
            if one.last_good_at is not None and told != believed:
                return time.monotonic() - begun
        await asyncio.sleep(0.1)
    return None


def _judge(
    rows: Mapping[str, Readings], said: Mapping[str, Said], struck: Sequence[Struck]
) -> Verdict:
    """Each tick has one row; a value in it is one that the meter said; no fault passes for good."""
    lost: list[str] = []
    made_up: list[str] = []
    for meter, found in rows.items():
        ticks = [round(at / _INTERVAL_S) for at in found.starts_at]
        lost += [f"{meter}: no row {k}" for k in set(range(ticks[0], ticks[-1])) - set(ticks)]
        made_up += [f"{meter}: a row twice"] * (len(ticks) - len(set(ticks)))
        for at, watts, quality in zip(found.starts_at, found.watts, found.quality, strict=True):
            if watts is not None and watts not in said[meter].values:
                made_up.append(f"{meter} at {at:.0f}: {watts} was never said")
            if watts is None and is_usable(quality):
                made_up.append(f"{meter} at {at:.0f}: a gap passes for good")
            fault = next((one for one in struck if one.covers(meter, at)), None)
            if fault is not None and is_usable(quality):
                made_up.append(f"{meter} at {at:.0f}: {fault.what}, and passes for good")
            if fault is None and not is_usable(quality) and not _is_near(struck, meter, at):
                lost.append(f"{meter} at {at:.0f}: {quality}, without a fault")
    remarks = tuple((lost + made_up)[:MOST_REMARKS])
    return Verdict(lost=len(lost), doubled=len(made_up), remarks=remarks)


def _is_near(struck: Sequence[Struck], meter: str, at: float) -> bool:
    """Whether the meter was struck then or is just recovering: one tick more is allowed."""
    return any(
        one.meter == meter and one.began - _INTERVAL_S < at < one.ended + 2 * _INTERVAL_S
        for one in struck
    )


TRIALS = (
    Trial(
        name="field-meter",
        what="Meters silent, off, frozen or garbled: gaps that say so, told within 12 s",
        run=_meters,
        budget_s=300,
        usual_s=150,
    ),
)
