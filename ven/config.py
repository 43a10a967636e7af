# SPDX-License-Identifier: Apache-2.0
"""ven.toml -> frozen settings."""

import re
from datetime import time, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from doorway import load_settings

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Name = Annotated[str, msgspec.Meta(min_length=1)]
Clock = Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

_OFFSET = re.compile(r"(?P<sign>[+-])(?P<hours>\d\d):(?P<minutes>[0-5]\d)")
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Exact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the settings file: frozen, and an unknown key is a mistake."""


class VenSettings(Exact, frozen=True, kw_only=True):
    """Who this VEN is."""

    name: Name
    cert: Path
    """PEM: the VEN's certificate, then its intermediates."""
    key: Path
    """PEM, unencrypted; readable by the VEN's user alone."""
    state: Path
    """The VEN's own SQLite file; made if absent."""
    ven_id: str = ""
    """The venID that the VTN's operator has allocated, to register with; else the VTN gives one."""
    control: Path | None = None
    """Unix socket for `ven status` and the like; by default beside the state file."""

    @property
    def control_socket(self) -> Path:
        return self.control or self.state.with_suffix(".sock")


class VtnSettings(Exact, frozen=True, kw_only=True):
    """The VTN and how patient to be with it."""

    url: Name
    """https://host:port; the path /OpenADR2/Simple/2.0b is added if it is not there (rule 511)."""
    ca: Path
    """PEM: the issuers that the VTN's certificate is checked against."""
    fingerprints: tuple[Name, ...] = ()
    """Short or full: no VTN with another certificate is spoken to; empty = any by `ca`."""
    enrolment: str = ""
    """https://host:port where the certificate is renewed (EST); empty = a person renews it."""
    timeout_s: Annotated[float, msgspec.Meta(ge=5)] = 10.0
    back_off_cap_s: Annotated[float, msgspec.Meta(ge=1)] = 60.0
    """The longest pause between two tries while the VTN does not answer."""
    register_again_s: Positive = 60.0
    """How long to wait at least before registering again after the VTN cancelled or refused it."""

    def __post_init__(self) -> None:
        if not self.url.startswith("https://"):
            raise ValueError("The url must begin with https:// (OpenADR 2.0b is mutual TLS)")
        if self.enrolment and not self.enrolment.startswith("https://"):
            raise ValueError("The enrolment must begin with https://")


class NodeSettings(Exact, frozen=True, kw_only=True):
    """The light node of this building."""

    socket: Path


class ClockSettings(Exact, frozen=True, kw_only=True):
    """How it is known that this machine's clock is right."""

    synchronized_file: Path | None = None
    """A file that is there once the clock has been set; unset: it is always believed."""


class PushSettings(Exact, frozen=True, kw_only=True):
    """Where the VTN brings its messages, instead of being polled for them (HTTP push)."""

    listen_host: Name = "0.0.0.0"  # noqa: S104 - the VTN is elsewhere; it needs a certificate
    listen_port: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    address: Name
    """How the VTN reaches it: https://host:port; it adds the path (rule 511)."""
    ask_again_s: Annotated[float, msgspec.Meta(ge=1)] = 300.0
    """So often the events are asked for all the same, in case that a push was lost."""

    def __post_init__(self) -> None:
        if not self.address.startswith("https://"):
            raise ValueError("The address must begin with https:// (OpenADR 2.0b is mutual TLS)")


class SignatureSettings(Exact, frozen=True, kw_only=True):
    """XML signatures (rule 514); off by default."""

    sign: bool = False
    """Sign every message, and ignore those of the VTN that are not signed well."""
    vtn_certificates: tuple[Path, ...] = ()
    """PEM: the certificates that the VTN may sign with."""
    window_s: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 60.0
    """How far the clocks may differ, either way."""

    def __post_init__(self) -> None:
        if self.sign and not self.vtn_certificates:
            raise ValueError("With sign = true the vtn_certificates must be named")


class PollingSettings(Exact, frozen=True, kw_only=True):
    """How often the VTN is asked."""

    interval_s: Annotated[float, msgspec.Meta(ge=0.05)] | None = None
    """By default what the VTN asks for, or 10 s where it asks for nothing."""
    jitter: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.1
    """Fraction of the interval by which each pause differs at random."""


class SubMeter(Exact, frozen=True, kw_only=True):
    """A further meter of the light node whose readings the VTN is sent beside the site's."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
    """As in site.toml; its points are called by it: pv.power, pv.energy."""
    resource_id: str = ""
    """The resourceID under which the VTN knows what it measures; empty = the site's."""
    energy: bool = True
    """Whether it has an energy counter."""


class ReportsSettings(Exact, frozen=True, kw_only=True, rename={"sub_meters": "meter"}):
    """What is measured, and how fast it is passed on."""

    event_batch_s: Annotated[float, msgspec.Meta(ge=1)] = 8.0
    """From ramp-up to 60 s after an event, readings leave in batches of this length."""
    min_period_s: Annotated[int, msgspec.Meta(ge=1)] = 4
    """The light node's sampling interval."""
    energy: bool = True
    """Whether the meter has an energy counter."""
    late_s: NotNegative = 75.0
    """How long a report waits for readings that the node has not written to disk yet."""
    sub_meters: tuple[SubMeter, ...] = ()
    """[[reports.meter]]: those that are passed on beside the site's."""

    def __post_init__(self) -> None:
        ids = [meter.id for meter in self.sub_meters]
        twice = next((one for one in ids if ids.count(one) > 1), None)
        if twice is not None:
            raise ValueError(f"Two [[reports.meter]] have the id '{twice}'; remove one")


class LevelTarget(Exact, frozen=True, kw_only=True):
    """What a level means at this site: exactly one of the three."""

    delta_w: float | None = None
    """Change against what the building would otherwise use, W; negative = reduce."""
    max_w: NotNegative | None = None
    share: Annotated[float, msgspec.Meta(ge=0, le=10)] | None = None
    """Multiple of the baseline."""

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.delta_w, self.max_w, self.share)) != 1:
            raise ValueError("A level is written with exactly one of delta_w, max_w and share")


class SiteSettings(Exact, frozen=True, kw_only=True):
    """The building, and what signals mean there."""

    resource_id: Name
    """The resourceID under which the VTN knows this building."""
    more_resource_ids: tuple[Name, ...] = ()
    """Further resourceIDs that mean this building."""
    groups: tuple[Name, ...] = ()
    """The groupIDs this site believes; empty = whatever the VTN says."""
    market_contexts: tuple[Name, ...] = ()
    """Market contexts taken part in; empty = any."""
    timezone: str = "UTC"
    """IANA name or fixed offset like "+09:30"; the [[opt.window]] times are in it."""
    rated_w: Positive | None = None
    """The building's rated load, for capacities and for ramps towards a limit."""
    simple_levels: dict[str, LevelTarget] = {}
    """SIMPLE levels "1", "2" and "3"."""
    dispatch_levels: dict[str, LevelTarget] = {}
    """LOAD_DISPATCH levels "-10" to "10"."""
    level_offsets: dict[str, LevelTarget] = {}
    """LOAD_CONTROL x-loadControlLevelOffset values."""
    prefer_simple: bool = False
    """When an event has SIMPLE and another signal: which of them is held."""
    act_on_tests: bool = False
    """Whether test events move the load; they are always answered."""

    def __post_init__(self) -> None:
        zone(self.timezone)
        for name, levels, known in (
            ("simple_levels", self.simple_levels, range(1, 4)),
            ("dispatch_levels", self.dispatch_levels, range(-10, 11)),
            ("level_offsets", self.level_offsets, range(-100, 101)),
        ):
            for level in levels:
                if level not in {str(number) for number in known}:
                    raise ValueError(
                        f"{name} has no level '{level}'; there are {known[0]} to {known[-1]}"
                    )

    @property
    def resource_ids(self) -> tuple[str, ...]:
        return (self.resource_id, *self.more_resource_ids)


class Window(Exact, frozen=True, kw_only=True, rename={"starts": "from", "ends": "to"}):
    """When the site may take part, in its own time; `to` is exclusive, "00:00" = midnight."""

    days: tuple[Weekday, ...] = WEEKDAYS
    starts: Clock = "00:00"
    ends: Clock = "00:00"

    def __post_init__(self) -> None:
        if self.ends != "00:00" and self.ends <= self.starts:
            raise ValueError("A window ends after it begins; write two for one over midnight")

    def holds(self, weekday: Weekday, at: time) -> bool:
        """Whether a moment of the site's own time lies in the window."""
        clock = f"{at:%H:%M}"
        return weekday in self.days and self.starts <= clock < (
            "24:00" if self.ends == "00:00" else self.ends
        )


class OptSettings(Exact, frozen=True, kw_only=True):
    """When to take part."""

    policy: Literal["always", "never", "limits"] = "always"
    min_notice_s: NotNegative = 0.0
    """policy "limits": an event must be known this long before it starts."""
    max_reduction_w: Positive | None = None
    max_duration_s: Positive | None = None
    windows: tuple[Window, ...] = msgspec.field(name="window", default=())
    """policy "limits": an event must lie within these; none = any time."""
    by: Literal["createdEvent", "createOpt"] = "createdEvent"
    """How a change of mind after the first answer is told (rules 17 and 206)."""


class Settings(Exact, frozen=True, kw_only=True):
    """All of ven.toml."""

    ven: VenSettings
    vtn: VtnSettings
    node: NodeSettings
    site: SiteSettings
    polling: PollingSettings = PollingSettings()
    reports: ReportsSettings = ReportsSettings()
    opt: OptSettings = OptSettings()
    push: PushSettings | None = None
    signature: SignatureSettings = SignatureSettings()
    clock: ClockSettings = ClockSettings()


def load(path: Path) -> Settings:
    """Read ven.toml. Raises SettingsFault with one sentence."""
    return load_settings(path, Settings)


def zone(name: str) -> tzinfo:
    """The time zone of an IANA name or a fixed offset like "+09:30". Raises ValueError."""
    if offset := _OFFSET.fullmatch(name):
        ahead = timedelta(hours=int(offset["hours"]), minutes=int(offset["minutes"]))
        return timezone(-ahead if offset["sign"] == "-" else ahead)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"There is no time zone '{name}'; write one like Europe/Zurich") from None
