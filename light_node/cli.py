# SPDX-License-Identifier: Apache-2.0
"""light-node: run the node, read its meters, check its settings, ask and override it."""

import asyncio
import contextlib
import functools
import signal
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from doorway import LOG_FORMAT, Door, LogFormat, configure_logs, show, show_json
from light_node.errors import LightNodeFault
from light_node.local import LocalClient, Status
from light_node.settings import MeterTable, Settings, load

ANSWER_S = 10.0

T = TypeVar("T")


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


@main.command(epilog="Example: light-node run --config /etc/demandflex/site.toml")
@_configured
def run(settings: Settings) -> None:
    """Sample the meters, hold the plan and serve the socket, until SIGTERM or Ctrl-C."""
    # Here alone: the other commands need neither Modbus nor MQTT, and start in half the time.
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
    readings = asyncio.run(_read_all(settings))
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


@main.command(epilog="Example: light-node check --config site.toml")
@_configured
@click.option("--json", "as_json", is_flag=True, help="Print for programs.")
def check(settings: Settings, *, as_json: bool) -> None:
    """Check the settings, the meters, the broker and the folders, and change nothing."""
    findings = [("settings", "fine", True), *asyncio.run(_check_all(settings))]
    if as_json:
        show_json([{"what": what, "finding": said, "ok": ok} for what, said, ok in findings])
    else:
        for what, said, ok in findings:
            show(
                f"{click.style('ok  ' if ok else 'NOT ', fg='green' if ok else 'red')} "
                f"{what}: {said}"
            )
    faults = [said for _, said, ok in findings if not ok]
    if faults:
        raise _Failed(f"{len(faults)} of {len(findings)} checks failed: {faults[0]}")


@main.command(epilog="Example: light-node status --config site.toml")
@_configured
@click.option("--json", "as_json", is_flag=True, help="Print for programs.")
def status(settings: Settings, *, as_json: bool) -> None:
    """Ask the running node how it is."""

    async def ask() -> Status:
        async with LocalClient(settings.socket) as client:
            return await _in_time(client.status())

    answer = asyncio.run(ask())
    if as_json:
        show_json(answer)
        return
    from rich.console import Console  # noqa: PLC0415 - waits for its use to save memory
    from rich.table import Table  # noqa: PLC0415 - waits for its use to save memory

    table = Table(title=f"light node {settings.site.id}/{settings.site.node}", show_header=False)
    for what, said in _in_words(answer):
        table.add_row(what, said)
    Console().print(table)


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
    from light_node.history import read_history  # noqa: PLC0415 - SQLite waits for its use
    from light_node.ring import Ring  # noqa: PLC0415 - SQLite waits for its use

    known = [table.id for table in settings.meters]
    if meter and meter not in known:
        raise _Failed(f"there is no meter '{meter}'; known are {', '.join(known)}.")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _Failed(f"{file}: the history cannot be read: {error}.") from error
    quarters = read_history(text.splitlines(), source=str(file))
    ring = Ring(settings.ring.path, boot="history", interval_s=settings.sampling.interval_s)
    try:
        taken = ring.import_quarters(
            meter or settings.site_meter.id, quarters, now=datetime.now(UTC).timestamp()
        )
    finally:
        ring.close()
    show(f"{taken} quarters of an hour ({taken / 96:.1f} days) are in.")


async def _read_all(
    settings: Settings,
) -> list[tuple[MeterTable, dict[str, float], float, str]]:
    """Each meter with its values, the seconds it took, and the fault or ""."""
    from light_node.node import make_bus, make_meter  # noqa: PLC0415 - Modbus waits for its use

    readings = []
    for meter, profile in zip(settings.meters, settings.profiles, strict=True):
        bus = make_bus(meter, profile)
        started = time.monotonic()
        values: dict[str, float] = {}
        fault = ""
        try:
            values = await make_meter(meter, profile, bus).read(slow=True, budget_s=5.0)
        except LightNodeFault as error:
            fault = f"[[meter]] '{meter.id}': {error}"
        finally:
            bus.close()
        readings.append((meter, values, time.monotonic() - started, fault))
    return readings


async def _check_all(settings: Settings) -> list[tuple[str, str, bool]]:
    findings: list[tuple[str, str, bool]] = []
    for meter, values, took_s, fault in await _read_all(settings):
        watts = values.get("active_power")
        said = fault or (
            f"{watts / 1000:,.1f} kW, {len(values)} points in {took_s * 1000:.0f} ms"
            if watts is not None
            else "it does not say its power; check the profile."
        )
        findings.append((f"meter {meter.id}", said, watts is not None))
    if settings.mqtt is not None:
        findings.append(await _check_broker(settings.mqtt.host, settings.mqtt.port))
    for what, path in (
        ("ring", settings.ring.path),
        ("plan", settings.plan),
        ("socket", settings.socket),
    ):
        folder = path.parent
        ok = folder.is_dir()
        said = f"{path}" if ok else f"{folder}: there is no such folder; make it."
        if what == "socket" and len(str(path).encode()) > 107:
            ok, said = False, f"{path}: a socket's path has at most 107 bytes; shorten it."
        findings.append((what, said, ok))
    return findings


async def _check_broker(host: str, port: int) -> tuple[str, str, bool]:
    try:
        async with asyncio.timeout(5):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        reason = str(error) or "no answer"
        return "broker", f"{host}:{port} does not listen ({reason}); start the broker.", False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return "broker", f"{host}:{port} listens", True


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
        if number != text and number.isdigit() and int(number) > 0:
            return timedelta(**{unit: int(number)})
    raise _Failed(f"'{text}' is no duration; write it like 90min, 2h or 1d.")


def _in_words(status: Status) -> list[tuple[str, str]]:
    words = [("at", f"{status.at:%Y-%m-%d %H:%M:%S} UTC"), ("guard", str(status.guard))]
    for meter in status.meters:
        watts = (
            "no reading yet" if meter.last_watts is None else f"{meter.last_watts / 1000:,.1f} kW"
        )
        words.append(
            (
                f"meter {meter.id}",
                f"{watts}, {'online' if meter.online else 'SILENT'}, {meter.quality}",
            )
        )
    online = {None: "never heard", True: "online", False: "OFFLINE"}[status.ems.online]
    broker = "broker connected" if status.ems.broker_connected else "no broker"
    words.append(("EMS", f"{online}, {broker}"))
    if (offer := status.ems.offer) is not None:
        reach = f"{offer.down_w / 1000:,.1f} kW less or {offer.up_w / 1000:,.1f} kW more"
        words.append(("EMS offers", f"{reach}, until {offer.valid_until:%Y-%m-%d %H:%M} UTC"))
    if status.lease is None:
        words.append(("set-point", "none"))
    else:
        lease = status.lease
        acknowledged = lease.acknowledged or "not acknowledged yet"
        words.append(("set-point", f"{lease.target} (event {lease.event_id}), {acknowledged}"))
    if status.override.active:
        until = status.override.until
        ends = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
        words.append(("override", f"{status.override.reason}{ends} ({status.override.source})"))
    words.append(("plan", f"version {status.plan_version}, {status.plan_steps} steps"))
    words.append(("readings kept", f"{status.ring_rows:,}"))
    words += [("TROUBLE", trouble) for trouble in status.troubles]
    return words
