# SPDX-License-Identifier: Apache-2.0
"""Lists page by page: `limit` and `cursor` in, the whole list's next page in `Link` (RFC 8288).

The cursor is the key of the last one that was seen: what is added or removed meanwhile neither
repeats nor hides another one.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlencode

from litestar import Request, Response
from litestar.datastructures import State
from litestar.params import QueryParameter

from vtn.errors import Invalid

T = TypeVar("T")

MOST: Final = 1000
Limit = Annotated[int, QueryParameter(ge=1, le=MOST)]
Cursor = Annotated[str | None, QueryParameter(max_length=300)]


def paged(
    found: Sequence[T], *, key: Callable[[T], str], limit: int | None, cursor: str | None
) -> tuple[Sequence[T], str | None]:
    """One page, and the cursor of the next; None at the end. Raises Invalid for a lost place."""
    start = 0
    if cursor is not None:
        places = (index for index, one in enumerate(found) if key(one) == cursor)
        start = next(places, -1) + 1
        if not start:
            raise Invalid("cursor: what it stood for is gone; begin again without it.")
    page = found[start:] if limit is None else found[start : start + limit]
    more = start + len(page) < len(found)
    return page, key(page[-1]) if more and page else None


def linked(
    request: Request[Any, Any, State], page: list[T], after: str | None
) -> Response[list[T]]:
    """The page; `Link` leads to the next."""
    if after is None:
        return Response(page)
    queries = [(name, value) for name, value in request.query_params.items() if name != "cursor"]
    target = f"{request.url.path}?{urlencode([*queries, ('cursor', after)])}"
    return Response(page, headers={"Link": f'<{target}>; rel="next"'})
