"""What the console writes, and what it makes of what was typed."""

from datetime import UTC, datetime
from zoneinfo import available_timezones

import pytest

from vtn.console.asking import empty, order_of
from vtn.console.forms import Form
from vtn.console.shell import inside
from vtn.console.words import power, share, span, unit_for
from vtn.errors import InvalidEvent

NOW = datetime(2030, 1, 9, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4, "4 s"), (119, "119 s"), (300, "5 min"), (3900, "1 h 05 min"), (180_000, "2 d 2 h")],
)
def test_lengths_are_written_as_people_say_them(seconds, text):
    assert span(seconds) == text


def test_a_page_chooses_its_unit_once():
    assert unit_for(900.0, None, -12_400_000.0) == "MW"
    assert unit_for(900_000.0) == "kW"
    assert power(12_400_000.0, "MW") == "12.4"
    assert power(-0.001) == "0.0"
    assert power(None) == "\N{EN DASH}"


def test_a_share_of_nothing_has_no_sign():
    assert share(-0.001) == "0 %"


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example", ""])
def test_nobody_is_sent_elsewhere_after_the_log_in(path):
    assert inside(path) == "/"


def filled(**values):
    form = empty()
    for name, value in {"value": "200", "duration": "1h", "everyone": "yes", **values}.items():
        form.put(name, value)
    return form


def test_reduce_by_is_a_negative_delta():
    signal = order_of(filled(), NOW).signals[0]

    assert (signal.name, signal.type, signal.unit, signal.value) == (
        "LOAD_DISPATCH",
        "delta",
        "kW",
        -200.0,
    )


def test_a_share_less_is_a_factor():
    signal = order_of(filled(kind="share", unit="%", value="20"), NOW).signals[0]

    assert (signal.type, signal.value) == ("multiplier", 0.8)


@pytest.mark.skipif("Europe/Zurich" not in available_timezones(), reason="no tzdata here")
def test_an_end_in_the_operators_own_zone_is_a_length():
    order = order_of(
        filled(
            duration="", starts="2030-01-09T17:00", ends="2030-01-09T18:30", zone="Europe/Zurich"
        ),
        NOW,
    )

    assert order.start == "2030-01-09T16:00:00+00:00"
    assert order.duration == "5400s"


def test_without_a_start_it_begins_as_soon_as_the_notice_allows():
    assert order_of(filled(notice="15m"), NOW).start == "now+15m"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"value": "much"}, "value"),
        ({"value": "-5"}, "value"),
        ({"unit": "%"}, "unit"),
        ({"kind": "share", "unit": "%", "value": "101"}, "value"),
        ({"everyone": ""}, "nodes"),
        ({"nodes": "mill"}, "nodes"),
        ({"duration": ""}, "duration"),
        ({"ends": "2030-01-09T18:00"}, "ends"),
        ({"ends": "2030-01-09T10:00", "duration": ""}, "ends"),
        ({"starts": "tomorrow"}, "starts"),
        ({"starts": "2030-01-09T18:00", "zone": "Mars/Olympus"}, "zone"),
        ({"priority": "high"}, "priority"),
    ],
)
def test_what_is_wrong_names_its_field(values, field):
    with pytest.raises(InvalidEvent) as caught:
        order_of(filled(**values), NOW)

    assert str(caught.value).startswith(f"{field}: ")


def test_a_refusal_stands_beside_its_field_and_what_was_typed_stays():
    form = Form.of(starts="25:00")

    form.refuse("start: '25:00' is no time.", fields={"start": "starts"})

    assert form.faults == {"starts": "'25:00' is no time."}
    assert form.get("starts") == "25:00"


def test_a_refusal_that_names_no_field_stands_on_top():
    form = Form.of(value="5")

    form.refuse("There is no market context; add one: see docs.")

    assert form.faults == {"": "There is no market context; add one: see docs."}
