# SPDX-License-Identifier: Apache-2.0
"""What one process of the VTN tells the others: who has something waiting, who has changed.

On PostgreSQL a notice is part of the transaction it speaks of: it comes with the commit, and never
without it. A notification of PostgreSQL holds less than 8,000 bytes; longer news take several.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

Item = TypeVar("Item")

MOST_BYTES = 7_900
"""Of one notice; PostgreSQL takes 7,999."""
MOST_NOTICES = 64
"""Who would need more to name them all wakes everybody instead."""


@dataclass(slots=True)
class News:
    """What a transaction has put in or changed; see Office.change."""

    _woken: dict[str, None] = field(default_factory=dict)
    _changed: dict[str, None] = field(default_factory=dict)

    def woken(self, ven_ids: Iterable[str]) -> None:
        """Something was put in for these VENs."""
        self._woken.update(dict.fromkeys(ven_ids))

    def changed(self, *ven_ids: str) -> None:
        """What the database says of these VENs themselves is another than before."""
        self._changed.update(dict.fromkeys(ven_ids))

    @property
    def to_wake(self) -> tuple[str, ...]:
        return tuple(self._woken)

    @property
    def to_read(self) -> tuple[str, ...]:
        return tuple(self._changed)

    def __bool__(self) -> bool:
        return bool(self._woken or self._changed)


class Notice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One notice between processes, as JSON."""

    by: str
    """The process that tells; it needs no telling itself."""
    woken: tuple[str, ...] = ()
    """Something was put in for these VENs."""
    everybody: bool = False
    """Something may have been put in for any VEN."""
    changed: tuple[str, ...] = ()
    """Read these VENs again."""
    heard: Mapping[str, float] = msgspec.field(default_factory=dict)
    """When these VENs were last heard of, in seconds since 1970."""
    reached: Mapping[str, bool] = msgspec.field(default_factory=dict)
    """Whether the last push to these VENs arrived."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Notice)


def read(payload: str) -> Notice:
    """Raises msgspec.DecodeError for what is no notice."""
    return _decoder.decode(payload)


def notices(
    by: str,
    *,
    woken: Iterable[str] = (),
    changed: Iterable[str] = (),
    heard: Mapping[str, float] | None = None,
    reached: Mapping[str, bool] | None = None,
    most_bytes: int = MOST_BYTES,
) -> list[str]:
    """The payloads that say all of this, each of at most `most_bytes` bytes of UTF-8.

    >>> notices("7f", woken=["a", "b"])
    ['{"by":"7f","woken":["a","b"]}']
    """
    payloads = list(_cut(lambda ids: Notice(by=by, woken=tuple(ids)), tuple(woken), most_bytes))
    if len(payloads) > MOST_NOTICES:
        payloads = [_text(Notice(by=by, everybody=True))]
    payloads += _cut(lambda ids: Notice(by=by, changed=tuple(ids)), tuple(changed), most_bytes)
    payloads += _cut(
        lambda rows: Notice(by=by, heard=dict(rows)), tuple((heard or {}).items()), most_bytes
    )
    payloads += _cut(
        lambda rows: Notice(by=by, reached=dict(rows)), tuple((reached or {}).items()), most_bytes
    )
    return payloads


def _cut(
    make: Callable[[tuple[Item, ...]], Notice], items: tuple[Item, ...], most_bytes: int
) -> Iterator[str]:
    """Halved until each part fits."""
    if not items:
        return
    text = _text(make(items))
    if len(items) == 1 or len(text.encode()) <= most_bytes:
        yield text
        return
    middle = len(items) // 2
    yield from _cut(make, items[:middle], most_bytes)
    yield from _cut(make, items[middle:], most_bytes)


def _text(notice: Notice) -> str:
    return _encoder.encode(notice).decode()
