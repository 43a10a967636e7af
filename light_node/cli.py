# SPDX-License-Identifier: Apache-2.0
"""light-node: find and read meters, check the site, run the node, ask and override it."""

import asyncio
import functools
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from doorway import LOG_FORMAT, Door, LogFormat, configure_logs, show, show_json, show_verdict
from doorway.command import Finite
from doorway.spared import uncollected
from light_node import screen
from light_node.commission import Weight
from light_node.errors import LightNodeFault, NodeUnreachable
from light_node.local import LocalClient, Status
from light_node.settings import Settings, load
from light_node.survey import map_, scan

ANSWER_S = 10.0
_DIGITS = 6
"""Of a duration: no calendar has more than so many days."""

T = TypeVar("T")
_MARKS = {
    Weight.FINE: ("ok  ", "green"),
    Weight.LOOK: ("look", "yellow"),
    Weight.WRONG: ("NOT ", "red"),
}


class _Failed(LightNodeFault):
    """A check that did not hold."""


def _configured(command: Callable[..., None]) -> Callable[..., None]:
    """Options of every command: the settings file, and how much is logged."""

    @click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        default=Path("site.toml"),
        show_default=True,
        envvar="LIGHT_NODE_CONFIG",
        help="The site's settings.",
    )
    @click.option("--verbose", is_flag=True, help="Log more.")
    @LOG_FORMAT
    @functools.wraps(command)
    def with_settings(
        config: Path, verbose: bool, log_format: LogFormat, **options: Any
    ) -> None:  # Any: click's values
        configure_logs(verbose=verbose, log_format=log_format)
        command(load(config), **options)

    return with_settings


@click.group(
    cls=Door,
    epilog="Example: light-node check --config site.toml && light-node run --config site.toml",
)
def main() -> None:
    """The light node: samples the building's meter and holds its set-point."""


main.add_command(scan)
main.add_command(map_)


@main.command(epilog="Example: light-node run --config /etc/demandflex/site.toml")
@_configured
@click.option("--read-only", is_flag=True, help="Measure and report only; as [guard] read_only.")
def run(settings: Settings, *, read_only: bool) -> None:
    """Sample the meters, hold the plan and serve the socket, until SIGTERM or Ctrl-C."""
    if read_only:
        guard = msgspec.structs.replace(settings.guard, read_only=True)
        settings = msgspec.structs.replace(settings, guard=guard)
    # Here alone: the other commands need neither Modbus nor MQTT, and start in half the time.
    with uncollected():
        from light_node.node import Node  # noqa: PLC0415 - as said above

    async def run_until_stopped() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        async with Node(settings) as node:
            await node.run(stop)

    asyncio.run(run_until_stopped())


@main.command(epilog="Example: light-node read --config site.toml --json")
@_configured
@click.option("--json", "as_json", is_flag=True, help="Print for programs.")
def read(settings: Settings, *, as_json: bool) -> None:
    """Read each meter once, past a running node (on a serial line stop that first)."""
    from light_node.checkup import read_all  # noqa: PLC0415 - Modbus waits for its use

    readings = asyncio.run(read_all(settings))
    if as_json:
        show_json(
            [
                {"meter": meter.id, "took_ms": round(took_s * 1000, 1), "values": values}
                | ({"fault": fault} if fault else {})
                for meter, values, took_s, fault in readings
            ]
        )
    else:
        from rich.console import Console  # noqa: PLC0415 - waits for its use to save memory
        from rich.table import Table  # noqa: PLC0415 - waits for its use to save memory

        for (meter, values, took_s, fault), profile in zip(
            readings, settings.profiles, strict=True
        ):
            units = profile.units
            table = Table(title=f"{meter.id} ({meter.profile}), {took_s * 1000:.0f} ms")
            table.add_column("point")
            table.add_column("value", justify="right")
            table.add_column("unit")
            for name, value in values.items():
                unit = units[name]
                table.add_row(name, f"{value:,.3f}", "" if unit == "1" else unit)
            if not fault:
                Console().print(table)
    faults = [fault for _, _, _, fault in readings if fault]
    if faults:
        raise _Failed(" ".join(faults))


@main.command(epilog="Example: light-node check --config site.toml --seconds 60")
@_configured
@click.option(
    "--seconds",
    type=Finite(0, 3600),
    default=4.0,
    show_default=True,
    help="Watch the meters for so long; coarse energy counters need minutes.",
)
@click.option("--json", "as_json", is_flag=True, help="Print for programs.")
def check(settings: Settings, *, seconds: float, as_json: bool) -> None:
    """Check the settings, the meters' wiring, the broker, the EMS and the folders.

    Changes nothing. Says what looks wrong and which setting or wire to change.
    """
    from light_node.checkup import check_all  # noqa: PLC0415 - Modbus and MQTT wait for their use

    findings = asyncio.run(check_all(settings, seconds=seconds))
    if as_json:
        show_json(findings)
    else:
        for found in findings:
            mark, colour = _MARKS[found.weight]
            show(f"{click.style(mark, fg=colour)} {found.what}: {found.said}")
    faults = [found.said for found in findings if found.weight is Weight.WRONG]
    if faults:
        raise _Failed(f"{len(faults)} of {len(findings)} checks failed: {faults[0]}")


@main.command(epilog="Example: light-node status --config site.toml")
@_configured
@click.option("--json", "as_json", is_flag=True, help="Print for programs.")
def status(settings: Settings, *, as_json: bool) -> None:
    """Say whether all is well with the running node, and what is not; then exit status 1."""

    async def ask() -> Status:
        async with LocalClient(settings.socket) as client:
            return await _in_time(client.status())

    answer = asyncio.run(ask())
    troubles = screen.verdict(answer, expects_ems=settings.mqtt is not None)
    if as_json:
        show_json(answer)
        sys.exit(1 if troubles else 0)
    from rich.console import Console  # noqa: PLC0415 - waits for its use to save memory
    from rich.table import Table  # noqa: PLC0415 - waits for its use to save memory

    show_verdict(troubles)
    show(screen.headline(answer))
    table = Table(title=f"light node {settings.site.id}/{settings.site.node}", show_header=False)
    for what, said in screen.rows(answer):
        table.add_row(what, said)
    Console().print(table)
    sys.exit(1 if troubles else 0)


@main.group()
def override() -> None:
    """Opt the building out of all events on the spot, or back in."""


@override.command(
    epilog='Example: light-node override on --reason "boiler service" --for 2h --config site.toml'
)
@_configured
@click.option("--reason", required=True, help="Why; the utility is told.")
@click.option("--for", "duration", default="", help="How long, like 90min or 2h; else until off.")
def on(settings: Settings, *, reason: str, duration: str) -> None:
    """Release the set-point now, and take no other until it is withdrawn."""
    until = datetime.now(UTC) + _duration(duration) if duration else None
    asyncio.run(_override(settings, active=True, reason=reason, until=until))
    show(f"overridden{f' until {until:%Y-%m-%d %H:%M} UTC' if until else ' until withdrawn'}.")


@override.command(epilog="Example: light-node override off --config site.toml")
@_configured
def off(settings: Settings) -> None:
    """Withdraw the override made here."""
    asyncio.run(_override(settings, active=False, reason="", until=None))
    show("the override is withdrawn.")


@main.group()
def history() -> None:
    """The building's earlier days."""


@history.command(
    "import", epilog="Example: light-node history import earlier.csv --config site.toml"
)
@_configured
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--meter", default="", help="Of this meter; else of the site's.")
def import_(settings: Settings, *, file: Path, meter: str) -> None:
    """Take in FILE, a CSV of `starts_at,watts` in UTC, for baselines from the first day on.

    Rows are quarters of an hour or hours. What the node has measured itself is never replaced.
    """
    from light_node.history import read_history  # noqa: PLC0415 - waits for its use

    known = [table.id for table in settings.meters]
    if meter and meter not in known:
        raise _Failed(f"there is no meter '{meter}'; known are {', '.join(known)}.")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _Failed(f"{file}: the history cannot be read: {error}.") from error
    quarters = read_history(text.splitlines(), source=str(file))
    meter = meter or settings.site_meter.id
    try:
        asyncio.run(_import(settings, quarters, meter))
    except NodeUnreachable:
        from light_node.ring import Ring  # noqa: PLC0415 - SQLite waits for its use

        ring = Ring(settings.ring.path, boot="history", interval_s=settings.sampling.interval_s)
        try:
            ring.import_quarters(meter, quarters, now=datetime.now(UTC).timestamp())
        finally:
            ring.close()
    show(f"{len(quarters)} quarters of an hour ({len(quarters) / 96:.1f} days) are in.")


async def _import(settings: Settings, quarters: list[tuple[int, float]], meter: str) -> None:
    """Give them to the running node: it alone can open its ring."""
    async with LocalClient(settings.socket) as client:
        await _in_time(client.import_history(quarters, meter=meter))


async def _override(
    settings: Settings, *, active: bool, reason: str, until: datetime | None
) -> None:
    async with LocalClient(settings.socket) as client:
        await _in_time(client.set_override(active=active, reason=reason, until=until))


async def _in_time(answer: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(ANSWER_S):
            return await answer
    except TimeoutError as error:
        raise _Failed(f"the node has not answered within {ANSWER_S:.0f} s; see its log.") from error


def _duration(text: str) -> timedelta:
    units = {"min": "minutes", "h": "hours", "d": "days"}
    for suffix, unit in units.items():
        number = text.removesuffix(suffix)
        if number != text and number.isdecimal() and len(number) <= _DIGITS and int(number) > 0:
            return timedelta(**{unit: int(number)})
    raise _Failed(f"'{text}' is no duration; write it like 90min, 2h or 1d.")
