# SPDX-License-Identifier: Apache-2.0
"""ems-bridge: the reference EMS, and what an installer or a BMS vendor needs on the line."""

import asyncio
import contextlib
import functools
import json
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from doorway import Door, configure_logs, load_settings, show, show_json
from doorway.command import Finite
from doorway.version import version
from ems_bridge.asyncapi import document, schema_files, schemas, to_yaml
from ems_bridge.broker import broker_at
from ems_bridge.errors import BridgeError, EmsFailed, MessageRefused
from ems_bridge.link import Incoming
from ems_bridge.messages import Message, decode, encode
from ems_bridge.plant import Plant, SimulatedPlant, plant_at
from ems_bridge.probe import Target, described_meters, listen, retain, send_lease, set_override
from ems_bridge.reference_app import ReferenceApp
from ems_bridge.reference_ems import ReferenceEms
from ems_bridge.settings import Settings
from ems_bridge.topics import Topics
from ems_bridge.words import in_words

Command = Callable[..., None]
FILE = click.Path(path_type=Path, dir_okay=False)
_YEAR_MIN = 366 * 24 * 60


def _now() -> datetime:
    return datetime.now(UTC)


def _example(title: str, *lines: str) -> str:
    r"""An epilog whose lines click leaves alone (its \b)."""
    return f"\b\n{title}:\n" + "\n".join(f"  {line}" for line in lines)


@click.group(
    cls=Door,
    epilog=_example(
        "Example, an EMS and what it hears",
        "ems-bridge reference --site town-hall --node node-1 &",
        "ems-bridge watch --site town-hall --node node-1",
    ),
)
def main() -> None:
    """The MQTT line between a light node and the building's EMS."""


def _place(command: Command) -> Command:
    """The options that say where on the line we are; the command gets `settings`."""

    @functools.wraps(command)
    def with_settings(
        *,
        config: Path | None,
        site: str | None,
        node: str | None,
        ems: str | None,
        broker: str | None,
        ca: Path | None,
        cert: Path | None,
        key: Path | None,
        username: str,
        password_file: Path | None,
        protocol: Literal["3.1.1", "5"],
        verbose: bool,
        **rest: Any,
    ) -> None:
        configure_logs(verbose=verbose)
        if config is not None:
            if broker or ca or cert or key or username or password_file:
                raise click.UsageError("the --config file names the broker; leave its options out.")
            settings = load_settings(config, Settings)
            named = {"site": site, "node": node, "ems": ems}
            settings = msgspec.structs.replace(
                settings, **{name: value for name, value in named.items() if value is not None}
            )
        elif site is None or node is None:
            raise click.UsageError("name the place: --site and --node, or a --config file.")
        else:
            at = broker_at(
                broker or "mqtt://127.0.0.1:1883",
                ca=ca,
                cert=cert,
                key=key,
                username=username,
                password_file=password_file,
                protocol=protocol,
            )
            settings = Settings(site=site, node=node, ems=ems or "ems", broker=at)
        Topics(settings.site, settings.node).ems_ack(settings.ems)
        command(settings=settings, **rest)

    options = (
        click.option(
            "--config",
            type=FILE,
            envvar="EMS_BRIDGE_CONFIG",
            help="Settings (TOML); instead of the options on broker and certificates.",
        ),
        click.option("--site", help="The site's name on the topic tree."),
        click.option("--node", help="The light node's name on the topic tree."),
        click.option("--ems", help="The EMS's name on the topic tree.  [default: ems]"),
        click.option(
            "--broker", help="mqtt://host:port, or mqtts:// for TLS.  [default: mqtt://127.0.0.1]"
        ),
        click.option("--ca", type=FILE, help="The authority that the broker's certificate is of."),
        click.option("--cert", type=FILE, help="Our certificate, for mutual TLS."),
        click.option("--key", type=FILE, help="The private key of --cert."),
        click.option("--username", default="", help="A user the broker knows."),
        click.option("--password-file", type=FILE, help="A file that holds the user's password."),
        click.option(
            "--protocol",
            type=click.Choice(["3.1.1", "5"]),
            default="3.1.1",
            show_default=True,
            help="The version of MQTT.",
        ),
        click.option("--verbose", is_flag=True, help="Log more."),
    )
    wrapped: Command = with_settings
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def _run(act: Coroutine[Any, Any, None]) -> None:
    """Run until it is done, or until SIGTERM or Ctrl-C, which is a clean end."""

    async def until_signal() -> None:
        task = asyncio.ensure_future(act)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(until_signal())


@main.command(
    epilog=_example(
        "Example, against a broker on this machine, with a simulated plant",
        "ems-bridge reference --site town-hall --node node-1 --ems bms",
    )
)
@_place
@click.option("--plant", help="tcp://host:port of the building's load port; else a simulated one.")
@click.option("--rated-kw", type=Finite(min=0, min_open=True), help="The plant's size.")
def reference(settings: Settings, plant: str | None, rated_kw: float | None) -> None:
    """Run the reference EMS: it obeys set-points and answers them, as a BMS should."""
    asked: dict[str, Any] = {}
    if plant is not None:
        asked["plant"] = plant
    if rated_kw is not None:
        asked["rated_w"] = rated_kw * 1000
    settings = msgspec.structs.replace(settings, **asked)
    load: Plant = SimulatedPlant(rated_w=settings.rated_w, monotonic=time.monotonic)
    if settings.plant:
        load = plant_at(settings.plant)
    app = ReferenceApp(
        settings.broker,
        Topics(settings.site, settings.node),
        settings.ems,
        core=ReferenceEms(rated_w=settings.rated_w, ramp_w_per_s=settings.ramp_w_per_s),
        plant=load,
        now=_now,
        monotonic=time.monotonic,
        version=f"reference {version()}",
        heartbeat_s=settings.heartbeat_s,
        step_s=settings.step_s,
    )
    _run(app.run())


@main.command(
    epilog=_example(
        "Example", "ems-bridge watch --site town-hall --node node-1 --broker mqtt://192.0.2.7"
    )
)
@_place
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many messages.")
@click.option(
    "--only",
    multiple=True,
    metavar="PART",
    help="Only topics with PART in them, such as limit or ack; may be repeated.",
)
def watch(settings: Settings, count: int | None, only: tuple[str, ...], *, as_json: bool) -> None:
    """Show every message on the node's topics: a table at a terminal, lines elsewhere."""
    if as_json:
        _run(_follow(settings, count, only, _json_line))
    elif sys.stdout.isatty():
        # rich waits for its use, to save memory on a field device
        from ems_bridge.table import LiveTable  # noqa: PLC0415 - as said above

        with LiveTable(Topics(settings.site, settings.node), _now) as table:
            _run(_follow(settings, count, only, table.add))
    else:
        root = Topics(settings.site, settings.node).root
        _run(_follow(settings, count, only, functools.partial(_plain_line, root)))


async def _follow(
    settings: Settings,
    count: int | None,
    only: tuple[str, ...],
    tell: Callable[[Incoming], None],
) -> None:
    told = 0
    root = Topics(settings.site, settings.node).root
    async with contextlib.aclosing(listen(settings, _now)) as messages:
        async for incoming in messages:
            where = incoming.topic.removeprefix(root)
            if only and not any(part in where for part in only):
                continue
            tell(incoming)
            told += 1
            if told == count:
                return


def _json_line(incoming: Incoming) -> None:
    line: dict[str, Any] = {
        "topic": incoming.topic,
        "at": incoming.at,
        "retained": incoming.retained,
        "message": None,
    }
    if incoming.payload:
        try:
            line["message"] = decode(incoming.payload)
        except MessageRefused as fault:
            line["refused"] = str(fault)
    click.echo(msgspec.json.encode(line).decode())


def _plain_line(root: str, incoming: Incoming) -> None:
    mark = " (retained)" if incoming.retained else ""
    where = incoming.topic.removeprefix(f"{root}/")
    way = "EMS " if where.startswith("ems/") else "node"
    show(f"{incoming.at:%H:%M:%S.%f}  {way}  {where:<24} {_said(incoming)}{mark}")


def _said(incoming: Incoming) -> str:
    if not incoming.payload:
        return "(cleared)"
    try:
        return in_words(decode(incoming.payload))
    except MessageRefused as fault:
        return f"REFUSED {fault}"


@main.command(
    epilog=_example(
        "Example, 5 kW less for 30 seconds",
        "ems-bridge send --site town-hall --node node-1 --delta-kw -5 --for 30",
    )
)
@_place
@click.option("--delta-kw", type=Finite(), help="A change against the natural load; -5 reduces.")
@click.option("--max-kw", type=Finite(), help="A limit that the load must not exceed.")
@click.option("--min-kw", type=Finite(), help="A limit that the load must not fall below.")
@click.option(
    "--for",
    "seconds",
    type=Finite(1, 900),
    default=30.0,
    show_default=True,
    help="Seconds to hold it.",
)
@click.option("--ramp-kw-per-s", type=Finite(min=0, min_open=True), help="The ramp.")
@click.option("--force", is_flag=True, help="Even while a lease of an event is in force.")
@click.option("--json", "as_json", is_flag=True, help="One JSON message a line.")
def send(
    *,
    settings: Settings,
    delta_kw: float | None,
    max_kw: float | None,
    min_kw: float | None,
    seconds: float,
    ramp_kw_per_s: float | None,
    force: bool,
    as_json: bool,
) -> None:
    """Send the EMS a short lease, show its answers, and release it again: an installer's probe."""
    if (delta_kw is None) == (max_kw is None and min_kw is None):
        raise click.UsageError("give --delta-kw, or --max-kw and/or --min-kw.")
    target = Target(
        delta_w=_watts(delta_kw),
        max_w=_watts(max_kw),
        min_w=_watts(min_kw),
        ramp_w_per_s=_watts(ramp_kw_per_s),
    )

    def heard(message: Message) -> None:
        if as_json:
            click.echo(encode(message).decode())
        else:
            show(f"{_now():%H:%M:%S.%f}  {in_words(message)}")

    _run(send_lease(settings, _now, target=target, hold_s=seconds, force=force, heard=heard))


def _watts(kilowatts: float | None) -> float | None:
    return None if kilowatts is None else kilowatts * 1000


@main.command(
    epilog=_example(
        "Example, out for an hour",
        "ems-bridge override on --site town-hall --node node-1 --reason fair --for-minutes 60",
    )
)
@click.argument("state", type=click.Choice(["on", "off"]))
@_place
@click.option("--reason", default="a person at the building", show_default=True, help="Why.")
@click.option(
    "--for-minutes",
    type=Finite(min=0, min_open=True, max=_YEAR_MIN),
    help="How long; else until it is switched off.",
)
def override(settings: Settings, state: str, reason: str, for_minutes: float | None) -> None:
    """Opt the building out (on), or take that back (off), in the EMS's name."""
    until = None
    if for_minutes is not None:
        if state == "off":
            raise click.UsageError("--for-minutes belongs to 'override on'.")
        until = _now() + timedelta(minutes=for_minutes)

    async def act() -> None:
        said = await set_override(settings, _now, active=state == "on", reason=reason, until=until)
        show(f"{in_words(said)} ({settings.ems})")

    _run(act())


def _list_scenarios(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    from ems_bridge.trial import scenarios  # noqa: PLC0415 - waits for its use, to save memory

    for one in scenarios.SCENARIOS.values():
        show(f"{one.name:<24} {one.weight:<7} {one.promise}")
    context.exit()


@main.command(
    epilog=_example(
        "Example: your EMS connects to port 1884 of this machine, so that its line can be cut",
        "ems-bridge check --site lab --node trial --ems bms --rated-kw 200 --through 1884",
    )
)
@_place
@click.option("--rated-kw", type=Finite(min=0, min_open=True), help="The plant's size.")
@click.option(
    "--step-kw",
    type=Finite(min=0, min_open=True),
    help="How much less is asked for.  [default: 5 % of the plant's size]",
)
@click.option(
    "--patience",
    "patience_s",
    type=Finite(1, 900),
    default=30.0,
    show_default=True,
    help="Seconds the plant takes at most for --step-kw.",
)
@click.option(
    "--through",
    type=click.IntRange(0, 65535),
    help="Listen on this port for the EMS and hand it on to the broker, to cut its line.",
)
@click.option("--plant", help="tcp://host:port of the load port, to look at the load itself.")
@click.option("--only", multiple=True, metavar="NAME", help="This scenario; may be repeated.")
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_scenarios,
    help="Name the scenarios, and try nothing.",
)
@click.option("--force", is_flag=True, help="Even while a light node says that it is online.")
@click.option("--report", type=FILE, help="Write the report: JSON for .json, else Markdown.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a scenario.")
def check(
    *,
    settings: Settings,
    rated_kw: float | None,
    step_kw: float | None,
    patience_s: float,
    through: int | None,
    plant: str | None,
    only: tuple[str, ...],
    force: bool,
    report: Path | None,
    as_json: bool,
) -> None:
    """Try an EMS: plays the light node and judges whether the EMS keeps docs/topics.md."""
    # Here alone: a light node does not try its EMS all day.
    from ems_bridge.trial import play, scenarios  # noqa: PLC0415 - as said above

    if unknown := set(only).difference(scenarios.SCENARIOS):
        raise click.BadParameter(f"there is no scenario '{min(unknown)}'; see --list.")
    if rated_kw is not None:
        settings = msgspec.structs.replace(settings, rated_w=rated_kw * 1000)
    trial = play.Trial(
        settings=settings,
        step_w=step_kw * 1000 if step_kw is not None else settings.rated_w * 0.05,
        patience_s=patience_s,
        through=through,
        plant=plant_at(plant) if plant is not None else None,
        only=only,
        force=force,
    )
    results: list[play.Result] = []

    def ready(port: int) -> None:
        click.echo(f"the EMS is to connect to port {port} of this machine", err=True)

    def tell(result: play.Result) -> None:
        results.append(result)
        if as_json:
            click.echo(msgspec.json.encode(result).decode())
        else:
            number = f"[{len(results)}/{len(only) or len(scenarios.SCENARIOS)}]"
            show(f"{number:<8} {result.outcome:<10} {result.name:<24} {result.why}".rstrip())

    async def try_all() -> None:
        playing = play.play(trial, now=_now, monotonic=time.monotonic, ready=ready)
        async with contextlib.aclosing(playing) as played:
            async for result in played:
                tell(result)

    started_at = _now()
    _run(try_all())
    outcome = play.report(trial, results, at=started_at)
    if report is not None:
        play.write(outcome, report)
    if not outcome.passed:
        failed = outcome.count("failed")
        raise EmsFailed(f"the EMS breaks {failed} of its promises; docs/topics.md has each.")
    show(f"{outcome.count('passed')} passed, {outcome.count('not shown')} not shown")


@main.command(
    "home-assistant",
    epilog=_example(
        "Example", "ems-bridge home-assistant --site town-hall --node node-1 --ems bms --publish"
    ),
)
@_place
@click.option("--meter", "meters", multiple=True, help="A meter to show; may be repeated.")
@click.option("--publish", "act", flag_value="publish", help="Publish it, retained.")
@click.option("--remove", "act", flag_value="remove", help="Take the device out of Home Assistant.")
@click.option("--yaml", "act", flag_value="yaml", help="Print it for configuration.yaml instead.")
@click.option("--prefix", default="homeassistant", show_default=True, help="Its discovery prefix.")
def home_assistant(
    settings: Settings, meters: tuple[str, ...], act: str | None, prefix: str
) -> None:
    """Show the node in Home Assistant by MQTT discovery; without an option, print the payload.

    With --publish and no --meter, the meters are those of the node's own description.
    """
    # Here alone: a light node does not meet Home Assistant all day.
    from ems_bridge import home_assistant as view  # noqa: PLC0415 - as said above

    topics = Topics(settings.site, settings.node)
    topic = view.discovery_topic(topics, prefix=prefix)
    if act == "yaml":
        click.echo(to_yaml(view.configuration(topics, settings.ems, meters=meters)), nl=False)
        return

    def payload(shown: tuple[str, ...]) -> dict[str, Any]:
        return view.discovery(topics, settings.ems, meters=shown, version=version())

    async def publish() -> None:
        shown = meters or await described_meters(settings, _now)
        await retain(settings, _now, topic, msgspec.json.encode(payload(shown)))
        show(f"{topic}: published, with {len(shown)} meters")

    async def remove() -> None:
        await retain(settings, _now, topic, b"")
        show(f"{topic}: removed")

    if act == "publish":
        _run(publish())
    elif act == "remove":
        _run(remove())
    else:
        show_json(payload(meters))


@main.command(epilog=_example("Example", "ems-bridge schema > asyncapi.yaml"))
@click.option("--json", "as_json", is_flag=True, help="As JSON instead of YAML.")
@click.option("--only-schemas", is_flag=True, help="Only the JSON Schemas of the messages.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the JSON Schemas into this folder, a file for each message.",
)
def schema(*, as_json: bool, only_schemas: bool, into: Path | None) -> None:
    """Print the contract: topics and messages as an AsyncAPI 3.0 document (docs/asyncapi.yaml)."""
    if into is not None:
        try:
            into.mkdir(parents=True, exist_ok=True)
            for name, one in schema_files().items():
                (into / name).write_text(json.dumps(one, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise BridgeError(f"{into}: cannot be written: {error.strerror}.") from error
        show(f"{len(schema_files())} schemas are in {into}")
        return
    contract = schemas() if only_schemas else document()
    if as_json:
        show_json(contract)
    else:
        click.echo(to_yaml(contract), nl=False)
