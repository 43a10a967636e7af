# SPDX-License-Identifier: Apache-2.0
"""certs init / vtn / ven / client / enrolment / code / revoke / crl / show."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import click

from certs.authority import Authority, Issued, RevocationList, SiteRole, describe
from certs.ordering import Order, orders_a_code
from doorway import Door, show, show_json


def _example(*lines: str) -> str:
    r"""An epilog whose lines click leaves alone (its \b)."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


_FOLDER = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("pki"),
    show_default=True,
    help="The authority's folder.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


@click.group(
    cls=Door,
    epilog=_example(
        "certs init --out pki", "certs vtn --dir pki --host vtn.example", "certs ven hq --dir pki"
    ),
)
def main() -> None:
    """A small certificate authority for OpenADR trials and a building's MQTT network."""


@main.command(epilog=_example("certs init --out pki"))
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("pki"),
    show_default=True,
    help="A folder that is new or empty.",
)
def init(folder: Path) -> None:
    """Make the roots and intermediates.

    Keep the folder's subfolder authority/ off line: who holds it can issue certificates.
    """
    authority = Authority.create(folder)
    show(f"made the authority in {folder}")
    show(f"  the VTN trusts          {authority.ven_trust}")
    show(f"  VENs trust              {authority.vtn_trust}")
    show(f"  the site's MQTT trusts  {authority.site_trust}")


@main.command(epilog=_example("certs vtn --dir pki --host 127.0.0.1 --host vtn.example"))
@_FOLDER
@click.option("--host", "hosts", multiple=True, required=True, help="Name or address; repeatable.")
@_JSON
def vtn(folder: Path, hosts: tuple[str, ...], *, as_json: bool) -> None:
    """Issue the VTN's two certificates, ECC and RSA."""
    _report(Authority.open(folder).vtn(hosts), as_json=as_json)


@main.command(epilog=_example("certs ven hq --dir pki"))
@click.argument("name")
@_FOLDER
@click.option("--rsa", is_flag=True, help="RSA-2048 instead of ECC P-256.")
@click.option("--host", "hosts", multiple=True, help="Where it is pushed to, if it is; repeatable.")
@_JSON
def ven(name: str, folder: Path, *, rsa: bool, hosts: tuple[str, ...], as_json: bool) -> None:
    """Issue a VEN's certificate; give its fingerprint to the VTN's operator."""
    _report((Authority.open(folder).ven(name, rsa=rsa, hosts=hosts),), as_json=as_json)


@main.command(
    epilog=_example(
        "certs client broker --kind broker --host 127.0.0.1 --dir pki",
        "certs client node-1 --kind mqtt-node --dir pki",
        "certs client ems-1 --kind ems --dir pki",
    )
)
@click.argument("name")
@_FOLDER
@click.option(
    "--kind",
    type=click.Choice([role.value for role in SiteRole]),
    required=True,
    help="Who it is for; the common name NAME is the MQTT user name.",
)
@click.option("--host", "hosts", multiple=True, help="Of a broker: name or address; repeatable.")
@_JSON
def client(name: str, folder: Path, kind: str, hosts: tuple[str, ...], *, as_json: bool) -> None:
    """Issue a certificate for the building's MQTT network."""
    issued = Authority.open(folder).site(name, SiteRole(kind), hosts=hosts)
    _report((issued,), as_json=as_json)


@main.command(epilog=_example("certs enrolment --dir pki"))
@_FOLDER
@_JSON
def enrolment(folder: Path, *, as_json: bool) -> None:
    """Make the authority that the VTN enrols VENs with; once.

    Its key is the only one of an authority that is on line: enrolment-ca.crt and .key go to the
    VTN ([enrolment] in vtn.toml), which also needs the new ven-ca.crt. VENs need nothing new.
    """
    authority = Authority.open(folder)
    _report((authority.enrolment(),), as_json=as_json)
    if not as_json:
        show(f"  {authority.ven_trust} trusts it now: give the VTN the new file, and restart it")


@main.command(
    epilog=_example("certs code hq --vtn http://127.0.0.1:8444 --token-file operator.token")
)
@click.argument("ven_id")
@click.option("--vtn", "url", required=True, metavar="URL", help="The VTN's operator listener.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Holds the operator's token.",
)
@orders_a_code
@_JSON
def code(ven_id: str, *, url: str, token_file: Path, order: Order, as_json: bool) -> None:
    """Have the VTN make a one-time code with which VEN_ID enrols.

    It works once. Whoever has it can become that VEN: treat it like a key.
    """
    # Waits for its use: no other command speaks to anybody.
    from certs.asking import ask_for_code  # noqa: PLC0415 - as said above

    order.deliver(ask_for_code(url, token_file, order.body(ven_id)), as_json=as_json)


_DAYS = click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=30,
    show_default=True,
    help="For how long a list is good; renew it before.",
)


@main.command(epilog=_example("certs revoke hq --dir pki", "certs revoke old/hq.crt --dir pki"))
@click.argument("name")
@_FOLDER
@_DAYS
@_JSON
def revoke(name: str, folder: Path, *, days: int, as_json: bool) -> None:
    """Take a certificate back, for good: NAME in the folder, or a file.

    The list it then stands in (ven-ca.crl for a VEN's) goes to whoever checks it: [openadr] crl.
    """
    authority = Authority.open(folder)
    inside = folder / f"{name}.crt"
    file = inside if inside.exists() else Path(name)
    _report_lists([authority.revoke(file, life=timedelta(days=days))], as_json=as_json)


@main.command(epilog=_example("certs crl --dir pki", "certs crl --dir pki --days 7"))
@_FOLDER
@_DAYS
@_JSON
def crl(folder: Path, *, days: int, as_json: bool) -> None:
    """Renew the revocation lists: ven-ca.crl, vtn-ca.crl and site-ca.crl."""
    _report_lists(Authority.open(folder).crls(life=timedelta(days=days)), as_json=as_json)


@main.command("show", epilog=_example("certs show pki/hq.crt"))
@click.argument("file", type=click.Path(path_type=Path))
@_JSON
def show_file(file: Path, *, as_json: bool) -> None:
    """Show every certificate of a PEM file, with its OpenADR fingerprint."""
    found = describe(file)
    if as_json:
        show_json(found)
        return
    for number, each in enumerate(found):
        if number:
            show("")
        show(f"subject      {each.subject}")
        show(f"issuer       {each.issuer}")
        show(f"key          {each.key}")
        if each.hosts:
            show(f"hosts        {', '.join(each.hosts)}")
        show(f"valid        {each.not_before_at:%Y-%m-%d} to {each.not_after_at:%Y-%m-%d} (UTC)")
        show(f"SHA-256      {each.sha256}")
        show(f"fingerprint  {each.fingerprint}")


def _report_lists(lists: Sequence[RevocationList], *, as_json: bool) -> None:
    if as_json:
        show_json(
            [
                {
                    "file": str(each.file),
                    "revoked": each.revoked,
                    "next_update_at": each.next_update_at,
                }
                for each in lists
            ]
        )
        return
    for each in lists:
        show(
            f"wrote {each.file}: {each.revoked} revoked; renew it by {each.next_update_at:%Y-%m-%d}"
        )


def _report(issued: tuple[Issued, ...], *, as_json: bool) -> None:
    if as_json:
        show_json(
            [
                {
                    "certificate": str(each.certificate),
                    "key": str(each.key),
                    "sha256": each.sha256,
                    "fingerprint": each.fingerprint,
                }
                for each in issued
            ]
        )
        return
    for each in issued:
        show(f"issued {each.certificate} and {each.key.name}")
        show(f"  fingerprint  {each.fingerprint}")
        show(f"  SHA-256      {each.sha256}")
