import pytest
from hypothesis import given
from hypothesis import strategies as st

import oadr
from oadr.errors import OadrError
from oadr.event import CreatedEvent, EventResponse
from oadr.familiar import MOST, Familiar
from oadr.response import EiResponse
from oadr.vocabulary import OptType

PLAIN = st.text("abcXYZ019-_.:", min_size=1, max_size=12)
ANY = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8) | PLAIN
NUMBERS = st.integers(0, 2**32 - 1)


@st.composite
def created(draw: st.DrawFn, texts: st.SearchStrategy[str] = PLAIN) -> CreatedEvent:
    return CreatedEvent(
        response=EiResponse(request_id=draw(texts)),
        event_responses=tuple(
            EventResponse(
                request_id=draw(texts),
                event_id=draw(texts),
                modification_number=draw(NUMBERS),
                opt_type=draw(st.sampled_from(OptType)),
            )
            for _ in range(draw(st.integers(0, 2)))
        ),
        ven_id=draw(texts),
    )


def answer(event_id: str = "e1", number: int = 0) -> CreatedEvent:
    said = EventResponse(
        request_id="r1", event_id=event_id, modification_number=number, opt_type=OptType.OPT_IN
    )
    return CreatedEvent(response=EiResponse(), event_responses=(said,), ven_id="0042")


def parsed(body: bytes) -> CreatedEvent | None:
    try:
        return oadr.parse(body)
    except OadrError:
        return None


@given(st.lists(created() | created(ANY), min_size=2, max_size=5))
def test_what_is_familiar_is_read_as_if_it_was_parsed(several):
    familiar = Familiar()
    for message in several:
        body = oadr.build(message)
        found = familiar.read(body)
        assert found is None or found == oadr.parse(body)
        familiar.keep(body, oadr.parse(body))
        assert familiar.read(body) in (None, oadr.parse(body))


def test_the_second_answer_of_the_same_wording_is_not_parsed():
    familiar = Familiar()
    first, second = oadr.build(answer()), oadr.build(answer("e2", 17))
    assert familiar.read(first) is None
    familiar.keep(first, answer())

    assert familiar.read(second) == answer("e2", 17)
    assert familiar.read(oadr.build(answer("e & 2"))) is None


@given(st.integers(0, 2000), st.binary(max_size=6), st.integers(0, 8))
def test_what_is_spoilt_is_not_familiar_or_says_what_the_parser_finds(place, put_in, cut):
    familiar = Familiar()
    familiar.keep(oadr.build(answer()), answer())
    body = oadr.build(answer("e2", 3))
    place %= len(body)
    spoilt = body[:place] + put_in + body[place + cut :]

    found = familiar.read(spoilt)

    assert found is None or found == parsed(spoilt)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<ei:eventID>e2<", b"<ei:eventID>e2&amp;<"),
        (b"<ei:eventID>e2<", b"<ei:eventID><![CDATA[e2]]><"),
        (b"<ei:eventID>e2<", b"<ei:eventID></ei:eventID><ei:eventID>e2<"),
        (b"Number>3<", b"Number>three<"),
        (b"Number>3<", b"Number>-3<"),
        (b"Number>3<", b"Number>99999999999999999999<"),
        (b"Number>3<", b"Number>3.0<"),
        (b"optIn", b"optOut"),
        (b"<oadr:oadrPayload ", b"<!DOCTYPE x [<!ENTITY e 'e'>]><oadr:oadrPayload "),
        (b"<ei:venID>", b"<!-- --><ei:venID>"),
        (b"<ei:venID>", b"<ei:venID x='1'>"),
    ],
)
def test_what_is_not_the_same_wording_is_parsed(old, new):
    familiar = Familiar()
    familiar.keep(oadr.build(answer()), answer())
    body = oadr.build(answer("e2", 3))
    assert old in body

    assert familiar.read(body.replace(old, new)) is None


@pytest.mark.parametrize(
    "odd",
    [
        oadr.build(answer()).replace(b"<ei:venID>", b"<!-- <ei:venID>x</ei:venID> --><ei:venID>"),
        oadr.build(answer()).replace(b"<ei:venID>", b"<?x <ei:venID>x</ei:venID>?><ei:venID>"),
        oadr.build(answer()).replace(b">0042<", b"><![CDATA[0042]]><"),
        oadr.build(answer()).replace(b">0042<", b"> 0042 <"),
        oadr.build(answer()).replace(b"Number>0<", b"Number>00<"),
    ],
)
def test_a_wording_with_more_than_elements_and_plain_text_is_not_kept(odd):
    familiar = Familiar()
    familiar.keep(odd, oadr.parse(odd))

    assert familiar.read(odd) is None


def test_strange_wordings_take_little_memory_and_do_no_harm():
    familiar = Familiar()
    for turn in range(2 * MOST + 1):
        said = answer()
        body = oadr.build(said).replace(b"<ei:venID>", b" " * turn + b"<ei:venID>")
        familiar.keep(body, said)
        assert len(familiar._known) <= MOST

    assert familiar.read(body) == said
