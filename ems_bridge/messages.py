# SPDX-License-Identifier: Apache-2.0
"""The JSON contract with a building's EMS: what the node says, and what the EMS answers.

Each message is one UTF-8 JSON object whose first key, "schema", names it. Instants are RFC 3339 in
UTC with Z; power is in watts, positive for consumption. All meaning is in the payload: MQTT 5
properties only repeat it. docs/topics.md explains the contract, docs/asyncapi.yaml declares it.
"""

import math
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from ems_bridge.errors import MessageRefused

MAX_BYTES = 65_536
"""The largest payload that is sent or believed."""

Instant = Annotated[datetime, Meta(tz=True, description="RFC 3339, UTC with Z")]
Watts = Annotated[float, Meta(description="watts, positive for consumption")]
Seconds = Annotated[float, Meta(ge=0, description="seconds")]
Ramp = Annotated[float, Meta(gt=0, description="watts per second")]
Limit = Annotated[float, Meta(ge=0, description="watts of consumption")]
Reach = Annotated[float, Meta(ge=0, description="watts")]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1, description="fits a JavaScript number")]


class _Exact(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Struct whose numbers are finite and whose instants are aware UTC, however it was made."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and not math.isfinite(value):
                raise MessageRefused(f"'{name}' is {value}; give a finite number or null.")
            if isinstance(value, datetime):
                if value.tzinfo is None:
                    raise MessageRefused(f"'{name}' has no time zone; give UTC, ending with Z.")
                if value.tzinfo is not UTC:
                    force_setattr(self, name, _in_utc(name, value))


def _in_utc(name: str, at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise MessageRefused(f"'{name}' is not within the years 1 to 9999 in UTC.") from None


class Reason(_Exact, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why the node asks: the OpenADR event behind a set-point."""

    event_id: str
    modification_number: Annotated[int, Meta(ge=0)]
    signal_name: str
    signal_type: str
    market_context: str = ""


class SetPoint(
    _Exact,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="df/v1/setpoint",
):
    """A lease on the building's load, from not_before until not_after, ended early by `release`.

    Exactly one kind of target: delta_w (the change against what the building would otherwise use;
    negative reduces) or max_w and/or min_w (limits on the whole load). A release bears no target.
    """

    id: Name
    seq: Count
    """Rises with every set-point of a node; an EMS refuses one that is not newer."""
    issued_at: Instant
    not_before: Instant
    not_after: Instant
    ttl_s: Seconds
    """The lease's length from receipt, for an EMS without a clock."""
    delta_w: Watts | None = None
    max_w: Watts | None = None
    min_w: Watts | None = None
    ramp_w_per_s: Ramp | None = None
    """Null: the EMS's own ramp."""
    fallback_w: Limit | None = None
    """The limit to hold after expiry; null: the load is let go when the lease expires."""
    reason: Reason
    release: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        limits = self.max_w is not None or self.min_w is not None
        if self.release:
            if limits or self.delta_w is not None:
                raise MessageRefused("a release bears no delta_w, max_w or min_w; leave them null.")
            return
        if limits == (self.delta_w is not None):
            raise MessageRefused("give either delta_w, or max_w and/or min_w, and not both kinds.")
        if self.max_w is not None and self.min_w is not None and self.min_w > self.max_w:
            raise MessageRefused("min_w is above max_w; exchange them.")
        if self.not_after <= self.not_before:
            raise MessageRefused("not_after is not later than not_before; the lease has no length.")
        if self.ttl_s <= 0:
            raise MessageRefused("ttl_s is 0; give the seconds the lease lasts from receipt.")


class AckStatus(StrEnum):
    """How far the EMS has come with a set-point (the words of S2)."""

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    STARTED = "STARTED"
    SUCCEEDED = "SUCCEEDED"
    ABORTED = "ABORTED"
    REVOKED = "REVOKED"


class Acknowledgement(
    _Exact,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="df/v1/ack",
):
    """The EMS's answer to one set-point, by its id and seq; several follow one another."""

    id: Name
    seq: Count
    status: AckStatus
    applied_w: Watts | None = None
    """What the EMS holds, in the terms of the order (a delta or a limit), after its own clamp."""
    reason: str = ""
    at: Instant


class Heartbeat(
    _Exact,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="df/v1/hb",
):
    """A sign of life, every 10 s; the counter starts anew with the program."""

    counter: Count
    at: Instant


class EmsStatus(
    _Exact,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="df/v1/ems-status",
):
    """Whether an EMS is there. "lost" is its last will, written when it connected."""

    state: Literal["online", "offline", "lost"]
    version: str = ""
    at: Instant


class Override(
    _Exact,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="df/v1/override",
):
    """A person at the building opts out (active) or takes it back (as an empty payload does)."""

    active: bool
    reason: str
    until: Instant | None = None
    """Null: until it is taken back."""
    at: Instant


class NodeStatus(
    _Exact,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="df/v1/node-status",
):
    """Whether the light node is there. "lost" is its last will, written when it connected."""

    state: Literal["online", "offline", "lost"]
    boot: str
    version: str
    at: Instant


class EventNotice(
    _Exact,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="df/v1/event",
):
    """The event at hand in plain terms, prices too; status "none" when there is none."""

    event_id: str
    modification_number: Annotated[int, Meta(ge=0)]
    status: Literal["far", "near", "active", "completed", "cancelled", "none"]
    signal_name: str
    signal_type: str
    unit: str
    value: float | None
    starts_at: Instant | None
    ends_at: Instant | None
    """Null: open-ended."""
    remaining_s: Seconds | None
    opt: Literal["optIn", "optOut", ""]
    test: bool
    comment: str
    at: Instant


class Sample(
    _Exact,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="df/v1/sample",
):
    """One reading of one meter, every 4 s; best effort, not kept for those who are away."""

    meter: Name
    k: int
    """The tick of the 4 s grid: the reading's instant is k x 4 s since 1970."""
    seq: Count
    """Counts the readings of one boot without a gap."""
    boot: str
    at: Instant
    values: dict[str, float]
    """By quantity with its unit in the name, such as active_power_w."""
    quality: str

    def __post_init__(self) -> None:
        super().__post_init__()
        for quantity, value in self.values.items():
            if not math.isfinite(value):
                raise MessageRefused(f"'{quantity}' is {value}; leave out what was not measured.")


class Verdict(
    _Exact,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="df/v1/verify",
):
    """What the node's own meter saw of a lease: whether the load went where it was asked to."""

    lease_id: Name
    event_id: str
    baseline_w: Watts
    target_w: Watts
    actual_w: Watts
    reached_after_s: Seconds | None
    verdict: Literal["reached", "partial", "not reached"]
    at: Instant


class MeterNotice(_Exact, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One meter of the node, and what its samples hold."""

    id: Name
    role: Literal["site", "sub"]
    """"site": at the grid connection; "sub": behind it."""
    profile: str
    """The register map it is read by."""
    quantities: dict[str, str]
    """By quantity, as in a sample's values: its unit; "1" for a number without one."""


class SiteLimits(_Exact, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The installer's limits: no set-point of this node goes beyond them; null: not limited."""

    max_reduction_w: Reach | None = None
    min_load_w: Watts | None = None
    max_load_w: Watts | None = None
    ramp_w_per_s: Ramp | None = None
    fallback_w: Limit | None = None
    """The fallback_w of each lease."""


class Description(
    _Exact,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="df/v1/description",
):
    """What there is at this node: its meters, limits and times, and the schemas it speaks."""

    ems: Name
    """The EMS that this node listens to: {ems} in the topics."""
    meters: tuple[MeterNotice, ...]
    limits: SiteLimits
    interval_s: Seconds
    """Between two samples."""
    lease_s: Seconds
    """The longest that a lease lasts without being refreshed."""
    refresh_s: Seconds
    heartbeat_s: Seconds
    silence_s: Seconds
    """So long without a word of the EMS during a lease, and the node takes it for lost."""
    timezone: str
    """Of the site; all instants are UTC all the same."""
    schemas: tuple[str, ...]
    version: str
    at: Instant


class Minute(
    _Exact,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="df/v1/minute",
):
    """One minute of one meter, worked out from its samples."""

    meter: Name
    starts_at: Instant
    duration_s: Annotated[float, Meta(gt=0, description="seconds")]
    mean_w: Watts | None
    """Null: not one sample was good."""
    min_w: Watts | None
    max_w: Watts | None
    energy_wh: float | None
    """mean_w over the whole duration; what was not measured is taken to be like the rest."""
    coverage: Annotated[float, Meta(ge=0, le=1, description="share of the samples that is good")]
    historical: bool
    """Told late, after the broker was away."""


class Offer(
    _Exact,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="df/v1/offer",
):
    """How far the EMS could move the load now if it were asked; an empty payload takes it back."""

    down_w: Reach
    """So much less than the building would otherwise use."""
    up_w: Reach
    """So much more."""
    min_duration_s: Seconds = 0.0
    max_duration_s: Seconds | None = None
    """Null: as long as it is asked for."""
    notice_s: Seconds = 0.0
    """Between a set-point and the first movement."""
    ramp_w_per_s: Ramp | None = None
    valid_until: Instant
    at: Instant

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_duration_s is not None and self.max_duration_s < self.min_duration_s:
            raise MessageRefused("max_duration_s is below min_duration_s; exchange them.")


class Alert(
    _Exact,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="df/v1/alert",
):
    """Something that somebody should look at, as long as it stands; empty payload: it is over."""

    id: Name
    sentence: str
    since: Instant
    at: Instant


Message = (
    SetPoint
    | Acknowledgement
    | Heartbeat
    | EmsStatus
    | Override
    | NodeStatus
    | EventNotice
    | Sample
    | Verdict
    | Description
    | Minute
    | Offer
    | Alert
)

MESSAGE_SCHEMAS: tuple[str, ...] = tuple(
    str(kind.__struct_config__.tag) for kind in get_args(Message)
)
"""All that this version speaks."""

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


def encode(message: Message) -> bytes:
    """The message's JSON. Raises MessageRefused for what `decode` would refuse at the other end."""
    payload = _encoder.encode(message)
    decode(payload)
    return payload


def decode(payload: bytes) -> Message:
    """The message in a payload.

    Raises MessageRefused, one sentence, for more than 64 kB, for what is not UTF-8 or not JSON
    (NaN and Infinity are not), for an unknown schema, an unknown or missing field, and for values
    that contradict one another.
    """
    if len(payload) > MAX_BYTES:
        raise MessageRefused(
            f"a message of {len(payload)} bytes is refused; the limit is {MAX_BYTES}."
        )
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MessageRefused(
            f"a message that is not UTF-8 (byte {error.start}) is refused; send UTF-8 JSON."
        ) from error
    try:
        return _decoder.decode(payload)
    except MessageRefused:
        raise
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageRefused(f"the message is refused: {_in_words(str(error))}") from error


def _in_words(fault: str) -> str:
    what = fault.rstrip(".").replace("`", "'")
    return f"{what}; docs/topics.md shows how it should look."
