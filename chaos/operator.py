# SPDX-License-Identifier: Apache-2.0
"""An operator who never rests: publishes, changes and cancels events, and notes what was answered.

What was not answered may have happened or not. The operator looks again when the VTN answers, and
goes on from what it finds, as people do.
"""

import random
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from chaos.ledgers import describe
from chaos.verdict import Version
from vtn.errors import NoAnswer, RefusedByVtn
from vtn.operator_client import OperatorClient
from vtn.orders import EventChange, EventOrder, SignalOrder
from vtn.views import EventView

_MOST_LIVE = 6
"""Events that are not cancelled; beyond that the oldest is called off."""


class BusyOperator:
    """One act at a time with `act`; blocking, so call it in a thread."""

    def __init__(self, client: OperatorClient, vens: Sequence[str], *, seed: int) -> None:
        self._client = client
        self._vens = tuple(vens)
        self._random = random.Random(f"operator {seed}")  # noqa: S311 - acts, not secrets
        self._numbers = iter(range(1_000_000))
        self._live: dict[str, int] = {}
        """By eventID: its modification, as far as we know."""
        self._unsure: set[str] = set()
        self.acknowledged: dict[str, Version] = {}
        """The ledger: the last version of each event that we got an answer for."""
        self.acts = 0
        """Acknowledged."""
        self.unanswered = 0
        self.acting = threading.Event()
        """Set while an act has been sent and is not answered yet."""

    @property
    def unsure(self) -> bool:
        """Whether something is not known to have happened or not."""
        return bool(self._unsure)

    def act(self) -> None:
        """Do one thing; an act that is not answered is looked into first, next time."""
        try:
            if self._unsure:
                self._look(next(iter(self._unsure)))
            elif len(self._live) > _MOST_LIVE:
                self._cancel(next(iter(self._live)))
            elif len(self._live) < 2 or self._random.random() < 0.4:
                self._publish()
            else:
                self._modify(self._random.choice(list(self._live)))
        except NoAnswer:
            self.unanswered += 1

    def _look(self, event_id: str) -> None:
        try:
            found = self._client.get("events", event_id, into=EventView)
        except RefusedByVtn as refused:
            if refused.status != 404:
                return  # not now: it is starting, or its database is away
            if event_id not in self.acknowledged:
                self._live.pop(event_id, None)  # it was never published
            self._unsure.discard(event_id)
            return
        self._note(found)
        self._unsure.discard(event_id)

    def _publish(self) -> None:
        number = next(self._numbers)
        event_id = f"event-{number}"
        self._unsure.add(event_id)
        starts_at = datetime.now(UTC) + timedelta(hours=6, minutes=3 * number)
        order = EventOrder(
            event_id=event_id,
            signals=(self._signal(),),
            start=starts_at.replace(microsecond=0).isoformat(),
            duration="2m",
            vens=self._vens,
        )
        self._do(lambda: self._client.post("events", into=EventView, body=order), event_id)

    def _modify(self, event_id: str) -> None:
        self._unsure.add(event_id)
        change = EventChange(expected_modification=self._live[event_id], signals=(self._signal(),))
        self._do(
            lambda: self._client.patch("events", event_id, into=EventView, body=change), event_id
        )

    def _cancel(self, event_id: str) -> None:
        self._unsure.add(event_id)
        self._do(lambda: self._client.post("events", event_id, "cancel", into=EventView), event_id)

    def _do(self, act: Callable[[], EventView], event_id: str) -> None:
        self.acting.set()
        try:
            found = act()
        except RefusedByVtn:
            self.unanswered += 1  # 503: nothing was stored, or so it says; we shall look
            return
        finally:
            self.acting.clear()
        self._unsure.discard(event_id)
        self._note(found)

    def _note(self, found: EventView) -> None:
        self.acts += 1
        cancelled = found.status == "cancelled"
        self.acknowledged[found.event_id] = Version(
            modification=found.modification_number,
            what=describe(
                starts_at=found.starts_at,
                value=found.signals[0].intervals[0].value,
                cancelled=cancelled,
            ),
        )
        if cancelled:
            self._live.pop(found.event_id, None)
        else:
            self._live[found.event_id] = found.modification_number

    def _signal(self) -> SignalOrder:
        value = float(-self._random.randrange(10, 1000))
        return SignalOrder(name="LOAD_DISPATCH", type="delta", unit="kW", value=value)
