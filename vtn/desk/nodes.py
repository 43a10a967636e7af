# SPDX-License-Identifier: Apache-2.0
"""The desk: nodes found among very many, and what was heard of one."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from vtn.desk.checks import known_point
from vtn.desk.room import NodeState, Room
from vtn.directory import Entry
from vtn.extremes import thinned
from vtn.records import AuditLine, Point, RolledSeries, Series, Ven
from vtn.services.office import known_ven
from vtn.services.report import EFFECT
from vtn.store import audit, measurements, rollups

MOST_RAW: Final = timedelta(days=2)
"""Longer spans are drawn from quarter hours."""
SPARK: Final = timedelta(minutes=15)
_USAGE: Final = "TELEMETRY_USAGE"
_EFFECT_KEPT: Final = timedelta(days=1)
_MOST_POINTS: Final = 25_000


class NodeOrder(StrEnum):
    """By what a list of nodes is sorted."""

    VEN_ID = "id"
    NAME = "name"
    CONTACT = "contact"
    """Silent the longest first."""
    STATE = "state"
    """Those that need attention first."""


_ATTENTION: Final = (
    NodeState.SILENT,
    NodeState.LATE,
    NodeState.EXPECTED,
    NodeState.ONLINE,
    NodeState.REVOKED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeQuery:
    """Which nodes are wanted, in which order, and which page of them."""

    search: str = ""
    """Words; each stands in the IDs, the name, the fingerprint or a resource."""
    state: NodeState | None = None
    group: str = ""
    order: NodeOrder = NodeOrder.VEN_ID
    page: int = 1
    size: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One VEN in a list."""

    ven: Ven
    state: NodeState
    contact_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePage:
    """Some of the nodes that were asked for."""

    nodes: tuple[Node, ...]
    found: int
    """In all, over every page."""
    page: int
    """From 1; the last one where a later one was asked for."""
    pages: int
    by_state: Mapping[NodeState, int]
    """Of all nodes, whatever was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Values to draw; equally long columns, ascending."""

    point: Point
    at: Sequence[float]
    """Seconds since 1970 (UTC)."""
    values: Sequence[float | None]
    """None is a gap."""
    low: Sequence[float | None]
    """The least of what a drawn value stands for; empty where every value is drawn."""
    high: Sequence[float | None]
    stored: int
    """Values that the span holds, before any were left out for the drawing."""


class NodesDesk(Room):
    """Nodes, for who looks for one."""

    async def find_nodes(self, query: NodeQuery) -> NodePage:
        """Some nodes out of very many.

        Without asking the database; of a hundred thousand in a fraction of a second, in a thread.
        """
        now = self._office.now()
        entries = tuple(self._office.directory.entries())
        return await asyncio.to_thread(self._page_of, entries, now, query)

    def node(self, ven_id: str) -> Node:
        """Raises Unknown."""
        self._office.ven(ven_id)
        entry = self._office.directory.by_id(ven_id)
        assert entry is not None
        return self._node(entry, self._office.now())

    async def chart(
        self,
        ven_id: str,
        r_id: str,
        starts_at: datetime,
        ends_at: datetime,
        *,
        facet: str = "",
        width: int = 1000,
    ) -> Chart:
        """What to draw of a point over a span, for `width` pixels.

        Up to two days every value, or the least and the greatest of each pixel where they are too
        many; of more quarter hours. Raises Unknown.
        """
        span = starts_at.timestamp(), ends_at.timestamp()
        async with self._office.store.read() as connection:
            point = await known_point(connection, ven_id, r_id, facet)
            if ends_at - starts_at > MOST_RAW:
                return _chart_of_quarters(await rollups.read_all(connection, point, *span), width)
            series = await measurements.read(connection, point, *span)
        return await asyncio.to_thread(_chart_of, series, width)

    async def sparks(self, ven_ids: Sequence[str]) -> Mapping[str, tuple[float | None, ...]]:
        """Power in W over the last quarter hour of each node, a mean a minute; the newest last.

        Nodes that have told nothing are missing.
        """
        now = self._office.now()
        first = (now - SPARK).timestamp()
        async with self._office.store.read() as connection:
            found = await measurements.read_several(
                connection, ven_ids, [_USAGE], first, now.timestamp()
            )
        return await asyncio.to_thread(_sparks, found, first)

    async def last_effect(self, ven_id: str) -> float | None:
        """What a node's own meter saw of the last order, within a day; None: it has not said."""
        now = self._office.now()
        async with self._office.store.read() as connection:
            for point in await measurements.points(connection, ven_id):
                if point.report_type == EFFECT:
                    since = (now - _EFFECT_KEPT).timestamp()
                    found = await measurements.read(connection, point, since, now.timestamp())
                    return found.values[-1] if found.values else None
        return None

    async def acts_on(self, subject: str, *, limit: int = 20) -> list[AuditLine]:
        """The latest lines of the audit about one thing, such as "ven:mill"."""
        async with self._office.store.read() as connection:
            return await audit.lines(connection, limit=limit, subject=subject)

    async def fresh_ven(self, ven_id: str) -> Ven:
        """As the database has it, with its groups. Raises Unknown."""
        async with self._office.store.read() as connection:
            return self._live(await known_ven(connection, ven_id))

    def _node(self, entry: Entry, now: datetime) -> Node:
        return Node(ven=entry.ven, state=self.state(entry, now), contact_at=entry.last_contact_at)

    def _page_of(self, entries: Sequence[Entry], now: datetime, query: NodeQuery) -> NodePage:
        by_state = dict.fromkeys(NodeState, 0)
        words = query.search.lower().split()
        found = []
        for entry in entries:
            node = self._node(entry, now)
            by_state[node.state] += 1
            if (
                (query.state is None or node.state is query.state)
                and (not query.group or query.group in node.ven.groups)
                and (not words or _matches(node.ven, words))
            ):
                found.append(node)
        found.sort(key=lambda one: _rank(one, query.order))
        pages = max(1, math.ceil(len(found) / query.size))
        page = min(max(1, query.page), pages)
        return NodePage(
            nodes=tuple(found[(page - 1) * query.size : page * query.size]),
            found=len(found),
            page=page,
            pages=pages,
            by_state=by_state,
        )


def _matches(ven: Ven, words: Sequence[str]) -> bool:
    text = " ".join((ven.ven_id, ven.name, ven.fingerprint, *ven.resources)).lower()
    return all(word in text for word in words)


def _rank(node: Node, order: NodeOrder) -> tuple[float, str, str]:
    number, text = 0.0, ""
    if order is NodeOrder.NAME:
        text = node.ven.name.lower()
    elif order is NodeOrder.CONTACT and node.contact_at is not None:
        number = node.contact_at.timestamp()
    elif order is NodeOrder.STATE:
        number = float(_ATTENTION.index(node.state))
    return number, text, node.ven.ven_id


def _chart_of(series: Series, width: int) -> Chart:
    stored = len(series)
    at, values = series.starts_at, series.values
    if stored > _MOST_POINTS:
        at, values = thinned(at, values, slots=width)
    return Chart(
        point=series.point,
        at=list(at),
        values=[value if math.isfinite(value) else None for value in values],
        low=(),
        high=(),
        stored=stored,
    )


def _chart_of_quarters(rolled: RolledSeries, width: int) -> Chart:
    quarters = rolled.rollups
    at = [float(one) for one in rolled.starts_at]
    every = max(1, math.ceil(len(at) / (4 * width)))
    parts = [slice(place, place + every) for place in range(0, len(at), every)]
    means = [one.mean for one in quarters]
    return Chart(
        point=rolled.point,
        at=at[::every],
        values=[_mean(means[part]) for part in parts],
        low=[_least([one.minimum for one in quarters[part]]) for part in parts],
        high=[_most([one.maximum for one in quarters[part]]) for part in parts],
        stored=sum(one.usable + one.unusable for one in quarters),
    )


def _sparks(found: Sequence[Series], first: float) -> dict[str, tuple[float | None, ...]]:
    minutes = int(SPARK.total_seconds() // 60)
    totals: dict[str, list[float | None]] = {}
    for series in found:
        if series.point.unit not in ("W", "J/s") or series.point.facet:
            continue
        sums, counts = [0.0] * minutes, [0] * minutes
        for at, value in zip(series.starts_at, series.values, strict=True):
            minute = int((at - first) // 60)
            if 0 <= minute < minutes and math.isfinite(value):
                sums[minute] += value
                counts[minute] += 1
        total = totals.setdefault(series.point.ven_id, [None] * minutes)
        for minute in range(minutes):
            if counts[minute]:
                total[minute] = (total[minute] or 0.0) + sums[minute] / counts[minute]
    return {ven_id: tuple(line) for ven_id, line in totals.items()}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return sum(known) / len(known) if known else None


def _least(values: Sequence[float | None]) -> float | None:
    return min((one for one in values if one is not None), default=None)


def _most(values: Sequence[float | None]) -> float | None:
    return max((one for one in values if one is not None), default=None)
