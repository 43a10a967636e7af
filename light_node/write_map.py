# SPDX-License-Identifier: Apache-2.0
"""What a set-point means to one device, and which words of which registers say it.

SunSpec 704   [Ena  Pct  PctRvrt  EnaRvrt  RvrtTms]             one request: limit, fail-safe, timer
SunSpec 123   [Pct  WinTms  RvrtTms  RmpTms  Ena]               its timer goes back to no limit
SunSpec 124   [OutWRte  InWRte  WinTms  RvrtTms  RmpTms]  [StorCtl_Mod]
its own map   [failsafe]  [reversion]  [limit]                  the limit last, when all is ready

Each block in brackets is one write of function 16. Pure: nothing here knows a line.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ems_bridge.messages import SetPoint
from light_node.settings import RegisterTable, WriteTable

LIMIT_704, LIMIT_123, STORAGE_124, CONTROL_715 = 704, 123, 124, 715
_END_OF_MODELS = 0xFFFF
_CHARGE_LIMITED, _BOTH_LIMITED = 1, 3
_FORMATS = {"uint16": ">H", "int16": ">h", "uint32": ">I", "int32": ">i", "float32": ">f"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Words that go to consecutive holding registers in one request."""

    address: int
    words: tuple[int, ...]
    timers: tuple[int, ...] = ()
    """Which of the words are timers: read back they may have run on, or not be readable."""

    def is_said_by(self, words: Sequence[int]) -> bool:
        """Whether registers that were read say the same, timers left aside."""
        return len(words) == len(self.words) and all(
            read == written
            for at, (read, written) in enumerate(zip(words, self.words, strict=True))
            if at not in self.timers
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A SunSpec model as found in a device."""

    number: int
    address: int
    """Of the register that bears its number; offsets count from here."""
    length: int


class WriteMap(Protocol):
    """How one device is told."""

    @property
    def reverts(self) -> bool:
        """Whether the device lets go by its own timer."""

    def limit(self, watts: float, revert_s: int) -> tuple[Frame, ...]:
        """Hold `watts`, and let go `revert_s` after this."""

    def release(self) -> tuple[Frame, ...]:
        """Let go now."""


def device_watts(lease: SetPoint, table: WriteTable, level_w: float | None) -> float | None:
    """What the lease asks of this device, in W, within its range.

    `level_w` is what the building would use now; None where it must be known and is not.
    """
    change_w = lease.delta_w
    if change_w is None and level_w is not None:
        target_w = level_w
        if lease.max_w is not None:
            target_w = min(target_w, lease.max_w)
        if lease.min_w is not None:
            target_w = max(target_w, lease.min_w)
        change_w = target_w - level_w
    match table.follows:
        case "building" if lease.max_w is not None:
            wanted_w: float | None = lease.max_w
        case "building":
            wanted_w = None if level_w is None or change_w is None else level_w + change_w
        case "device":
            wanted_w = None if change_w is None else table.rated_w + change_w
        case "change":
            wanted_w = change_w
    if wanted_w is None:
        return None
    return min(max(wanted_w, table.lowest_w), table.highest_w)


# --- SunSpec -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SunSpecLimit:
    """Model 704: the fail-safe arrives in the same request as the limit."""

    model: Model
    table: WriteTable
    scale_factor: int
    reverts = True

    def limit(self, watts: float, revert_s: int) -> tuple[Frame, ...]:
        failsafe_w = self.table.rated_w if self.table.failsafe_w is None else self.table.failsafe_w
        words = (1, self._percent(watts), self._percent(failsafe_w), 1, *_u32(revert_s))
        return (Frame(address=self.model.address + 14, words=words, timers=(4, 5)),)

    def release(self) -> tuple[Frame, ...]:
        full = self._percent(self.table.rated_w)
        return (
            Frame(address=self.model.address + 14, words=(0, full, full, 0, 0, 0), timers=(4, 5)),
        )

    def _percent(self, watts: float) -> int:
        return _percent(watts, self.table.rated_w, self.scale_factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class SunSpecOldLimit:
    """Model 123."""

    model: Model
    table: WriteTable
    scale_factor: int
    reverts = True

    def limit(self, watts: float, revert_s: int) -> tuple[Frame, ...]:
        percent = _percent(watts, self.table.rated_w, self.scale_factor)
        return (
            Frame(
                address=self.model.address + 5, words=(percent, 0, revert_s, 0, 1), timers=(1, 2, 3)
            ),
        )

    def release(self) -> tuple[Frame, ...]:
        full = _percent(self.table.rated_w, self.table.rated_w, self.scale_factor)
        return (Frame(address=self.model.address + 5, words=(full, 0, 0, 0, 0), timers=(1, 2, 3)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class SunSpecStorage:
    """Model 124: a limit bounds charging; a change below 0 discharges, one above 0 charges."""

    model: Model
    table: WriteTable
    scale_factor: int
    reverts = True

    def limit(self, watts: float, revert_s: int) -> tuple[Frame, ...]:
        share = _signed_percent(watts, self.table.rated_w, self.scale_factor)
        if self.table.follows == "change":
            # A rate below 0 makes the bound on the other side one from below: it is forced.
            out, into, mode = -share, share, _BOTH_LIMITED
        else:
            full = _signed_percent(self.table.rated_w, self.table.rated_w, self.scale_factor)
            out, into, mode = full, share, _CHARGE_LIMITED
        rates = (out & 0xFFFF, into & 0xFFFF, 0, revert_s, 0)
        return (
            Frame(address=self.model.address + 12, words=rates, timers=(2, 3, 4)),
            Frame(address=self.model.address + 5, words=(mode,)),
        )

    def release(self) -> tuple[Frame, ...]:
        return (Frame(address=self.model.address + 5, words=(0,)),)


def models_of(start: int, words: Sequence[int]) -> tuple[list[Model], int | None]:
    """The models whose heads are in `words`, which begin at register `start` with a head.

    Returns them and the address of the next head, None where the list has ended.
    """
    models: list[Model] = []
    at = 0
    while at + 1 < len(words):
        number, length = words[at], words[at + 1]
        if number == _END_OF_MODELS or length == 0:
            return models, None
        models.append(Model(number=number, address=start + at, length=length))
        at += 2 + length
    return models, start + at


def sunspec_model(models: Sequence[Model], table: WriteTable) -> Model | None:
    """The model to write to, the newer one where there are two; None where there is none."""
    wanted = (LIMIT_704, LIMIT_123) if table.sunspec == "limit" else (STORAGE_124,)
    for number in wanted:
        for model in models:
            if model.number == number:
                return model
    return None


def scale_address(model: Model) -> int:
    """Where the scale factor of the percentages stands."""
    return model.address + {LIMIT_704: 54, LIMIT_123: 23, STORAGE_124: 25}[model.number]


def sunspec_map(model: Model, table: WriteTable, scale_word: int) -> WriteMap:
    """`scale_word` is the register at `scale_address`."""
    factor = scale_word - 0x10000 if scale_word >= 0x8000 else scale_word
    if not -10 <= factor <= 10:
        factor = 0  # 0x8000: the device does not say
    match model.number:
        case 704:
            return SunSpecLimit(model=model, table=table, scale_factor=factor)
        case 123:
            return SunSpecOldLimit(model=model, table=table, scale_factor=factor)
        case _:
            return SunSpecStorage(model=model, table=table, scale_factor=factor)


def heartbeat(control: Model, counter: int) -> Frame:
    """Model 715: the controller's heartbeat."""
    return Frame(address=control.address + 5, words=_u32(counter))


def _percent(watts: float, rated_w: float, scale_factor: int) -> int:
    """The counts of a register without a sign; beyond its ends becomes the nearest end."""
    return min(max(_counts(watts, rated_w, scale_factor), 0), 0xFFFF)


def _signed_percent(watts: float, rated_w: float, scale_factor: int) -> int:
    """As `_percent`, of a register with a sign."""
    return min(max(_counts(watts, rated_w, scale_factor), -0x7FFF), 0x7FFF)


def _counts(watts: float, rated_w: float, scale_factor: int) -> int:
    return round(100 * watts / rated_w / 10.0**scale_factor)


def _u32(value: int) -> tuple[int, int]:
    return value >> 16 & 0xFFFF, value & 0xFFFF


# --- a map of its own --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMap:
    """The registers that a [[write]] table names."""

    table: WriteTable

    @property
    def reverts(self) -> bool:
        return self.table.reversion is not None

    def limit(self, watts: float, revert_s: int) -> tuple[Frame, ...]:
        table = self.table
        frames = []
        if table.failsafe is not None:
            failsafe_w = table.rated_w if table.failsafe_w is None else table.failsafe_w
            frames.append(self._frame(table.failsafe, failsafe_w))
        if table.reversion is not None:
            timer = self._frame(table.reversion, revert_s)
            frames.append(replace(timer, timers=tuple(range(len(timer.words)))))
        return (*frames, self._limit(watts))

    def release(self) -> tuple[Frame, ...]:
        at_rest_w = 0.0 if self.table.follows == "change" else self.table.highest_w
        if self.table.release_w is not None:
            at_rest_w = self.table.release_w
        return (self._limit(at_rest_w),)

    def _limit(self, watts: float) -> Frame:
        assert self.table.limit is not None
        return self._frame(self.table.limit, watts)

    def _frame(self, register: RegisterTable, value: float) -> Frame:
        words = _words(register, value)
        return Frame(
            address=register.address,
            words=words if self.table.word_order == "big" else words[::-1],
        )


def _words(register: RegisterTable, value: float) -> tuple[int, ...]:
    """The register's words, the high one first; a value beyond its type becomes the nearest."""
    code = _FORMATS[register.type]
    counts = value / register.scale
    if register.type == "float32":
        packed = struct.pack(code, counts)
    else:
        bits = 8 * struct.calcsize(code)
        signed = register.type.startswith("int")
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        packed = struct.pack(code, min(max(round(counts), low), high))
    return struct.unpack(f">{len(packed) // 2}H", packed)
