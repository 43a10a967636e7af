# SPDX-License-Identifier: Apache-2.0
"""vtn event: publish, change, cancel, watch."""

from typing import Any, TypeVar

import click
import msgspec

from doorway import Door, explain, show, show_json
from oadr.vocabulary import EventStatus
from vtn import screens
from vtn.cli.asking import asks, example, options
from vtn.errors import Invalid
from vtn.operator_client import OperatorClient
from vtn.orders import EventChange, EventOrder, IntervalOrder, SignalOrder
from vtn.views import EventView, ProposalView, Stopped

T = TypeVar("T", bound=msgspec.Struct)


@click.group(cls=Door, epilog=example("vtn event list --status active"))
def event() -> None:
    """Events: publish, change, cancel, watch."""


def _step(text: str) -> IntervalOrder:
    """`10m=-200`: how long, and the value."""
    length, _, number = text.partition("=")
    try:
        return IntervalOrder(duration=length, value=float(number))
    except ValueError:
        raise click.BadParameter(f"'{text}' is not like 10m=-200.") from None


_WHAT = options(
    click.option("--value", type=float, help="One value for the whole event."),
    click.option(
        "--interval",
        "intervals",
        type=_step,
        metavar="LENGTH=VALUE",
        multiple=True,
        help="Or one for each stretch, like 10m=-200; repeatable, in order.",
    ),
)
_WHEN = options(
    click.option("--notification", help="How long before the start VENs should know, like 10m."),
    click.option("--ramp-up", help="How long before the start loads begin to move."),
    click.option("--recovery", help="How long after the end loads move back."),
    click.option("--start-within", help="VENs start at random within this (startafter)."),
    click.option("--priority", type=int, help="1 is the highest, 0 the lowest.  [default: 0]"),
    click.option("--comment", help="For people at the building."),
)


@event.command(
    "publish",
    epilog=example(
        "vtn event publish --ven hq --signal LOAD_DISPATCH --type delta --value -200 --unit kW \\",
        "    --start now+10m --duration 1h",
        "vtn event publish --group north --signal SIMPLE --type level \\",
        "    --interval 30m=1 --interval 30m=2",
    ),
)
@click.option("--signal", required=True, help="LOAD_DISPATCH, SIMPLE, ELECTRICITY_PRICE ...")
@click.option("--type", "kind", required=True, help="delta, setpoint, level, price ...")
@click.option("--unit", default="", help="kW, MW, kWh, EUR/kWh, % ...")
@_WHAT
@click.option("--start", default="now", show_default=True, help="now, now+10m, ISO 8601 with Z.")
@click.option("--duration", default="", help="5m, 1h30m, PT5M; open: until cancelled.")
@click.option("--ven", "ven_ids", multiple=True, help="For this VEN; repeatable.")
@click.option("--group", "group_ids", multiple=True, help="For this group; repeatable.")
@click.option("--resource", "resource_ids", multiple=True, help="For this resource; repeatable.")
@click.option("--everyone", is_flag=True, help="For every VEN.")
@click.option("--market-context", default="", help="Which; not needed where there is one only.")
@_WHEN
@click.option("--test", is_flag=True, help="A test event: loads do not move.")
@click.option("--no-response", is_flag=True, help="Want no answer from the VENs.")
@click.option("--event-id", default="", help="Its ID.  [default: made by the VTN]")
@asks
def event_publish(
    vtn: OperatorClient,
    *,
    signal: str,
    kind: str,
    unit: str,
    value: float | None,
    intervals: tuple[IntervalOrder, ...],
    start: str,
    duration: str,
    ven_ids: tuple[str, ...],
    group_ids: tuple[str, ...],
    resource_ids: tuple[str, ...],
    everyone: bool,
    market_context: str,
    notification: str | None,
    ramp_up: str | None,
    recovery: str | None,
    start_within: str | None,
    priority: int | None,
    comment: str | None,
    test: bool,
    no_response: bool,
    event_id: str,
    as_json: bool,
) -> None:
    """Publish an event with one signal; `vtn event import` takes all there is."""
    order = EventOrder(
        signals=(SignalOrder(name=signal, type=kind, unit=unit, value=value, intervals=intervals),),
        start=start,
        duration=duration,
        vens=ven_ids,
        groups=group_ids,
        resources=resource_ids,
        everyone=everyone,
        market_context=market_context,
        notification=notification or "",
        ramp_up=ramp_up or "",
        recovery=recovery or "",
        start_within=start_within or "",
        priority=priority or 0,
        test=test,
        response="never" if no_response else "always",
        comment=comment or "",
        event_id=event_id,
    )
    _published(vtn, order, as_json=as_json)


@event.command(
    "import",
    epilog=example(
        "cat peak.json",
        '  {"start": "now+10m", "duration": "1h", "vens": ["hq"],',
        '   "signals": [{"name": "LOAD_DISPATCH", "type": "delta", "unit": "kW", "value": -200}]}',
        "vtn event import peak.json",
    ),
)
@click.argument("file", type=click.Path(allow_dash=True))
@asks
def event_import(vtn: OperatorClient, *, file: str, as_json: bool) -> None:
    """Publish the event a JSON file describes; - reads standard input.

    Its keys are those of the API's event order: see /openapi.json, EventOrder.
    """
    source = "standard input" if file == "-" else file
    try:
        with click.open_file(file, "rb") as stream:
            content = stream.read()
    except OSError as error:
        raise Invalid(f"{source}: the event cannot be read: {error.strerror}.") from error
    _published(vtn, _decoded(content, EventOrder, source=source), as_json=as_json)


def _published(vtn: OperatorClient, order: EventOrder, *, as_json: bool) -> None:
    answer = vtn.post("events", into=dict[str, Any], body=order)
    found = _unless_it_waits(answer, as_json=as_json)
    if found is None:
        return
    if as_json:
        show_json(found)
    else:
        show(f"published {found.event_id}: {screens.event_in_words(found)}")


def _unless_it_waits(answer: dict[str, Any], *, as_json: bool) -> EventView | None:
    """The event; None where it waits for a second person, which is said."""
    if "proposal_id" not in answer:
        return msgspec.convert(answer, EventView)
    proposal = msgspec.convert(answer, ProposalView)
    if as_json:
        show_json(proposal)
    else:
        show(
            f"proposed {proposal.event_id}: it waits until somebody else approves it in the "
            f"console (proposal {proposal.proposal_id})"
        )
    return None


def _decoded(content: bytes, into: type[T], *, source: str) -> T:
    try:
        return msgspec.json.decode(content, type=into)
    except msgspec.ValidationError as error:
        raise Invalid(f"{source}: {explain(str(error), into, noun='key')}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise Invalid(f"{source}: this is not JSON: {error}.") from error


@event.command(
    "modify",
    epilog=example(
        "vtn event modify EVENT --duration 2h --reason 'the heat stays'",
        "vtn event modify EVENT --value -100 --expect 1",
    ),
)
@click.argument("event_id")
@click.option("--expect", type=int, help="The modification you looked at; refused if it moved on.")
@click.option("--reason", default="", help="Told to the VENs.")
@click.option("--start", help="now, now+10m, ISO 8601 with Z.")
@click.option("--duration", help="5m, 1h30m, PT5M; open: until cancelled.")
@_WHAT
@click.option("--unit", help="Of the new values.  [default: as it was]")
@_WHEN
@asks
def event_modify(
    vtn: OperatorClient,
    *,
    event_id: str,
    expect: int | None,
    reason: str,
    value: float | None,
    intervals: tuple[IntervalOrder, ...],
    unit: str | None,
    as_json: bool,
    **changes: Any,
) -> None:
    """Change what is named; everything else stays. The past of an event cannot change."""
    signals = None
    if value is not None or intervals:
        before = vtn.get("events", event_id, into=EventView)
        expect = before.modification_number if expect is None else expect
        if len(before.signals) != 1:
            raise Invalid(
                f"{event_id} has {len(before.signals)} signals, so one value is not enough; "
                "change it through the API (PATCH) with all of them."
            )
        old = before.signals[0]
        signals = (
            SignalOrder(
                id=old.id,
                name=old.name,
                type=old.type,
                unit=old.unit if unit is None else unit,
                value=value,
                intervals=intervals,
                device_classes=old.device_classes,
            ),
        )
    elif unit is not None:
        raise click.UsageError("--unit needs --value or --interval beside it.")
    if expect is None:
        expect = vtn.get("events", event_id, into=EventView).modification_number
    change = EventChange(expected_modification=expect, reason=reason, signals=signals, **changes)
    answer = vtn.patch("events", event_id, into=dict[str, Any], body=change)
    found = _unless_it_waits(answer, as_json=as_json)
    if found is None:
        return
    if as_json:
        show_json(found)
    else:
        show(
            f"modified {found.event_id} (modification {found.modification_number}): "
            f"{screens.event_in_words(found)}"
        )


@event.command("end", epilog=example("vtn event end EVENT"))
@click.argument("event_id")
@asks
def event_end(vtn: OperatorClient, *, event_id: str, as_json: bool) -> None:
    """End an active event now; what it asked until now stands, and counts."""
    found = vtn.post("events", event_id, "end", into=EventView)
    show_json(found) if as_json else show(f"ended {found.event_id} at {found.ends_at:%H:%M:%SZ}")


@event.command("stop-all", epilog=example("vtn event stop-all STOP"))
@click.argument("word")
@asks
def event_stop_all(vtn: OperatorClient, *, word: str, as_json: bool) -> None:
    """Cancel every event that is not over; WORD is STOP, typed out."""
    found = vtn.post("stop", into=Stopped, body={"word": word})
    if as_json:
        show_json(found)
    else:
        show(f"cancelled {len(found.events)} events: {', '.join(found.events) or 'none was left'}")


@event.command("cancel", epilog=example("vtn event cancel EVENT"))
@click.argument("event_id")
@asks
def event_cancel(vtn: OperatorClient, *, event_id: str, as_json: bool) -> None:
    """Call an event off."""
    found = vtn.post("events", event_id, "cancel", into=EventView)
    if as_json:
        show_json(found)
    else:
        show(f"cancelled {found.event_id} (modification {found.modification_number})")


@event.command("list", epilog=example("vtn event list --status active", "vtn event list --ven hq"))
@click.option(
    "--status", type=click.Choice([each.value for each in EventStatus]), help="Only these."
)
@click.option("--ven", help="For this VEN only.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@asks
def event_list(
    vtn: OperatorClient, *, status: str | None, ven: str | None, limit: int, as_json: bool
) -> None:
    """List events, the one that starts last first."""
    found = vtn.get("events", into=list[EventView], status=status, ven=ven, limit=limit)
    show_json(found) if as_json else screens.events(found)


@event.command("show", epilog=example("vtn event show EVENT"))
@click.argument("event_id")
@asks
def event_show(vtn: OperatorClient, *, event_id: str, as_json: bool) -> None:
    """Show an event, and how each VEN stands to it."""
    found = vtn.get("events", event_id, into=EventView)
    show_json(found) if as_json else screens.event(found)
