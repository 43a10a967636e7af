"""A light node in a test's hand: the real socket and messages, an invented building."""

import asyncio
import contextlib
from datetime import UTC, datetime

from light_node.errors import UnknownEvent
from light_node.local import (
    Answer,
    Curtailment,
    EmsState,
    GetCurtailment,
    GetReadings,
    GetSpan,
    GetStatus,
    LocalServer,
    MeterStatus,
    OverrideState,
    PutPlan,
    Readings,
    Status,
)


class PretendNode:
    """Takes a reading a second; `rows` can also be filled by hand."""

    def __init__(self, path):
        self.path = path
        self.rows = []
        self.plans = []
        self.curtailments = {}
        self.override = OverrideState(active=False)
        self.boot = "boot-1"
        self.server = LocalServer(path, self)
        self.ticking = None
        self.taken = asyncio.Condition()

    async def __aenter__(self):
        await self.server.__aenter__()
        self.ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_):
        self.ticking.cancel()
        await asyncio.gather(self.ticking, return_exceptions=True)
        await self.server.__aexit__(None, None, None)

    async def _tick(self):
        """A reading for each second, also where the machine let one pass."""
        taken = int(datetime.now(UTC).timestamp())
        while True:
            now_s = datetime.now(UTC).timestamp()
            await asyncio.sleep(1 - now_s % 1)
            for second in range(taken + 1, int(datetime.now(UTC).timestamp()) + 1):
                self.add(taken := second)
            async with self.taken:
                self.taken.notify_all()

    def add(self, at, watts=None, quality="good"):
        row_id = self.rows[-1][0] + 3 if self.rows else 100  # ids ascend, but not one by one
        value = 100_000.0 + row_id if watts is None else watts
        self.rows.append((row_id, float(at), value, 5e6 + row_id, quality))

    @property
    def steps(self):
        return self.plans[-1].steps if self.plans else ()

    def status(self, n=0):
        return Status(
            n=n,
            at=datetime.now(UTC),
            boot=self.boot,
            version="1",
            meters=(
                MeterStatus(
                    id="main",
                    profile="sdm630",
                    online=True,
                    last_good_at=datetime.now(UTC),
                    last_watts=1.0,
                    quality="good",
                ),
            ),
            ems=EmsState(broker_connected=True, online=True, last_seen_at=None),
            lease=None,
            override=self.override,
            plan_version=0,
            plan_steps=0,
            ring_rows=len(self.rows),
            guard="normal",
        )

    async def answer(self, request):
        match request:
            case PutPlan():
                self.plans.append(request)
                return Answer(n=request.n)
            case GetReadings(after=after, limit=limit, wait_s=wait_s):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s), self.taken:
                        await self.taken.wait_for(lambda: self.rows and self.rows[-1][0] > after)
                return self._readings(
                    request.n, [row for row in self.rows if row[0] > after][:limit], after
                )
            case GetSpan(starts_at=start, ends_at=end):
                return self._readings(
                    request.n,
                    [r for r in self.rows if start.timestamp() <= r[1] < end.timestamp()],
                    0,
                )
            case GetCurtailment(event_id=event_id):
                if event_id not in self.curtailments:
                    raise UnknownEvent(f"There is no order for {event_id}.")
                found = self.curtailments[event_id]
                return Curtailment(n=request.n, event_id=event_id, **found)
            case GetStatus():
                return self.status(request.n)
        raise AssertionError(request)

    async def watch(self):
        said = None
        while True:
            if self.override != said:
                said = self.override
                yield self.status()
            await asyncio.sleep(0.02)

    @staticmethod
    def _readings(n, rows, after):
        return Readings(
            n=n,
            cursor=rows[-1][0] if rows else after,
            ids=[row[0] for row in rows],
            starts_at=[row[1] for row in rows],
            watts=[row[2] for row in rows],
            energy_wh=[row[3] for row in rows],
            quality=[row[4] for row in rows],
        )
