# SPDX-License-Identifier: Apache-2.0
"""One device steered over Modbus: written, read back, refreshed at half time, let go in the end.

Whatever dies, the limit ends: the device's own timer is never set past the end of the lease that
is being carried out, and it is set anew only while leases keep coming. A device without a timer is
let go by the node when the lease ends, and after a crash when the node is back.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol

from doorway import Fault, get_logger
from ems_bridge.messages import Acknowledgement, AckStatus, SetPoint
from light_node.errors import MeterFault, WriteFault
from light_node.local import WriteState
from light_node.settings import WriteTable
from light_node.store import Written
from light_node.write_map import (
    CONTROL_715,
    Frame,
    Model,
    OwnMap,
    WriteMap,
    device_watts,
    heartbeat,
    models_of,
    scale_address,
    sunspec_map,
    sunspec_model,
)

log = get_logger()

AGAIN_S = 2.0
"""A write that did not succeed is tried again after this."""
REQUEST_S = 2.0
"""The longest that one request may take, its turn on the line included."""
LOOK_S = 30.0
_SUNS = [0x5375, 0x6E53]
_STARTS = (40_000, 0, 50_000)
_MOST_MODELS = 100
_WEAR = "as each write wears out its memory."


class Registers(Protocol):
    """The holding registers of one device."""

    async def read(self, address: int, count: int) -> list[int]:
        """Raises MeterFault."""

    async def write(self, address: int, words: list[int]) -> None:
        """Write consecutive registers in one request. Raises MeterFault."""


class WearBook(Protocol):
    """What is remembered of the writes to a device, on disk."""

    def written(self, asset: str) -> Written: ...

    def save_written(self, asset: str, written: Written) -> None:
        """Raises PlanFault."""


class DeviceWriter:
    """Carries leases out on one device: `write` and `rest` say what is wanted, `run` does it.

    `answered` hears how a lease went: SUCCEEDED once the registers were read back, else REJECTED.
    """

    def __init__(
        self,
        table: WriteTable,
        registers: Registers,
        book: WearBook,
        *,
        now: Callable[[], datetime],
        on_disk: Callable[[Callable[[], None]], Awaitable[None]],
    ) -> None:
        self._table = table
        self._registers = registers
        self._book = book
        self._now = now
        self._on_disk = on_disk
        self._wake = asyncio.Event()
        self._map: WriteMap | None = OwnMap(table=table) if table.sunspec is None else None
        self._control: Model | None = None
        self._beats = 0
        self._lease: SetPoint | None = None
        self._watts: float | None = None
        self._release_wanted = False
        self._held_w: float | None = None
        """What the device was last told and has confirmed; None: nothing."""
        self._timed_until: datetime | None = None
        self._told_at: datetime | None = None
        self._answered_seq = 0
        self._written = book.written(table.asset)
        self._trouble = ""
        self.answered: Callable[[Acknowledgement], Awaitable[None]] | None = None

    @property
    def asset(self) -> str:
        return self._table.asset

    @property
    def trouble(self) -> str:
        """What is wrong, in one sentence; "" when nothing is."""
        return self._trouble

    def state(self) -> WriteState:
        return WriteState(
            asset=self._table.asset,
            wanted_w=self._watts if self._lease is not None else None,
            held_w=self._held_w,
            told_at=self._told_at,
            writes=self._written.count,
            refused=self._written.refused,
            trouble=self._trouble,
        )

    def write(self, lease: SetPoint, level_w: float | None) -> None:
        """Carry this out from now on, in place of whatever was wanted before."""
        if lease.release:
            self.rest()
            return
        self._lease = lease
        self._watts = device_watts(lease, self._table, level_w)
        self._release_wanted = False
        self._wake.set()

    def rest(self) -> None:
        """Let the device go."""
        self._lease, self._watts = None, None
        self._release_wanted = True
        self._wake.set()

    async def run(self) -> None:
        """Bring about what is wanted, for ever."""
        while True:
            self._wake.clear()
            try:
                wait_s = await self.turn()
            except Fault as fault:
                self._fail(str(fault))
                wait_s = AGAIN_S
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def turn(self) -> float:
        """Do what is due now; returns in how many seconds to look again. Raises a Fault."""
        now = self._now()
        if self._lease is not None and now >= self._lease.not_after:
            # Nobody has renewed it: a device with a timer lets go by itself, now or before.
            self._lease, self._watts = None, None
            self._release_wanted = self._map is None or not self._map.reverts
            if not self._release_wanted:
                self._held_w = None
        if self._release_wanted:
            await self._let_go()
            self._trouble = ""
            return LOOK_S
        if self._lease is None:
            return LOOK_S
        return await self._hold(self._lease, now)

    async def _hold(self, lease: SetPoint, now: datetime) -> float:
        watts = self._watts
        if watts is None:
            await self._answer(lease, AckStatus.REJECTED, "the building's own load is not known")
            return LOOK_S
        device = await self._known()
        left_s = math.floor((lease.not_after - now).total_seconds())
        if left_s < 1:
            return 0.1
        new = lease.seq != self._answered_seq
        if new and self._held_w == watts and not await self._is_as(device.limit(watts, 1)):
            log.warning("device_forgot", asset=self._table.asset, watts=watts)
            self._held_w = None
        if self._held_w == watts and not self._is_half_time(now):
            if new:
                await self._answer(lease, AckStatus.SUCCEEDED)
            return self._until_half_time_s(now, left_s)
        if (wait_s := self._wear_wait_s(now)) > 0 and self._held_w != watts:
            await self._refuse(wait_s)
            return min(wait_s, left_s)
        revert_s = min(math.ceil(self._table.reversion_s), left_s)
        await self._count(now)
        self._held_w = None
        frames = device.limit(watts, revert_s)
        await self._put(frames)
        if self._control is not None:
            self._beats += 1
            await self._put((heartbeat(self._control, self._beats),))
        if not await self._is_as(frames):
            await self._answer(lease, AckStatus.REJECTED, "it does not hold what was written to it")
            raise WriteFault(
                f"{self._table.asset} was told {watts / 1000:,.1f} kW and reads back something "
                "else; look whether something else writes to it too."
            )
        self._held_w, self._told_at = watts, now
        self._timed_until = now + timedelta(seconds=revert_s) if device.reverts else None
        self._trouble = ""
        log.info("device_told", asset=self._table.asset, watts=watts, reverts_after_s=revert_s)
        await self._answer(lease, AckStatus.SUCCEEDED)
        return self._until_half_time_s(now, left_s)

    async def _let_go(self) -> None:
        device = await self._known()
        frames = device.release()
        if self._told_at is not None or not await self._is_as(frames):
            # A release is never held up by wear: a limit that nobody wants is the greater evil.
            await self._count(self._now())
            await self._put(frames)
            log.info("device_let_go", asset=self._table.asset)
        self._release_wanted = False
        self._held_w, self._timed_until, self._told_at = None, None, None

    def _is_half_time(self, now: datetime) -> bool:
        if self._timed_until is None or self._told_at is None:
            return False
        half = (self._timed_until - self._told_at) / 2
        return not self._told_at <= now < self._told_at + half

    def _until_half_time_s(self, now: datetime, left_s: float) -> float:
        waits = [LOOK_S, max(left_s, 0.1)]
        if self._timed_until is not None and self._told_at is not None:
            half_at = self._told_at + (self._timed_until - self._told_at) / 2
            waits.append(max((half_at - now).total_seconds(), 0.1))
        return min(waits)

    # --- the wear of flash memory --------------------------------------------------------------

    def _wear_wait_s(self, now: datetime) -> float:
        last = self._written.last_at
        if last is None or now < last:
            return 0.0
        return self._table.between_writes_s - (now - last).total_seconds()

    async def _count(self, now: datetime) -> None:
        """On disk before the write, so that a crash loop does not wear the device out either."""
        self._written = Written(
            count=self._written.count + 1, refused=self._written.refused, last_at=now
        )
        if not self._table.volatile or self._table.between_writes_s > 0:
            await self._keep_count()

    async def _refuse(self, wait_s: float) -> None:
        if self._trouble.endswith(_WEAR):
            return
        self._written = Written(
            count=self._written.count,
            refused=self._written.refused + 1,
            last_at=self._written.last_at,
        )
        await self._keep_count()
        self._fail(f"{self._table.asset} is told in {wait_s:.0f} s only, {_WEAR}")

    async def _keep_count(self) -> None:
        written = self._written
        await self._on_disk(lambda: self._book.save_written(self._table.asset, written))

    # --- the registers -------------------------------------------------------------------------

    async def _known(self) -> WriteMap:
        """The device's map; where it speaks SunSpec its models are looked for once."""
        if self._map is not None:
            return self._map
        for start in _STARTS:
            try:
                if await self._registers.read(start, 2) == _SUNS:
                    break
            except MeterFault:
                continue
        else:
            raise WriteFault(
                f"{self._table.asset} does not answer as SunSpec (neither at register 40000 nor "
                "at 0 or 50000); check its address, or name its own registers."
            )
        models: list[Model] = []
        head: int | None = start + 2
        while head is not None and len(models) < _MOST_MODELS:
            found, head = models_of(head, await self._registers.read(head, 2))
            models += found
        model = sunspec_model(models, self._table)
        if model is None:
            raise WriteFault(
                f"{self._table.asset} has no SunSpec model for '{self._table.sunspec}', only "
                f"{', '.join(str(each.number) for each in models)}; name its own registers."
            )
        (scale_word,) = await self._registers.read(scale_address(model), 1)
        self._control = next((m for m in models if m.number == CONTROL_715), None)
        self._map = sunspec_map(model, self._table, scale_word)
        log.info("device_known", asset=self._table.asset, model=model.number)
        return self._map

    async def _put(self, frames: tuple[Frame, ...]) -> None:
        for frame in frames:
            await self._registers.write(frame.address, list(frame.words))

    async def _is_as(self, frames: tuple[Frame, ...]) -> bool:
        """Whether the registers say so, their timers left aside."""
        for frame in frames:
            if not frame.is_said_by(await self._registers.read(frame.address, len(frame.words))):
                return False
        return True

    async def _answer(self, lease: SetPoint, status: AckStatus, reason: str = "") -> None:
        if lease.seq == self._answered_seq and status is AckStatus.SUCCEEDED:
            return
        if status is AckStatus.SUCCEEDED:
            self._answered_seq = lease.seq
        if self.answered is not None:
            await self.answered(
                Acknowledgement(
                    id=lease.id,
                    seq=lease.seq,
                    status=status,
                    applied_w=self._watts,
                    reason=reason,
                    at=self._now(),
                )
            )

    def _fail(self, sentence: str) -> None:
        if sentence != self._trouble:
            log.warning("device_not_told", asset=self._table.asset, why=sentence)
        self._trouble = sentence
