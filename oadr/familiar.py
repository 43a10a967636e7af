# SPDX-License-Identifier: Apache-2.0
"""Answers to events read without parsing them: one that was parsed stands for all of its wording.

    <pyld:requestID>8f2a</pyld:requestID> ... <ei:eventID>e17</ei:eventID> ...     parsed in full
    <pyld:requestID>c0d1</pyld:requestID> ... <ei:eventID>e18</ei:eventID> ...     the same, but for
                                                                                   plain IDs
A VEN words its oadrCreatedEvent always the same. Without comments, CDATA, instructions and DOCTYPE
in it, a payload that is byte for byte one that was found valid by the schema, but for the plain
text of elements that may hold any (a number in the one that holds a number), is well-formed and
valid as well, and says the same but for that text. Whatever is not like that is parsed in full.
"""

import re
from collections.abc import Iterator

from oadr.event import CreatedEvent, EventResponse
from oadr.response import EiResponse

LONGEST = 4096
"""Bytes; a longer answer is parsed in full."""
MOST = 64
"""Wordings that are remembered. Whoever sends more of them makes it forget, and no more."""
_MARK = b"oadrCreatedEvent"
# A start tag without attributes, and nothing but plain text up to the next tag, an end tag. "<"
# stands nowhere else but in tags.
_PLAIN = re.compile(
    rb"(<(?:[A-Za-z_][\w.-]*:)?(?:requestID|eventID|modificationNumber|venID)>)"
    rb"([A-Za-z0-9._:-]{1,255})(?=</)"
)
_MOST_DIGITS = 9
_Wording = tuple[bytes, ...]


class Familiar:
    """Wordings of oadrCreatedEvent that were parsed in full before."""

    def __init__(self) -> None:
        self._known: dict[_Wording, CreatedEvent] = {}

    def read(self, body: bytes) -> CreatedEvent | None:
        """What these bytes say, where their wording is known."""
        if not self._known or len(body) > LONGEST or _MARK not in body:
            return None
        parts = _PLAIN.split(body)
        like = self._known.get(_wording(parts))
        return None if like is None else _filled(like, iter(parts[2::3]))

    def keep(self, body: bytes, message: object) -> None:
        """Remember the wording of a message that was parsed in full, and checked by the schema."""
        if not isinstance(message, CreatedEvent) or len(body) > LONGEST:
            return
        if b"<!" in body or body.count(b"<?") > body.startswith(b"<?xml "):
            return
        parts = _PLAIN.split(body)
        if [one.decode() for one in parts[2::3]] != _texts(message):
            return
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[_wording(parts)] = message


def _wording(parts: list[bytes]) -> _Wording:
    """All but the plain texts."""
    return (*parts[0::3], *parts[1::3])


def _texts(message: CreatedEvent) -> list[str]:
    """The plain texts of a message in the order in which they are written; empty ones have none."""
    found = [message.response.request_id]
    for one in message.event_responses:
        found += [one.request_id, one.event_id, str(one.modification_number)]
    found.append(message.ven_id)
    return [one for one in found if one]


def _filled(like: CreatedEvent, texts: Iterator[bytes]) -> CreatedEvent | None:
    """The message with other texts; None where a number is none."""

    def other(text: str) -> str:
        return next(texts).decode() if text else text

    response = EiResponse(
        response_code=like.response.response_code,
        description=like.response.description,
        request_id=other(like.response.request_id),
    )
    answers = []
    for one in like.event_responses:
        request_id, event_id, number = other(one.request_id), other(one.event_id), next(texts)
        if not number.isdigit() or len(number) > _MOST_DIGITS:
            return None
        answers.append(
            EventResponse(
                response_code=one.response_code,
                description=one.description,
                request_id=request_id,
                event_id=event_id,
                modification_number=int(number),
                opt_type=one.opt_type,
            )
        )
    return CreatedEvent(
        response=response, event_responses=tuple(answers), ven_id=other(like.ven_id)
    )
