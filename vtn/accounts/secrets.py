# SPDX-License-Identifier: Apache-2.0
"""Passwords, one-time passwords, tokens, recovery codes and the second factor.

Passwords are kept as argon2id; it takes a tenth of a second and 64 MiB, in a thread, two at a time.
Tokens and codes that we make are too long to be guessed: of them the SHA-256 is kept.
"""

import asyncio
import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from vtn.errors import Invalid, TooOften

LEAST: Final = 12
"""Characters of a password."""
MOST: Final = 256
MOST_WAITING: Final = 50
"""To log in; who comes beyond that is sent away, or the right ones wait too long."""
RECOVERY_CODES: Final = 10
TOTP_STEP_S: Final = 30
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # none that look alike


def new_token() -> str:
    return secrets.token_urlsafe(32)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def one_time_password() -> str:
    """Some 99 bits, to be read out: `k7dnq-x2mfa-…`."""
    return _groups(4)


def recovery_codes() -> list[str]:
    """Each good for one login without the second factor; some 74 bits."""
    return [_groups(3) for _ in range(RECOVERY_CODES)]


def _groups(count: int) -> str:
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(count))


def tidy_code(text: str) -> str:
    """As people type them: without blanks, in lower case."""
    return "".join(text.split()).lower()


def check_new_password(name: str, password: str) -> None:
    """Raises Invalid for one that is too easily guessed."""
    if len(password) < LEAST:
        raise Invalid(f"A password has at least {LEAST} characters; four words will do.")
    if len(password) > MOST:
        raise Invalid(f"A password has at most {MOST} characters.")
    if len(set(password)) < 5 or password.lower() in (name, name * 2, name[::-1]):
        raise Invalid("This password is too easily guessed; four words will do.")


class Hashing:
    """argon2id off the event loop."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._turns = asyncio.Semaphore(2)
        self._waiting = 0
        self._nobodys: str | None = None

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """In the queue of those who log in. Raises TooOften where MOST_WAITING stand in it."""
        if self._waiting >= MOST_WAITING:
            raise TooOften("Too many log in at once; come again in a few seconds.")
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def hash(self, password: str) -> str:
        async with self._turns:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, known: str | None, password: str) -> bool:
        """Whether this is the password; for nobody's, False after the same time."""
        async with self._turns:
            return await asyncio.to_thread(self._verify, known, password)

    def _verify(self, known: str | None, password: str) -> bool:
        if known is None and self._nobodys is None:
            self._nobodys = self._hasher.hash(secrets.token_hex())
        try:
            self._hasher.verify(known or self._nobodys or "", password)
        except (VerificationError, InvalidHashError):
            return False
        return known is not None


# --- the second factor ---------------------------------------------------------------------------


def new_totp_secret() -> str:
    return pyotp.random_base32()


def totp_uri(secret: str, *, name: str, issuer: str) -> str:
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=issuer)


def totp_step(secret: str, code: str, now: datetime, *, after: int = 0) -> int | None:
    """The step of a code that is good now, or was 30 s ago, or will be; None for another.

    Steps up to `after` have been used.
    """
    step = int(now.timestamp()) // TOTP_STEP_S
    generator = pyotp.TOTP(secret)
    for one in (step, step - 1, step + 1):
        wanted = generator.at(one * TOTP_STEP_S)
        if one > after and hmac.compare_digest(wanted.encode(), code.encode()):
            return one
    return None
