# SPDX-License-Identifier: Apache-2.0
"""The live view of `ems-bridge watch`: the latest message of each topic, and what was said last."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ems_bridge.errors import MessageRefused
from ems_bridge.link import Incoming
from ems_bridge.messages import AckStatus, Message, decode
from ems_bridge.topics import EMS_KINDS, Kind, Topics
from ems_bridge.words import age, in_words

LATEST = 10
"""So many of the last messages stand below the table, heartbeats and readings aside."""
_ROUTINE: frozenset[Kind] = frozenset({"hb", "node-hb", "sample", "minute"})
_COLOURS = {
    AckStatus.ACCEPTED: "cyan",
    AckStatus.STARTED: "yellow",
    AckStatus.SUCCEEDED: "green",
    AckStatus.REJECTED: "red",
    AckStatus.ABORTED: "red",
    AckStatus.REVOKED: "magenta",
    "online": "green",
    "offline": "yellow",
    "lost": "red",
    "reached": "green",
    "partial": "yellow",
    "not reached": "red",
}


@dataclass(frozen=True, slots=True)
class _Row:
    """One message as it is shown."""

    where: str
    way: Text
    said: Text
    arrived_at: datetime
    written_at: datetime | None
    """As the message says; older than its arrival where the broker kept it."""
    retained: bool


class LiveTable:
    """Redrawn four times a second; what an EMS writes is shown as text, never as markup."""

    def __init__(self, topics: Topics, now: Callable[[], datetime]) -> None:
        self._topics = topics
        self._now = now
        self._latest: dict[str, _Row] = {}
        self._counts: dict[str, int] = {}
        self._last: deque[_Row] = deque(maxlen=LATEST)
        self._live = Live(get_renderable=self.view, auto_refresh=True, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def add(self, incoming: Incoming) -> None:
        """Show one more message."""
        row, is_routine = self._row(incoming)
        self._counts[row.where] = self._counts.get(row.where, 0) + 1
        self._latest[row.where] = row
        if not is_routine:
            self._last.append(row)

    def view(self) -> Group:
        """What is on the screen now."""
        table = Table(title=self._topics.root, caption="Ctrl-C ends")
        table.add_column("from")
        table.add_column("topic", overflow="fold")
        table.add_column("age", justify="right", no_wrap=True)
        table.add_column("count", justify="right")
        table.add_column("says", overflow="fold", ratio=1)
        now = self._now()
        for where, row in sorted(self._latest.items()):
            since = row.written_at if row.retained and row.written_at else row.arrived_at
            old = Text(age((now - since).total_seconds()))
            if row.retained:
                old.append(" kept", style="dim")
            table.add_row(row.way, Text(where), old, str(self._counts[where]), row.said)
        lines = [
            Text.assemble(
                (f"{row.arrived_at:%H:%M:%S}  ", "dim"),
                (f"{row.way.plain:<4}  ", row.way.style),
                f"{row.where:<16}  ",
                row.said,
            )
            for row in self._last
        ]
        return Group(table, *lines)

    def _row(self, incoming: Incoming) -> tuple[_Row, bool]:
        place = self._topics.place(incoming.topic)
        way = Text("?", style="red")
        if place is not None:
            of_ems = place.kind in EMS_KINDS
            way = Text("EMS", style="blue") if of_ems else Text("node", style="bold")
        said, written_at = _said(incoming)
        row = _Row(
            where=incoming.topic.removeprefix(f"{self._topics.root}/"),
            way=way,
            said=said,
            arrived_at=incoming.at,
            written_at=written_at,
            retained=incoming.retained,
        )
        return row, place is not None and place.kind in _ROUTINE


def _said(incoming: Incoming) -> tuple[Text, datetime | None]:
    """The message in words, and the instant it bears."""
    if not incoming.payload:
        return Text("(cleared)", style="dim"), None
    try:
        message = decode(incoming.payload)
    except MessageRefused as fault:
        return Text(str(fault), style="red"), None
    return Text(in_words(message), style=_colour(message)), getattr(message, "at", None)


def _colour(message: Message) -> str:
    for key in ("status", "state", "verdict"):
        if (found := _COLOURS.get(getattr(message, key, ""))) is not None:
            return found
    tag = str(message.__struct_config__.tag)
    if tag == "df/v1/alert":
        return "bold red"
    return "dim" if tag in {"df/v1/hb", "df/v1/sample", "df/v1/minute"} else ""
