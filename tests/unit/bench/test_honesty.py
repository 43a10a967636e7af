"""The gate: a server that answers wrongly has no figure."""

from datetime import UTC, datetime, timedelta

import pytest

import oadr
from bench import honesty, messages
from bench.errors import WrongAnswer
from bench.load import Reply
from oadr.poll import Poll, Response
from oadr.report import UpdatedReport, UpdateReport
from oadr.response import EiResponse

AT = datetime(2030, 1, 9, 14, tzinfo=UTC)


def reply(message: object, status: int = 200) -> Reply:
    body = message if isinstance(message, bytes) else oadr.build(message)
    return Reply(status=status, body=body, took_s=0.0)


def idle(ven_id: str = "a", code: str = "200") -> Response:
    return Response(response=EiResponse(response_code=code), ven_id=ven_id)


def test_right_answers_are_counted_each() -> None:
    assert honesty.idle([reply(idle())] * 3, "a", who="x") == 3


@pytest.mark.parametrize(
    "wrong",
    [
        reply(idle(ven_id="b")),
        reply(idle(code="452")),
        reply(idle(), status=503),
        reply(Poll(ven_id="a")),
        reply(b"<html/>"),
        reply(oadr.build(idle()).replace(b"ei:responseCode>200", b"ei:responseCode>OK")),
        reply(b""),
    ],
)
def test_a_wrong_answer_among_right_ones_shuts_the_gate(wrong: Reply) -> None:
    with pytest.raises(WrongAnswer):
        honesty.idle([reply(idle()), wrong, reply(idle())], "a", who="x")


def test_an_update_must_echo_its_own_request() -> None:
    taken = UpdatedReport(response=EiResponse(request_id="r1"), ven_id="a")

    honesty.updated(reply(taken), "a", "r1", who="x")
    with pytest.raises(WrongAnswer):
        honesty.updated(reply(taken), "a", "r2", who="x")
    with pytest.raises(WrongAnswer):
        honesty.updated(reply(taken), "b", "r1", who="x")


def test_a_report_of_fifteen_minutes_is_as_long_as_the_one_the_goal_was_set_with() -> None:
    body = messages.update("a", "asked", AT, rows=messages.ROWS, request_id="r1")

    found = oadr.parse(body)
    assert isinstance(found, UpdateReport)
    intervals = found.reports[0].intervals
    assert intervals is not None
    assert intervals.count == 225
    assert intervals.starts_at[-1] == AT + timedelta(minutes=15) - messages.STEP
    assert len(set(intervals.columns[0].values)) > 200
    assert 70_000 < len(body) < 74_000
