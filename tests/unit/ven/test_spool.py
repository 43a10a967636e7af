from hypothesis import given
from hypothesis import strategies as st

from ven.spool import Spool

LAST = 60


@given(st.data())
def test_nothing_is_skipped_and_nothing_acknowledged_is_owed(data):
    """Play outages and batches at random; the spool owes exactly what has not arrived."""
    spool = Spool(after=data.draw(st.integers(0, 5)))
    start = spool.after
    arrived = set()
    newest = start
    for _ in range(data.draw(st.integers(0, 25))):
        newest = min(newest + data.draw(st.integers(0, 12)), LAST)
        act = data.draw(st.sampled_from(["live", "leave", "drain"]))
        if act == "live" and newest > spool.after:
            last = data.draw(st.integers(spool.after + 1, newest))
            arrived |= set(range(spool.after + 1, last + 1))
            spool = spool.acknowledge(last)
        elif act == "leave" and newest > spool.after:
            spool = spool.leave_behind(data.draw(st.integers(spool.after + 1, newest)))
        elif act == "drain" and spool.spans:
            after, until = spool.spans[0]
            last = data.draw(st.integers(after + 1, until))
            arrived |= set(range(after + 1, last + 1))
            spool = spool.drain(last)
        for row_id in range(start + 1, newest + 1):
            assert (row_id not in arrived) == spool.owes(row_id)
        assert list(spool.spans) == sorted(spool.spans)


def test_a_span_is_what_lies_before_the_first_live_row():
    spool = Spool(after=40).leave_behind(91)

    assert Spool(after=90, spans=((40, 90),)) == spool
    assert spool.owes(41)
    assert spool.owes(91)
    assert not spool.owes(40)


def test_nothing_is_left_behind_where_nothing_lies_between():
    assert Spool(after=40) == Spool(after=40).leave_behind(41)


def test_spans_are_drained_oldest_first():
    spool = Spool(after=10).leave_behind(21).acknowledge(30).leave_behind(41)

    assert spool.spans == ((10, 20), (30, 40))
    assert spool.drain(15).spans == ((15, 20), (30, 40))
    assert spool.drain(20).spans == ((30, 40),)
    assert spool.drain(20).drain(40).drain(40).spans == ()


def test_an_acknowledgement_never_goes_back():
    assert Spool(after=40).acknowledge(39).after == 40


def test_delivered_is_what_lies_before_all_that_is_owed():
    assert Spool(after=40).delivered == 40
    assert Spool(after=90, spans=((20, 30), (40, 90))).delivered == 20
