# SPDX-License-Identifier: Apache-2.0
"""Lists page by page: `limit` and `cursor` in, the whole list's next page in `Link` (RFC 8288).

The cursor is the key of the last one that was seen, and the database begins after it: what is added
or removed meanwhile neither repeats nor hides another one, and no page costs more than the first.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.params import QueryParameter

from vtn.errors import Invalid, Unknown

T = TypeVar("T")
V = TypeVar("V")

MOST: Final = 1000
Limit = Annotated[int, QueryParameter(ge=1, le=MOST)]
Cursor = Annotated[str | None, QueryParameter(max_length=300)]


def linked(
    request: Request[Any, Any, State],
    found: Sequence[T],
    *,
    limit: int,
    key: Callable[[T], str],
    view: Callable[[T], V],
) -> Response[list[V]]:
    """The page, of one more than `limit` that were looked for; `Link` leads to the next."""
    shown = [view(one) for one in found[:limit]]
    if len(found) <= limit:
        return Response(shown)
    return Response(shown, headers=next_page(request, key(found[limit - 1])))


def next_page(request: Request[Any, Any, State], after: str) -> dict[str, str]:
    """The header that leads to it."""
    queries = [(name, value) for name, value in request.query_params.items() if name != "cursor"]
    target = f"{request.url.path}?{urlencode([*queries, ('cursor', after)])}"
    return {"Link": f'<{target}>; rel="next"'}


@contextlib.contextmanager
def placed(cursor: str | None) -> Iterator[None]:
    """Around a search for what comes after a cursor. Raises Invalid where its place is lost."""
    try:
        yield
    except Unknown as fault:
        if cursor is None:
            raise
        raise Invalid("cursor: what it stood for is gone; begin again without it.") from fault


def pair(cursor: str | None) -> tuple[str, str] | None:
    """A cursor of two words, as `of_pair` has made it. Raises Invalid."""
    if cursor is None:
        return None
    try:
        return msgspec.json.decode(cursor, type=tuple[str, str])
    except msgspec.DecodeError as error:
        raise Invalid("cursor: send it as it came in Link.") from error


def of_pair(first: str, second: str) -> str:
    return msgspec.json.encode((first, second)).decode()
