import itertools
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ven.makers import START
from ven.timeline import Claim, applies, line

SPAN = 40


@st.composite
def claims(draw):
    made = []
    for rank in draw(st.permutations(range(draw(st.integers(0, 7))))):
        start = draw(st.integers(0, SPAN))
        length = draw(st.one_of(st.none(), st.integers(0, SPAN)))
        made.append(claim(start, None if length is None else start + length, rank))
    return made


def at(minute):
    return START + timedelta(minutes=minute)


def claim(start, end, rank, what=None):
    return Claim(
        starts_at=at(start),
        ends_at=None if end is None else at(end),
        rank=(rank,),
        what=rank if what is None else what,
    )


@given(claims())
def test_the_line_says_at_each_instant_what_the_claims_say(made):
    pieces = line(made)
    for half_minute in range(-2, 5 * SPAN):
        instant = START + timedelta(seconds=30 * half_minute)
        winner, piece = applies(made, instant), applies(pieces, instant)
        assert (winner and winner.what) == (piece and piece.what)


@given(claims())
def test_pieces_ascend_and_never_overlap(made):
    pieces = line(made)
    for before, after in itertools.pairwise(pieces):
        assert before.ends_at is not None
        assert before.starts_at < before.ends_at <= after.starts_at


@given(claims())
def test_each_piece_lies_within_its_claim(made):
    whole = {each.what: each for each in made}
    for piece in line(made):
        assert whole[piece.what].starts_at <= piece.starts_at
        assert piece.until <= whole[piece.what].until


@given(claims())
def test_a_line_is_its_own_line(made):
    pieces = line(made)

    assert pieces == line(pieces)


def test_the_drawing_in_the_docstring():
    a, b, c = claim(6, 17, 2, "A"), claim(12, 22, 1, "B"), claim(3, 14, 3, "C")
    pieces = line([a, b, c, claim(22, 25, 2, "A")])

    assert [
        (p.what, (p.starts_at - START).seconds // 60, (p.ends_at - START).seconds // 60)
        for p in pieces
    ] == [("C", 3, 6), ("A", 6, 12), ("B", 12, 22), ("A", 22, 25)]


def test_at_the_instant_that_ends_one_and_begins_another_the_beginning_one_applies():
    first, second = claim(0, 10, 1), claim(10, 20, 2)

    assert second == applies([first, second], at(10))


def test_a_claim_without_an_end_goes_on():
    (piece,) = line([claim(0, None, 1)])

    assert piece.ends_at is None


def test_a_better_claim_interrupts_and_gives_back():
    pieces = line([claim(0, None, 2, "long"), claim(5, 10, 1, "short")])

    assert [("long", at(5)), ("short", at(10)), ("long", None)] == [
        (piece.what, piece.ends_at) for piece in pieces
    ]
    assert replace(pieces[0], ends_at=None) == claim(0, None, 2, "long")
