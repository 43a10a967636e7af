"""What a person tells ahead (opt schedules) and of single resources of an event."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oadr.event import CreatedEvent
from oadr.opt import Availability, CanceledOpt, CancelOpt, CreatedOpt, CreateOpt
from oadr.poll import Poll
from oadr.response import EiResponse
from oadr.target import Target
from oadr.vocabulary import OptReason, OptType
from tests.unit.ven.makers import START, distribute, event
from ven.errors import UnknownEvent, UnknownOpt
from ven.opting import by_schedule
from ven.state import State

HOUR = timedelta(hours=1)
OUT, IN = OptType.OPT_OUT, OptType.OPT_IN
SITE = {"resource_id": "roof", "more_resource_ids": ["cellar"]}
BOTH = Target(resource_ids=("roof", "cellar"))


def stretch(starts_at=START, length=HOUR):
    return Availability(starts_at=starts_at, duration=length)


@pytest.fixture
def ven(make_ven):
    made = make_ven(site=SITE)
    made.vtn.script[CancelOpt] = lambda message: CanceledOpt(
        response=EiResponse(request_id=message.request_id), opt_id=message.opt_id
    )
    return made


async def test_a_schedule_reaches_the_vtn_even_over_an_outage_and_a_restart(ven):  # rules 200, 204
    ven.schedules.put(OUT, [stretch()], market_context="http://market.example", opt_id="night")
    ven.close()
    ven.state = State.open(ven.settings.ven.state)
    assert [each.opt_id for each in ven.state.schedules()] == ["night"]
    (answer,) = ven.state.answers()

    told = answer.message
    assert (told.opt_id, told.opt_type, told.schedule) == ("night", OUT, (stretch(),))
    assert (told.event, told.target) == (None, Target(ven_ids=("ven",)))
    assert (told.opt_reason, told.market_context) == ("x-schedule", "http://market.example")


async def test_a_schedule_is_told_once_and_taken_back_once(ven):  # tests P1_2010, P1_2020
    ven.schedules.put(OUT, [stretch()], opt_id="night")
    await ven.outbox.drain()
    ven.schedules.cancel("night")
    await ven.outbox.drain()

    assert [type(message) for _, message in ven.vtn.received] == [CreateOpt, CancelOpt]
    assert ven.vtn.of(CancelOpt)[0].opt_id == "night"
    assert not ven.schedules.all()
    assert not ven.state.answers()
    with pytest.raises(UnknownOpt, match="no opt schedule 'night'"):
        ven.schedules.cancel("night")


async def test_two_schedules_under_one_name_go_with_one_cancel(ven):  # test P1_2040, rule 204
    ven.schedules.put(OUT, [stretch()], opt_id="a", resource_ids=["roof"])
    ven.schedules.put(OUT, [stretch()], opt_id="a", resource_ids=["cellar"])
    assert len(ven.schedules.all()) == 2
    ven.schedules.cancel("a")
    assert not ven.schedules.all()


async def test_a_schedule_replaces_that_of_the_same_scope_only(ven):  # rule 203
    ven.schedules.put(OUT, [stretch()], opt_id="old")
    ven.schedules.put(IN, [stretch()], opt_id="in")
    ven.schedules.put(OUT, [stretch()], opt_id="class", device_classes=["Thermostat"])
    ven.schedules.put(OUT, [stretch(START + HOUR)], opt_id="new")
    assert [each.opt_id for each in ven.schedules.all()] == ["in", "class", "new"]


def test_a_schedule_for_a_resource_of_somebody_else_is_refused(ven):
    with pytest.raises(UnknownOpt, match=r"no resource attic; it has roof, cellar"):
        ven.schedules.put(OUT, [stretch()], resource_ids=["attic"])
    assert not ven.schedules.all()


async def test_a_new_registration_is_told_what_is_still_to_come(make_ven):  # rule 406
    ven = make_ven(site=SITE, registered=False)
    ven.schedules.put(OUT, [stretch(START - timedelta(days=9))], opt_id="over")
    ven.schedules.put(OUT, [stretch()], resource_ids=["roof"], opt_id="roof")
    ven.schedules.put(IN, [stretch(length=timedelta(0))], opt_id="open")
    assert not ven.state.answers()
    await ven.registrar.ensure()
    await ven.poller.introduce()
    await ven.outbox.drain()

    told = {each.opt_id: (each.ven_id, each.target) for each in ven.vtn.of(CreateOpt)}
    assert told == {
        "roof": ("ven", Target(resource_ids=("roof",))),
        "open": ("ven", Target(ven_ids=("ven",))),
    }


@pytest.mark.parametrize(
    ("put", "opt"),
    [
        ({"stretches": [stretch()]}, OUT),
        ({"stretches": [stretch(START - HOUR)]}, IN),  # it ends as the event begins
        ({"stretches": [stretch(START + HOUR)]}, IN),  # it begins as the event ends
        ({"stretches": [stretch(START - HOUR, timedelta(0))]}, OUT),  # open-ended (rule 210)
        ({"stretches": [stretch()], "resource_ids": ["roof"]}, IN),  # the cellar is there
        ({"stretches": [stretch()], "market_context": "http://other.example"}, IN),  # rule 205
        ({"stretches": [stretch()], "market_context": "HTTP://Market.example/"}, OUT),  # rule 512
        ({"stretches": [stretch()], "device_classes": ["EVSE"]}, IN),
        ({"stretches": [stretch()], "opt": IN}, IN),
    ],
)
def test_an_event_in_a_time_that_is_opted_out_is_opted_out(ven, put, opt):
    ven.schedules.put(put.pop("opt", OUT), put.pop("stretches"), **put)
    ven.desk.take(distribute(event()))
    assert ven.state.events()["e"].opt is opt


async def test_a_new_schedule_opts_out_of_what_was_opted_in(ven):  # rule 17
    ven.desk.take(distribute(event()))
    ven.schedules.put(OUT, [stretch()])
    ven.desk.mind_schedules()
    await ven.outbox.drain()
    told = [message.event_responses[0].opt_type for message in ven.vtn.of(CreatedEvent)]
    assert told == [IN, OUT]


async def test_one_resource_of_two_opts_out_and_the_event_is_held_for_the_other(ven):
    ven.desk.take(distribute(event(target=BOTH)))  # test E1_1060, rule 206
    known = ven.desk.opt("e", OUT, resource_ids=["cellar"])
    await ven.outbox.drain()

    assert (known.opt, known.out_resources, len(ven.desk.steps())) == (IN, ("cellar",), 1)
    (told,) = ven.vtn.of(CreateOpt)
    assert (told.opt_type, told.target) == (OUT, Target(resource_ids=("cellar",)))
    assert (told.event.event_id, told.event.modification_number) == ("e", 0)
    assert (told.schedule, told.market_context) == ((), None)  # rule 206
    assert ven.state.events()["e"].out_resources == ("cellar",)


async def test_the_last_resource_that_opts_out_ends_it_and_one_that_comes_back_resumes(ven):
    ven.desk.take(distribute(event(target=BOTH)))
    ven.desk.opt("e", OUT, resource_ids=["cellar"])
    assert ven.desk.opt("e", OUT, resource_ids=["roof"]).opt is OUT
    assert not ven.desk.steps()
    assert ven.desk.opt("e", IN, resource_ids=["roof"]).out_resources == ("cellar",)
    assert ven.desk.steps()
    assert ven.desk.opt("e", IN, resource_ids=["cellar"]).out_resources == ()


async def test_after_an_opt_by_resource_the_whole_is_told_by_opt_too(ven):  # test E1_1065, rule 206
    ven.desk.take(distribute(event(target=BOTH)))
    ven.desk.opt("e", OUT, resource_ids=["cellar"])
    ven.desk.opt("e", IN)
    await ven.outbox.drain()
    assert [(each.opt_type, each.target.resource_ids) for each in ven.vtn.of(CreateOpt)] == [
        (OUT, ("cellar",)),
        (IN, ("roof", "cellar")),
    ]
    assert len(ven.vtn.of(CreatedEvent)) == 1  # the first answer


async def test_a_resource_stays_out_when_the_event_is_modified(ven):
    ven.desk.take(distribute(event(target=BOTH)))
    ven.desk.opt("e", OUT, resource_ids=["cellar"])
    ven.desk.take(distribute(event(target=BOTH, modification=1, priority=1)))
    known = ven.state.events()["e"]
    assert (known.opt, known.out_resources, known.event.modification_number) == (IN, ("cellar",), 1)


@pytest.mark.parametrize("resource", ["cellar", "attic"])
def test_an_opt_aims_at_nothing_that_the_event_does_not(ven, resource):  # rule 206
    ven.desk.take(distribute(event(target=Target(resource_ids=("roof", "attic")))))
    with pytest.raises(UnknownOpt, match="of this site it does roof"):
        ven.desk.opt("e", OUT, resource_ids=[resource])
    with pytest.raises(UnknownEvent):
        ven.desk.opt("other", OUT, resource_ids=["roof"])


@pytest.mark.parametrize(
    ("target", "scope"),
    [
        (Target(), Target(ven_ids=("ven",))),
        (Target(ven_ids=("ven",)), Target(ven_ids=("ven",))),
        (Target(resource_ids=("cellar", "attic")), Target(resource_ids=("cellar",))),
        (Target(group_ids=("feeder",)), Target(group_ids=("feeder",))),
    ],
)
async def test_an_opt_of_the_whole_site_stays_within_the_events_target(make_ven, target, scope):
    ven = make_ven(site=SITE, opt={"by": "createOpt"})  # rule 206
    ven.desk.take(distribute(event(target=target)))
    ven.desk.opt("e", OUT)
    await ven.outbox.drain()
    (told,) = ven.vtn.of(CreateOpt)
    assert (told.target, told.opt_reason) == (scope, OptReason.NOT_PARTICIPATING)


async def test_an_opt_the_vtn_refuses_is_not_sent_for_ever(ven):
    ven.vtn.script[CreateOpt] = lambda message: CreatedOpt(
        response=EiResponse(response_code="452", request_id=message.request_id),
        opt_id=message.opt_id,
    )
    ven.schedules.put(OUT, [stretch()])
    await ven.outbox.drain()
    assert not ven.state.answers()
    assert len(ven.vtn.of(CreateOpt)) == 1
    assert not ven.vtn.of(Poll)


def test_schedules_are_the_sites_own_and_outlast_a_registration(ven):  # rule 407 is about the VTN
    ven.schedules.put(OUT, [stretch()], opt_id="night")
    ven.state.forget_everything()
    assert [each.opt_id for each in ven.schedules.all()] == ["night"]
    assert not ven.state.answers()


MINUTES = st.integers(min_value=-300, max_value=300)
LENGTHS = st.integers(min_value=0, max_value=120)  # 0 is open-ended


@given(MINUTES, LENGTHS, LENGTHS)
def test_an_event_meets_a_schedule_where_they_have_a_minute_in_common(shift, opted, asked):
    schedule = CreateOpt(
        opt_id="o",
        opt_type=OUT,
        opt_reason="x-schedule",
        ven_id="ven",
        schedule=(stretch(START + timedelta(minutes=shift), timedelta(minutes=opted)),),
        created_at=START,
        request_id="r",
        target=Target(ven_ids=("ven",)),
    )
    minutes = {shift + m for m in range(opted or 1000)}  # far past whatever is asked
    wanted = set(range(asked or 1000))
    found = by_schedule(event(length_s=60 * asked), [schedule])
    assert (found is not None) is bool(minutes & wanted)
