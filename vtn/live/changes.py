# SPDX-License-Identifier: Apache-2.0
"""What a page may want to hear of, and which of it an audit line speaks of. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from vtn.records import AuditLine

TOPIC: Final = re.compile(
    r"now|events|nodes|reports|audit|users|proposals|(?:event|node):[^\x00-\x1f]{1,255}"
)
"""now, events, nodes …, event:ID, node:ID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that pages show is another than before."""

    number: int
    """Of the last audit line known when it was told: what a browser resumes after."""
    topics: frozenset[str]
    act: str
    """As in the audit; "" where readings may have come."""
    at: datetime


def change_of(line: AuditLine) -> Change:
    """What an audit line means to pages."""
    return Change(number=line.number, topics=frozenset(_topics(line)), act=line.act, at=line.at)


def _topics(line: AuditLine) -> Iterable[str]:
    yield "audit"
    kind, _, name = line.subject.partition(":")
    if kind in ("event", "proposal"):
        yield from ("now", "events", "proposals")
        if kind == "event":
            yield f"event:{name}"
    elif kind == "ven":
        yield from ("now", "nodes", f"node:{name}")
    elif kind in ("group", "context"):
        yield "nodes"
    elif kind == "report":
        yield "reports"
        if line.detail:
            yield f"node:{line.detail}"
    elif kind == "user":
        yield "users"
    actor, _, who = line.actor.partition(":")
    if actor == "ven":
        yield from ("nodes", f"node:{who}")
