# SPDX-License-Identifier: Apache-2.0
"""ven: enrol and run the VEN, check its settings, see what it knows, and decide for it."""

import asyncio
import functools
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from doorway import LOG_FORMAT, Door, LogFormat, configure_logs, show, show_json, show_verdict
from doorway.spared import uncollected

# None of it is garbage; looking for some takes a tenth of the time until the VEN runs.
with uncollected():
    from oadr.vocabulary import OptReason
    from ven import config, control, describe
    from ven.config import Settings
    from ven.credentials import read_credentials, subject
    from ven.errors import ControlFault, CredentialFault, StateFault, VenFault
    from ven.renewal import newest
    from ven.state import State

if TYPE_CHECKING:
    from ven.check import Finding  # the commands that make one import it


def _utc_now() -> datetime:
    return datetime.now(UTC)


class _Failed(VenFault):
    """A check that did not hold."""


def _example(*lines: str) -> str:
    r"""An epilog whose lines click leaves alone (its \b)."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def _configured(command: Callable[..., None]) -> Callable[..., None]:
    """Options of every command: the settings file, and how much is logged."""

    @click.option(
        "--config",
        "path",
        type=click.Path(path_type=Path, dir_okay=False),
        default=Path("ven.toml"),
        show_default=True,
        envvar="VEN_CONFIG",
        help="The VEN's settings.",
    )
    @click.option("--verbose", is_flag=True, help="Log more.")
    @LOG_FORMAT
    @functools.wraps(command)
    def with_settings(
        path: Path, verbose: bool, log_format: LogFormat, **options: Any
    ) -> None:  # Any: click's values
        configure_logs(verbose=verbose, log_format=log_format)
        command(newest(config.load(path)), **options)

    return with_settings


_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


@click.group(cls=Door, epilog=_example("ven check --config ven.toml", "ven run --config ven.toml"))
def main() -> None:
    """The OpenADR 2.0b VEN of a light node."""


@main.command(epilog=_example("ven run --config /etc/demandflex/ven.toml"))
@_configured
def run(settings: Settings) -> None:
    """Register, poll, hold what events ask for and report, until SIGTERM or Ctrl-C."""
    # Here alone: the other commands do not need it.
    with uncollected():
        from ven import agent  # noqa: PLC0415 - as said above

    asyncio.run(_until_stopped(agent.run(settings)))


@main.command(name="check", epilog=_example("ven check --config ven.toml"))
@_configured
@_JSON
def check_(settings: Settings, *, as_json: bool) -> None:
    """Say in plain words what is in place and what is missing; changes nothing."""
    from ven import check  # noqa: PLC0415 - the other commands need no aiohttp

    findings = asyncio.run(check.check(settings, now=_utc_now))
    if as_json:
        show_json(findings)
    else:
        for finding in findings:
            _show_finding(finding)
    failed = [finding.what for finding in findings if not finding.ok]
    if failed:
        raise _Failed(f"Not everything is in place: {', '.join(failed)}.")


def _show_finding(finding: "Finding") -> None:
    mark = click.style("ok     ", fg="green") if finding.ok else click.style("MISSING", fg="red")
    show(f"{mark}  {finding.what}: {finding.sentence}")


_FOLDER = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/etc/demandflex"),
    show_default=True,
    help="Where key, certificate and settings lie.",
)


@main.command(
    epilog=_example(
        "ven enroll 'https://vtn.example:8446#code=K7Q2-...&root=3F9A...' --start",
        "ven enroll https://vtn.example:8446 --code K7Q2-... --root 3F:9A:...",
    )
)
@click.argument("address", metavar="ADDRESS")
@click.option("--code", default="", help="The one-time code of the sheet.")
@click.option("--root", default="", metavar="SHA256", help="The root's fingerprint of the sheet.")
@click.option("--name", default="", help="Ask for this name; the VTN refuses any but the code's.")
@_FOLDER
@click.option("--again", is_flag=True, help="Use the code though there is a certificate.")
@click.option("--start", is_flag=True, help="Start light-node and ven, now and at each boot.")
@LOG_FORMAT
def enroll(
    address: str,
    *,
    code: str,
    root: str,
    name: str,
    folder: Path,
    again: bool,
    start: bool,
    log_format: LogFormat,
) -> None:
    """Get this device its certificate by a one-time code, write its settings, say what is ready.

    ADDRESS is the text of the QR (in quotes), or the address with --code and --root beside it.
    After a cut, or an answer that was lost, give the same command again.
    """
    configure_logs(log_format=log_format)
    # Waits for its use, once in the life of a device.
    from doorway.invitation import read_invitation  # noqa: PLC0415 - as said above
    from ven.enrolment import Place, enrol, ready  # noqa: PLC0415 - as said above

    place = Place(folder=folder.expanduser().absolute())
    invitation = read_invitation(address, code=code, root=root)

    async def go() -> list["Finding"]:
        steps = enrol(invitation, place, name=name, again=again, start=start, now=_utc_now)
        findings = []
        async for finding in steps:
            _show_finding(finding)
            findings.append(finding)
        return findings

    findings = asyncio.run(go())
    if not start:
        show("next:    systemctl enable --now light-node ven")
    if not ready(findings):
        missing = ", ".join(dict.fromkeys(one.what for one in findings if not one.ok))
        raise _Failed(f"Enrolled, but not ready: {missing}; `ven check` looks again.")
    show("Ready.")


@main.command(name="request", epilog=_example("ven request --out hq.csr --subject CN=hq"))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Where to write the request (PEM); send it to who issues certificates.",
)
@click.option("--subject", default="", help="As in CN=hq,O=Example; left out: the issuer's choice.")
@click.option(
    "--rsa", is_flag=True, help="A key of RSA-2048 instead of ECC P-256, if none is there."
)
@_FOLDER
def request_(out: Path, *, subject: str, rsa: bool, folder: Path) -> None:
    """Make a request (CSR) for a certificate that is bought elsewhere; the key stays here."""
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - as in enroll

    from ven import keyring  # noqa: PLC0415 - as in enroll
    from ven.enrolment import Place  # noqa: PLC0415 - as in enroll

    place = Place(folder=folder.expanduser().absolute())
    made = keyring.request(keyring.own_key(place.key, is_rsa=rsa), subject)
    keyring.write_whole(out.absolute(), made.public_bytes(Encoding.PEM), mode=0o644)
    show(f"wrote {out}; the key is {place.key} and stays here")
    show(f"next:  ven import CERTIFICATE --dir {folder}")


@main.command(name="import", epilog=_example("ven import hq.crt"))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_FOLDER
def import_(file: Path, *, folder: Path) -> None:
    """Install a certificate that was issued for `ven request`: PEM, then its intermediates."""
    from ven import keyring  # noqa: PLC0415 - as in enroll
    from ven.enrolment import Place, read_chain  # noqa: PLC0415 - as in enroll

    place = Place(folder=folder.expanduser().absolute())
    if not place.key.exists():
        raise CredentialFault(f"{place.key}: there is no key; begin with `ven request`.")
    chain = read_chain(file)
    keyring.checked_chain(chain, keyring.own_key(place.key), now=_utc_now(), whose=str(file))
    keyring.write_whole(place.cert, keyring.chain_pem(chain), mode=0o644)
    found = read_credentials(place.cert)
    show(f"installed {place.cert}, valid until {found.not_after_at:%Y-%m-%d}")
    show(f"fingerprint  {found.fingerprint}   (to read out)")
    show(f"SHA-256      {found.sha256}   (give it to the VTN's operator)")


@main.command(epilog=_example("ven status --config ven.toml", "ven status --json | jq .trouble"))
@_configured
@_JSON
def status(settings: Settings, *, as_json: bool) -> None:
    """Say whether all is well with the VEN, and what is not; then exit status 1."""
    found = _asked(settings, control.AskStatus(), _status_at_rest)
    assert isinstance(found, control.VenStatus)
    if as_json:
        show_json(found)
    else:
        _show_status(found)
    sys.exit(1 if found.trouble else 0)


@main.command(epilog=_example("ven events --config ven.toml"))
@_configured
@_JSON
def events(settings: Settings, *, as_json: bool) -> None:
    """The events the VEN knows, and how it answered them."""
    found = _asked(settings, control.AskEvents(), _events_at_rest)
    assert isinstance(found, control.Events)
    if as_json:
        show_json(found.events)
    elif not found.events:
        show("There are no events.")
    else:
        _show_events(found.events)


@main.command(epilog=_example("ven register --config ven.toml", "ven register --cancel"))
@_configured
@click.option("--cancel", is_flag=True, help="Cancel the registration and stay out.")
def register(settings: Settings, *, cancel: bool) -> None:
    """Register (again) with the VTN, or cancel the registration; the VEN must be running."""
    _tell(settings, control.AskRegister(cancel=cancel))


@main.group(
    epilog=_example("ven opt out 7f3a --reason 'a visit of the fire brigade'", "ven opt schedules")
)
def opt() -> None:
    """Take part in events or not, whatever the [opt] settings say; the VEN must be running."""


def _opt_command(command: Callable[..., None]) -> Callable[..., None]:
    """What `in` and `out` have in common."""
    for option in (
        click.argument("event_id", metavar="EVENT"),
        click.option("--reason", default="", help="One sentence for the VTN's operator."),
        click.option(
            "--resource", multiple=True, metavar="ID", help="Only for this resource of the event."
        ),
        _configured,
    ):
        command = option(command)
    return command


@opt.command(name="in", epilog=_example("ven opt in 7f3a", "ven opt in 7f3a --resource annexe"))
@_opt_command
def opt_in(settings: Settings, event_id: str, reason: str, resource: tuple[str, ...]) -> None:
    """Take part in EVENT."""
    _tell(settings, _opt(event_id, "optIn", reason, resource))


@opt.command(name="out", epilog=_example("ven opt out 7f3a --reason 'fire drill'"))
@_opt_command
def opt_out(settings: Settings, event_id: str, reason: str, resource: tuple[str, ...]) -> None:
    """Take no part in EVENT."""
    _tell(settings, _opt(event_id, "optOut", reason, resource))


@opt.command(
    epilog=_example(
        "ven opt schedule --out --from 2026-12-24T12:00 --to 2026-12-27T06:00",
        "ven opt schedule --in --from 2026-11-23T08:00Z --resource annexe --id nights",
    )
)
@_configured
@click.option(
    "--in/--out", "is_in", required=True, help="Whether the site takes part in these times."
)
@click.option(
    "--from",
    "starts",
    multiple=True,
    required=True,
    metavar="TIME",
    help="Like 2026-12-24T12:00, in the site's time zone unless it ends in Z or +01:00.",
)
@click.option(
    "--to", "ends", multiple=True, metavar="TIME", help="Exclusive; left out: open-ended."
)
@click.option("--reason", default="", help="A word of the standard: economic, emergency, mustRun …")
@click.option("--context", default="", metavar="URI", help="Only for this market context.")
@click.option("--resource", multiple=True, metavar="ID", help="Only for this resource.")
@click.option("--device-class", multiple=True, metavar="CLASS", help="Only for such devices.")
@click.option("--id", "opt_id", default="", help="Under this name; several may share one.")
def schedule(
    settings: Settings,
    *,
    is_in: bool,
    starts: tuple[str, ...],
    ends: tuple[str, ...],
    reason: str,
    context: str,
    resource: tuple[str, ...],
    device_class: tuple[str, ...],
    opt_id: str,
) -> None:
    """Tell the VTN ahead when the site takes part or does not; --from and --to may be repeated."""
    _tell(
        settings,
        control.AskSchedule(
            opt="optIn" if is_in else "optOut",
            stretches=_stretches(settings, starts, ends),
            reason=_opt_reason(reason),
            market_context=context,
            resource_ids=resource,
            device_classes=device_class,
            opt_id=opt_id,
        ),
    )


@opt.command(epilog=_example("ven opt schedules --json"))
@_configured
@_JSON
def schedules(settings: Settings, *, as_json: bool) -> None:
    """The opt schedules in force."""
    found = _asked(settings, control.AskSchedules(), _schedules_at_rest)
    assert isinstance(found, control.Schedules)
    if as_json:
        show_json(found.schedules)
    elif not found.schedules:
        show("There are no opt schedules.")
    else:
        _show_schedules(found.schedules)


@opt.command(epilog=_example("ven opt cancel nights"))
@_configured
@click.argument("opt_id", metavar="SCHEDULE")
def cancel(settings: Settings, opt_id: str) -> None:
    """Take back the opt schedules under that name."""
    _tell(settings, control.AskCancelSchedule(opt_id=opt_id))


def _tell(settings: Settings, request: control.Ask) -> None:
    reply = asyncio.run(control.ask(settings.ven.control_socket, request))
    assert isinstance(reply, control.Done)
    show(reply.sentence)


def _opt(
    event_id: str, opt: Literal["optIn", "optOut"], reason: str, resource: tuple[str, ...]
) -> control.AskOpt:
    return control.AskOpt(event_id=event_id, opt=opt, reason=reason, resource_ids=resource)


def _opt_reason(reason: str) -> str:
    known = [each.value for each in OptReason]
    if reason and reason not in known and not reason.startswith("x-"):
        raise click.BadParameter(
            f"'{reason}' is none of {', '.join(known)}; a word of your own begins with x-.",
            param_hint="--reason",
        )
    return reason


def _stretches(
    settings: Settings, starts: tuple[str, ...], ends: tuple[str, ...]
) -> tuple[control.Stretch, ...]:
    if ends and len(ends) != len(starts):
        raise click.BadParameter("Give as many --to as --from, or none.", param_hint="--to")
    found = tuple(
        control.Stretch(
            starts_at=_instant(settings, start, "--from"),
            ends_at=_instant(settings, end, "--to") if end else None,
        )
        for start, end in zip(starts, ends or [""] * len(starts), strict=True)
    )
    for stretch in found:
        if stretch.ends_at is not None and stretch.ends_at <= stretch.starts_at:
            raise click.BadParameter("A time ends after it begins.", param_hint="--to")
    return found


def _instant(settings: Settings, text: str, option: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            at = at.replace(tzinfo=config.zone(settings.site.timezone))
        return at.astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"'{text}' is no time like 2026-12-24T12:00.", param_hint=option
        ) from error


@main.command(epilog=_example("ven fingerprint --config ven.toml"))
@_configured
@_JSON
def fingerprint(settings: Settings, *, as_json: bool) -> None:
    """The fingerprint of the VEN's certificate, for the VTN's operator."""
    credentials = read_credentials(settings.ven.cert)
    if as_json:
        show_json({"subject": subject(settings.ven.cert), **asdict(credentials)})
    else:
        show(f"fingerprint  {credentials.fingerprint}   (to read out)")
        show(f"SHA-256      {credentials.sha256}   (what the VTN compares)")
        show(f"subject      {subject(settings.ven.cert)}")
        show(f"valid until  {credentials.not_after_at:%Y-%m-%d}")


async def _until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run until SIGTERM or SIGINT cancels it, which is a good end."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    await asyncio.wait((task,))
    if not task.cancelled():
        task.result()


def _asked(
    settings: Settings, request: control.Ask, at_rest: Callable[[Settings], control.Reply]
) -> control.Reply:
    """What the running VEN says or, where none runs, what its state file says."""
    try:
        return asyncio.run(control.ask(settings.ven.control_socket, request))
    except ControlFault:
        return at_rest(settings)


def _status_at_rest(settings: Settings) -> control.Reply:
    try:
        credentials = read_credentials(settings.ven.cert)
    except CredentialFault:
        credentials = None
    try:
        state = State.peek(settings.ven.state)
    except StateFault as fault:
        has_run = settings.ven.state.exists()
        return control.VenStatus(
            at=_utc_now(),
            name=settings.ven.name,
            running=False,
            registered=False,
            trouble=str(fault) if has_run else "The VEN has never run; start it with 'ven run'.",
            vtn_url=settings.vtn.url,
            fingerprint=credentials.fingerprint if credentials is not None else "",
        )
    try:
        return describe.status(settings, state, credentials, now=_utc_now(), live=None)
    finally:
        state.close()


def _events_at_rest(settings: Settings) -> control.Reply:
    state = State.peek(settings.ven.state)
    try:
        return describe.events(state, _utc_now())
    finally:
        state.close()


def _schedules_at_rest(settings: Settings) -> control.Reply:
    state = State.peek(settings.ven.state)
    try:
        return describe.schedules(state)
    finally:
        state.close()


def _show_schedules(found: tuple[control.ScheduleStatus, ...]) -> None:
    for each in found:
        for stretch in each.stretches:
            only = [each.market_context, *each.resource_ids, *each.device_classes]
            show(
                f"{each.opt_id}  {each.opt}  {_clock(stretch.starts_at)} to "
                f"{_clock(stretch.ends_at)}  {each.reason}  "
                f"{' '.join(filter(None, only))}{'' if each.told else ' (the VTN is not told yet)'}"
            )


def _show_status(found: control.VenStatus) -> None:
    show_verdict([found.trouble] if found.trouble else [])
    lines = {
        "VEN": f"{found.name}, {'running' if found.running else 'not running'}",
        "registered": (
            f"as '{found.ven_id}' with '{found.vtn_id}', {found.terms}"
            if found.registered
            else "no"
        ),
        "VTN": f"{found.vtn_url}, {_answers(found)}",
        "light node": _node(found),
        "events": str(found.events),
        "answers": f"{found.unacknowledged_answers} not yet acknowledged by the VTN",
        "certificate": (
            f"{found.fingerprint}"
            + (
                f", until {found.certificate_not_after_at:%Y-%m-%d}"
                if found.certificate_not_after_at
                else ""
            )
            + (
                f", renewed by itself about {found.certificate_renews_at:%Y-%m-%d}"
                if found.certificate_renews_at
                else ""
            )
        ),
    }
    for name, text in lines.items():
        show(f"{name:<12} {text}")
    for report in found.reports:
        show(
            f"{'report':<12} {report.specifier_id}, every {report.report_back_s:g} s, "
            f"up to {_clock(report.last_row_at)}{', catching up' if report.backlog else ''}"
        )


def _answers(found: control.VenStatus) -> str:
    if found.vtn_answers is None:
        return "not asked"
    last = _clock(found.vtn_last_answer_at)
    return f"answers (last {last})" if found.vtn_answers else f"does not answer (last {last})"


def _node(found: control.VenStatus) -> str:
    if found.node_connected is None:
        return "not asked"
    if not found.node_connected:
        return "not connected"
    return f"connected, {found.node_guard}{', overridden' if found.override else ''}"


def _show_events(found: tuple[control.EventStatus, ...]) -> None:
    # rich waits for its use to save memory: `ven run` never needs it.
    from rich.console import Console  # noqa: PLC0415 - as said above
    from rich.table import Table  # noqa: PLC0415 - as said above

    table = Table("event", "status", "signal", "value", "from", "to", "opt", "why", box=None)
    for event in found:
        value = f"{event.value:g} {event.unit}".strip() if event.value is not None else ""
        table.add_row(
            f"{event.event_id} #{event.modification_number}{' (test)' if event.test else ''}",
            event.status,
            event.signal,
            value,
            _clock(event.starts_at),
            _clock(event.ends_at),
            f"{event.opt}{_without(event)}"
            f"{'' if event.acknowledged else ' (not yet acknowledged)'}",
            event.reason,
        )
    Console().print(table)


def _without(event: control.EventStatus) -> str:
    return f" without {', '.join(event.out_resources)}" if event.out_resources else ""


def _clock(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%SZ}" if at is not None else "-"
