# SPDX-License-Identifier: Apache-2.0
"""light-node read and check: the meters, the broker, the EMS and the folders, tried for real."""

import asyncio
import itertools
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ems_bridge.errors import BridgeError, MessageRefused
from ems_bridge.messages import EmsStatus, Heartbeat, decode
from ems_bridge.probe import connected
from ems_bridge.settings import Settings as Line
from ems_bridge.topics import Topics
from light_node.commission import Finding, Measured, Weight, judge
from light_node.errors import LightNodeFault, NodeUnreachable
from light_node.local import LocalClient
from light_node.modbus import Bus
from light_node.node import make_bus, make_meter
from light_node.profile import Profile
from light_node.settings import MeterTable, MqttTable, Settings
from light_node.sitefile import SERVICE_FOLDERS

_BUDGET_S = 5.0
_ROUNDS = 5
EMS_WAIT_S = 12.0
"""A heartbeat comes each 10 s."""
_LONGEST_SOCKET = 107
_FLOAT32_SHARE = 2.0**-23


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One thing that was tried."""

    what: str
    weight: Weight
    said: str


async def read_all(
    settings: Settings,
) -> list[tuple[MeterTable, dict[str, float], float, str]]:
    """Each meter with its values, the seconds it took, and the fault or ""."""
    buses: dict[str, Bus] = {}
    readings = []
    try:
        for meter, profile in zip(settings.meters, settings.profiles, strict=True):
            readings.append(await _read(meter, profile, buses))
    finally:
        for bus in buses.values():
            bus.close()
    return readings


async def _read(
    meter: MeterTable, profile: Profile, buses: dict[str, Bus]
) -> tuple[MeterTable, dict[str, float], float, str]:
    bus = make_bus(meter, profile)
    bus = buses.setdefault(bus.name, bus)
    started = time.monotonic()
    values: dict[str, float] = {}
    fault = ""
    try:
        source = make_meter(meter, profile, bus, second_try=True)
        values = await source.read(slow=True, budget_s=_BUDGET_S)
    except LightNodeFault as error:
        fault = f"[[meter]] '{meter.id}': {error}"
    return meter, values, time.monotonic() - started, fault


async def check_all(settings: Settings, *, seconds: float) -> list[Checked]:
    """Try everything; the meters are watched for `seconds`."""
    line = _check_line(settings, settings.mqtt) if settings.mqtt else _nothing()
    meters, found = await asyncio.gather(_check_meters(settings, seconds), line)
    fine = Checked(what="settings", weight=Weight.FINE, said="fine")
    return [fine, *meters, *found, *_check_folders(settings)]


async def _nothing() -> list[Checked]:
    return []


# --- the meters --------------------------------------------------------------------------------


async def _check_meters(settings: Settings, seconds: float) -> list[Checked]:
    running = await _is_running(settings)
    readings: dict[str, list[tuple[float, dict[str, float]]]] = {}
    faults: dict[str, str] = {}
    took: dict[str, float] = {}
    for n in range(_ROUNDS if seconds else 1):
        if n:
            await asyncio.sleep(seconds / (_ROUNDS - 1))
        at_s = time.monotonic()
        for meter, values, took_s, fault in await read_all(settings):
            if fault:
                faults[meter.id] = fault
            else:
                readings.setdefault(meter.id, []).append((at_s, values))
                took[meter.id] = took_s
        if not readings:
            break
    found: list[Checked] = []
    for meter, profile in zip(settings.meters, settings.profiles, strict=True):
        what = f"meter {meter.id}"
        if meter.id in faults:
            said = faults[meter.id]
            if meter.serial and running:
                said += " The node runs and uses this line: stop it for the check."
            found.append(Checked(what=what, weight=Weight.WRONG, said=said))
            continue
        seen = readings[meter.id]
        measured = Measured(
            at_s=tuple(at_s for at_s, _ in seen),
            values=tuple(values for _, values in seen),
            steps_wh=_steps(profile, seen[-1][1], meter.ct_ratio),
        )
        findings = judge(measured)
        watts = measured.last.get("active_power")
        if watts is not None:
            points = f"{len(measured.last)} points in {took[meter.id] * 1000:.0f} ms"
            said = f"{watts / 1000:,.1f} kW, {points}"
            found.append(Checked(what=what, weight=Weight.FINE, said=said))
        found += [_named(what, finding) for finding in findings]
    return [*found, *_check_shares(settings, readings)]


def _named(what: str, finding: Finding) -> Checked:
    return Checked(what=what, weight=finding.weight, said=finding.said)


def _check_shares(
    settings: Settings, readings: Mapping[str, list[tuple[float, dict[str, float]]]]
) -> Iterator[Checked]:
    """Two meters with one power are one meter read twice."""
    last = {
        meter.id: readings[meter.id][-1][1].get("active_power")
        for meter in settings.meters
        if readings.get(meter.id)
    }
    for one, other in itertools.combinations(last, 2):
        if last[one] and last[one] == last[other]:
            said = f"it says the very power of meter {one}: correct the unit number of one."
            yield Checked(what=f"meter {other}", weight=Weight.LOOK, said=said)


def _steps(profile: Profile, values: Mapping[str, float], ct_ratio: float) -> dict[str, float]:
    """The smallest step of each energy counter, in Wh; none where the device says the scale."""
    steps = {}
    for point in profile.read:
        if point.name in {"energy_import", "energy_export"} and not point.scale_by:
            step = abs(point.scale)
            if point.type.startswith("float"):
                # A meter shows thousandths of its unit at best; a float32 holds 23 bits.
                step = max(step / 1000, abs(values.get(point.name, 0.0)) * _FLOAT32_SHARE)
            steps[point.name] = step * ct_ratio
    return steps


async def _is_running(settings: Settings) -> bool:
    try:
        async with LocalClient(settings.socket):
            return True
    except NodeUnreachable:
        return False


# --- the broker and the EMS --------------------------------------------------------------------


async def _check_line(settings: Settings, mqtt: MqttTable) -> list[Checked]:
    topics = Topics(settings.site.id, settings.site.node)
    line = Line(site=settings.site.id, node=settings.site.node, ems=mqtt.ems, broker=mqtt)
    heard_on = topics.ems_status(mqtt.ems), topics.ems_hb(mqtt.ems)
    try:
        async with connected(line, heard_on, _now) as link:
            what = "TLS, certificates and login" if mqtt.secured else "login, without TLS"
            weight = Weight.FINE if mqtt.secured or _is_here(mqtt.host) else Weight.LOOK
            if weight is Weight.LOOK:
                what += "; everybody on the network can read and steer: set ca, cert and key"
            said = f"{mqtt.address} answers: {what}"
            broker = Checked(what="broker", weight=weight, said=said)
            started = time.monotonic()
            try:
                async with asyncio.timeout(EMS_WAIT_S):
                    while (online := _speaks((await link.receive()).payload)) is None:
                        pass
            except TimeoutError:
                said = (
                    f"'{mqtt.ems}' was not heard for {EMS_WAIT_S:.0f} s; start it, and compare the "
                    f"names: it must speak on {heard_on[1]}."
                )
                return [broker, Checked(what="EMS", weight=Weight.WRONG, said=said)]
    except BridgeError as fault:
        return [Checked(what="broker", weight=Weight.WRONG, said=str(fault))]
    if not online:
        said = f"'{mqtt.ems}' says that it is offline; start it."
        return [broker, Checked(what="EMS", weight=Weight.WRONG, said=said)]
    said = f"'{mqtt.ems}' is there, heard after {time.monotonic() - started:.1f} s"
    return [broker, Checked(what="EMS", weight=Weight.FINE, said=said)]


def _speaks(payload: bytes) -> bool | None:
    """Whether the EMS says that it is there; None for what says neither.

    Only a heartbeat does: "online" is retained, and may be long past.
    """
    try:
        message = decode(payload)
    except MessageRefused:
        return None
    if isinstance(message, EmsStatus) and message.state != "online":
        return False
    return True if isinstance(message, Heartbeat) else None


def _is_here(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


def _now() -> datetime:
    return datetime.now(UTC)


# --- the folders -------------------------------------------------------------------------------


def _check_folders(settings: Settings) -> Iterator[Checked]:
    for what, path in (
        ("ring", settings.ring.path),
        ("plan", settings.plan),
        ("socket", settings.socket),
    ):
        folder = path.parent
        said, weight = str(path), Weight.WRONG
        if folder in SERVICE_FOLDERS and not folder.exists():
            weight, said = Weight.FINE, f"{folder} is made when the service starts"
        elif not folder.is_dir():
            said = f"{folder}: there is no such folder; make it."
        elif what == "socket" and len(str(path).encode()) > _LONGEST_SOCKET:
            said = f"{path}: a socket's path has at most {_LONGEST_SOCKET} bytes; shorten it."
        elif not os.access(folder, os.W_OK):
            weight = Weight.LOOK
            said = f"{folder}: you may not write there; the node's own user must."
        else:
            weight = Weight.FINE
        yield Checked(what=what, weight=weight, said=said)
