from email.utils import format_datetime

import pytest

import oadr
from tests.unit.ven.makers import distribute, event, settings
from ven.client import VtnClient, _by_status, base_url
from ven.errors import Overloaded, Stumbled, TurnedAway, Unreachable, Unusable

BASE = "https://vtn.example/OpenADR2/Simple/2.0b"


@pytest.mark.parametrize(
    "url",
    [
        "https://vtn.example",
        "https://vtn.example/",
        "https://vtn.example/OpenADR2/Simple/2.0b",
        "https://vtn.example/OpenADR2/Simple/2.0b/",
    ],
)
def test_the_path_is_added_once(url):  # rule 511
    assert base_url(url) == BASE


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (503, Overloaded),
        (429, Overloaded),
        (500, Stumbled),
        (502, Unreachable),
        (302, Unreachable),
        (403, TurnedAway),
        (404, TurnedAway),
        (406, TurnedAway),
        (413, TurnedAway),
        (501, TurnedAway),
    ],
)
def test_an_http_status_says_whether_to_try_again(status, kind):
    fault = _by_status(BASE, status)

    assert kind is type(fault)
    assert str(status) in str(fault)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("30", 30.0),
        ("Wed, 09 Jan 2030 14:00:45 GMT", 45.0),
        ("Wed, 09 Jan 2030 14:00:45", None),
    ],
)
def test_how_long_to_wait_is_a_number_or_a_date(clock, header, seconds):
    client = VtnClient(settings().vtn, None, now=clock.now)

    assert seconds == client._seconds(header)


async def parsed(body, clock):
    client = VtnClient(settings().vtn, None, now=clock.now)
    return await client._parsed(BASE, body)


async def test_an_answer_that_is_no_openadr_may_be_tried_again(clock):
    with pytest.raises(Unreachable, match="the answer is not OpenADR"):
        await parsed(b"<html>Bad gateway</html>", clock)


async def test_an_answer_with_unusable_content_tells_which_message_it_was(clock):
    body = oadr.build(distribute(event())).replace(b"-40.0", b"NaN")
    with pytest.raises(Unusable) as fault:
        await parsed(body, clock)

    assert (
        fault.value.response_code,
        fault.value.message,
        fault.value.request_id,
    ) == ("459", "oadrDistributeEvent", "d-1")


@pytest.mark.parametrize(
    ("ahead_s", "offset_s"), [(0, 0.0), (4, 0.0), (-4, 0.0), (6, 6.0), (-60, -60.0)]
)
def test_the_vtns_clock_is_compared_by_its_date(clock, ahead_s, offset_s):
    client = VtnClient(settings().vtn, None, now=clock.now)
    date = clock.now().replace(microsecond=0)
    client._compare_clocks(
        format_datetime(date.fromtimestamp(date.timestamp() + ahead_s, date.tzinfo))
    )

    assert offset_s == client.clock_offset_s


@pytest.mark.parametrize("date", [None, "yesterday", ""])
def test_a_date_that_is_none_says_nothing(clock, date):
    client = VtnClient(settings().vtn, None, now=clock.now)
    client._compare_clocks(date)

    assert client.clock_offset_s is None
