from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from light_node.local import OverrideState
from oadr.target import Target
from oadr.vocabulary import EventStatus, OptType, ResponseRequired
from tests.unit.ven.makers import START, distribute, event, known, party, price, signal, simple
from ven.config import OptSettings
from ven.events import changed_mind, take

BEFORE = START - timedelta(minutes=10)


def taken(*events, of=None, now=BEFORE, draw=0.5, request_id="d-1", **of_party):
    return take(
        distribute(*events, request_id=request_id),
        of or {},
        party=party(**of_party),
        now=now,
        draw=lambda: draw,
    )


def said(result):
    return [(a.event_id, a.response_code, a.opt_type.value) for a in result.answers]


def test_an_unknown_event_is_new():  # rule 56
    result = taken(event())

    assert said(result) == [("e", "200", "optIn")]
    assert (result.answers[0].request_id, result.answers[0].modification_number) == ("d-1", 0)
    assert result.changed == ("e",)


def test_an_empty_list_is_not_answered():  # test E1_1010
    assert taken().answers == ()


def test_an_unchanged_event_is_answered_again_as_before():  # rule 12
    first = taken(event())
    second = taken(event(), of=first.known, request_id="d-2")

    assert said(first) == said(second)
    assert second.answers[0].request_id == "d-2"  # rule 42
    assert second.known["e"].request_id == "d-2"


def test_responses_are_never_sent_to_events_that_want_none():  # rules 12 and 62
    never = event(response_required=ResponseRequired.NEVER)
    result = taken(never)

    assert result.answers == ()
    assert result.known["e"].holds


def test_a_higher_modification_replaces():  # rule 57
    result = taken(event(modification=1, length_s=7200), of=taken(event()).known)

    assert result.known["e"].event.modification_number == 1
    assert timedelta(hours=2) == result.known["e"].event.duration


def test_a_lower_modification_is_450_and_changes_nothing():  # rule 58, probe 19
    before = taken(event(modification=2)).known
    result = taken(event(modification=1), of=before)

    assert said(result) == [("e", "450", "optOut")]
    assert before == result.known


def test_an_event_missing_from_the_list_is_cancelled():  # rule 61, probe 20
    before = taken(event("a"), event("b")).known
    result = taken(event("b"), of=before)

    assert result.known["a"].ends_early_at == BEFORE
    assert result.known["b"].ends_early_at is None
    assert said(result) == [("b", "200", "optIn")]


def test_a_cancelled_event_ends_and_is_acknowledged():  # rules 36 and 59
    before = taken(event()).known
    now = START + timedelta(minutes=5)
    gone = event(modification=1, status=EventStatus.CANCELLED)
    result = taken(gone, of=before, now=now)

    assert said(result) == [("e", "200", "optIn")]
    assert now == result.known["e"].ends_at
    assert EventStatus.CANCELLED is result.known["e"].status(now)


def test_cancelling_an_unknown_event_is_acknowledged_only():  # rule 60
    result = taken(event(status=EventStatus.CANCELLED))

    assert said(result) == [("e", "200", "optIn")]
    assert result.known == {}


def test_a_cancelled_event_that_comes_back_is_taken_anew():
    cancelled = taken(of=taken(event()).known).known
    result = taken(event(), of=cancelled)

    assert result.known["e"].ends_early_at is None
    assert result.known["e"].holds


def test_a_cancelled_event_is_forgotten_and_its_id_may_begin_anew():  # rule 36
    gone = taken(event(modification=3, status=EventStatus.CANCELLED), of=taken(event()).known)
    result = taken(event(modification=0), of=gone.known)

    assert said(result) == [("e", "200", "optIn")]
    assert result.known["e"].holds
    assert said(taken(event(status=EventStatus.CANCELLED), of=gone.known)) == [
        ("e", "200", "optIn")
    ]


def test_the_random_offset_is_drawn_once():  # rule 30
    randomised = event(start_after=timedelta(minutes=5))
    first = taken(randomised, draw=0.5).known
    second = taken(
        replace(randomised, modification_number=1, duration=timedelta(hours=2)),
        of=first,
        draw=0.9,
    )

    assert timedelta(seconds=150) == first["e"].offset
    assert timedelta(seconds=150) == second.known["e"].offset
    assert START + timedelta(seconds=150) == second.known["e"].starts_at
    assert START + timedelta(hours=2, seconds=150) == second.known["e"].ends_at


def test_a_shorter_startafter_bounds_the_offset():
    first = taken(event(start_after=timedelta(minutes=5)), draw=0.99).known
    shorter = event(modification=1, start_after=timedelta(minutes=1))

    assert timedelta(minutes=1) == taken(shorter, of=first).known["e"].offset


@given(draw=st.floats(0, 1, exclude_max=True), within_s=st.integers(0, 3600))
def test_offsets_are_whole_seconds_within_startafter(draw, within_s):
    within = timedelta(seconds=within_s)
    offset = taken(event(start_after=within), draw=draw).known["e"].offset

    assert timedelta(0) <= offset <= within
    assert offset.microseconds == 0


def test_cancelling_a_running_randomised_event_ends_it_at_random():  # rule 65
    before = taken(event(start_after=timedelta(minutes=5)), draw=0.0).known
    now = START + timedelta(minutes=20)
    gone = event(modification=1, start_after=timedelta(minutes=5), status=EventStatus.CANCELLED)
    result = taken(gone, of=before, now=now, draw=0.5)

    assert now + timedelta(seconds=150) == result.known["e"].ends_at


def test_a_randomised_event_runs_out_though_the_vtn_lists_it_no_more():  # rule 66, probe 15
    before = taken(event(start_after=timedelta(minutes=5)), draw=0.5).known
    nominal_end = START + timedelta(hours=1)

    assert before == taken(of=before, now=nominal_end).known
    completed = event(start_after=timedelta(minutes=5), status=EventStatus.COMPLETED)
    after = taken(completed, of=before, now=nominal_end).known["e"]
    assert nominal_end + timedelta(seconds=150) == after.ends_at
    assert EventStatus.ACTIVE is after.status(nominal_end)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"market_context": "http://elsewhere.example"}, "462"),
        ({"target": Target(ven_ids=("another",))}, "462"),
        ({"target": Target(ven_ids=("VEN",))}, "462"),
        ({"target": Target(party_ids=("p",))}, "462"),
        ({"target": Target(resource_ids=("nowhere",))}, "469"),
        ({"signals": (signal(1, name="CHARGE_STATE"),)}, "460"),
        ({"signals": (simple(7),)}, "459"),
        ({"signals": (signal(-1, lengths_s=[60]),)}, "459"),
    ],
)
def test_what_cannot_be_acted_on_is_opted_out_with_its_code(changes, code):  # rules 48, 109, 112
    result = taken(event(**changes), market_contexts=("http://market.example",))

    assert [("e", code, "optOut")] == said(result)
    assert not result.known["e"].holds
    assert result.answers[0].description


@pytest.mark.parametrize(
    "target",
    [
        Target(),
        Target(ven_ids=("ven",)),
        Target(ven_ids=("another",), resource_ids=("building-1",)),
        Target(resource_ids=("nowhere", "building-1")),
        Target(resource_ids=("annexe",)),
        Target(group_ids=("feeder-7",)),
    ],
)
def test_targets_are_ored_and_an_empty_one_is_me(target):  # rule 22
    assert said(taken(event(target=target), more_resource_ids=("annexe",))) == [
        ("e", "200", "optIn")
    ]


def test_a_group_the_site_does_not_believe_is_another_ven():
    strange = event(target=Target(group_ids=("feeder-7",)))

    assert said(taken(strange, groups=("feeder-8",))) == [("e", "462", "optOut")]


def test_market_contexts_are_compared_normalised():  # rule 512
    here = {"market_contexts": ("HTTP://Market.Example/Programme/",)}
    same = event(market_context="http://market.example/Programme")
    other = event(market_context="http://market.example/programme")

    assert said(taken(same, **here)) == [("e", "200", "optIn")]
    assert said(taken(other, **here)) == [("e", "462", "optOut")]


def test_one_bad_event_harms_none_of_the_others():  # rule 19
    bad = event("bad", signals=(simple(9),))

    assert said(taken(event("good"), bad, event("fine"))) == [
        ("good", "200", "optIn"),
        ("bad", "459", "optOut"),
        ("fine", "200", "optIn"),
    ]


def test_an_event_that_cannot_be_kept_is_refused_and_the_others_are_not():
    odd = event("odd", market_context="http://market.example/\u00fc b")

    assert said(taken(odd, event())) == [("odd", "459", "optOut"), ("e", "200", "optIn")]


@pytest.mark.parametrize(
    "changes",
    [
        {"starts_at": datetime(9999, 12, 31, 23, 30, tzinfo=UTC)},
        {"starts_at": datetime(1, 1, 1, tzinfo=UTC)},
        {"starts_at": datetime(1, 1, 1, tzinfo=UTC), "ramp_up": timedelta(hours=1)},
        {"duration": timedelta(days=99_999_999)},
        {"start_after": timedelta(days=99_999_999)},
        {"recovery": timedelta.max},
        {"duration": timedelta(0), "signals": (signal(-1, -1, lengths_s=[86_400 * 10**7] * 2),)},
    ],
)
def test_an_event_beyond_any_calendar_is_refused_and_the_others_are_not(changes):
    assert said(taken(event("odd", **changes), event())) == [
        ("odd", "459", "optOut"),
        ("e", "200", "optIn"),
    ]


YEARS = timedelta(days=800)


@pytest.mark.parametrize(
    "changes",
    [
        {"length_s": YEARS.total_seconds()},
        {"starts_at": START - YEARS, "duration": timedelta(0)},
        {"starts_at": datetime(1970, 1, 1, tzinfo=UTC), "duration": timedelta(0)},
    ],
)
def test_an_order_of_years_is_a_mistake_and_not_followed(changes):
    result = taken(event(**changes))

    assert said(result) == [("e", "459", "optOut")]
    assert "366 days" in result.known["e"].reason
    assert not result.known["e"].holds


def test_a_price_may_hold_for_years_and_an_order_without_an_end_until_it_is_taken_back():
    prices = event(length_s=YEARS.total_seconds(), signals=(price(0.3, lengths_s=[800 * 86_400]),))

    assert said(taken(prices)) == [("e", "200", "optIn")]
    assert said(taken(event(duration=timedelta(0)))) == [("e", "200", "optIn")]


def test_the_second_of_two_equal_event_ids_is_refused():
    assert said(taken(event(), event())) == [("e", "200", "optIn"), ("e", "459", "optOut")]


def test_an_event_that_becomes_unusable_is_no_longer_held():
    result = taken(event(modification=1, signals=(simple(9),)), of=taken(event()).known)

    assert said(result) == [("e", "459", "optOut")]
    assert not result.known["e"].holds


def test_a_persons_no_outlasts_a_modification():
    refused, _ = changed_mind(known(), OptType.OPT_OUT, decided_by="person", reason="Fire drill.")
    result = taken(event(modification=1), of={"e": refused})

    assert said(result) == [("e", "200", "optOut")]
    assert result.known["e"].decided_by == "person"


def test_a_change_of_mind_answers_the_request_that_brought_the_event():  # rules 17 and 42
    after, answer = changed_mind(
        known(answered=0), OptType.OPT_OUT, decided_by="person", reason="Fire drill."
    )

    assert (answer.request_id, answer.opt_type, answer.event_id) == ("d-1", OptType.OPT_OUT, "e")
    assert after.answered == -1


def test_an_override_opts_out_of_what_begins_while_it_lasts():
    override = OverrideState(active=True, until=START + timedelta(minutes=1))
    result = taken(event(), event("later", starts_at=START + timedelta(hours=1)), override=override)

    assert said(result) == [("e", "200", "optOut"), ("later", "200", "optIn")]


def test_a_site_that_takes_part_in_nothing_opts_out():
    assert said(taken(event(), opt=OptSettings(policy="never"))) == [("e", "200", "optOut")]


@given(
    modifications=st.lists(st.integers(0, 4), min_size=1, max_size=8),
)
def test_the_known_modification_never_goes_back(modifications):
    state = {}
    newest = -1
    for number in modifications:
        result = taken(event(modification=number), of=state)
        (answer,) = result.answers
        assert ("450" if number < newest else "200") == answer.response_code
        newest = max(newest, number)
        state = result.known
        assert newest == state["e"].event.modification_number
