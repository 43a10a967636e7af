# SPDX-License-Identifier: Apache-2.0
"""A person prepares the device under test: each act is asked for in plain words."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

import click

from conformance.adapter import Told
from conformance.adapters.options import Options
from conformance.declaration import Ability, Transport
from conformance.errors import AdapterFault
from oadr.event import Event
from oadr.report import ReportRequest

_CANNOT = "no"


async def _ask(words: str, *, wanted: str = "") -> str:
    """Show what is to be done and wait; `wanted` names what to type in. Raises AdapterFault."""
    question = (
        f"\n{words}\n{wanted or 'Press Enter when it is done'} ('no' where it cannot be done)"
    )

    def prompt() -> str:
        return str(click.prompt(question, default="", show_default=False, err=True))

    said = (await asyncio.to_thread(prompt)).strip()
    if said == _CANNOT:
        raise AdapterFault("the person says that it cannot be done")
    return said


def in_words(event: Event) -> str:
    """An event as an operator would be told it."""
    lines = [
        f"  start       {event.starts_at:%Y-%m-%d %H:%M:%S} UTC",
        f"  duration    {event.duration or 'open-ended'}",
        f"  context     {event.market_context}",
        f"  priority    {event.priority or 0}",
    ]
    for what, span in (
        ("ramp-up", event.ramp_up),
        ("recovery", event.recovery),
        ("startafter", event.start_after),
    ):
        if span:
            lines.append(f"  {what:<11} {span}")
    if event.target.resource_ids:
        lines.append(f"  resources   {', '.join(event.target.resource_ids)}")
    lines.append(f"  answer      {event.response_required}")
    for signal in event.signals:
        unit = f" {signal.unit.symbol} ({signal.unit.kind})" if signal.unit is not None else ""
        steps = ", ".join(f"{one.value:g} for {one.duration}" for one in signal.intervals)
        lines.append(f"  signal      {signal.signal_name}/{signal.signal_type}{unit}: {steps}")
    if event.baseline is not None:
        steps = ", ".join(f"{one.value:g} for {one.duration}" for one in event.baseline.intervals)
        lines.append(
            f"  baseline    from {event.baseline.starts_at:%Y-%m-%d %H:%M:%S} UTC: {steps}"
        )
    return "\n".join(lines)


class PersonVtn:
    """A person at the VTN's own operator screen."""

    def __init__(self, options: Mapping[str, str]) -> None:
        chosen = Options(options, "product", "contexts", "resources")
        self.product = chosen.get("product") or "VTN prepared by a person"
        self.market_contexts = chosen.several("contexts") or ("http://market.example/one",)
        self.resources = chosen.several("resources")
        self.abilities = {
            Ability.EVENTS,
            Ability.NEVER,
            Ability.RAMP_UP,
            Ability.START_AFTER,
            Ability.PRIORITY,
            Ability.INTERVALS,
            Ability.BASELINE,
            Ability.MODIFY,
            Ability.ANSWERS,
            Ability.REPORTS,
            Ability.METADATA,
            Ability.REREGISTER,
            Ability.UNREGISTER,
            Ability.RESTART,
        }
        if len(self.market_contexts) > 1:
            self.abilities.add(Ability.CONTEXTS)
        if len(self.resources) > 1:
            self.abilities.add(Ability.TARGETS)

    async def open(self) -> None:
        """The VTN runs already."""

    async def close(self) -> None:
        """It goes on running."""

    async def publish(self, ven_id: str, event: Event) -> str:
        return await _ask(
            f"Publish this event for the VEN {ven_id}:\n{in_words(event)}",
            wanted="Type its eventID",
        )

    async def modify(self, event_id: str, event: Event) -> None:
        await _ask(f"Change the event {event_id} to this:\n{in_words(event)}")

    async def cancel(self, event_id: str) -> None:
        await _ask(f"Cancel the event {event_id}.")

    async def withdraw(self, ven_id: str, event_ids: Sequence[str]) -> None:
        await _ask(
            f"The test is over: cancel or delete these events of the VEN {ven_id} where they are "
            f"not over: {', '.join(event_ids)}."
        )

    async def answer(self, ven_id: str, event_id: str) -> str:
        return await _ask(
            f"Look up what the VEN {ven_id} has answered to the event {event_id}.",
            wanted="Type optIn, optOut, or nothing",
        )

    async def request_report(self, ven_id: str, request: ReportRequest) -> str:
        points = ", ".join(payload.r_id for payload in request.payloads)
        interval = (
            f"from {request.interval.starts_at:%H:%M:%S} UTC "
            f"for {request.interval.duration or 'ever'}"
            if request.interval is not None
            else "no reportInterval"
        )
        return await _ask(
            f"Ask the VEN {ven_id} for the report {request.report_specifier_id}: rIDs {points}, "
            f"granularity {request.granularity}, reportBackDuration {request.report_back}, "
            f"{interval}.",
            wanted="Type the reportRequestID",
        )

    async def cancel_report(self, ven_id: str, report_request_id: str, *, to_follow: bool) -> None:
        more = " and ask for one final report (reportToFollow)" if to_follow else ""
        await _ask(f"Cancel the report {report_request_id} of the VEN {ven_id}{more}.")

    async def request_reregistration(self, ven_id: str) -> None:
        await _ask(f"Ask the VEN {ven_id} to register again.")

    async def cancel_registration(self, ven_id: str) -> None:
        await _ask(f"Cancel the registration of the VEN {ven_id}.")

    async def restart(self) -> None:
        await _ask("Restart the VTN.")


class PersonVen:
    """A person at the VEN."""

    def __init__(self, options: Mapping[str, str]) -> None:
        chosen = Options(options, "product", "contexts", "resources")
        self.product = chosen.get("product") or "VEN prepared by a person"
        self.market_contexts = chosen.several("contexts") or ("http://market.example/one",)
        self.resources = chosen.several("resources")
        self.abilities = {
            Ability.RESTART,
            Ability.FRESH,
            Ability.UNREGISTER,
            Ability.OPT,
            Ability.OPT_RESOURCE,
            Ability.OPT_SCHEDULE,
        }

    async def open(self, url: str, transport: Transport) -> None:
        await _ask(
            f"Point the VEN at {url} by HTTP {transport}, "
            f"let it take part in {', '.join(self.market_contexts)}, "
            "have it opt in by itself, and start it."
        )

    async def close(self) -> None:
        """It goes on running."""

    async def restart(self, *, forget: bool) -> None:
        memory = " with everything forgotten (registration, events, reports)" if forget else ""
        await _ask(f"Restart the VEN{memory}.")

    async def register(self) -> None:
        await _ask("At the VEN have it register again.")

    async def cancel_registration(self) -> None:
        await _ask("At the VEN cancel its registration.")

    async def opt(self, event_id: str, *, opt_in: bool, resource: str = "") -> None:
        only = f" for the resource {resource} alone" if resource else ""
        await _ask(f"At the VEN opt {'in to' if opt_in else 'out of'} the event {event_id}{only}.")

    async def opt_schedule(
        self,
        opt_id: str,
        starts_at: datetime,
        ends_at: datetime | None,
        *,
        opt_in: bool,
        device_class: str = "",
    ) -> None:
        only = f" for devices of the class {device_class} alone" if device_class else ""
        end = f"{ends_at:%Y-%m-%d %H:%M:%S} UTC" if ends_at is not None else "further notice"
        await _ask(
            f"At the VEN send an opt schedule under the optID {opt_id}: "
            f"{'optIn' if opt_in else 'optOut'} from "
            f"{starts_at:%Y-%m-%d %H:%M:%S} UTC to {end}{only}."
        )

    async def cancel_opt_schedule(self, opt_id: str) -> None:
        await _ask(f"At the VEN cancel the opt schedules under {opt_id}.")

    async def told(self, event_id: str) -> Sequence[Told]:
        raise AdapterFault(f"a person is not asked when the site was told of {event_id}")
