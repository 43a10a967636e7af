# SPDX-License-Identifier: Apache-2.0
"""What the node tells the building beside set-points: its description, its alerts, its minutes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from doorway import Fault, get_logger
from ems_bridge.errors import NotDelivered
from ems_bridge.messages import Alert, Description, Message, Minute
from ems_bridge.topics import Topics
from light_node.minutes import MINUTE_S, Tally, minute_of
from light_node.reading import Reading

log = get_logger()

GRACE_S = 5.0
"""After a minute's end, for its last sample to come in."""
LOOK_EVERY_S = 5.0
OLDEST_S = 7 * 86_400.0
"""As long as the ring keeps samples."""
RECENT_MINUTES = 15
"""Held in memory, as the ring puts samples on the disk later: [ring] commit_s is 600 s at most."""


class TellingLink(Protocol):
    """What is needed of the line to the building: ems_bridge.Bridge."""

    async def publish(
        self, topic: str, message: Message, *, qos: Literal[0, 1] = 1, retain: bool = False
    ) -> None:
        """Send; it is durable when this returns. Raises BridgeError."""

    async def publish_now(self, topic: str, message: Message, *, expires_s: float) -> None:
        """Send past the outbox. Raises NotDelivered."""

    async def clear(self, topic: str) -> None:
        """Take the retained message off a topic."""

    def connected_changes(self) -> AsyncIterator[bool]:
        """Whether the broker is there, now and at each change."""


class Telling:
    """Tells for ever, each loop a task of its own. Times are seconds since 1970 unless `_at`.

    A minute goes past the outbox, which would write it to the card twice; what the broker missed
    is worked out again from the ring. Only where to go on from is on the disk, while it is away.
    """

    def __init__(
        self,
        *,
        link: TellingLink,
        topics: Topics,
        meters: tuple[str, ...],
        description: Callable[[], Description],
        troubles: Callable[[], dict[str, str]],
        known_alerts: tuple[str, ...],
        minute: Callable[[str, float, bool, Tally], Awaitable[Minute]],
        bookmark: Path,
        now: Callable[[], datetime],
    ) -> None:
        """`minute` works one minute of a meter out from the tally or the ring; `known_alerts` are
        cleared on each connection unless they stand: the node before us may have left them.
        """
        self._link = link
        self._topics = topics
        self._meters = meters
        self._description = description
        self._troubles = troubles
        self._known_alerts = known_alerts
        self._minute = minute
        self._bookmark = bookmark
        self._now = now
        self._standing: dict[str, Alert] = {}
        self._tally = Tally(kept=RECENT_MINUTES)

    def see(self, reading: Reading) -> None:
        """Take note of a reading of any meter."""
        self._tally.see(reading)

    async def follow_broker(self) -> None:
        """Describe the node and say all alerts anew at each connection, for ever."""
        async for connected in self._link.connected_changes():
            if not connected:
                continue
            try:
                await self._link.publish(self._topics.description, self._description(), retain=True)
                for alert in self._known_alerts:
                    if alert not in self._standing:
                        await self._link.clear(self._topics.alert(alert))
                for standing in self._standing.values():
                    await self._link.publish(self._topics.alert(standing.id), standing, retain=True)
            except Fault as fault:
                log.error("not_told", why=str(fault))  # noqa: TRY400 - the sentence says it all

    async def watch_troubles(self) -> None:
        """Raise and clear alerts as troubles come and go, for ever."""
        while True:
            try:
                await self.look()
            except Fault as fault:
                log.error("not_told", why=str(fault))  # noqa: TRY400 - the sentence says it all
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Compare what stands with what was told. Raises BridgeError, then it is to be repeated."""
        now = self._now()
        found = self._troubles()
        for name in [name for name in self._standing if name not in found]:
            await self._link.clear(self._topics.alert(name))
            log.info("alert_over", alert=name)
            del self._standing[name]
        for name, sentence in found.items():
            before = self._standing.get(name)
            if before is None or before.sentence != sentence:
                since = now if before is None else before.since
                alert = Alert(id=name, sentence=sentence, since=since, at=now)
                await self._link.publish(self._topics.alert(name), alert, retain=True)
                self._standing[name] = alert
                if before is None:
                    log.warning("alert", alert=name, sentence=sentence)

    async def tell_minutes(self) -> None:
        """Tell each minute when it is over, and later what the broker missed, for ever."""
        next_s = await asyncio.to_thread(self._marked)
        while True:
            try:
                next_s = await self.catch_up(next_s)
            except Fault as fault:
                log.error("minutes_not_told", why=str(fault))  # noqa: TRY400 - the sentence says it all
            until_s = minute_of(self._seconds()) + MINUTE_S + GRACE_S - self._seconds()
            await asyncio.sleep(until_s)

    async def catch_up(self, next_s: float) -> float:
        """Tell every whole minute from `next_s` on, oldest first; returns where to go on."""
        now_s = self._seconds()
        # Where the clock was set back, minutes go on, and some come twice.
        next_s = min(next_s, minute_of(now_s))
        was_s = next_s = max(next_s, minute_of(now_s - OLDEST_S))
        is_marked = False
        while next_s + MINUTE_S <= now_s:
            historical = next_s + 2 * MINUTE_S <= now_s
            try:
                for meter in self._meters:
                    minute = await self._minute(meter, next_s, historical, self._tally)
                    await self._link.publish_now(
                        self._topics.minute(meter), minute, expires_s=OLDEST_S
                    )
            except NotDelivered:
                is_marked = True
                break
            next_s += MINUTE_S
        await asyncio.to_thread(self._mark, next_s if is_marked else None)
        if next_s - was_s > 2 * MINUTE_S:
            log.info("minutes_told_late", count=round((next_s - was_s) / MINUTE_S))
        return next_s

    def _seconds(self) -> float:
        return self._now().timestamp()

    def _marked(self) -> float:
        """Where the node before us had to leave off; else the present minute."""
        try:
            return minute_of(float(self._bookmark.read_text(encoding="ascii")))
        except (OSError, ValueError):
            return minute_of(self._seconds())

    def _mark(self, next_s: float | None) -> None:
        """Written once an outage, and taken away after it."""
        try:
            if next_s is None:
                self._bookmark.unlink(missing_ok=True)
            elif not self._bookmark.exists():
                self._bookmark.write_text(f"{next_s:.0f}\n", encoding="ascii")
        except OSError as error:
            log.error("bookmark_not_kept", file=str(self._bookmark), why=str(error))  # noqa: TRY400 - the sentence says it all
