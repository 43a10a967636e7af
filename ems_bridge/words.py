# SPDX-License-Identifier: Apache-2.0
"""Each message as one line for a person."""

from datetime import datetime

from ems_bridge.messages import (
    Acknowledgement,
    Alert,
    Description,
    EmsStatus,
    EventNotice,
    Heartbeat,
    Message,
    Minute,
    NodeStatus,
    Offer,
    Override,
    Sample,
    SetPoint,
    Verdict,
)


def in_words(message: Message) -> str:
    """What the message says, in a line."""
    match message:
        case SetPoint():
            return _setpoint(message)
        case Acknowledgement():
            applied = "" if message.applied_w is None else f", applied {watts(message.applied_w)}"
            reason = f": {message.reason}" if message.reason else ""
            return f"{message.status} seq {message.seq}{applied}{reason}"
        case Heartbeat():
            return f"beat {message.counter}"
        case EmsStatus() | NodeStatus():
            return f"{message.state} {message.version}".rstrip()
        case Override():
            until = f" until {clock(message.until)}" if message.until else ""
            return f"override on{until}: {message.reason}" if message.active else "override off"
        case Offer():
            down, up = watts(message.down_w), watts(message.up_w)
            return f"could do {down} less, {up} more until {clock(message.valid_until)}"
        case _:
            return _of_the_site(message)


def _of_the_site(
    message: EventNotice | Sample | Minute | Verdict | Description | Alert,
) -> str:
    match message:
        case EventNotice():
            return _notice(message)
        case Sample():
            values = ", ".join(f"{name} {value:g}" for name, value in message.values.items())
            return f"{values} ({message.quality})"
        case Minute():
            late = ", told late" if message.historical else ""
            mean = "nothing measured" if message.mean_w is None else f"mean {watts(message.mean_w)}"
            return f"{clock(message.starts_at)} {mean}, {message.coverage:.0%} covered{late}"
        case Verdict():
            return (
                f"{message.verdict}: asked for {watts(message.target_w)}, "
                f"measured {watts(message.actual_w)}"
            )
        case Description():
            meters = ", ".join(f"{meter.id} ({meter.role})" for meter in message.meters)
            return f"listens to {message.ems}; meters: {meters}; version {message.version}"
        case Alert():
            return f"ALERT since {clock(message.since)}: {message.sentence}"


def watts(value: float) -> str:
    """A power in the unit a person would use."""
    return f"{value / 1000:,.1f} kW" if abs(value) >= 1000 else f"{value:.0f} W"


def age(seconds: float) -> str:
    """How long ago, as short as it can be said."""
    if seconds < 100:
        return f"{max(0.0, seconds):.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 200_000 else f"{seconds / 86_400:.0f} d"


def clock(instant: datetime) -> str:
    return f"{instant:%H:%M:%S}Z"


def _setpoint(order: SetPoint) -> str:
    if order.release:
        return f"seq {order.seq}: release ({order.reason.event_id})"
    targets = {"change": order.delta_w, "at most": order.max_w, "at least": order.min_w}
    target = ", ".join(f"{name} {watts(w)}" for name, w in targets.items() if w is not None)
    return (
        f"seq {order.seq}: {target} from {clock(order.not_before)} until "
        f"{clock(order.not_after)} ({order.reason.event_id})"
    )


def _notice(notice: EventNotice) -> str:
    if notice.status == "none":
        return "no event"
    value = "" if notice.value is None else f" {notice.value:g} {notice.unit}".rstrip()
    opt = f", {notice.opt}" if notice.opt else ""
    return f"{notice.event_id} {notice.status}: {notice.signal_name}{value}{opt}"
