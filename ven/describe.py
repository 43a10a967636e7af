# SPDX-License-Identifier: Apache-2.0
"""The VEN's state in plain terms, for `ven status` and `ven events`."""

from datetime import UTC, datetime, timedelta

from doorway.values import value
from light_node.local import Status as NodeStatus
from oadr.opt import CreateOpt
from ven import control, plan
from ven.config import Settings
from ven.credentials import Credentials
from ven.known import KnownEvent, rank
from ven.line import Line
from ven.node import NOT_THERE, NodeLink
from ven.state import InForce, State

EXPIRES_SOON = timedelta(days=30)


@value
class Live:
    """What only a running VEN knows."""

    line: Line
    node: NodeLink
    clock_offset_s: float | None
    trouble: str
    renews_at: datetime | None = None


def status(
    settings: Settings,
    state: State,
    credentials: Credentials | None,
    *,
    now: datetime,
    live: Live | None,
) -> control.VenStatus:
    """How the VEN is; `live` is None where it does not run and only its state file speaks."""
    registration = state.registration()
    node_status = live.node.status if live is not None else None
    return control.VenStatus(
        at=now,
        name=settings.ven.name,
        running=live is not None,
        registered=registration is not None,
        ven_id=registration.ven_id if registration is not None else "",
        vtn_id=registration.vtn_id if registration is not None else "",
        registration_id=registration.registration_id if registration is not None else "",
        terms=registration.terms if registration is not None else "",
        trouble=_trouble(settings, live) or _ending(credentials, live, now),
        vtn_url=settings.vtn.url,
        vtn_answers=live.line.is_up if live is not None else None,
        vtn_last_answer_at=live.line.last_answer_at if live is not None else None,
        vtn_clock_offset_s=live.clock_offset_s if live is not None else None,
        node_connected=live.node.is_connected if live is not None else None,
        node_guard=node_status.guard if node_status is not None else "",
        plan_refused=live.node.plan_refused if live is not None else "",
        override=live.node.override.active if live is not None else False,
        events=len(state.events()),
        unacknowledged_answers=len(state.answers()),
        reports=tuple(_report(each) for each in state.requests().values()),
        fingerprint=credentials.fingerprint if credentials is not None else "",
        certificate_not_after_at=credentials.not_after_at if credentials is not None else None,
        certificate_renews_at=live.renews_at if live is not None else None,
    )


def events(state: State, now: datetime) -> control.Events:
    """All known events, in order of precedence."""
    return control.Events(
        events=tuple(_event(known, now) for known in sorted(state.events().values(), key=rank))
    )


def schedules(state: State) -> control.Schedules:
    """The opt schedules in force, oldest first."""
    waiting = {
        answer.message.opt_id for answer in state.answers() if isinstance(answer.message, CreateOpt)
    }
    registered = state.registration() is not None
    return control.Schedules(
        schedules=tuple(
            control.ScheduleStatus(
                opt_id=each.opt_id,
                opt=each.opt_type.value,
                reason=each.opt_reason,
                market_context=each.market_context or "",
                resource_ids=each.target.resource_ids,
                device_classes=each.device_class.end_device_assets if each.device_class else (),
                stretches=tuple(
                    control.Stretch(
                        starts_at=stretch.starts_at,
                        ends_at=stretch.starts_at + stretch.duration if stretch.duration else None,
                    )
                    for stretch in each.schedule
                ),
                told=registered and each.opt_id not in waiting,
            )
            for each in state.schedules()
        )
    )


def _trouble(settings: Settings, live: Live | None) -> str:
    if live is None:
        return "The VEN does not run; start it with 'ven run'."
    if live.line.trouble:
        return live.line.trouble
    if live.trouble:
        return live.trouble
    if not live.node.is_connected:
        return NOT_THERE
    if live.node.plan_refused:
        return f"The light node refused the plan: {live.node.plan_refused}"
    if live.node.status is not None and (unknown := not_read(settings, live.node.status)):
        return unknown
    if live.node.status is not None and live.node.status.troubles:
        return f"The light node says: {' '.join(live.node.status.troubles)}"
    if live.clock_offset_s:
        return (
            f"The VTN's clock is {live.clock_offset_s:+.0f} s from this one; "
            "check the time service (NTP) here."
        )
    return ""


def _ending(credentials: Credentials | None, live: Live | None, now: datetime) -> str:
    """A sentence where the certificate ends soon and nobody renews it; else ""."""
    if credentials is None or (live is not None and live.renews_at is not None):
        return ""
    ends_at = credentials.not_after_at
    if now + EXPIRES_SOON < ends_at:
        return ""
    return (
        f"The certificate {'ended' if ends_at <= now else 'ends'} on {ends_at:%Y-%m-%d}; get "
        "another one from the utility ('ven enroll' or 'ven request')."
    )


def not_read(settings: Settings, node: NodeStatus) -> str:
    """A sentence where a [[reports.meter]] is none of the light node's meters; else ""."""
    read = [meter.id for meter in node.meters]
    for meter in settings.reports.sub_meters:
        if meter.id not in read:
            return (
                f"[[reports.meter]] '{meter.id}' is no meter of the light node, which reads "
                f"{', '.join(read)}; correct its id here or in site.toml."
            )
    return ""


def _report(in_force: InForce) -> control.ReportStatus:
    request = in_force.request
    last = in_force.last_row_at
    return control.ReportStatus(
        report_request_id=request.report_request_id,
        specifier_id=request.report_specifier_id,
        granularity_s=request.granularity.total_seconds(),
        report_back_s=request.report_back.total_seconds(),
        last_row_at=datetime.fromtimestamp(last, UTC) if last is not None else None,
        backlog=in_force.spool is not None and bool(in_force.spool.spans),
    )


def _event(known: KnownEvent, now: datetime) -> control.EventStatus:
    event = known.event
    signal = event.signals[0]
    return control.EventStatus(
        event_id=event.event_id,
        modification_number=event.modification_number,
        status=known.status(now).value,
        signal=f"{signal.signal_name}/{signal.signal_type.value}",
        value=plan.value_at(known, signal, now),
        unit=plan.unit_text(signal),
        starts_at=known.starts_at,
        ends_at=known.ends_at,
        opt=known.opt.value,
        decided_by=known.decided_by,
        reason=known.reason,
        response_code=known.response_code,
        acknowledged=known.answered >= event.modification_number,
        test=event.is_test,
        market_context=event.market_context,
        out_resources=known.out_resources,
    )
