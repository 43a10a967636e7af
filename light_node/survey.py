# SPDX-License-Identifier: Apache-2.0
"""light-node scan and light-node map: what an installer runs before there is a site.toml."""

import asyncio
import contextlib
import math
import platform
import re
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import click

from doorway import SettingsFault, configure_logs, decode_settings, show, show_json
from light_node.errors import LightNodeFault, MeterFault
from light_node.profile import Profile, contradictions, load_profile

if TYPE_CHECKING:  # Modbus waits for its use: it takes half of a command's time to start
    from light_node.scanning import Found, Tell

T = TypeVar("T")
_ADDRESS = re.compile(r"^(?P<host>\[[^\]]+\]|[^:\[\]]+)(:(?P<port>\d{1,5}))?$")
_RTU_TURN_S = 0.012
"""What a request costs besides its bytes: the gaps between frames and the device's own time."""
_NAME = re.compile(r"[^A-Za-z0-9._-]")
Parity = Literal["N", "E", "O"]


class _Failed(LightNodeFault):
    """Nothing was found, or what was found is wrong."""


@click.command(
    epilog="Example: light-node scan --serial /dev/serial/by-id/usb-FTDI --write site.toml, "
    "or: light-node scan --tcp 192.168.1.0/24 --write site.toml"
)
@click.option("--serial", default="", help="A serial port; each unit on it is asked in turn.")
@click.option("--baud", type=click.IntRange(300, 921600), help="Only this speed.")
@click.option("--parity", type=click.Choice(get_args(Parity)), default="N", help="With --baud.")
@click.option("--stop", type=click.Choice(["1", "2"]), default="1", help="With --baud.")
@click.option("--tcp", default="", help="A network or an address, with :port if not 502.")
@click.option("--units", default="", help="Only these unit numbers, like 1-20 or 1,5,9.")
@click.option(
    "--write",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a site.toml with what is found; never over one that is there.",
)
@click.option("--site", default="", help="The site's id in that file; else the machine's name.")
@click.option("--node", default="node-1", show_default=True, help="The node's id in that file.")
@click.option("--json", "as_json", is_flag=True, help="Print for programs.")
def scan(
    *,
    serial: str,
    baud: int | None,
    parity: Parity,
    stop: str,
    tcp: str,
    units: str,
    write: Path | None,
    site: str,
    node: str,
    as_json: bool,
) -> None:
    """Find the meters on a line or in a network, and write their site.toml. Asks nothing.

    A serial line must not be in use: stop the node first. Nothing is written to any device.
    """
    # Modbus waits for its use.
    from light_node import scanning, sitefile  # noqa: PLC0415 - as said above

    configure_logs()
    if bool(serial) == bool(tcp):
        raise click.UsageError("name either --serial or --tcp.")
    if write is not None and write.exists():
        raise _Failed(f"{write} is there already and is left as it is; name another file.")
    asked = _units(units)
    with _progress() as tell:
        if serial:
            two: Literal[1, 2] = 2 if stop == "2" else 1
            lines = scanning.LINES if baud is None else [(baud, parity, two)]
            finds = scanning.scan_serial(
                serial, lines=lines, units=asked or scanning.RTU_UNITS, tell=tell
            )
        else:
            host, port = _address(tcp)
            finds = scanning.scan_network(host, port=port, units=asked, tell=tell)
        found = asyncio.run(_collect(finds))
    if as_json:
        show_json([{"place": str(each.place), **_told(each)} for each in found])
    else:
        for each in found:
            show(_in_words(each))
    if not found:
        raise _Failed(
            "nobody answered; check the power, the wiring (A and B exchanged?) and the address."
            if serial
            else "nobody answered; check the network, the port, and --units behind a gateway."
        )
    if write is not None:
        name = site or _NAME.sub("-", platform.node())[:64] or "site-1"
        sitefile.write(write, found, site=name, node=node)
        if not as_json:
            show(f"{write} is written; look at it, then run: light-node check --config {write}")


@click.group(name="map")
def map_() -> None:
    """Meters' register maps."""


@map_.command(
    "check", epilog="Example: light-node map check mine.toml --tcp 192.168.1.20:502 --unit 1"
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--tcp", default="", help="Read the map against the device there as well.")
@click.option("--serial", default="", help="The same on a serial port, as the map's [serial] says.")
@click.option("--unit", type=click.IntRange(0, 247), default=1, show_default=True)
def check_map(file: Path, *, tcp: str, serial: str, unit: int) -> None:
    """Check a map of one's own: its words, its addresses, its limits, and a device by it.

    FILE is a .toml file, or the name of a map that comes along.
    """
    configure_logs()
    profile = _profile(file)
    show(_size(profile))
    if tcp or serial:
        asyncio.run(_try_out(profile, tcp=tcp, serial=serial, unit=unit))


def _profile(file: Path) -> Profile:
    """The map, with all its contradictions told before the first is raised."""
    if file.suffix != ".toml":
        return load_profile(str(file))
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
        profile = decode_settings(raw, Profile, source=str(file), folder=file.parent)
    except SettingsFault as error:
        raise _Failed(str(error)) from error
    except (OSError, ValueError) as error:
        raise _Failed(f"{file}: the meter profile cannot be read: {error}.") from error
    found = contradictions(profile)
    for said in found:
        show(f"{click.style('NOT ', fg='red')} {said}")
    if found:
        raise _Failed(f"{file}: {len(found)} things cannot be; the first: {found[0]}")
    return profile


def _size(profile: Profile) -> str:
    if profile.model:
        ids = [model_id for model in profile.model for model_id in model.ids]
        return f"{profile.device.id}: SunSpec models {', '.join(map(str, sorted(ids)))}"
    blocks = profile.blocks()
    # 11 bits a byte at most; a request has 8 bytes, an answer 5 and two a register.
    seconds = sum(
        (13 + 2 * block.count) * 11 / profile.serial.baud + _RTU_TURN_S for block in blocks
    )
    return (
        f"{profile.device.id}: {len(profile.read)} points in {len(blocks)} requests, about "
        f"{seconds * 1000:.0f} ms on a line with {profile.serial.baud} baud"
    )


async def _try_out(profile: Profile, *, tcp: str, serial: str, unit: int) -> None:
    from light_node.modbus import Bus  # noqa: PLC0415 - waits for its use
    from light_node.sunspec import meter_on  # noqa: PLC0415 - Modbus waits for its use

    if tcp:
        host, port = _address(tcp)
        bus = Bus.tcp(host, port)
    else:
        line = profile.serial
        bus = Bus.rtu(serial, baud=line.baud, parity=line.parity, stop=line.stop)
    meter = meter_on(bus, unit=unit, profile=profile)
    try:
        values = await meter.read(slow=True, budget_s=20.0)
    except MeterFault as fault:
        raise _Failed(str(fault)) from fault
    finally:
        bus.close()
    strange = []
    for point in profile.units:
        if point in values:
            low, high = meter.ranges.get(point, (-math.inf, math.inf))
            said = f"{values[point]:,.3f} {profile.units[point]}"
            if not low <= values[point] <= high:
                strange.append(point)
                said += f", beyond its range of {low:g} to {high:g}"
            show(f"{point}: {said}")
        elif not profile.model:
            show(f"{point}: the device has it not")
    if "active_power" not in values:
        raise _Failed("the device does not say its power by this map; look at its address.")
    if strange:
        raise _Failed(f"{', '.join(strange)} cannot be; check address, type, word order, scale.")


async def _collect(finds: AsyncIterator[T]) -> list[T]:
    return [each async for each in finds]


@contextlib.contextmanager
def _progress() -> "Iterator[Tell]":
    """A bar on a terminal's stderr; nothing elsewhere."""
    from rich.console import Console  # noqa: PLC0415 - waits for its use to save memory
    from rich.progress import Progress  # noqa: PLC0415 - waits for its use to save memory

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def tell(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what)

        yield tell


def _told(found: "Found") -> dict[str, object]:
    return {
        "unit": found.place.unit,
        "profile": found.profile,
        "name": found.name,
        "sure": found.sure,
        "others": found.others,
        "watts": found.watts,
    }


def _in_words(found: "Found") -> str:
    where = str(found.place)
    if not found.profile:
        return f"{where}: {found.name or 'a device that no map explains'}"
    power = "" if found.watts is None else f", {found.watts / 1000:,.2f} kW"
    doubt = f" (or {', '.join(found.others)})" if found.others else ""
    if not found.sure and not found.others:
        doubt = " (by what it says)"
    return f"{where}: {found.profile}{doubt}, {found.name}{power}"


def _address(text: str) -> tuple[str, int]:
    """Host or network, and port."""
    if text.count(":") > 1 and not text.startswith("["):
        return text, 502
    match = _ADDRESS.match(text)
    if match is None or not 0 < int(match["port"] or 502) < 65_536:
        raise _Failed(f"'{text}' is no address; write it like 192.168.1.0/24 or 192.168.1.20:502.")
    return match["host"].strip("[]"), int(match["port"] or 502)


def _units(text: str) -> list[int]:
    """Unit numbers like "1-20" or "1,5,9"; [] for ""."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        if not (first.isdigit() and (last or first).isdigit()):
            raise _Failed(f"'{text}' are no unit numbers; write them like 1-20 or 1,5,9.")
        found += range(int(first), int(last or first) + 1)
    if any(not 0 <= unit <= 247 for unit in found):
        raise _Failed("unit numbers go from 0 to 247.")
    return found
