# SPDX-License-Identifier: Apache-2.0
"""Signed messages: signs what the VEN says, and opens what the VTN signed (rule 514).

Imported only where [signature] asks for it: an unsigned VEN does without its memory.
"""

import sqlite3
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import oadr
from oadr.errors import UnusableKey
from oadr.replay import Nonce, NonceStore, NonceWindow
from oadr.signature import Signer, Verifier
from ven.config import Settings
from ven.errors import CredentialFault, StateFault


class Seal:
    """Both directions. A message counts once, and only around the time it was signed."""

    def __init__(
        self,
        signer: Signer,
        verifier: Verifier,
        window: NonceWindow,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._signer = signer
        self._verifier = verifier
        self._window = window
        self._now = now

    @classmethod
    async def of(
        cls, settings: Settings, *, now: Callable[[], datetime], store: NonceStore | None = None
    ) -> "Seal":
        """As [signature] says; remembers what the store has. Raises CredentialFault."""
        signature = settings.signature
        try:
            signer = Signer(_read(settings.ven.cert), _read(settings.ven.key))
        except UnusableKey as error:
            raise CredentialFault(
                f"{settings.ven.cert}: messages cannot be signed with it: {error}"
            ) from error
        try:
            verifier = Verifier(*(_read(path) for path in signature.vtn_certificates))
        except UnusableKey as error:
            raise CredentialFault(f"[signature] vtn_certificates: {error}") from error
        window = NonceWindow(window=timedelta(seconds=signature.window_s), store=store)
        await window.recall(now=now())
        return cls(signer, verifier, window, now=now)

    def sign(self, message: oadr.Message) -> bytes:
        """A signed oadrPayload with a fresh nonce."""
        return self._signer.sign(message, now=self._now())

    async def open(self, body: bytes) -> oadr.Message:
        """The message that the VTN signed, read from the very element that was verified.

        Raises Unproven where nothing shows that the VTN said it just now, the other Refused where
        it is no OpenADR, and InvalidContent where it cannot be acted on.
        """
        if not body.strip():
            raise oadr.errors.Unsigned("An empty body is not signed, and signatures are asked for.")
        verified = self._verifier.verify(oadr.checked(body))
        nonce = Nonce(
            sender=verified.certificate_sha256, value=verified.nonce, sent_at=verified.sent_at
        )
        await self._window.admit(nonce, now=self._now())
        return oadr.read_message(verified.signed_object)


class NonceFile:
    """The nonces in the VEN's state file, on a connection of their own.

    They outlive the process whatever ends it. A power cut may take those of the last moments: to
    save the SD card a write for each poll, the disk is not waited for (synchronous=NORMAL).
    """

    def __init__(self, state: Path) -> None:
        """`state` is the file of an open ven.state.State, which has made the table."""
        self._connection = sqlite3.connect(state, isolation_level=None, timeout=5)
        self._connection.execute("PRAGMA synchronous=NORMAL")

    def close(self) -> None:
        self._connection.close()

    async def recall(self, since: datetime) -> Iterable[Nonce]:
        rows = self._connection.execute(
            "SELECT sender, value, sent_at FROM nonce WHERE sent_at >= ?", (since.timestamp(),)
        )
        return [
            Nonce(sender=sender, value=value, sent_at=datetime.fromtimestamp(sent_at, UTC))
            for sender, value, sent_at in rows
        ]

    async def keep(self, nonce: Nonce) -> bool:
        try:
            kept = self._connection.execute(
                "INSERT OR IGNORE INTO nonce VALUES (?, ?, ?)",
                (nonce.sender, nonce.value, nonce.sent_at.timestamp()),
            )
        except sqlite3.Error as error:
            raise StateFault(
                f"A nonce cannot be kept ({error}), so its message cannot be heeded; make room on "
                "the disk."
            ) from error
        return kept.rowcount == 1

    async def forget(self, before: datetime) -> None:
        self._connection.execute("DELETE FROM nonce WHERE sent_at < ?", (before.timestamp(),))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialFault(f"{path}: it cannot be read ({error.strerror}).") from error
