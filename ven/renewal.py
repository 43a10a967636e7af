# SPDX-License-Identifier: Apache-2.0
"""A certificate is renewed after two thirds of its life, by the VEN itself, while it runs.

    begins            2/3           expires
      |----------------|---------------|
                       new key and certificate beside the state file; the VEN goes on with them at
                       once, and where that fails it tries again and again until the old one expires

The new pair lies in one file beside the state, because the configured files may be read-only
(systemd's LoadCredential). Whichever was issued later counts. Until the VTN sees the new one it
takes either; a cut at any point leaves one that works.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

import msgspec

from doorway import Fault, get_logger
from ven.config import Settings
from ven.credentials import Credentials, read_credentials, tls_context
from ven.errors import CredentialFault, EnrolmentFault, EnrolmentRefused, Renewed

log = get_logger()

SPREAD = 0.03
"""Of a life, by which VENs that were enrolled together renew apart."""
LOOK_S = 3600.0
"""The longest wait for an instant: a clock that is set meanwhile moves it."""
SHORTEST_S, LONGEST_S = 30.0, 6 * 3600.0
"""Between two tries."""


def renewed_file(settings: Settings) -> Path:
    """Where a renewed key and certificate lie, in this order."""
    state = settings.ven.state
    return state.with_name(f"{state.stem}-renewed.pem")


def newest(settings: Settings) -> Settings:
    """The settings with the renewed certificate, where that was issued after the configured one."""
    renewed = renewed_file(settings)
    try:
        if (
            read_credentials(renewed).not_before_at
            < read_credentials(settings.ven.cert).not_before_at
        ):
            return settings
    except CredentialFault:
        return settings
    ven = msgspec.structs.replace(settings.ven, cert=renewed, key=renewed)
    return msgspec.structs.replace(settings, ven=ven)


def due_at(credentials: Credentials, draw: float) -> datetime:
    """When to renew; `draw` is from [0, 1)."""
    life = credentials.not_after_at - credentials.not_before_at
    return credentials.not_before_at + life * (2 / 3 + SPREAD * draw)


def pause_s(left: timedelta, draw: float) -> float:
    """How long to wait before another try, with so much of the life left."""
    return min(max(left.total_seconds() / 40, SHORTEST_S), LONGEST_S) * (0.75 + 0.5 * draw)


class Renewal:
    """Renews when it is due; `run` ends by Renewed, so that all begins anew with the new one."""

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._now = now
        self._sleep = sleep
        self._draw = draw
        self.due_at = due_at(credentials, draw()) if settings.vtn.enrolment else None
        """None where nobody renews it but a person."""
        self.trouble = ""
        """Why it could not be renewed, in one sentence; empty while all is well."""

    async def run(self) -> NoReturn:
        """Raises Renewed."""
        if self._is_due() and self._settings.ven.cert == renewed_file(self._settings):
            # Due again as soon as it was renewed: a clock is wrong, and haste would not end.
            await self._sleep(pause_s(self._credentials.not_after_at - self._now(), self._draw()))
        while True:
            now = self._now()
            if self.due_at is None or not self._is_due():
                wait_s = (self.due_at - now).total_seconds() if self.due_at else LOOK_S
                await self._sleep(min(wait_s, LOOK_S))
                continue
            try:
                await self._renew()
            except (CredentialFault, EnrolmentFault, EnrolmentRefused) as fault:
                self.trouble = self._in_words(fault, now)
                again_s = pause_s(self._credentials.not_after_at - now, self._draw())
                log.warning("certificate_not_renewed", why=str(fault), again_in_s=round(again_s))
                await self._sleep(again_s)
            else:
                raise Renewed("The certificate was renewed.")

    def _is_due(self) -> bool:
        return self.due_at is not None and self._now() >= self.due_at

    def _in_words(self, fault: Fault, now: datetime) -> str:
        until = self._credentials.not_after_at
        if now >= until:
            return (
                f"The certificate expired on {until:%Y-%m-%d}; ask for an enrolment code, and give "
                "it with: ven enroll ... --again --start."
            )
        return f"The certificate could not be renewed: {fault}"

    async def _renew(self) -> None:
        # They wait for their use, once a year: they take cryptography's memory.
        from ven import est, keyring  # noqa: PLC0415 - as said above

        settings = self._settings
        renewed = renewed_file(settings)
        pending = renewed.with_suffix(".key")  # kept until there is a certificate for it
        key = keyring.own_key(pending)
        tls = tls_context(settings)
        url = settings.vtn.enrolment
        offered = await est.authorities(url, tls)
        leaf = await est.renew(url, tls, keyring.request(key))
        chain = offered.chain_of(leaf)
        keyring.checked_chain(chain, key, now=self._now(), whose="The renewed certificate")
        if leaf.not_valid_before_utc < self._credentials.not_before_at:
            raise CredentialFault(
                "The VTN issued it with an earlier date than the one before: its clock is behind."
            )
        keyring.write_whole(renewed, keyring.key_pem(key) + keyring.chain_pem(chain), mode=0o600)
        pending.unlink(missing_ok=True)
        log.info("certificate_renewed", until=f"{leaf.not_valid_after_utc:%Y-%m-%d}")
