# SPDX-License-Identifier: Apache-2.0
"""UTC instants and ISO 8601 durations, both ways, nothing guessed (rule 1)."""

import contextlib
import re
from datetime import UTC, datetime, timedelta

_PLAIN_LENGTH = len("2026-11-20T14:00:00Z")
_DURATION = re.compile(
    r"\+?P(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?"
    r"|(?P<weeks>\d+)W"
)


def read_instant(text: str) -> datetime:
    """`2026-11-20T14:00:00Z` -> aware UTC datetime; fractions of a second are cut off (rule 1).

    Raises ValueError where the Z is missing: an instant without a zone could mean anything.
    """
    if len(text) == _PLAIN_LENGTH and text.endswith("Z"):  # as nearly everybody writes it
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(text)
    text = text.strip()
    if not text.endswith("Z"):
        raise ValueError(f"the instant '{text}' does not end in Z (rule 1)")
    try:
        return datetime.fromisoformat(text[:19]).replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"'{text}' is not an instant between the years 1 and 9999") from None


def write_instant(at: datetime) -> str:
    """Aware datetime -> `2026-11-20T14:00:00Z`, whole seconds."""
    offset = at.utcoffset()
    if offset is None:
        raise ValueError(f"the instant {at.isoformat()} has no time zone")
    if offset:
        at = at.astimezone(UTC)
    return f"{at.year:04}-{at:%m-%dT%H:%M:%S}Z"


def read_duration(text: str) -> timedelta:
    """`PT1H30M` -> timedelta; `P3W`-like weeks as the schema has them (`3W`).

    Raises ValueError for negative durations and for years and months, whose length is not fixed.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is not a duration that can be used; write it like PT1H30M")
    part = {name: int(number) for name, number in match.groupdict().items() if number}
    if part.pop("years", 0) or part.pop("months", 0):
        raise ValueError(f"the duration '{text}' counts years or months; write it in days")
    try:
        return timedelta(**part)
    except OverflowError:
        raise ValueError(f"the duration '{text}' is longer than any calendar") from None


def write_duration(length: timedelta) -> str:
    """Timedelta of whole, non-negative seconds -> `P1DT2H3M4S`; zero is `PT0S`."""
    if length < timedelta(0) or length.microseconds:
        raise ValueError(
            f"a duration of {length} is negative or has fractions of a second (rule 1)"
        )
    minutes, seconds = divmod(length.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    clock = "".join(
        f"{number}{letter}"
        for number, letter in ((hours, "H"), (minutes, "M"), (seconds, "S"))
        if number
    )
    day = f"{length.days}D" if length.days else ""
    if not clock:
        return f"P{day}" if day else "PT0S"
    return f"P{day}T{clock}"
