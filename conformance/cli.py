# SPDX-License-Identifier: Apache-2.0
"""oadr-conformance: test a VTN, test a VEN, list the tests, compare results."""

import asyncio
import importlib
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from conformance import drafts, pics, report, side_by_side
from conformance.adapter import VenAdapter, VtnAdapter
from conformance.declaration import VEN_TESTS, VTN_TESTS, Test
from conformance.errors import SetUpFault
from conformance.outcome import Result, Run, run_of
from conformance.runner import Listener, chosen, run_ven, run_vtn
from conformance.seal import Seal
from conformance.table import Show
from conformance.ven_bench import VenSetUp
from conformance.vtn_bench import VtnSetUp
from conformance.wire import Keys
from doorway import Door, configure_logs, show, show_json
from oadr.moments import write_instant

FILE: Final = click.Path(path_type=Path, dir_okay=False)

_VTN_ADAPTERS: Final = {
    "person": "conformance.person:PersonVtn",
    "ours": "conformance.adapters.ours_vtn:OursVtn",
    "openleadr": "conformance.adapters.openleadr_vtn:OpenleadrVtn",
}
_VEN_ADAPTERS: Final = {
    "person": "conformance.person:PersonVen",
    "ours": "conformance.adapters.ours_ven:OursVen",
    "openleadr": "conformance.adapters.openleadr_ven:OpenleadrVen",
}


@click.group(
    cls=Door,
    epilog="\b\nExample:\n"
    "  oadr-conformance vtn --url https://vtn.example:8443 \\\n"
    "      --cert ven.crt --key ven.key --ca ca.crt --ven-id 0042 --out results",
)
def main() -> None:
    """Test any OpenADR 2.0b VTN or VEN against the numbered rules of the standard."""


def _running(command: Callable[..., None]) -> Callable[..., None]:
    """The options that both kinds of run have."""
    for option in reversed(
        (
            click.option(
                "--cert", type=FILE, required=True, help="The harness's certificate (PEM)."
            ),
            click.option("--key", type=FILE, required=True, help="Its key (PEM)."),
            click.option("--ca", type=FILE, required=True, help="Roots the device is checked by."),
            click.option(
                "--adapter",
                default="person",
                show_default=True,
                help="Who prepares the device: person, ours, openleadr, or module:Class.",
            ),
            click.option(
                "--set", "settings", multiple=True, metavar="KEY=VALUE", help="For the adapter."
            ),
            click.option("--only", multiple=True, metavar="NAME", help="Only tests named so."),
            click.option(
                "--scale",
                type=click.FloatRange(0.01, 1.0),
                default=1.0,
                show_default=True,
                help="How much of real time waits take.",
            ),
            click.option(
                "--out",
                type=click.Path(path_type=Path, file_okay=False),
                help="Write JSON, JUnit XML and the PICS here.",
            ),
            click.option("--stem", default="", help="Name of the files.  [default: vtn or ven]"),
            click.option("--product", default="", help="What is tested, for the reports."),
            click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout."),
            click.option("--sign", is_flag=True, help="Sign everything, and want it signed."),
            click.option(
                "--device-cert",
                "device_certs",
                type=FILE,
                multiple=True,
                help="A certificate that the device signs with (may be repeated).",
            ),
            click.option("--verbose", is_flag=True, help="Say more on stderr."),
        )
    ):
        command = option(command)
    return command


@main.command(
    "vtn",
    epilog="\b\nExample:\n"
    "  oadr-conformance vtn --url https://127.0.0.1:8443 --cert ven.crt --key ven.key \\\n"
    "      --ca ca.crt --adapter ours --set config=vtn.toml --only N1_ --scale 0.1",
)
@click.option("--url", required=True, help="https://host:port of the VTN.")
@click.option("--ven-id", default="", help="The venID that the VTN's operator allocated.")
@click.option("--push-listen", default="", metavar="HOST:PORT", help="Test push; listen here.")
@click.option(
    "--push-url", default="", help="How the VTN reaches it.  [default: https://HOST:PORT]"
)
@click.option("--push-cert", type=FILE, help="Certificate shown there.  [default: --cert]")
@click.option("--push-key", type=FILE, help="Its key.")
@click.option("--expired-cert", type=FILE, help="An expired certificate of a VEN, to be refused.")
@click.option("--expired-key", type=FILE, help="Its key.")
@click.option("--stranger-cert", type=FILE, help="A valid certificate that no VEN has.")
@click.option("--stranger-key", type=FILE, help="Its key.")
@_running
def test_vtn(
    *,
    url: str,
    ven_id: str,
    push_listen: str,
    push_url: str,
    push_cert: Path | None,
    push_key: Path | None,
    expired_cert: Path | None,
    expired_key: Path | None,
    stranger_cert: Path | None,
    stranger_key: Path | None,
    cert: Path,
    key: Path,
    ca: Path,
    adapter: str,
    settings: tuple[str, ...],
    only: tuple[str, ...],
    scale: float,
    **told: Any,
) -> None:
    """Test a VTN: the harness is the VEN."""
    configure_logs(verbose=told["verbose"])
    prepared: VtnAdapter = load(adapter, _VTN_ADAPTERS, _settings(settings))
    setup = VtnSetUp(
        url=url,
        keys=Keys(cert=cert, key=key, ca=ca),
        adapter=prepared,
        scale=scale,
        ven_id=ven_id,
        push_host=push_listen,
        push_url=push_url,
        push_keys=_keys(push_cert, push_key, ca, "--push"),
        expired=_keys(expired_cert, expired_key, ca, "--expired"),
        stranger=_keys(stranger_cert, stranger_key, ca, "--stranger"),
        seal=_seal(Keys(cert=cert, key=key, ca=ca), told),
    )
    _run(
        "vtn",
        chosen(VTN_TESTS.values(), only),
        lambda listener: run_vtn(setup, only, listener),
        product=told["product"] or prepared.product,
        scale=scale,
        told=told,
    )


@main.command(
    "ven",
    epilog="\b\nExample:\n"
    "  oadr-conformance ven --listen 0.0.0.0:8443 --url https://harness.example:8443 \\\n"
    "      --cert vtn.crt --key vtn.key --ca ca.crt --out results",
)
@click.option("--listen", default="127.0.0.1:0", show_default=True, metavar="HOST:PORT")
@click.option("--url", default="", help="How the VEN reaches the harness.")
@click.option(
    "--poll",
    "poll_s",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="The poll interval that the VEN is told, in s.",
)
@click.option("--push", is_flag=True, help="The VEN is set up for push: test that, too.")
@click.option("--push-cert", type=FILE, help="Certificate shown when pushing.  [default: --cert]")
@click.option("--push-key", type=FILE, help="Its key.")
@click.option("--expired-cert", type=FILE, help="An expired certificate of a VTN, to be refused.")
@click.option("--expired-key", type=FILE, help="Its key.")
@_running
def test_ven(
    *,
    listen: str,
    url: str,
    poll_s: int,
    push: bool,
    push_cert: Path | None,
    push_key: Path | None,
    expired_cert: Path | None,
    expired_key: Path | None,
    cert: Path,
    key: Path,
    ca: Path,
    adapter: str,
    settings: tuple[str, ...],
    only: tuple[str, ...],
    scale: float,
    **told: Any,
) -> None:
    """Test a VEN: the harness is the VTN."""
    configure_logs(verbose=told["verbose"])
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise SetUpFault(f"--listen: '{listen}' is not like 127.0.0.1:8443.")
    prepared: VenAdapter = load(adapter, _VEN_ADAPTERS, _settings(settings))
    setup = VenSetUp(
        host=host,
        port=int(port),
        keys=Keys(cert=cert, key=key, ca=ca),
        adapter=prepared,
        scale=scale,
        poll_s=poll_s,
        url=url,
        push=push,
        push_keys=_keys(push_cert, push_key, ca, "--push"),
        expired=_keys(expired_cert, expired_key, ca, "--expired"),
        seal=_seal(Keys(cert=cert, key=key, ca=ca), told),
    )
    _run(
        "ven",
        chosen(VEN_TESTS.values(), only),
        lambda listener: run_ven(setup, only, listener),
        product=told["product"] or prepared.product,
        scale=scale,
        told=told,
    )


def _run(
    device: str,
    tests: list[Test],
    run: Callable[[Listener], Coroutine[Any, Any, list[Result]]],
    *,
    product: str,
    scale: float,
    told: Mapping[str, Any],
) -> None:
    started_at = write_instant(drafts.utc_now())
    with Show(total=len(tests), quiet=told["as_json"]) as table:
        results = asyncio.run(_until_stopped(run(table)))
    if told["sign"]:
        results = [
            msgspec.structs.replace(result, name=f"{result.name}{report.SIGNED}")
            for result in results
        ]
    found = run_of(results, device=device, product=product, started_at=started_at, scale=scale)
    out: Path | None = told["out"]
    if out is not None:
        stem = told["stem"] or device
        report.write(found, out, stem)
        pics.write(found, out, stem)
    if told["as_json"]:
        show_json(found)
    else:
        show(f"{found.passed} passed, {found.failed} failed, {found.not_run} not run")
    sys.exit(1 if found.failed else 0)


async def _until_stopped(run: Coroutine[Any, Any, list[Result]]) -> list[Result]:
    """SIGTERM ends the run like Ctrl-C does, so that adapters stop what they started."""
    task = asyncio.ensure_future(run)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise SetUpFault("The run was stopped before its end; there is no result.") from None


@main.command("list", epilog="\b\nExample:\n  oadr-conformance list | grep E1_")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_tests(*, as_json: bool) -> None:
    """List all tests with the rules they pin."""
    tests = [*VTN_TESTS.values(), *VEN_TESTS.values()]
    if as_json:
        show_json([{"name": test.name, "title": test.title, "rules": test.rules} for test in tests])
        return
    for test in tests:
        show(f"{test.name:<28} {test.title}  [{', '.join(map(str, test.rules))}]")


@main.command(
    "compare", epilog="\b\nExample:\n  oadr-conformance compare out/vtn.json out/peer-vtn.json"
)
@click.argument("results", nargs=-1, required=True, type=FILE)
def compare(*, results: tuple[Path, ...]) -> None:
    """Print results (JSON files) side by side, as Markdown."""
    show(side_by_side.compared([_loaded(path) for path in results]))


def _loaded(path: Path) -> Run:
    try:
        return report.from_json(path.read_bytes())
    except OSError as error:
        raise SetUpFault(f"{path} cannot be read: {error.strerror}.") from error


def load(name: str, known: Mapping[str, str], options: Mapping[str, str]) -> Any:
    """An adapter by its short name or as module:Class. Raises SetUpFault.

    Typed Any: whether a class from outside keeps the Protocol is only seen when it is used.
    """
    module, separator, kind = known.get(name, name).partition(":")
    if not separator:
        raise SetUpFault(
            f"--adapter: '{name}' is none of {', '.join(known)} and not like module:Class."
        )
    here = str(Path.cwd())
    if here not in sys.path:  # a person's adapter lies where they are
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), kind)
    except (ImportError, AttributeError) as error:
        raise SetUpFault(f"--adapter: {name} cannot be loaded: {error}.") from error
    return found(options)


def _settings(pairs: tuple[str, ...]) -> dict[str, str]:
    settings = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise SetUpFault(f"--set: '{pair}' is not like KEY=VALUE.")
        settings[key] = value
    return settings


def _seal(keys: Keys, told: Mapping[str, Any]) -> Seal | None:
    if not told["sign"]:
        return None
    if not told["device_certs"]:
        raise SetUpFault("--sign: name the certificates that the device signs with, --device-cert.")
    return Seal(keys, told["device_certs"])


def _keys(cert: Path | None, key: Path | None, ca: Path, option: str) -> Keys | None:
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise SetUpFault(f"{option}-cert and {option}-key go together; give both.")
    return Keys(cert=cert, key=key, ca=ca)
