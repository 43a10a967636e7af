# SPDX-License-Identifier: Apache-2.0
"""GET /live: server-sent events that resume after Last-Event-ID.

event: hello    the number to resume after, and our time
event: change   {"topics": […], "act": "publish event", "at": …}: look again
event: reset    too much was missed: load the page anew
"""

import re
import time
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Router, get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, QueryParameter, SkipValidation
from litestar.response import ServerSentEvent
from litestar.response.sse import ServerSentEventMessage

from vtn.accounts import Act
from vtn.accounts.accounts import COOKIE, Accounts
from vtn.errors import Invalid, StoreUnavailable, Unauthorised
from vtn.live import TOPIC, Change, Feed, Stream
from vtn.operations.needs import AccountsHere, NowHere

FeedHere = NamedDependency[SkipValidation[Feed]]

ALIVE_S: Final = 10.0
"""A comment so often, so that either side finds out that the other is gone."""
LOOK_AT_SESSION_S: Final = 30.0
RETRY_MS: Final = 2000
_MOST_TOPICS: Final = 50


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The data of a message."""

    topics: list[str]
    act: str
    at: datetime


@get("/live", act=Act.VIEW, include_in_schema=False)
async def live(
    *,
    request: Request[Any, Any, State],
    feed: FeedHere,
    accounts: AccountsHere,
    now: NowHere,
    topic: Annotated[list[str] | None, QueryParameter()] = None,
    resume_after: Annotated[str, HeaderParameter(name="Last-Event-ID")] = "",
) -> ServerSentEvent:
    """Changes of these topics as they happen."""
    topics = topic or ["now"]
    for one in topics:
        if not TOPIC.fullmatch(one):
            raise Invalid(f"topic: there is none '{one}'.")
    if len(topics) > _MOST_TOPICS:
        raise Invalid(f"topic: {_MOST_TOPICS} at most.")
    after = int(resume_after) if re.fullmatch("[0-9]{1,18}", resume_after) else None
    token = None if "authorization" in request.headers else request.cookies.get(COOKIE)

    async def told() -> AsyncIterator[ServerSentEventMessage]:
        async with feed.stream(topics) as stream:
            yield _message("hello", feed.last, Told(topics=[], act="", at=now()), retry=RETRY_MS)
            if after is not None:
                missed = await feed.missed(after, topics)
                for message in [_reset(feed)] if missed is None else _messages(missed, stream):
                    yield message
            async for message in _as_they_happen(feed, stream, accounts, token):
                yield message

    return ServerSentEvent(told(), headers={"Cache-Control": "no-store"})


async def _as_they_happen(
    feed: Feed, stream: Stream, accounts: Accounts, token: str | None
) -> AsyncIterator[ServerSentEventMessage]:
    """Until the VTN stops, or the session has ended."""
    looked_s = time.monotonic()
    while not feed.closed:
        found = await stream.next(within_s=ALIVE_S)
        if stream.overrun:
            stream.overrun = False
            yield _reset(feed)
        for message in _messages(found, stream):
            yield message
        if not found:
            yield ServerSentEventMessage(comment="alive", data=None)
        if token is not None and time.monotonic() - looked_s > LOOK_AT_SESSION_S:
            looked_s = time.monotonic()
            if not await _is_good(accounts, token):
                return


async def _is_good(accounts: Accounts, token: str) -> bool:
    """Whether the session goes on; while the database is away it does."""
    try:
        await accounts.identify(token, used=False)
    except Unauthorised:
        return False
    except StoreUnavailable:
        return True
    return True


def _reset(feed: Feed) -> ServerSentEventMessage:
    return ServerSentEventMessage(event="reset", id=feed.last, data="{}")


def _messages(found: Sequence[Change], stream: Stream) -> list[ServerSentEventMessage]:
    """One for each change, with the topics that are listened to."""
    return [
        _message(
            "change",
            one.number,
            Told(topics=sorted(one.topics & stream.topics), act=one.act, at=one.at),
        )
        for one in found
    ]


def _message(
    event: str, number: int, told: Told, *, retry: int | None = None
) -> ServerSentEventMessage:
    data = msgspec.json.encode(told).decode()
    return ServerSentEventMessage(event=event, id=number, data=data, retry=retry)


router = Router("/", route_handlers=[live])
