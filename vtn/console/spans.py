# SPDX-License-Identifier: Apache-2.0
"""Which time a page shows: the last hour, day, week, or from when to when."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from vtn.console.asked import Asked
from vtn.console.forms import Form

SPANS: Final = {
    "15min": ("15 minutes", timedelta(minutes=15)),
    "1h": ("hour", timedelta(hours=1)),
    "24h": ("24 hours", timedelta(hours=24)),
    "7d": ("7 days", timedelta(days=7)),
    "30d": ("30 days", timedelta(days=30)),
    "365d": ("year", timedelta(days=365)),
}
LONGEST: Final = timedelta(days=3660)
_FORMS: Final = ("%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Half open."""

    starts_at: datetime
    ends_at: datetime
    name: str
    """A key of SPANS; "" for one of its own."""


def span_of(asked: Asked, now: datetime, form: Form, *, otherwise: str = "1h") -> Span:
    """What `span`, or `from` and `to` (UTC), say; what is wrong stands in the form."""
    name = asked.text("span")
    if asked.text("from") or asked.text("to"):
        starts_at = _instant(asked.text("from"), "from", form)
        ends_at = _instant(asked.text("to"), "to", form) if asked.text("to") else now
        if starts_at and ends_at:
            if timedelta(0) < ends_at - starts_at <= LONGEST:
                return Span(starts_at=starts_at, ends_at=ends_at, name="")
            if starts_at < ends_at:
                form.refuse("to: this is more than ten years after the beginning; ask for less.")
            else:
                form.refuse("to: this is not after the beginning; give a later time.")
        name = otherwise
    if name not in SPANS:
        name = otherwise
    return Span(starts_at=now - SPANS[name][1], ends_at=now, name=name)


def _instant(text: str, field: str, form: Form) -> datetime | None:
    for one in _FORMS:
        try:
            return datetime.strptime(text.removesuffix("Z"), one).replace(tzinfo=UTC)
        except ValueError:
            continue
    form.refuse(f"{field}: '{text}' is no time; write it as 2026-11-20 14:05 (UTC).")
    return None
