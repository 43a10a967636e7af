# SPDX-License-Identifier: Apache-2.0
"""Plays the scenarios one after the other, and says how each ended."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from ems_bridge.errors import BridgeError
from ems_bridge.plant import Plant
from ems_bridge.settings import Settings
from ems_bridge.trial.relay import Relay
from ems_bridge.trial.scenarios import BACK_S, SCENARIOS, Scenario
from ems_bridge.trial.stage import Noted, NotShown, Stage, Wrong, staged

Outcome = Literal["passed", "failed", "warned", "not shown"]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How one scenario ended."""

    name: str
    promise: str
    outcome: Outcome
    """ "warned": what an EMS should do, and need not."""
    why: str
    seconds: float
    course: tuple[Noted, ...] = ()
    """What was done and what was seen, in its order; heartbeats left out."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole trial."""

    site: str
    node: str
    ems: str
    broker: str
    at: datetime
    results: tuple[Result, ...]

    def count(self, outcome: Outcome) -> int:
        return sum(one.outcome == outcome for one in self.results)

    @property
    def passed(self) -> bool:
        """Nothing failed."""
        return not self.count("failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is tried, and with what at hand."""

    settings: Settings
    step_w: float
    patience_s: float
    through: int | None = None
    """The port on which the EMS finds the broker, so that its line can be cut."""
    plant: Plant | None = None
    only: Sequence[str] = ()
    """Names of scenarios; none: all."""
    force: bool = False


async def play(
    trial: Trial,
    *,
    now: Callable[[], datetime],
    monotonic: Callable[[], float],
    ready: Callable[[int], None],
) -> AsyncGenerator[Result, None]:
    """Each result as soon as it is there; `ready` is told of the relay's port, if there is one.

    Raises BridgeError where there is no broker, or a light node on it already.
    """
    async with AsyncExitStack() as exits:
        relay = None
        if trial.through is not None:
            broker = trial.settings.broker
            relay = await exits.enter_async_context(
                Relay(trial.through, broker_host=broker.host, broker_port=broker.port)
            )
        stage = await exits.enter_async_context(
            staged(
                trial.settings,
                now=now,
                monotonic=monotonic,
                step_w=trial.step_w,
                patience_s=trial.patience_s,
                relay=relay,
                plant=trial.plant,
                force=trial.force,
            )
        )
        if relay is not None:
            ready(relay.port)
            # The first scenario would otherwise judge how fast it connects.
            await stage.until(lambda: bool(stage.statuses()), within_s=BACK_S)
        for scenario in SCENARIOS.values():
            if not trial.only or scenario.name in trial.only:
                yield await _one(stage, scenario)


async def _one(stage: Stage, scenario: Scenario) -> Result:
    begun_s = stage.monotonic()
    outcome: Outcome = "passed"
    why = ""
    try:
        await stage.at_rest()
        stage.begin()
        await scenario.act(stage)
    except NotShown as missing:
        outcome, why = "not shown", str(missing)
    except Wrong as wrong:
        outcome, why = ("failed" if scenario.weight == "must" else "warned"), str(wrong)
    except BridgeError as fault:
        outcome, why = "not shown", f"the trial itself was disturbed: {fault}"
    return Result(
        name=scenario.name,
        promise=scenario.promise,
        outcome=outcome,
        why=why,
        seconds=round(stage.monotonic() - begun_s, 1),
        course=tuple(stage.diary),
    )


def report(trial: Trial, results: Sequence[Result], *, at: datetime) -> Report:
    return Report(
        site=trial.settings.site,
        node=trial.settings.node,
        ems=trial.settings.ems,
        broker=trial.settings.broker.address,
        at=at,
        results=tuple(results),
    )


def write(report: Report, file: Path) -> None:
    """As JSON where the file ends with .json, else as Markdown. Raises BridgeError."""
    text = markdown(report)
    if file.suffix == ".json":
        text = msgspec.json.format(msgspec.json.encode(report)).decode()
    try:
        file.write_text(text)
    except OSError as error:
        raise BridgeError(f"{file}: the report cannot be written: {error.strerror}.") from error


def markdown(report: Report) -> str:
    """The report for a person, to hand on."""
    head = (
        f"# EMS {report.ems}: {'passed' if report.passed else 'FAILED'}\n\n"
        f"On {report.broker} as df/v1/{report.site}/{report.node}, {report.at:%Y-%m-%d %H:%M} UTC: "
        f"{report.count('passed')} passed, {report.count('failed')} failed, "
        f"{report.count('warned')} warned, {report.count('not shown')} not shown.\n\n"
        "| scenario | outcome | promise | why |\n| --- | --- | --- | --- |\n"
    )
    rows = (
        f"| {one.name} | {one.outcome} | {one.promise} | {_cell(one.why)} |\n"
        for one in report.results
    )
    return head + "".join(rows) + "".join(map(_told, report.results))


def _told(one: Result) -> str:
    """A scenario's own section: what was expected, and line by line what was done and seen."""
    head = f"\n## {one.name}: {one.outcome}\n\nExpected: {one.promise}\n"
    wrong = f"\nBut {one.why}\n" if one.why else ""
    lines = (
        f"| {noted.after_s:.2f} | {noted.who} | {_cell(noted.said)} |\n" for noted in one.course
    )
    table = "\n| s | who | what |\n| ---: | --- | --- |\n" + "".join(lines) if one.course else ""
    return head + wrong + table


def _cell(text: str) -> str:
    """Text as it may stand in a table's cell."""
    return text.replace("|", "/").replace("\n", " ")
