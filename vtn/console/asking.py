# SPDX-License-Identifier: Apache-2.0
"""What an operator asks for in a form, as the order that stands for it, and back."""

import uuid
import zoneinfo
from datetime import UTC, datetime, timedelta
from typing import Final

from oadr.event import Event
from oadr.vocabulary import SignalName, SignalType
from vtn.console.forms import Form
from vtn.errors import InvalidEvent
from vtn.orders import EventOrder, SignalOrder
from vtn.quantities import unit_name
from vtn.spoken_times import instant, span

_D, _S = SignalName.LOAD_DISPATCH, SignalName.SIMPLE
KINDS: Final[tuple[tuple[str, str], ...]] = (
    ("reduce", "Reduce by"),
    ("increase", "Increase by"),
    ("limit", "Take at most"),
    ("share", "Reduce by a share"),
    ("level", "Level (1 moderate, 2 high, 3 special)"),
)
"""What can be asked in the wizard, by `kind`; everything else goes by `vtn event import`."""
UNITS: Final = (("kW", "kW"), ("MW", "MW"), ("%", "% of what it takes"), ("level", "level"))
SHARES: Final = (("each", "each node"), ("all", "all nodes together, in equal parts"))
ASKED: Final = (
    "kind",
    "value",
    "unit",
    "share",
    "starts",
    "ends",
    "duration",
    "zone",
    "notice",
    "everyone",
    "groups",
    "nodes",
    "resources",
    "market_context",
    "comment",
    "priority",
    "start_within",
    "ramp_up",
    "recovery",
    "test",
)
"""The fields of the form that say what is asked."""
_ZERO: Final = timedelta(0)


def empty() -> Form:
    return Form.of(
        kind="reduce",
        unit="kW",
        share="each",
        zone="UTC",
        notice="10m",
        event_id=uuid.uuid4().hex,
    )


def form_of(event: Event) -> Form:
    """As the wizard would have been filled in for an event; without its times.

    Raises InvalidEvent for what it cannot ask.
    """
    form = empty()
    signal = event.signals[0]
    kind, value, unit = _asked(
        signal.signal_name, signal.signal_type, signal.intervals[-1].value, unit_name(signal.unit)
    )
    given = {
        "kind": kind,
        "value": f"{value:.10g}",
        "unit": unit,
        "duration": _length(event.duration.total_seconds()) or "open",
        "notice": _length((event.notification or _ZERO).total_seconds()) or "0s",
        "ramp_up": _length((event.ramp_up or _ZERO).total_seconds()),
        "recovery": _length((event.recovery or _ZERO).total_seconds()),
        "start_within": _length((event.start_after or _ZERO).total_seconds()),
        "nodes": " ".join(event.target.ven_ids),
        "resources": " ".join(event.target.resource_ids),
        "market_context": event.market_context,
        "comment": event.vtn_comment or "",
        "priority": str(event.priority or ""),
        "test": "yes" if event.is_test else "",
        "everyone": "" if event.target else "yes",
    }
    for name, text in given.items():
        form.put(name, text)
    form.put_all("groups", (*event.target.group_ids, *event.target.group_names))
    return form


def form_of_order(order: EventOrder) -> Form:
    form, signal = empty(), order.signals[0]
    value = signal.value if signal.value is not None else signal.intervals[-1].value
    kind, amount, unit = _asked(signal.name, signal.type, value, signal.unit, wire=False)
    given = {
        "kind": kind,
        "value": f"{amount:.10g}",
        "unit": unit,
        "duration": order.duration,
        "notice": order.notification or "0s",
        "ramp_up": order.ramp_up,
        "recovery": order.recovery,
        "start_within": order.start_within,
        "nodes": " ".join(order.vens),
        "resources": " ".join(order.resources),
        "market_context": order.market_context,
        "comment": order.comment,
        "priority": str(order.priority or ""),
        "test": "yes" if order.test else "",
        "everyone": "yes" if order.everyone else "",
    }
    for name, text in given.items():
        form.put(name, text)
    form.put_all("groups", order.groups)
    return form


def _asked(
    name: str, kind: str, value: float, unit: str, *, wire: bool = True
) -> tuple[str, float, str]:
    """(kind, value, unit) of the wizard; raises InvalidEvent for what it cannot ask."""
    if name == _D and kind == SignalType.DELTA:
        return ("reduce", -value, unit) if value <= 0 else ("increase", value, unit)
    if name == _D and kind == SignalType.SETPOINT:
        return "limit", value, unit
    if name == _D and kind == SignalType.MULTIPLIER:
        factor = value if wire or unit != "%" else value / 100.0
        return "share", round((1.0 - factor) * 100.0, 6), "%"
    if name == _S:
        return "level", value, "level"
    raise InvalidEvent(f"The form cannot ask for {name} {kind}; use `vtn event import`.")


def order_of(form: Form, now: datetime) -> EventOrder:
    """What the form says. Raises InvalidEvent, naming the field."""
    signal = signal_of(form)
    zone = _zone(form)
    span(_bare(form.get("notice")), "notice")  # a start that hangs on it would be blamed
    starts_at = _instant(form, "starts", zone)
    length = form.get("duration")
    if ends := form.get("ends"):
        if length:
            raise InvalidEvent("ends: give an end or a duration, not both.")
        begin = instant(_said(starts_at) or _soonest(form), now=now)
        ends_at = _instant(form, "ends", zone)
        if ends_at is None or ends_at <= begin:
            raise InvalidEvent(f"ends: '{ends}' is not after the start; give a later end.")
        length = f"{int((ends_at - begin).total_seconds())}s"
    if not length:
        raise InvalidEvent("duration: how long? Give an end, or a duration like 1h30m, or open.")
    priority = form.get("priority") or "0"
    if not priority.isascii() or not priority.isdigit():
        raise InvalidEvent("priority: give a number: 1 is the highest, nothing the lowest.")
    everyone, groups = form.get("everyone") == "yes", tuple(form.all("groups"))
    nodes, resources = form.words("nodes"), form.words("resources")
    if not (everyone or groups or nodes or resources):
        raise InvalidEvent("nodes: who is asked? Choose everyone, groups, or name nodes.")
    if everyone and (groups or nodes or resources):
        raise InvalidEvent("nodes: it is for everyone or for those named; choose one of the two.")
    return EventOrder(
        signals=(signal,),
        start=_said(starts_at) or _soonest(form),
        duration=length,
        vens=nodes,
        groups=groups,
        resources=resources,
        everyone=everyone,
        market_context=form.get("market_context"),
        notification=_bare(form.get("notice")),
        ramp_up=_bare(form.get("ramp_up")),
        recovery=_bare(form.get("recovery")),
        start_within=_bare(form.get("start_within")),
        priority=int(priority[:12]),
        test=form.get("test") == "yes",
        comment=form.get("comment"),
        event_id=form.get("event_id"),
    )


def signal_of(form: Form) -> SignalOrder:
    """The one signal that is asked for. Raises InvalidEvent."""
    text = form.get("value").replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        raise InvalidEvent(f"value: '{text}' is not a number; write it like 200 or 12.5.") from None
    kind, unit = form.get("kind"), form.get("unit")
    power = unit in ("kW", "MW")
    if value < 0:
        raise InvalidEvent("value: give it without a sign; choose reduce or increase instead.")
    match kind:
        case "reduce" | "increase" if power:
            signed = -value if kind == "reduce" else value
            return SignalOrder(name=_D, type=SignalType.DELTA, unit=unit, value=signed)
        case "limit" if power:
            return SignalOrder(name=_D, type=SignalType.SETPOINT, unit=unit, value=value)
        case "share" if unit == "%":
            if value > 100:
                raise InvalidEvent("value: nobody can reduce by more than 100 %.")
            factor = 1.0 - value / 100.0
            return SignalOrder(name=_D, type=SignalType.MULTIPLIER, value=factor)
        case "level":
            return SignalOrder(name=_S, type=SignalType.LEVEL, value=value)
        case "share":
            raise InvalidEvent("unit: a share is given in %.")
        case "reduce" | "increase" | "limit":
            raise InvalidEvent("unit: a power is given in kW or MW.")
        case _:
            raise InvalidEvent("kind: choose what is asked.")


def _zone(form: Form) -> zoneinfo.ZoneInfo:
    name = form.get("zone") or "UTC"
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidEvent(
            f"zone: this machine does not know the time zone '{name}'; choose UTC."
        ) from None


def _instant(form: Form, name: str, zone: zoneinfo.ZoneInfo) -> datetime | None:
    """A time as `<input type=datetime-local>` sends it, in the form's time zone."""
    text = form.get(name)
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidEvent(
            f"{name}: '{text}' is not a time; write it like 2030-01-09T14:00."
        ) from None
    there = at if at.tzinfo else at.replace(tzinfo=zone)
    try:
        found = there.astimezone(UTC)
        is_there = found.astimezone(there.tzinfo).replace(tzinfo=None) == at.replace(tzinfo=None)
    except OverflowError:
        raise InvalidEvent(f"{name}: '{text}' is outside the calendar.") from None
    if not is_there:
        raise InvalidEvent(
            f"{name}: there is no '{text}' in {zone.key}, where the clock is put forward then; "
            "choose another time."
        )
    return found


def _said(at: datetime | None) -> str:
    return at.isoformat() if at is not None else ""


def _soonest(form: Form) -> str:
    """As soon as the notice allows."""
    notice = _bare(form.get("notice"))
    return f"now+{notice}" if notice else "now"


def _bare(text: str) -> str:
    """A duration, or "" for none."""
    return "" if text in ("0", "0s", "0m") else text


def _length(seconds: float) -> str:
    """`1h30m`; "" for none."""
    whole = int(seconds)
    days, hours, minutes, rest = whole // 86400, whole // 3600 % 24, whole // 60 % 60, whole % 60
    parts = ((days, "d"), (hours, "h"), (minutes, "m"), (rest, "s"))
    return "".join(f"{number}{sign}" for number, sign in parts if number)
