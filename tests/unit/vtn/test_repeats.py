"""Bytes that are one whole request, and the answer to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtn.repeats import answer, is_all_of

BODY = b"<p>\r\n\r\n</p>"
WHOLE = (
    b"POST /OpenADR2/Simple/2.0b/OadrPoll HTTP/1.1\r\nHost: vtn\r\n"
    b"Content-Type: application/xml\r\nContent-Length: 11\r\n\r\n" + BODY
)
PATH = "/OpenADR2/Simple/2.0b/OadrPoll"


def test_a_whole_request_is_all_of_itself():
    assert is_all_of(WHOLE, path=PATH, headers=3, body=BODY)


@pytest.mark.parametrize(
    ("path", "headers", "body"),
    [
        ("/other", 3, BODY),  # another request line stood before
        (PATH, 4, BODY),  # the request line became part of a header of before
        (PATH, 3, BODY[1:]),
        (PATH, 3, b""),
    ],
)
def test_what_was_read_must_be_what_stands_there(path, headers, body):
    assert not is_all_of(WHOLE, path=path, headers=headers, body=body)


@given(st.integers(0, len(WHOLE) - 1))
def test_a_part_is_not_all(cut):
    assert not is_all_of(WHOLE[:cut], path=PATH, headers=3, body=BODY)
    assert cut == 0 or not is_all_of(WHOLE[cut:], path=PATH, headers=3, body=BODY)


@given(st.binary(min_size=1))
def test_what_follows_is_not_of_it(more):
    assert not is_all_of(WHOLE + more, path=PATH, headers=3, body=BODY)


@pytest.mark.parametrize(
    "odd",
    [
        WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"),  # would not keep the connection
        WHOLE.replace(b"POST", b"PUT"),
        WHOLE.replace(b"Host: vtn\r\n", b"Host: vtn\r\n more\r\n"),  # a folded header
        WHOLE.replace(b"\r\n", b"\n"),
        b"\r\n" + WHOLE,
    ],
)
def test_odd_requests_are_left_to_aiohttp(odd):
    assert not is_all_of(odd, path=PATH, headers=3, body=BODY)


def test_an_answer_has_the_length_of_its_body():
    head, _, body = answer(b"<x/>", date=lambda: "Fri, 20 Nov 2026 09:00:00 GMT").partition(
        b"\r\n\r\n"
    )

    assert body == b"<x/>"
    assert b"Content-Length: 4\r\n" in head + b"\r\n"
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n")
