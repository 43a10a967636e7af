# SPDX-License-Identifier: Apache-2.0
"""vtn vens, groups, contexts: who takes part."""

import re
from pathlib import Path

import click

from doorway import Door, show, show_json
from vtn import records, screens
from vtn.cli.asking import FILE, asks, current_time, example
from vtn.errors import Invalid
from vtn.operator_client import OperatorClient
from vtn.views import Opt, Ven


@click.group(cls=Door, epilog=example("vtn vens list"))
def vens() -> None:
    """The VENs that are let in."""


@vens.command("add", epilog=example("vtn vens add hq --cert hq.crt --resource roof --group north"))
@click.argument("ven_id")
@click.option("--cert", type=FILE, help="The VEN's certificate (PEM).")
@click.option("--fingerprint", "digest", help="Its full SHA-256, 64 hex digits, instead.")
@click.option("--name", default="", help="For people to read.  [default: the venID]")
@click.option("--resource", "resources", multiple=True, help="A resource behind it; repeatable.")
@click.option("--group", "groups", multiple=True, help="A group it belongs to; repeatable.")
@asks
def vens_add(
    vtn: OperatorClient,
    *,
    ven_id: str,
    cert: Path | None,
    digest: str | None,
    name: str,
    resources: tuple[str, ...],
    groups: tuple[str, ...],
    as_json: bool,
) -> None:
    """Let a VEN in: with this certificate it may register as VEN_ID."""
    body: dict[str, object] = {
        "ven_id": ven_id,
        "name": name,
        "resources": resources,
        "groups": groups,
        **_certificate(cert, digest),
    }
    found = vtn.post("vens", into=Ven, body=body)
    if as_json:
        show_json(found)
    else:
        show(f"added {found.ven_id}; it may register with the certificate {found.fingerprint}")


@vens.command("list", epilog=example("vtn vens list --group north"))
@click.option("--group", help="Of this group only.")
@asks
def vens_list(vtn: OperatorClient, *, group: str | None, as_json: bool) -> None:
    """List VENs: who is registered, who was heard of when."""
    found = vtn.every("vens", into=Ven, key=lambda one: one.ven_id, group=group)
    show_json(found) if as_json else screens.vens(found, now=current_time())


@vens.command("show", epilog=example("vtn vens show hq"))
@click.argument("ven_id")
@asks
def vens_show(vtn: OperatorClient, *, ven_id: str, as_json: bool) -> None:
    """Show one VEN with its opts in force."""
    found = vtn.get("vens", ven_id, into=Ven)
    opts = vtn.get("vens", ven_id, "opts", into=list[Opt])
    if as_json:
        show_json({"ven": found, "opts": opts})
    else:
        screens.ven(found, opts, now=current_time())


@vens.command("days", epilog=example("vtn vens days hq --limit 7"))
@click.argument("ven_id")
@click.option("--limit", type=click.IntRange(1, 4000), default=31, show_default=True)
@asks
def vens_days(vtn: OperatorClient, *, ven_id: str, limit: int, as_json: bool) -> None:
    """How much a VEN reported each day (UTC), the latest first."""
    found = vtn.get("vens", ven_id, "days", into=list[records.ReportDay], limit=limit)
    show_json(found) if as_json else screens.days(found)


def _act_on_ven(act: str, caption: str, done: str) -> None:
    """`vtn vens ACT VEN_ID`: the acts that need nothing but the VEN's name."""

    @vens.command(act, help=caption, epilog=example(f"vtn vens {act} hq"))
    @click.argument("ven_id")
    @asks
    def command(vtn: OperatorClient, *, ven_id: str, as_json: bool) -> None:
        found = vtn.post("vens", ven_id, act, into=Ven)
        show_json(found) if as_json else show(done.format(found.ven_id))


@vens.command("certificate", epilog=example("vtn vens certificate hq --cert hq-2027.crt"))
@click.argument("ven_id")
@click.option("--cert", type=FILE, help="Its new certificate (PEM).")
@click.option("--fingerprint", "digest", help="Its full SHA-256, 64 hex digits, instead.")
@asks
def vens_certificate(
    vtn: OperatorClient, *, ven_id: str, cert: Path | None, digest: str | None, as_json: bool
) -> None:
    """Give a VEN another certificate; the one before is nobody's from now on."""
    found = vtn.post("vens", ven_id, "certificate", into=Ven, body=dict(_certificate(cert, digest)))
    if as_json:
        show_json(found)
    else:
        show(f"{found.ven_id} is known by the certificate {found.fingerprint}")


_act_on_ven(
    "revoke",
    "Shut a VEN out, for good; what it sent stays.",
    "revoked {}: its certificate is nobody's from now on",
)
_act_on_ven(
    "reregister",
    "Ask a VEN, at its next poll, to register again.",
    "{} is asked to register again at its next poll",
)
_act_on_ven(
    "deregister",
    "End a VEN's registration, at its next poll.",
    "the registration of {} ends at its next poll",
)


@vens.command("resource", epilog=example("vtn vens resource hq roof"))
@click.argument("ven_id")
@click.argument("resource_id")
@asks
def vens_resource(vtn: OperatorClient, *, ven_id: str, resource_id: str, as_json: bool) -> None:
    """Name a resource behind a VEN."""
    found = vtn.post("vens", ven_id, "resources", into=Ven, body={"resource_id": resource_id})
    show_json(found) if as_json else show(f"{ven_id} has {', '.join(found.resources)}")


@click.group(cls=Door, epilog=example("vtn groups list"))
def groups() -> None:
    """Groups of VENs that events can be for."""


@groups.command("add", epilog=example("vtn groups add north --ven hq --ven mill"))
@click.argument("group_id")
@click.option("--name", default="", help="For people to read.")
@click.option("--ven", "ven_ids", multiple=True, help="A member; repeatable.")
@asks
def groups_add(
    vtn: OperatorClient, *, group_id: str, name: str, ven_ids: tuple[str, ...], as_json: bool
) -> None:
    """Make a group."""
    body = {"group_id": group_id, "name": name, "vens": ven_ids}
    _members(vtn.post("groups", into=records.Group, body=body), as_json=as_json)


@groups.command("join", epilog=example("vtn groups join north mill"))
@click.argument("group_id")
@click.argument("ven_ids", nargs=-1, required=True)
@asks
def groups_join(
    vtn: OperatorClient, *, group_id: str, ven_ids: tuple[str, ...], as_json: bool
) -> None:
    """Add VENs to a group."""
    path = ("groups", group_id, "members")
    _members(vtn.post(*path, into=records.Group, body={"vens": ven_ids}), as_json=as_json)


@groups.command("leave", epilog=example("vtn groups leave north mill"))
@click.argument("group_id")
@click.argument("ven_ids", nargs=-1, required=True)
@asks
def groups_leave(
    vtn: OperatorClient, *, group_id: str, ven_ids: tuple[str, ...], as_json: bool
) -> None:
    """Remove VENs from a group."""
    path = ("groups", group_id, "members", "remove")
    _members(vtn.post(*path, into=records.Group, body={"vens": ven_ids}), as_json=as_json)


def _members(group: records.Group, *, as_json: bool) -> None:
    if as_json:
        show_json(group)
    else:
        show(f"group {group.group_id}: {', '.join(group.ven_ids) or 'nobody yet'}")


@groups.command("list", epilog=example("vtn groups list --json"))
@asks
def groups_list(vtn: OperatorClient, *, as_json: bool) -> None:
    """List groups with their VENs."""
    found = vtn.every("groups", into=records.Group, key=lambda one: one.group_id)
    show_json(found) if as_json else screens.groups(found)


@click.group(cls=Door, epilog=example("vtn contexts list"))
def contexts() -> None:
    """Market contexts (programmes) that events belong to."""


@contexts.command("add", epilog=example("vtn contexts add http://utility.example/peak"))
@click.argument("uri")
@click.option("--name", default="", help="For people to read.")
@asks
def contexts_add(vtn: OperatorClient, *, uri: str, name: str, as_json: bool) -> None:
    """Make a market context; URI is what VENs compare."""
    body = {"uri": uri, "name": name}
    found = vtn.post("market-contexts", into=records.MarketContext, body=body)
    show_json(found) if as_json else show(f"added the market context {found.uri}")


@contexts.command("list", epilog=example("vtn contexts list --json"))
@asks
def contexts_list(vtn: OperatorClient, *, as_json: bool) -> None:
    """List market contexts."""
    found = vtn.every("market-contexts", into=records.MarketContext, key=lambda one: one.uri)
    show_json(found) if as_json else screens.contexts(found)


_HEX = re.compile(r"[0-9a-f]+")


def _certificate(cert: Path | None, digest: str | None) -> dict[str, object]:
    """The part of a body that says which certificate. Raises click.UsageError, Invalid."""
    if (cert is None) == (digest is None):
        raise click.UsageError("give the VEN's certificate: either --cert or --fingerprint.")
    if cert is not None:
        return {"certificate": _pem(cert)}
    return {"certificate_sha256": _full_digest(digest or "")}


def _full_digest(text: str) -> str:
    """The full SHA-256, however it is written. Raises Invalid, with why for the short one."""
    digits = re.sub(r"[:\s]", "", text).lower()
    if len(digits) == 20 and _HEX.fullmatch(digits):
        raise Invalid(
            "This is the short OpenADR fingerprint: its 80 bits are too few to tell friend from "
            "foe; give the certificate (--cert) or its full SHA-256 (64 hex digits)."
        )
    if len(digits) != 64 or not _HEX.fullmatch(digits):
        raise Invalid(
            "--fingerprint: a SHA-256 has 64 hex digits; `certs show FILE` prints it, or give "
            "the certificate itself (--cert)."
        )
    return digits


def _pem(file: Path) -> str:
    """The text of a certificate file; the VTN reads it. Raises Invalid."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise Invalid(f"{file}: the certificate cannot be read: {error.strerror}.") from error
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise Invalid(f"{file}: this holds no PEM certificate.")
    if "PRIVATE KEY-----" in text:
        raise Invalid(f"{file}: there is a private key in it; give the certificate alone.")
    return text
