# SPDX-License-Identifier: Apache-2.0
"""site.toml: what the light node has to know about its building."""

import re
import zoneinfo
from datetime import UTC, date, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from doorway import SettingsFault, load_settings
from ems_bridge.broker import BrokerSettings
from light_node.errors import ProfileFault
from light_node.profile import Profile, load_profile

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
"""Identifiers go into MQTT topics and file names: letters, digits, dot, hyphen, underscore."""
Positive = Annotated[float, msgspec.Meta(gt=0)]
WEEK: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_OFFSET = re.compile(r"^(?P<sign>[+-])(?P<hours>\d\d):(?P<minutes>[0-5]\d)$")


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file."""


class SiteTable(Table, frozen=True, kw_only=True):
    """Which building this is, and its calendar."""

    id: Name
    node: Name = "node-1"
    timezone: str = "UTC"
    """An IANA name ("Europe/Zurich") or a fixed offset ("+09:30")."""
    working_days: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri")
    holidays: tuple[date, ...] = ()
    """Days on which the building is used as on a day off."""


class SocketTable(Table, frozen=True, kw_only=True):
    """Where the VEN and the command line find the node."""

    path: Path


class RingTable(Table, frozen=True, kw_only=True):
    """Where readings are kept, and how often they are put on the disk."""

    path: Path
    commit_s: Annotated[float, msgspec.Meta(gt=0, le=600)] = 60.0
    """In quiet times; near an event each reading is committed at once."""


class PlanTable(Table, frozen=True, kw_only=True):
    """Where the plan, the leases and their acknowledgements are kept."""

    path: Path


class MeterTable(Table, frozen=True, kw_only=True):
    """One meter, on Modbus TCP (host) or RTU (serial)."""

    id: Name
    profile: str
    """The name of a map, or a .toml file of one's own."""
    host: str = ""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 502
    serial: str = ""
    baud: Annotated[int, msgspec.Meta(ge=300, le=921600)] | None = None
    """As the profile says, unless set."""
    parity: Literal["N", "E", "O"] | None = None
    stop: Literal[1, 2] | None = None
    unit: Annotated[int, msgspec.Meta(ge=0, le=247)] = 1
    role: Literal["site", "sub"] = "site"
    """The first meter with the role "site" is the one curtailment is measured on."""
    invert: bool = False
    """The meter counts consumption as negative: its clamps were put on the wrong way round."""
    ct_ratio: Positive = 1.0
    """Current transformer ratio, if the meter does not know it."""
    frozen_s: Positive = 8.0
    """A meter whose values all stand still for so long is not believed; more for a slow one."""


class MqttTable(BrokerSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The site's broker, and the one EMS that is driven through it."""

    ems: Name = "ems-1"
    outbox: Path | None = None
    """Where messages wait for the broker; beside the ring unless set."""


class RegisterTable(Table, frozen=True, kw_only=True):
    """One register, or pair of them, that is written."""

    address: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    type: Literal["uint16", "int16", "uint32", "int32", "float32"] = "uint16"
    scale: Positive = 1.0
    """Watts, or seconds, of one count."""


class WriteTable(Table, frozen=True, kw_only=True):
    """An inverter, battery or BMS that is written over Modbus: SunSpec, or registers of its own."""

    asset: Name
    """What it is called; nothing else may steer it."""
    host: str = ""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 502
    serial: str = ""
    baud: Annotated[int, msgspec.Meta(ge=300, le=921600)] = 9600
    parity: Literal["N", "E", "O"] = "N"
    stop: Literal[1, 2] = 1
    unit: Annotated[int, msgspec.Meta(ge=0, le=247)] = 1
    follows: Literal["device", "building", "change"] = "device"
    """What it is told: the limit of its own power, of the whole building, or the change in W."""
    rated_w: Positive
    range: tuple[float, float] | None = None
    """What may be written, in W; unset: 0 to rated_w, for a change from minus to plus rated_w."""
    sunspec: Literal["limit", "storage"] | None = None
    """"limit": model 704, else 123; "storage": model 124."""
    limit: RegisterTable | None = None
    """Without SunSpec: where the watts go."""
    word_order: Literal["big", "little"] = "big"
    reversion: RegisterTable | None = None
    """Where the device's own timer is set: so long after the last write it lets go by itself."""
    reversion_s: Annotated[float, msgspec.Meta(ge=2, le=3600)] = 60.0
    failsafe: RegisterTable | None = None
    """Where it is told what to go to when its timer runs out."""
    failsafe_w: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """What it goes to then; unset: rated_w."""
    release_w: float | None = None
    """Without SunSpec: what ends a limit; unset: the upper end of the range, for a change 0."""
    volatile: bool = True
    """False: the register is kept in flash memory, which each write wears out."""
    min_write_interval_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] | None = None
    """Between two writes of a limit; unset: 0, and 300 where it is not volatile."""

    @property
    def lowest_w(self) -> float:
        low = -self.rated_w if self.follows == "change" else 0.0
        return low if self.range is None else self.range[0]

    @property
    def highest_w(self) -> float:
        return self.rated_w if self.range is None else self.range[1]

    @property
    def between_writes_s(self) -> float:
        if self.min_write_interval_s is not None:
            return self.min_write_interval_s
        return 0.0 if self.volatile else 300.0


class GridCapTable(Table, frozen=True, kw_only=True):
    """Events that cap the site for the grid's sake, and what holds while the utility is silent."""

    market_contexts: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Events of these are caps; all others are voluntary."""
    failsafe_max_w: Annotated[float, msgspec.Meta(ge=0)]
    """At the start, and after a loss of communication, at most so much."""
    heartbeat_s: Annotated[float, msgspec.Meta(ge=5, le=3600)] = 120.0
    """So long without a sign of life of the utility, and communication is lost."""
    statement_s: Annotated[float, msgspec.Meta(ge=5, le=3600)] = 120.0
    """So long after it is back its word is waited for; then there is no cap."""
    failsafe_min_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 7200.0
    """So long the failsafe cap is held where the utility stays silent."""


class GuardTable(Table, frozen=True, kw_only=True):
    """The installer's limits: no event gets past them."""

    max_reduction_w: Positive | None = None
    """Never ask for more than this below what the building would otherwise use."""
    min_load_w: float | None = None
    """Never ask the building below this."""
    max_load_w: float | None = None
    """Never ask the building above this: the connection's rating."""
    ramp_w_per_s: Positive | None = None
    lease_s: Annotated[float, msgspec.Meta(ge=10, le=3600)] = 120.0
    """The longest the EMS goes on alone after the node has fallen silent."""
    refresh_s: Annotated[float, msgspec.Meta(ge=1, le=1800)] = 30.0
    ems_silence_s: Annotated[float, msgspec.Meta(ge=5, le=3600)] = 120.0
    """So long without a sign of life of the EMS during a lease, and the guard says failsafe."""
    failsafe_max_w: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """The limit the EMS holds when leases stop in the middle; unset: it lets go."""
    min_on_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 0.0
    """A step of which less than this is left is not begun any more."""
    min_off_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 0.0
    """So long after a release nothing is begun."""
    read_only: bool = False
    """Measure and report, and never ask anything of anybody: nothing that writes is even made."""


class BaselineTable(Table, frozen=True, kw_only=True):
    """What an event is compared with."""

    method: Literal["high 5 of 10", "same-day mean of the last hour"] = "high 5 of 10"


class SamplingTable(Table, frozen=True, kw_only=True):
    """The grid."""

    interval_s: Annotated[float, msgspec.Meta(ge=0.1, le=60)] = 4.0


class ClockTable(Table, frozen=True, kw_only=True):
    """How it is known that this machine's clock is right."""

    synchronized_file: Path | None = None
    """A file that is there once the clock has been set; unset: it is always believed."""


class _File(Table, frozen=True, kw_only=True):
    site: SiteTable
    meter: Annotated[tuple[MeterTable, ...], msgspec.Meta(min_length=1)]
    socket: SocketTable | None = None
    ring: RingTable | None = None
    plan: PlanTable | None = None
    mqtt: MqttTable | None = None
    write: tuple[WriteTable, ...] = ()
    grid_cap: GridCapTable | None = None
    guard: GuardTable = GuardTable()
    baseline: BaselineTable = BaselineTable()
    sampling: SamplingTable = SamplingTable()
    clock: ClockTable = ClockTable()


class Settings(Table, frozen=True, kw_only=True):
    """All of site.toml, checked, with each path in place."""

    site: SiteTable
    meters: tuple[MeterTable, ...]
    profiles: tuple[Profile, ...]
    """Of the meters, in their order."""
    socket: Path
    ring: RingTable
    plan: Path
    mqtt: MqttTable | None
    outbox: Path
    write: tuple[WriteTable, ...]
    grid_cap: GridCapTable | None
    guard: GuardTable
    baseline: BaselineTable
    sampling: SamplingTable
    clock: ClockTable

    @property
    def site_meter(self) -> MeterTable:
        """The meter on which curtailment is measured."""
        return next(meter for meter in self.meters if meter.role == "site")

    @property
    def zone(self) -> tzinfo:
        return parse_zone(self.site.timezone)


def load(path: Path) -> Settings:
    """Read and check site.toml. Raises SettingsFault or ProfileFault with one sentence.

    Files that are not named lie beside it: light-node.sock, ring.db, plan.db, outbox.db.
    """
    file = load_settings(path, _File)
    folder = path.resolve().parent
    ring = file.ring or RingTable(path=folder / "ring.db")
    mqtt_outbox = file.mqtt.outbox if file.mqtt else None
    settings = Settings(
        site=file.site,
        meters=file.meter,
        profiles=tuple(_profile_of(meter, path) for meter in file.meter),
        socket=file.socket.path if file.socket else folder / "light-node.sock",
        ring=ring,
        plan=file.plan.path if file.plan else ring.path.with_name("plan.db"),
        mqtt=file.mqtt,
        outbox=mqtt_outbox or ring.path.with_name("outbox.db"),
        write=file.write,
        grid_cap=file.grid_cap,
        guard=file.guard,
        baseline=file.baseline,
        sampling=file.sampling,
        clock=file.clock,
    )
    _check(settings, str(path))
    return settings


def _profile_of(meter: MeterTable, path: Path) -> Profile:
    try:
        return load_profile(meter.profile, folder=path.resolve().parent)
    except ProfileFault as fault:
        raise ProfileFault(f"{path}: [[meter]] '{meter.id}': {fault}") from fault


def parse_zone(text: str) -> tzinfo:
    """Read an IANA name or a fixed offset like "+09:30". Raises ValueError."""
    if match := _OFFSET.match(text):
        offset = timedelta(hours=int(match["hours"]), minutes=int(match["minutes"]))
        return timezone(offset if match["sign"] == "+" else -offset)
    if text == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone '{text}'") from error


def _check(settings: Settings, source: str) -> None:
    try:
        parse_zone(settings.site.timezone)
    except ValueError as error:
        raise SettingsFault(
            f"{source}: [site] timezone: {error}; write an IANA name like "
            '"Europe/Zurich" or an offset like "+09:30".'
        ) from error
    seen: set[str] = set()
    for meter in settings.meters:
        if meter.id in seen:
            raise SettingsFault(
                f"{source}: two [[meter]] tables have the id '{meter.id}'; rename one."
            )
        seen.add(meter.id)
        if bool(meter.host) == bool(meter.serial):
            raise SettingsFault(
                f"{source}: [[meter]] '{meter.id}' needs either host (Modbus TCP) or serial "
                "(Modbus RTU), and not both."
            )
    _check_lines(settings, source)
    if all(meter.role != "site" for meter in settings.meters):
        raise SettingsFault(
            f'{source}: no [[meter]] has role = "site"; give it to the one at the grid connection.'
        )
    _check_writes(settings, source)
    guard = settings.guard
    if guard.refresh_s * 2 > guard.lease_s:
        raise SettingsFault(
            f"{source}: [guard] refresh_s must be at most half of lease_s, so that one lost "
            "message does not end a lease."
        )
    if (
        guard.min_load_w is not None
        and guard.max_load_w is not None
        and guard.min_load_w > guard.max_load_w
    ):
        raise SettingsFault(f"{source}: [guard] min_load_w is above max_load_w; exchange them.")


def _check_lines(settings: Settings, source: str) -> None:
    """Refuse two meters at one address, and two speeds on one line."""
    places: dict[tuple[str, int, int, str], str] = {}
    lines: dict[str, tuple[object, ...]] = {}
    for meter, profile in zip(settings.meters, settings.profiles, strict=True):
        # A SunSpec inverter and the meter behind it may share a unit number.
        part = meter.profile if profile.model else ""
        place = (meter.host or meter.serial, meter.port if meter.host else 0, meter.unit, part)
        if place in places:
            raise SettingsFault(
                f"{source}: [[meter]] '{meter.id}' and '{places[place]}' are the same device; "
                "correct the unit number of one."
            )
        places[place] = meter.id
        if meter.serial:
            line = (
                meter.baud or profile.serial.baud,
                meter.parity or profile.serial.parity,
                meter.stop or profile.serial.stop,
            )
            if lines.setdefault(meter.serial, line) != line:
                raise SettingsFault(
                    f"{source}: the meters on {meter.serial} have different line settings; give "
                    "each the same baud, parity and stop."
                )


def _check_writes(settings: Settings, source: str) -> None:
    """Refuse what would leave open where, what or by whom is written."""
    seen: set[str] = set()
    for table in settings.write:
        where = f"{source}: [[write]] '{table.asset}'"
        if table.asset in seen:
            raise SettingsFault(f"{where} stands there twice; an asset has one owner: remove one.")
        seen.add(table.asset)
        if bool(table.host) == bool(table.serial):
            raise SettingsFault(
                f"{where} needs either host (Modbus TCP) or serial (Modbus RTU), and not both."
            )
        if (table.sunspec is None) == (table.limit is None):
            raise SettingsFault(
                f'{where} needs either sunspec = "limit" or "storage", or a limit register '
                "({ address = 200 }), and not both."
            )
        if table.lowest_w > table.highest_w:
            raise SettingsFault(f"{where} has a range that ends below its start; exchange them.")
        if table.failsafe is not None and table.reversion is None:
            raise SettingsFault(
                f"{where} has a failsafe register and no reversion register; name the one that "
                "sets the device's timer, or remove failsafe."
            )
        if table.reversion is not None and not table.volatile:
            raise SettingsFault(
                f"{where}: a timer has to be set again and again, which wears out a register that "
                "is not volatile; find its volatile one, or remove reversion."
            )
