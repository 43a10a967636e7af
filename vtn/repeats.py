# SPDX-License-Identifier: Apache-2.0
"""A request that is byte for byte the one before on its connection: what it says is known.

    POST /OpenADR2/Simple/2.0b/OadrPoll HTTP/1.1      } aiohttp reads it once, and says what it is;
    Host: ... Content-Length: 487 ...                 } `is_all_of` proves that these bytes are all
                                                      } of it and nothing but it;
    <oadr:oadrPayload ...>                            } equal bytes then are an equal request.

Reading a request and writing an answer through aiohttp costs 30 us, several times what there is to
decide about an idle poll. Pure.
"""

import re
from collections.abc import Callable

from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE

from oadr.endpoints import MEDIA_TYPE

_PLAIN = re.compile(rb"POST ([!-~]+) HTTP/1\.1\r\n((?:[!-~][^\r\n]*\r\n)+)\r\n")
"""Request line and header lines, none of them folded."""


def is_all_of(data: bytes, *, path: str, headers: int, body: bytes) -> bool:
    """Whether `data` is one whole request, where aiohttp has read one of these parts out of it.

    aiohttp may have had bytes of before in hand when `data` came. Then the request it read has
    another path, or a header more (the request line of `data` became part of one), or another
    body: it cannot have all three as they stand in `data`.
    """
    found = _PLAIN.match(data)
    return (
        found is not None
        and found[1] == path.encode()
        and found[2].count(b"\r\n") == headers
        and data[found.end() :] == body
    )


def answer(body: bytes, *, date: Callable[[], str] = rfc822_formatted_time) -> bytes:
    """A whole 200 to a request that keeps its connection, as aiohttp writes it."""
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
        f"Date: {date()}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n"
    ).encode() + body
