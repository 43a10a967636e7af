# SPDX-License-Identifier: Apache-2.0
"""Times as operators write them: `now+10m`, `1h30m`, `2030-01-09T15:00+01:00`."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from oadr.moments import read_duration
from vtn.errors import InvalidEvent

START_MARGIN: Final = timedelta(seconds=1)
"""`now` means the next whole second plus this, so that "now" is not the past once it is stored."""

_LENGTH = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?:in)?)?(?:(\d+)s)?")
_RELATIVE = re.compile(r"(?:now)?\s*(?P<sign>[+-])\s*(?P<away>[^\s+-]\S*)")
OPEN: Final = ("open", "until-cancelled")
_FARTHEST: Final = timedelta(days=3 * 366)
_LONGEST: Final = timedelta(days=366)
_LONGER_S: Final = 400 * 24 * 3600
"""Stands for whatever is longer than _LONGEST: a timedelta holds no more than 2.7 million years."""


def duration(text: str, *, what: str) -> timedelta:
    """`5m`, `1h30m`, `90s`, `1d`, `PT5M` -> that long; `open` -> zero, the standard's open end.

    Whole seconds, at most 366 days. `what` names the field in the refusal. Raises InvalidEvent.
    """
    text = text.strip()
    if text in OPEN:
        return timedelta(0)
    length: timedelta | None = None
    if (match := _LENGTH.fullmatch(text)) and text:
        days, hours, minutes, seconds = (int((part or "0")[:10]) for part in match.groups())
        whole_s = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        length = timedelta(seconds=min(whole_s, _LONGER_S))
    elif text[:1] == "P":
        try:
            length = read_duration(text)
        except ValueError:
            length = None
    if length is None:
        raise InvalidEvent(f"{what}: '{text}' is not a duration; write it like 5m, 1h30m or PT5M.")
    if length > _LONGEST:
        raise InvalidEvent(f"{what}: '{text}' is longer than a year; that is hardly meant.")
    return length


def not_endless(length: timedelta, *, what: str) -> timedelta:
    """The same length, of several parts that are long enough each. Raises InvalidEvent."""
    if length > _LONGEST:
        raise InvalidEvent(
            f"{what}: {length.days} days in all are more than a year; that is hardly meant."
        )
    return length


def instant(text: str, *, now: datetime, past: bool = False, what: str = "start") -> datetime:
    """`now`, `now+10m`, `+30s`, `2030-01-09T15:00+01:00` -> aware UTC, whole seconds.

    With `past` also `now-1h`. Raises InvalidEvent for what cannot be read, has no zone, or (unless
    `past`) is over or years away.
    """
    text = text.strip()
    soon = whole_second(now) if past else whole_second(now + timedelta(seconds=1)) + START_MARGIN
    if text == "now":
        return soon
    if relative := _RELATIVE.fullmatch(text):
        away = duration(relative["away"], what=what)
        if relative["sign"] == "+":
            return max(soon, whole_second(now) + away)
        if past:
            return whole_second(now) - away
        raise InvalidEvent(f"{what}: '{text}' is in the past; give a time to come.")
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidEvent(
            f"{what}: '{text}' is not a time; write now, now+10m or 2030-01-09T14:00:00Z."
        ) from None
    if at.tzinfo is None:
        raise InvalidEvent(
            f"{what}: '{text}' does not say its time zone; add Z for UTC or an offset like +01:00."
        )
    try:
        at = whole_second(at.astimezone(UTC))
    except OverflowError:
        raise InvalidEvent(f"{what}: '{text}' is outside the calendar.") from None
    if not past and at < whole_second(now):
        raise InvalidEvent(
            f"{what}: {at:%Y-%m-%dT%H:%M:%SZ} is in the past (it is {now:%H:%M:%S} UTC); "
            "give a time to come."
        )
    return at if past else not_far(at, now=now, what=what)


def not_far(at: datetime, *, now: datetime, what: str = "start") -> datetime:
    """The same instant: what is added to it stays within the calendar. Raises InvalidEvent."""
    if at > now + _FARTHEST:
        raise InvalidEvent(f"{what}: {at:%Y-%m-%d} is years away; that is hardly meant.")
    return at


def whole_second(at: datetime) -> datetime:
    return at.replace(microsecond=0)


def span(text: str, what: str) -> timedelta | None:
    if not text:
        return None
    if text.strip() in OPEN:
        raise InvalidEvent(f"{what}: cannot be open-ended; give a duration like 5m.")
    return duration(text, what=what)
