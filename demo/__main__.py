# SPDX-License-Identifier: Apache-2.0
"""python -m demo: the whole path on this machine, from an event to verified curtailment."""

import asyncio
import signal
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console

from demo.cast import Cast, run
from demo.errors import DemoFault
from demo.load_series import AFTERNOON, ClockShift
from demo.stage import EMS, NODE, SITE, Stage, set_up
from demo.story import Story, find_mosquitto, write_result
from demo.view import View
from doorway import Door
from vtn.accounts.accounts import FIRST
from vtn.accounts.views import OneTime


@click.group(
    cls=Door,
    invoke_without_command=True,
    epilog="\b\nExample:\n  python -m demo --keep",
)
@click.option("--keep", is_flag=True, help="Leave everything running at the end, until Ctrl-C.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo/out"),
    show_default=True,
    help="Where everything of this run goes; it is cleared first.",
)
def main(*, keep: bool, out: Path) -> None:
    """Start a utility, a building and what lies between, order a reduction, and verify it.

    Needs neither network nor privileges. Takes under 90 s.
    """
    asyncio.run(_play(out, keep=keep))


async def _play(out: Path, *, keep: bool) -> None:
    console = Console()
    stopped = _stopped_by_signal()
    try:
        stage = set_up(out, ClockShift.to_play(AFTERNOON, at=datetime.now(UTC)))
    except OSError as error:
        raise DemoFault(f"{out} cannot be prepared: {error}.") from error
    async with Cast(stage.logs) as cast:
        with View(console) as view:
            playing = asyncio.ensure_future(Story(stage, cast, view).play())
            waiting = asyncio.ensure_future(stopped.wait())
            await asyncio.wait((playing, waiting), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if not playing.done():
                playing.cancel()
                await asyncio.gather(playing, return_exceptions=True)
                raise DemoFault("the demonstration was interrupted.")
            result = playing.result()
        write_result(result, stage.result)
        console.print(result.sentence, style="bold", highlight=False, soft_wrap=True)
        console.print(f"{stage.result}\n{stage.picture}", highlight=False, soft_wrap=True)
        if keep:
            words = _how_to_talk(stage, result.event_id, await _new_password(stage))
            console.print(words, highlight=False, soft_wrap=True)
            await stopped.wait()


async def _new_password(stage: Stage) -> str:
    """A one-time password of the console's first user."""
    said = await run(["vtn", "user", "reset", FIRST, "--json", "--config", str(stage.vtn_toml)])
    return msgspec.json.decode(said, type=OneTime).password


def _how_to_talk(stage: Stage, event_id: str, once: str) -> str:
    port = stage.ports.broker
    listen = (
        f"mosquitto_sub -p {port} -t 'df/v1/#' -v"
        if find_mosquitto()
        else f"ems-bridge watch --site {SITE} --node {NODE} --broker mqtt://127.0.0.1:{port}"
    )
    return f"""
everything goes on running; Ctrl-C ends it. In a browser:

  the console     http://127.0.0.1:{stage.ports.operator}/events/{event_id}
                  name {FIRST}, one-time password {once}

In another terminal, after `. .venv/bin/activate`:

  the operator    export VTN_CONFIG={stage.vtn_toml}
                  vtn vens list
                  vtn event publish --signal LOAD_DISPATCH --type delta --value -40 --unit kW \\
                      --ven demo-site --start now+10s --duration 2m
                  vtn event list
                  vtn curtailment show EVENT
  the installer   light-node status --config {stage.site_toml}
                  ven status --config {stage.ven_toml}
  the BMS vendor  {listen}
                  ems-bridge override on --site {SITE} --node {NODE} --ems {EMS} \\
                      --broker mqtt://127.0.0.1:{port} --reason 'guests in the hall'

logs: {stage.logs}
"""


def _stopped_by_signal() -> asyncio.Event:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped


if __name__ == "__main__":
    main(prog_name="python -m demo")
