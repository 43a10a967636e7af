# SPDX-License-Identifier: Apache-2.0
"""The building: its Modbus meter, and the port through which its EMS moves its load.

    python -m demo.building --meter-port P --load-port Q --shift +09:30/3811
    python -m demo.building history --shift +09:30/3811 --days 90 --out history.csv

The load port speaks one JSON object a line: {"reduction_w": 60000} asks for a reduction, {} only
reads; each is answered by {"load_w", "natural_w", "reduction_w"}, all three as they are measured
at that moment, or by {"error": "sentence"}.
"""

import asyncio
import contextlib
import csv
import math
import signal
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self, TextIO

import click
import msgspec

from demo.errors import DemoFault
from demo.load_series import AFTERNOON, ClockShift, LoadSeries, read_series
from doorway import Door, configure_logs, show
from light_node.profile import load_profile
from light_node.simulator import SimulatedMeter

_QUARTER = timedelta(minutes=15)
_LINE_LIMIT = 4096


class LoadState(msgspec.Struct, frozen=True, kw_only=True):
    """The building's load at one instant; power in W."""

    at: datetime
    natural_w: float
    """What it would draw if nobody had asked for anything."""
    load_w: float
    reduction_w: float
    """natural_w - load_w: the reduction as it is, not as it was asked for."""


class Building:
    """A load that plays a recording and follows a wished reduction like a real plant.

    It follows with a first-order lag of `lag_s` seconds (63 % of the way after one, 95 % after
    three). A `must_run` share of the natural load cannot be shed, and at most `headroom` of it
    can be added. The energy counter began on the recording's last Monday, so it does not fall back
    when the program is started again in the same week.
    """

    def __init__(
        self,
        series: LoadSeries,
        shift: ClockShift,
        now: Callable[[], datetime],
        *,
        lag_s: float = 3.0,
        must_run: float = 0.35,
        headroom: float = 0.25,
    ) -> None:
        self._series = series
        self._shift = shift
        self._now = now
        self._lag_s = lag_s
        self._must_run = must_run
        self._headroom = headroom
        self._wished_w = 0.0
        self._at = now()
        self._following_w = 0.0
        recorded = shift.recorded(self._at)
        midnight = recorded.replace(hour=0, minute=0, second=0, microsecond=0)
        self.energy_wh = series.energy_wh(midnight - timedelta(days=midnight.weekday()), recorded)

    def ask(self, reduction_w: float) -> None:
        """Wish for a reduction in W, negative for more load. Raises DemoFault for NaN and such."""
        if not math.isfinite(reduction_w):
            raise DemoFault("reduction_w must be a finite number of watts.")
        self.state()
        self._wished_w = reduction_w

    def state(self) -> LoadState:
        """Go on to now, and say how it is."""
        now = self._now()
        before, past = self._at, self._following_w
        elapsed_s = (now - before).total_seconds()
        if elapsed_s > 0:  # a clock that was set back stands still for the building
            remaining = math.exp(-elapsed_s / self._lag_s)
            self._at = now
            self._following_w = self._wished_w + (past - self._wished_w) * remaining
            natural_wh = self._series.energy_wh(
                self._shift.recorded(before), self._shift.recorded(now)
            )
            mean_natural_w = natural_wh / elapsed_s * 3600
            # the mean of an exponential approach, exactly
            mean_w = self._wished_w + (past - self._wished_w) * (
                (1 - remaining) * self._lag_s / elapsed_s
            )
            self.energy_wh += natural_wh - self._bounded(mean_w, mean_natural_w) * elapsed_s / 3600
        natural_w = self._series.watts_at(self._shift.recorded(self._at))
        reduction_w = self._bounded(self._following_w, natural_w)
        return LoadState(
            at=self._at,
            natural_w=natural_w,
            load_w=natural_w - reduction_w,
            reduction_w=reduction_w,
        )

    def registers(self) -> Mapping[str, float]:
        """What the meter shows, by the names of its register map, in SI units.

        Three slightly unequal phases, whose voltages sag a little with the load.
        """
        state = self.state()
        values = {"active_power": state.load_w, "energy_import": self.energy_wh}
        for phase, share, open_circuit_v in (
            ("l1", 0.345, 231.2),
            ("l2", 0.328, 230.6),
            ("l3", 0.327, 230.9),
        ):
            watts = state.load_w * share
            volts = open_circuit_v - watts * 2e-5
            values[f"active_power_{phase}"] = watts
            values[f"voltage_{phase}"] = volts
            values[f"current_{phase}"] = watts / volts
        return values

    def _bounded(self, reduction_w: float, natural_w: float) -> float:
        return min(max(reduction_w, -self._headroom * natural_w), (1 - self._must_run) * natural_w)


class _Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reduction_w: float | None = None


class _Refusal(msgspec.Struct, frozen=True):
    error: str


class _Answer(msgspec.Struct, frozen=True):
    load_w: float
    natural_w: float
    reduction_w: float


def answer(building: Building, line: bytes) -> bytes:
    """Answer one line of the load port, without its newline."""
    try:
        wish = msgspec.json.decode(line, type=_Wish)
        if wish.reduction_w is not None:
            building.ask(wish.reduction_w)
    except (msgspec.DecodeError, UnicodeDecodeError, DemoFault) as error:
        return msgspec.json.encode(
            _Refusal(error=f'{error}; write {{"reduction_w": 60000}} to ask, or {{}} to read.')
        )
    state = building.state()
    return msgspec.json.encode(
        _Answer(load_w=state.load_w, natural_w=state.natural_w, reduction_w=state.reduction_w)
    )


class LoadPort:
    """The load port on TCP; any number of connections, each line answered in its turn."""

    def __init__(self, building: Building, host: str, port: int) -> None:
        self._building = building
        self._host = host
        self._asked_port = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, self._host, self._asked_port, limit=_LINE_LIMIT
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            # ValueError: a line beyond the limit; the connection ends, as its rest is no line
            with contextlib.suppress(ConnectionError, ValueError):
                while line := await reader.readline():
                    writer.write(answer(self._building, line) + b"\n")
                    await writer.drain()
        finally:
            self._writers.discard(writer)
            writer.close()


async def run_building(
    building: Building,
    *,
    host: str,
    meter_port: int,
    load_port: int,
    ledger: TextIO | None,
    stop: asyncio.Event,
    ready: Callable[[int, int], None],
) -> None:
    """Serve the meter and the load port until `stop`; a line in the ledger each second."""
    meter = SimulatedMeter(load_profile("sdm630"), building.registers, host, meter_port)
    async with meter, LoadPort(building, host, load_port) as load:
        ready(meter.port, load.port)
        while not stop.is_set():
            state = building.state()
            if ledger is not None:
                ledger.write(msgspec.json.encode(state).decode() + "\n")
                ledger.flush()
            to_next_second = 1 - state.at.timestamp() % 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), to_next_second)


def history(
    series: LoadSeries, shift: ClockShift, *, now: datetime, days: float
) -> list[tuple[datetime, float]]:
    """The mean power, W, of each quarter hour (UTC) of the `days` before `now`, oldest first.

    Raises DemoFault if the recording does not reach back so far.
    """
    quarters = math.floor(now.timestamp() / _QUARTER.total_seconds())
    end = datetime.fromtimestamp(quarters * _QUARTER.total_seconds(), UTC)
    count = round(days * 96)
    start = end - count * _QUARTER
    recorded = shift.recorded(start)
    if count < 1 or recorded < series.first_hour:
        most = (shift.recorded(end) - series.first_hour) / timedelta(days=1)
        raise DemoFault(
            f"The recording holds {most:.0f} days before now: ask for --days 1 to {most:.0f}."
        )
    watts = series.cells(recorded, count, _QUARTER.total_seconds())
    return [(start + n * _QUARTER, value) for n, value in enumerate(watts)]


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _shift(text: str | None) -> ClockShift:
    return ClockShift.to_play(AFTERNOON, at=_utc_now()) if text is None else ClockShift.parse(text)


_SHIFT = click.option(
    "--shift", "shift_text", help="Which day is played, like +09:30/3811; else a working afternoon."
)


@click.group(
    cls=Door,
    invoke_without_command=True,
    epilog="\b\nExample:\n  python -m demo.building --meter-port 5020 --load-port 5021",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--meter-port", default=0, help="Modbus TCP port of the meter; 0: a free one.")
@click.option("--load-port", default=0, help="TCP port of the load; 0: a free one.")
@click.option(
    "--ledger", type=click.Path(path_type=Path), help="Append the true load, a line a second."
)
@click.option("--verbose", is_flag=True, help="Log in detail.")
@_SHIFT
@click.pass_context
def main(
    context: click.Context,
    *,
    host: str,
    meter_port: int,
    load_port: int,
    ledger: Path | None,
    shift_text: str | None,
    verbose: bool,
) -> None:
    """Play a building: an SDM630 meter on Modbus TCP, and a port that moves the load.

    Prints one line of JSON with both ports when it is ready, and ends on SIGTERM or Ctrl-C.
    """
    if context.invoked_subcommand is not None:
        return
    configure_logs(verbose=verbose)
    building = Building(read_series(), _shift(shift_text), _utc_now)

    def ready(meter: int, load: int) -> None:
        show(msgspec.json.encode({"meter_port": meter, "load_port": load}).decode())

    async def play(file: TextIO | None) -> None:
        stop = asyncio.Event()
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(each, stop.set)
        await run_building(
            building,
            host=host,
            meter_port=meter_port,
            load_port=load_port,
            ledger=file,
            stop=stop,
            ready=ready,
        )

    with contextlib.ExitStack() as files:
        try:
            file = files.enter_context(ledger.open("a", encoding="utf-8")) if ledger else None
            asyncio.run(play(file))
        except OSError as error:
            raise DemoFault(f"The building cannot start: {error}.") from error


@main.command(
    "history",
    epilog="\b\nExample:\n  python -m demo.building history --days 90 --out history.csv",
)
@_SHIFT
@click.option("--days", default=90.0, show_default=True, help="How far back.")
@click.option(
    "--out", "out", type=click.Path(path_type=Path), required=True, help="The CSV to write."
)
def write_history(shift_text: str | None, days: float, out: Path) -> None:
    """Write the building's earlier days as starts_at,watts: 15-minute means, UTC."""
    rows = history(read_series(), _shift(shift_text), now=_utc_now(), days=days)
    try:
        with out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("starts_at", "watts"))
            writer.writerows((f"{at:%Y-%m-%dT%H:%M:%SZ}", f"{watts:.1f}") for at, watts in rows)
    except OSError as error:
        raise DemoFault(f"{out} cannot be written: {error.strerror}.") from error
    show(f"wrote {len(rows)} quarter hours from {rows[0][0]:%Y-%m-%d %H:%M} UTC to {out}")


if __name__ == "__main__":
    main(prog_name="python -m demo.building")
