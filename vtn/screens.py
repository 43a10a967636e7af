# SPDX-License-Identifier: Apache-2.0
"""What the command line shows people: tables and sentences. Times are UTC."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from oadr.vocabulary import OptType
from vtn import records
from vtn.accounts.views import UserView
from vtn.views import (
    Code,
    EventCurtailment,
    EventView,
    Finding,
    Offer,
    Opt,
    Reports,
    Request,
    SignalView,
    Ven,
    VenCurtailment,
)

_WIDE = 200
"""Columns of a table that goes into a file or a pipe."""
NONE = "-"


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDE)


def _say(text: str) -> None:
    _console().print(Text(text))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """A table; heads that begin with `>` stand over numbers, at the right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head.lstrip(">"), justify="right" if head[0] == ">" else "left")
    for row in rows:
        # Text, not markup: a VEN's words must not colour the operator's screen.
        table.add_row(*(Text(cell) for cell in row))
    if table.row_count:
        _console().print(table)
    else:
        _say(empty)


def _pairs(rows: Iterable[tuple[str, str]]) -> None:
    shown = [(name, value) for name, value in rows if value]
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        _say(f"{name:<{width}}  {value}")


# --- words ----------------------------------------------------------------------------------------


def moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else NONE


def ago(at: datetime | None, *, now: datetime) -> str:
    if at is None:
        return "never"
    return f"{span(max(0.0, (now - at).total_seconds()))} ago"


def span(seconds: float) -> str:
    """`4 s`, `5 min`, `1 h 05 min`, `3 d 2 h`."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 60:
        return f"{minutes} min" + (f" {whole % 60:02} s" if whole % 60 else "")
    if hours < 48:
        return f"{hours} h {minutes % 60:02} min"
    return f"{days} d {hours % 24} h"


def power(watts: float | None) -> str:
    """In kW, which a page keeps to; one decimal below 100 kW."""
    if watts is None:
        return NONE
    return f"{watts / 1000:.1f}" if abs(watts) < 100_000 else f"{watts / 1000:.0f}"


def share(fraction: float | None) -> str:
    return NONE if fraction is None else f"{fraction * 100:.0f} %"


def _signal(signal: SignalView) -> str:
    values = " then ".join(f"{step.value:g}" for step in signal.intervals)
    return f"{signal.name} {signal.type} {values} {signal.unit}".rstrip()


def _whom(event: EventView) -> str:
    named = [name for names in event.targets.values() for name in names]
    return ", ".join(named) or "everyone"


def event_in_words(event: EventView) -> str:
    what = "; ".join(map(_signal, event.signals))
    until = f"to {moment(event.ends_at)}" if event.ends_at else "until cancelled"
    count = len([ven for ven in event.vens if not ven.withdrawn])
    whom = f"{_whom(event)} ({count} VEN{'s' if count != 1 else ''})"
    test = "test, " if event.test else ""
    return f"{test}{what}, {moment(event.starts_at)} {until} UTC, for {whom}"


# --- screens --------------------------------------------------------------------------------------


def checkup(findings: Sequence[Finding]) -> None:
    for each in findings:
        word = "ok" if each.ok and not each.warning else "note" if each.ok else "MISSING"
        _say(f"{word:<8} {each.subject}: {each.sentence}")
    wrong = sum(not each.ok for each in findings)
    _say(
        f"{wrong} thing{'s' if wrong != 1 else ''} to see to before `vtn serve`."
        if wrong
        else "Nothing is missing."
    )


def health(found: records.Health) -> None:
    _say(
        f"{found.online} of {found.registered} registered VENs are online ({found.vens} added); "
        f"{found.events_active} events active, {found.events_pending} to come; "
        f"messages waiting for VENs: {found.messages_waiting}."
    )


def vens(found: Sequence[Ven], *, now: datetime) -> None:
    _table(
        ("VEN", "NAME", "STATE", "LAST CONTACT", "GROUPS", "RESOURCES", "FINGERPRINT"),
        (
            (
                ven.ven_id,
                ven.name,
                ven.state,
                ago(ven.last_contact_at, now=now),
                ", ".join(ven.groups),
                ", ".join(ven.resources),
                ven.fingerprint,
            )
            for ven in found
        ),
        empty="No VEN is let in yet; add one with: vtn vens add VEN_ID --cert FILE",
    )


def codes(found: Sequence[Code], *, now: datetime) -> None:
    _table(
        ("code", "VEN", "state", "made", "by", "good until", "used", ">wrong tries"),
        (
            (
                code.code_id,
                code.ven_id,
                code.state,
                ago(code.made_at, now=now),
                code.made_by,
                moment(code.expires_at),
                moment(code.used_at),
                str(code.wrong_tries),
            )
            for code in found
        ),
        empty="There are no codes; make one with: vtn codes make VEN_ID",
    )


def ven(found: Ven, opts: Sequence[Opt], *, now: datetime) -> None:
    _pairs(
        [
            ("VEN", found.ven_id),
            ("name", found.name),
            ("state", found.state),
            ("certificate", found.certificate_sha256),
            ("fingerprint", found.fingerprint),
            ("renewed, unused", found.next_certificate_sha256 or ""),
            ("added", f"{moment(found.added_at)} by {found.added_by}"),
            ("revoked", moment(found.revoked_at) if found.revoked_at else ""),
            ("registration", found.registration_id or ""),
            ("registered", moment(found.registered_at) if found.registered_at else ""),
            ("last contact", ago(found.last_contact_at, now=now)),
            ("transport", f"push to {found.push_address}" if found.push_address else "pull"),
            ("XML signatures", "yes" if found.xml_signature else "no"),
            ("resources", ", ".join(found.resources)),
            ("groups", ", ".join(found.groups)),
        ]
    )
    for opt in opts:
        about = f"event {opt.event_id}" if opt.event_id else "a schedule"
        scope = f" for {opt.scope}" if opt.scope else ""
        _say(f"{opt.opt_type} to {about}{scope} since {moment(opt.received_at)} ({opt.reason})")


def groups(found: Sequence[records.Group]) -> None:
    _table(
        ("GROUP", "NAME", "VENS"),
        ((each.group_id, each.name, ", ".join(each.ven_ids)) for each in found),
        empty="There is no group yet; make one with: vtn groups add GROUP_ID --ven VEN_ID",
    )


def contexts(found: Sequence[records.MarketContext]) -> None:
    _table(
        ("MARKET CONTEXT", "NAME"),
        ((each.uri, each.name) for each in found),
        empty="There is no market context yet; make one with: vtn contexts add URI",
    )


def users(found: Sequence[UserView], *, now: datetime) -> None:
    _table(
        ("USER", "STATE", "ROLES", "SECOND FACTOR", "LAST LOGIN"),
        (
            (
                each.name,
                each.state,
                ", ".join(each.roles),
                "yes" if each.second_factor else "",
                ago(each.last_login_at, now=now),
            )
            for each in found
        ),
        empty="There is no user yet; make one with: vtn user add NAME --role ROLE",
    )


def events(found: Sequence[EventView]) -> None:
    _table(
        ("EVENT", "STATUS", ">MOD", "STARTS", "ENDS", "SIGNAL", "FOR", "OPT"),
        (
            (
                event.event_id,
                event.status + (" (test)" if event.test else ""),
                str(event.modification_number),
                moment(event.starts_at),
                moment(event.ends_at) if event.ends_at else "open",
                "; ".join(map(_signal, event.signals)),
                _whom(event),
                _opts(event),
            )
            for event in found
        ),
        empty="There is no event like that; publish one with: vtn event publish --help",
    )


_OPT_WORD = {str(OptType.OPT_IN): "in", str(OptType.OPT_OUT): "out"}


def _opts(event: EventView) -> str:
    counted = {"in": 0, "out": 0, "silent": 0}
    for ven in event.vens:
        counted[_OPT_WORD.get(ven.opt, "silent")] += 1
    return ", ".join(f"{count} {word}" for word, count in counted.items() if count)


def event(found: EventView) -> None:
    _pairs(
        [
            ("event", found.event_id),
            ("status", found.status + (" (test)" if found.test else "")),
            ("modification", str(found.modification_number)),
            *(("signal", _signal(signal)) for signal in found.signals),
            ("starts", moment(found.starts_at)),
            ("ends", moment(found.ends_at) if found.ends_at else "when it is cancelled"),
            ("random start", _some(found.start_within_s)),
            ("notification", _some(found.notification_s)),
            ("ramp-up", _some(found.ramp_up_s)),
            ("recovery", _some(found.recovery_s)),
            ("priority", str(found.priority) if found.priority else ""),
            ("market context", found.market_context),
            ("for", _whom(found)),
            ("comment", found.comment),
            ("published", f"{moment(found.published_at)} by {found.published_by}"),
        ]
    )
    _table(
        ("VEN", "OPT", ">TO MOD", "ANSWERED", ">HANDED MOD", "HANDED OUT", ">TIMES", "REMARK"),
        (
            (
                ven.ven_id,
                ven.opt or "silent",
                _number(ven.answered_modification),
                moment(ven.answered_at),
                _number(ven.handed_modification),
                moment(ven.handed_at),
                str(ven.attempts),
                _remark(ven.response_code, ven.description, withdrawn=ven.withdrawn),
            )
            for ven in found.vens
        ),
        empty="No VEN is targeted.",
    )
    for each in found.history[1:]:
        what = "cancelled" if each.cancelled else "modified"
        reason = f": {each.reason}" if each.reason else ""
        _say(f"modification {each.modification_number}: {what} {moment(each.modified_at)}{reason}")


def _remark(code: str, description: str, *, withdrawn: bool) -> str:
    said = "" if code in ("", "200") else f"{code} {description}".strip()
    return f"no longer targeted {said}".strip() if withdrawn else said


def _some(seconds: float) -> str:
    return span(seconds) if seconds else ""


def _number(number: int | None) -> str:
    return NONE if number is None else str(number)


def curtailment(found: EventCurtailment, *, steps: bool) -> None:
    rows = [_curtailed(ven) for ven in found.vens]
    if len(found.vens) > 1:
        rows.append(
            (
                "sum",
                "",
                power(found.ordered_w),
                power(found.delivered_w),
                share(found.fraction),
                "",
                f"{found.samples_received} of {found.samples_expected}",
                "agrees" if found.agrees else "DOES NOT AGREE",
            )
        )
    test = " (test)" if found.test else ""
    state = "final" if found.final else "so far"
    _say(f"event {found.event_id}, {found.status}{test}, {state}")
    _table(
        (
            "VEN",
            "OPT",
            ">ORDERED kW",
            ">DELIVERED kW",
            ">SHARE",
            ">CLAIMED kW",
            ">SAMPLES",
            "CLAIM",
        ),
        rows,
        empty="No VEN is targeted.",
    )
    for ven in found.vens:
        if ven.fallback:
            _say(f"{ven.ven_id}: Its baseline is by a fallback method: it has too few like days.")
        for remark in ven.remarks if ven.opt != OptType.OPT_OUT else ():
            _say(f"{ven.ven_id}: {remark}")
    if steps:
        for ven in found.vens:
            _steps(ven)


def _curtailed(ven: VenCurtailment) -> tuple[str, ...]:
    return (
        ven.ven_id,
        ven.opt or "silent",
        power(ven.ordered_w),
        power(ven.delivered_w),
        share(ven.fraction),
        power(ven.claimed_w),
        f"{ven.samples_received} of {ven.samples_expected}",
        _verdict(ven),
    )


def _verdict(ven: VenCurtailment) -> str:
    if ven.opt == OptType.OPT_OUT or not (ven.samples_expected or ven.claimed_w is not None):
        return NONE
    return "agrees" if ven.agrees else "DOES NOT AGREE"


def _steps(ven: VenCurtailment) -> None:
    _table(
        (
            f"{ven.ven_id} FROM",
            ">BASELINE kW",
            ">MEASURED kW",
            ">ORDERED kW",
            ">DELIVERED kW",
            ">CLAIMED kW",
            ">SAMPLES",
        ),
        (
            (
                f"{step.starts_at:%H:%M:%S}",
                power(step.baseline_w),
                power(step.measured_w),
                power(step.ordered_w),
                power(step.delivered_w),
                power(step.claimed_w),
                str(step.samples),
            )
            for step in ven.steps
        ),
        empty=f"Nothing of {ven.ven_id} is stored.",
    )


_COUNTS = ("EXPECTED", "RECEIVED", "MISSING", "TWICE", "LATE", "REMARK")
"""Of intervals, not of messages."""


def reports(found: Reports) -> None:
    _table(
        ("OFFERED", "NAME", "POINT", "TYPE", "UNIT", "EVERY", "RESOURCES"),
        (row for offer in found.offers for row in _offered(offer)),
        empty=f"{found.ven_id} has offered no report yet.",
    )
    _table(
        ("REQUEST", "REPORT", "STATE", "POINTS", "GRANULARITY", "SENT", "LAST VALUES", *_COUNTS),
        (_requested(request) for request in found.requests),
        empty=f"Nothing was asked of {found.ven_id} yet.",
    )


def _offered(offer: Offer) -> Iterable[tuple[str, ...]]:
    for point in offer.points:
        yield (
            offer.specifier,
            offer.name,
            point.r_id,
            point.type,
            point.unit,
            span(point.min_period_s) if point.min_period_s is not None else NONE,
            ", ".join(point.resources),
        )


def _requested(request: Request) -> tuple[str, ...]:
    return (
        request.report_request_id,
        request.name or request.specifier,
        request.state,
        ", ".join(request.points),
        span(request.granularity_s) if request.granularity_s else "on change",
        f"every {span(request.back_s)}" if request.back_s else "once",
        moment(request.last_update_at),
        _number(request.expected),
        str(request.received),
        _number(request.missing),
        str(request.duplicates),
        str(request.late),
        request.remark,
    )


def days(found: Sequence[records.ReportDay]) -> None:
    _table(
        ("DAY", ">REPORTS", ">VALUES"),
        [(one.day.isoformat(), str(one.messages), str(one.samples)) for one in found],
        empty="nothing was reported",
    )


def points(found: Sequence[records.Point]) -> None:
    _table(
        ("VEN", "POINT", "FACET", "REPORT", "TYPE", "UNIT", "RESOURCES"),
        (
            (
                point.ven_id,
                point.r_id,
                point.facet,
                point.report_name,
                point.report_type,
                point.unit,
                ", ".join(point.resource_ids),
            )
            for point in found
        ),
        empty="Nothing is stored of this VEN yet.",
    )


def audit(found: Sequence[records.AuditLine]) -> None:
    _table(
        (">NO", "AT", "WHO", "ACT", "ABOUT", "OUTCOME", "DETAIL"),
        (
            (
                str(line.number),
                moment(line.at),
                line.actor,
                line.act,
                line.subject,
                line.outcome,
                line.detail,
            )
            for line in found
        ),
        empty="There is no line like that.",
    )
