from datetime import UTC, datetime

import click
import pytest
from click.testing import CliRunner

from certs.ordering import orders_a_code
from certs.sheet import MadeCode
from doorway import Door

MADE = MadeCode(
    code_id="K7Q2M",
    ven_id="hq",
    name="hq",
    code="K7Q2M-AAAAA",
    url="https://vtn.example:8445",
    root="3f" * 32,
    invitation="https://vtn.example:8445#K7Q2M",
    expires_at=datetime(2030, 1, 9, 14, tzinfo=UTC),
)


@pytest.fixture
def run():
    """The exit status and the output of an order, and the bodies that were asked for."""
    asked = []

    @click.command
    @orders_a_code
    def order_one(*, order) -> None:
        asked.append(order.body("hq"))
        order.deliver(MADE, as_json=False)

    program = Door(name="program", commands={"order": order_one})

    def invoke(*words):
        done = CliRunner().invoke(program, ["order", *map(str, words)])
        return done.exit_code, done.output, asked

    return invoke


def test_what_is_said_is_asked_for_and_hours_only_where_they_are_said(run):
    run("--name", "Head office", "--resource", "roof", "--resource", "cellar", "--group", "north")
    *_, asked = run("--hours", 3)

    assert asked == [
        {
            "ven_id": "hq",
            "name": "Head office",
            "resources": ("roof", "cellar"),
            "groups": ("north",),
        },
        {"ven_id": "hq", "name": "", "resources": (), "groups": (), "hours": 3},
    ]


def test_a_sheet_that_is_named_wrongly_is_refused_before_a_code_is_made(run, tmp_path):
    status, output, asked = run("--sheet", tmp_path / "hq.pdf")

    assert (status, asked) == (2, [])
    assert "name it *.html or *.svg" in output


def test_a_code_is_told_even_where_its_sheet_cannot_be_written(run, tmp_path):
    status, output, _ = run("--sheet", tmp_path / "nowhere" / "hq.html")

    assert status == 1
    assert MADE.code in output
    assert "cannot be written" in output
