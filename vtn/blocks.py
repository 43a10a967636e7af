# SPDX-License-Identifier: Apache-2.0
"""Measurements in blocks: 15 minutes of one point as one packed value.

    version | flags | count | offsets                  | values        | quality
    1 byte    1       2       regular: start, step 2+2   count x 4 or 8  uniform: 1
                              else count x 2                             else count x 1, then words

225 readings of power (every 4 s) are 909 bytes: 4.04 a reading. Pure: no database here.
"""

import math
import struct
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from oadr.vocabulary import DataQuality

BLOCK_S = 900
"""Blocks begin at whole multiples of this since 1970."""

_VERSION = 1
_REGULAR, _WIDE, _UNIFORM = 1, 2, 4
_HEAD = struct.Struct("<BBH")
_SPAN = struct.Struct("<HH")
_LARGEST_FLOAT32 = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]

_WORDS = (
    "",
    DataQuality.GOOD,
    DataQuality.NO_VALUE,
    DataQuality.PREVIOUS_VALUE_USED,
    DataQuality.BAD,
    DataQuality.BAD_CONFIGURATION_ERROR,
    DataQuality.BAD_NOT_CONNECTED,
    DataQuality.BAD_DEVICE_FAILURE,
    DataQuality.BAD_SENSOR_FAILURE,
    DataQuality.BAD_LAST_KNOWN_VALUE,
    DataQuality.BAD_COMM_FAILURE,
    DataQuality.BAD_OUT_OF_SERVICE,
    DataQuality.UNCERTAIN,
    DataQuality.UNCERTAIN_LAST_USABLE_VALUE,
    DataQuality.UNCERTAIN_SENSOR_NOT_ACCURATE,
    DataQuality.UNCERTAIN_EU_UNITS_EXCEEDED,
    DataQuality.UNCERTAIN_SUB_NORMAL,
    DataQuality.GOOD_LOCAL_OVERRIDE,
    DataQuality.LIMIT_NOT,
    DataQuality.LIMIT_LOW,
    DataQuality.LIMIT_HIGH,
    DataQuality.LIMIT_CONSTANT,
)
"""Code of a quality word = its place here. Blocks on disk depend on the order: only append."""
_CODE = {str(word): code for code, word in enumerate(_WORDS)}
_OWN = 128
"""Codes from here on are words of the block's own (x-...), written after the codes."""
_MOST_OWN = 256 - _OWN


@dataclass(frozen=True, slots=True)
class Block:
    """Samples of one point within one block: equally long columns, offsets ascending, unique."""

    offsets: tuple[int, ...]
    """Seconds since the start of the block, 0 to 899."""
    values: tuple[float, ...]
    quality: tuple[str, ...]
    """oadrDataQuality; "" for none."""


def split(
    starts_at: Sequence[int], values: Sequence[float], quality: Sequence[str]
) -> Mapping[int, Block]:
    """Columns of samples -> start of block -> Block; the later of two at one instant counts."""
    if isinstance(starts_at, range) and starts_at.step > 0:
        return _cut(starts_at, tuple(values), tuple(quality))
    blocks: dict[int, dict[int, tuple[float, str]]] = {}
    for at, value, word in zip(starts_at, values, quality, strict=True):
        start = at - at % BLOCK_S
        blocks.setdefault(start, {})[at - start] = (value, word)
    return {start: _ordered(samples) for start, samples in blocks.items()}


def _cut(
    starts_at: range, values: tuple[float, ...], quality: tuple[str, ...]
) -> Mapping[int, Block]:
    """The same for regular instants, by slices."""
    if not len(starts_at) == len(values) == len(quality):
        raise ValueError("the columns are not equally long")
    blocks: dict[int, Block] = {}
    first = 0
    while first < len(starts_at):
        start = starts_at[first] - starts_at[first] % BLOCK_S
        after = bisect_left(starts_at, start + BLOCK_S)
        offsets = range(starts_at[first] - start, starts_at[after - 1] - start + 1, starts_at.step)
        blocks[start] = Block(tuple(offsets), values[first:after], quality[first:after])
        first = after
    return blocks


def merge(old: Block, new: Block) -> Block:
    """Both; where they speak of the same instant, `new` replaces `old` (rule 346)."""
    if not old.offsets or (new.offsets and old.offsets[-1] < new.offsets[0]):
        return Block(old.offsets + new.offsets, old.values + new.values, old.quality + new.quality)
    samples = dict(zip(old.offsets, zip(old.values, old.quality, strict=True), strict=True))
    samples.update(zip(new.offsets, zip(new.values, new.quality, strict=True), strict=True))
    return _ordered(samples)


def narrow(value: float) -> float:
    """The value as a 32-bit float, which is what a block that is not wide gives back."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def pack(block: Block, *, wide: bool) -> bytes:
    """A block as bytes; values as 64-bit floats where `wide`, else 32-bit (7 digits).

    32 bits are plenty for power, voltage or current; a running energy counter needs 64. Values
    beyond the reach of 32 bits make the block wide by themselves.
    """
    wide = wide or max(map(abs, block.values), default=0.0) > _LARGEST_FLOAT32
    count = len(block.offsets)
    flags = _WIDE if wide else 0
    step = _step(block.offsets)
    if step is not None:
        flags |= _REGULAR
        offsets = _SPAN.pack(block.offsets[0] if count else 0, step)
    else:
        offsets = struct.pack(f"<{count}H", *block.offsets)
    values = struct.pack(f"<{count}{'d' if wide else 'f'}", *block.values)
    words = set(block.quality)
    own = {} if words <= _CODE.keys() else _own_words(block.quality)
    if len(words) == 1:  # nearly always
        codes = bytes(_CODE[word] if word in _CODE else own[word] for word in words)
    else:
        codes = bytes([_CODE[word] if word in _CODE else own[word] for word in block.quality])
    if len(set(codes)) <= 1:
        flags |= _UNIFORM
        codes = codes[:1]
    spelt = b"".join(bytes((len(text),)) + text for text in map(_short, own))
    return b"".join((_HEAD.pack(_VERSION, flags, count), offsets, values, codes, spelt))


def unpack(packed: bytes) -> Block:
    """The bytes of `pack` -> its block."""
    version, flags, count = _HEAD.unpack_from(packed)
    if version != _VERSION:
        raise ValueError(f"a block of version {version} was written by a later VTN")
    at = _HEAD.size
    offsets: Sequence[int]
    if flags & _REGULAR:
        start, step = _SPAN.unpack_from(packed, at)
        offsets = range(start, start + step * count, step) if step else (start,) * count
        at += _SPAN.size
    else:
        offsets = struct.unpack_from(f"<{count}H", packed, at)
        at += 2 * count
    wide = bool(flags & _WIDE)
    values = struct.unpack_from(f"<{count}{'d' if wide else 'f'}", packed, at)
    at += count * (8 if wide else 4)
    length = min(1, count) if flags & _UNIFORM else count
    codes = packed[at : at + length]
    own = _read_words(packed[at + length :])
    words = [_WORDS[code] if code < _OWN else own[code - _OWN] for code in codes]
    if flags & _UNIFORM:
        words *= count
    return Block(tuple(offsets), values, tuple(map(str, words)))


def _ordered(samples: Mapping[int, tuple[float, str]]) -> Block:
    offsets = sorted(samples)
    return Block(
        tuple(offsets),
        tuple(samples[offset][0] for offset in offsets),
        tuple(samples[offset][1] for offset in offsets),
    )


def _step(offsets: Sequence[int]) -> int | None:
    """The distance of regular offsets; None where they are not regular."""
    if len(offsets) < 2:
        return 0
    step = offsets[1] - offsets[0]
    regular = range(offsets[0], offsets[0] + step * len(offsets), step)
    return step if tuple(offsets) == tuple(regular) else None


def _own_words(quality: Iterable[str]) -> dict[str, int]:
    """Words that are not the standard's -> code; those beyond the 128th share the last one's."""
    own: dict[str, int] = {}
    for word in quality:
        if word not in _CODE and word not in own:
            own[word] = _OWN + min(len(own), _MOST_OWN - 1)
    return own


def _short(word: str) -> bytes:
    """At most 255 bytes of UTF-8, cut between characters."""
    return word.encode()[:255].decode(errors="ignore").encode()


def _read_words(packed: bytes) -> list[str]:
    words, at = list[str](), 0
    while at < len(packed):
        length = packed[at]
        words.append(packed[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return words


def is_finite(values: Iterable[float]) -> bool:
    """Whether every value is a number that can be reckoned with."""
    return all(map(math.isfinite, values))
