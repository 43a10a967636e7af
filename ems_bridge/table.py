# SPDX-License-Identifier: Apache-2.0
"""The live table of `ems-bridge watch`: the latest message of each topic."""

from typing import Self

from rich.live import Live
from rich.table import Table
from rich.text import Text

from ems_bridge.errors import MessageRefused
from ems_bridge.link import Incoming
from ems_bridge.messages import decode
from ems_bridge.topics import Topics
from ems_bridge.words import in_words


class LiveTable:
    """Redrawn four times a second at most; what an EMS writes is shown as text, never as markup."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._latest: dict[str, tuple[str, Text]] = {}
        self._counts: dict[str, int] = {}
        self._live = Live(self._table(), auto_refresh=True, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def add(self, incoming: Incoming) -> None:
        """Show one more message."""
        where = incoming.topic.removeprefix(f"{self._topics.root}/")
        self._counts[where] = self._counts.get(where, 0) + 1
        self._latest[where] = (f"{incoming.at:%H:%M:%S}", _said(incoming))
        self._live.update(self._table())

    def _table(self) -> Table:
        table = Table(title=self._topics.root)
        for column in ("topic", "at (UTC)", "count", "says"):
            table.add_column(column, overflow="fold", justify="left")
        for where, (at, said) in sorted(self._latest.items()):
            table.add_row(Text(where), at, str(self._counts[where]), said)
        return table


def _said(incoming: Incoming) -> Text:
    if not incoming.payload:
        return Text("(cleared)", style="dim")
    try:
        return Text(in_words(decode(incoming.payload)))
    except MessageRefused as fault:
        return Text(str(fault), style="red")
