# SPDX-License-Identifier: Apache-2.0
"""The writers: all that can move a load. They are made here, or nowhere at all.

The guard decides, a writer only carries. In read-only mode `make_writers` makes none, and nothing
else in the light node holds what could write: not the topics of a set-point, not a register.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from doorway import get_logger
from ems_bridge.errors import BridgeError
from ems_bridge.messages import Message, SetPoint
from ems_bridge.topics import Topics
from light_node.disk import Disk
from light_node.errors import MeterRefused
from light_node.modbus import Bus
from light_node.settings import Settings, WriteTable
from light_node.store import Store
from light_node.write_device import REQUEST_S, DeviceWriter

log = get_logger()


class SetPointLink(Protocol):
    """What is needed of the line to the EMS: ems_bridge.Bridge."""

    async def publish(
        self,
        topic: str,
        message: Message,
        *,
        qos: Literal[0, 1] = 1,
        retain: bool = False,
        expires_at: datetime | None = None,
        supersedes: str = "",
    ) -> None:
        """Send; with QoS 1 it is durable when this returns. Raises BridgeError."""

    async def clear(self, topic: str) -> None:
        """Take the retained message off a topic."""


class EmsWriter:
    """The way over MQTT: a lease goes to the EMS, and what is in force stays on its topic."""

    def __init__(self, link: SetPointLink, topics: Topics) -> None:
        self._link = link
        self._topics = topics

    async def write(self, lease: SetPoint) -> bool:
        """Send the lease or the release; False where the outbox refuses it: then say it again."""
        try:
            await self._link.publish(
                self._topics.limit_cmd, lease, expires_at=lease.not_after, supersedes="limit"
            )
            if lease.release:
                await self._link.clear(self._topics.limit_state)
            else:
                await self._link.publish(
                    self._topics.limit_state, lease, retain=True, expires_at=lease.not_after
                )
        except BridgeError as fault:
            log.error("not_sent_to_ems", topic=self._topics.limit_cmd, why=str(fault))  # noqa: TRY400 - the sentence says it all
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Writers:
    """Every way to a load; empty in read-only mode."""

    ems: EmsWriter | None = None
    devices: tuple[DeviceWriter, ...] = ()

    @property
    def is_empty(self) -> bool:
        return self.ems is None and not self.devices


def make_writers(
    settings: Settings,
    *,
    link: SetPointLink | None,
    topics: Topics,
    bus_of: Callable[[WriteTable], Bus],
    store: Store,
    disk: Disk,
    now: Callable[[], datetime],
) -> Writers:
    """All writers of the site; none in read-only mode. The one place where writers are made."""
    if settings.guard.read_only:
        log.info("read_only", why="[guard] read_only is set: nothing is asked of anybody")
        return Writers()

    def on_disk(write: Callable[[], None]) -> Awaitable[None]:
        return disk.run(write)

    return Writers(
        ems=None if link is None else EmsWriter(link, topics),
        devices=tuple(
            DeviceWriter(
                table,
                BusRegisters(bus_of(table), unit=table.unit),
                store,
                now=now,
                on_disk=on_disk,
            )
            for table in settings.write
        ),
    )


class BusRegisters:
    """The holding registers of one unit on a line that meters may share."""

    def __init__(self, bus: Bus, *, unit: int) -> None:
        self._bus = bus
        self._unit = unit

    async def read(self, address: int, count: int) -> list[int]:
        answer = await self._bus.read(self._unit, 3, address, count, until=self._until())
        if answer.isError() or len(answer.registers) != count:
            raise self._refused("read", address, answer.exception_code)
        return list(answer.registers)

    async def write(self, address: int, words: list[int]) -> None:
        answer = await self._bus.write(self._unit, address, words, until=self._until())
        if answer.isError():
            raise self._refused("written", address, answer.exception_code)

    def _until(self) -> float:
        return asyncio.get_running_loop().time() + REQUEST_S

    def _refused(self, done: str, address: int, code: int) -> MeterRefused:
        return MeterRefused(
            f"{self._bus.name}: unit {self._unit} does not let register {address} be {done} "
            f"(Modbus exception {code}); check the [[write]] table and the device's settings."
        )
