# SPDX-License-Identifier: Apache-2.0
"""The nonce window: each signed message counts once, and only around the time it was sent.

            stale         admitted, once         dated ahead
    ─────────────────┬──────────┼──────────┬───────────────────▸ sent_at
               now - window    now    now + window

A nonce is remembered until its message would be stale, so that no moment is left in which it could
come again, even when the clock is set. One message costs the same however many are remembered.
"""

import hashlib
import heapq
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Protocol

from doorway.values import value
from oadr.errors import NonceMemoryFull, ReplayedMessage, StaleMessage

WINDOW = timedelta(seconds=60)
MAX_NONCES = 250_000
"""Two thousand messages a second for as long as the default window can keep them; about 25 MB."""

_FORGET_S = 1.0
"""How often the store is to forget: a minute of two thousand a second at once would hold up all."""


@value
class Nonce:
    """What ReplayProtect says of one verified message, and whose it is."""

    sender: str
    """Whoever signed it; equal nonces of two senders are two nonces."""
    value: str
    sent_at: datetime


class NonceStore(Protocol):
    """Where nonces outlive the process; it may be shared by several."""

    async def recall(self, since: datetime) -> Iterable[Nonce]:
        """Every nonce with `sent_at` at or after `since`."""

    async def keep(self, nonce: Nonce) -> bool:
        """Keep it; False if the store has (sender, value) already.

        A store that answers before the disk has it lets the last messages before a power cut
        be replayed; one that answers after costs a write a message. The choice is the store's.
        """

    async def forget(self, before: datetime) -> None:
        """Drop the nonces with an earlier `sent_at`: their messages are stale."""


class NonceWindow:
    """The memory of one process for nonces, in front of a store if there is one."""

    def __init__(
        self,
        *,
        window: timedelta = WINDOW,
        store: NonceStore | None = None,
        max_nonces: int = MAX_NONCES,
    ) -> None:
        """`window` is how far the sender's clock may be behind or ahead of ours.

        `sent_at` comes cut off to whole seconds, so leave a second more than the clocks need.
        """
        self._window_s = window.total_seconds()
        self._store = store
        self._max_nonces = max_nonces
        self._seen: set[bytes] = set()
        self._by_second: dict[int, list[bytes]] = {}
        self._seconds: list[int] = []  # a heap of the keys of _by_second
        self._forgotten_s = -(10**12)
        self._store_forgot_s = 0.0

    def __len__(self) -> int:
        """How many nonces are remembered."""
        return len(self._seen)

    async def recall(self, *, now: datetime) -> None:
        """Remember what the store has kept; once, before the first message is admitted."""
        if self._store is None:
            return
        for nonce in await self._store.recall(now - timedelta(seconds=self._window_s)):
            self._remember(_digest(nonce), int(nonce.sent_at.timestamp()))

    async def admit(self, nonce: Nonce, *, now: datetime) -> None:
        """Admit a verified message, and have the store keep its nonce before anything is done.

        Raises what `enter` raises; ReplayedMessage too where another process sharing the store was
        first. What the store raises passes through, and then the message may be tried again.
        """
        self.enter(nonce, now=now)
        if self._store is None:
            return
        try:
            fresh = await self._store.keep(nonce)
        except BaseException:
            self._take_back(nonce)
            raise
        if not fresh:
            raise ReplayedMessage(_REPLAYED)
        now_s = now.timestamp()
        if abs(now_s - self._store_forgot_s) >= min(_FORGET_S, self._window_s):
            self._store_forgot_s = now_s
            await self._store.forget(now - timedelta(seconds=self._window_s))

    def enter(self, nonce: Nonce, *, now: datetime) -> None:
        """Admit a verified message into this memory alone.

        Raises StaleMessage outside the window, ReplayedMessage for a nonce of that sender which is
        remembered, and NonceMemoryFull rather than forget one that is still needed.
        """
        now_s, sent_s = now.timestamp(), nonce.sent_at.timestamp()
        self._forget(now_s - self._window_s)
        age_s = now_s - sent_s
        if age_s > self._window_s:
            raise StaleMessage(
                f"The message was signed {age_s:.0f} s ago, and {self._window_s:g} s are allowed: "
                "set the clocks of both sides, and sign again what is sent again."
            )
        if -age_s > self._window_s:
            raise StaleMessage(
                f"The message is dated {-age_s:.0f} s ahead, and {self._window_s:g} s are allowed: "
                "set the clocks of both sides."
            )
        if int(sent_s) <= self._forgotten_s:
            raise StaleMessage(
                "The message is as old as some that were forgotten before the clock was set back: "
                "sign it again."
            )
        digest = _digest(nonce)
        if digest in self._seen:
            raise ReplayedMessage(_REPLAYED)
        if len(self._seen) >= self._max_nonces:
            raise NonceMemoryFull(
                f"{self._max_nonces} signed messages are within the window; try again later."
            )
        self._remember(digest, int(sent_s))

    def _remember(self, digest: bytes, second: int) -> None:
        self._seen.add(digest)
        sent_then = self._by_second.get(second)
        if sent_then is None:
            sent_then = self._by_second[second] = []
            heapq.heappush(self._seconds, second)
        sent_then.append(digest)

    def _take_back(self, nonce: Nonce) -> None:
        digest = _digest(nonce)
        self._seen.discard(digest)
        sent_then = self._by_second.get(int(nonce.sent_at.timestamp()), [])
        if digest in sent_then:
            sent_then.remove(digest)

    def _forget(self, before_s: float) -> None:
        """Drop what is stale, and never again admit as old a message: the clock may be set back."""
        while self._seconds and self._seconds[0] < before_s - 1:
            second = heapq.heappop(self._seconds)
            self._seen.difference_update(self._by_second.pop(second))
            self._forgotten_s = max(self._forgotten_s, second)


_REPLAYED = "The message was received before: sign again what is sent again."


def _digest(nonce: Nonce) -> bytes:
    """Sixteen bytes for a nonce of any length; the sender's length keeps the two apart."""
    text = f"{len(nonce.sender)}:{nonce.sender}{nonce.value}"
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
