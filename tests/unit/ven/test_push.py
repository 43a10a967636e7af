"""What a VTN may push, and what a VEN makes of it; sockets are in tests/story/test_ven_push.py."""

import asyncio
from dataclasses import replace

import pytest

import oadr
from oadr.event import CreatedEvent, RequestEvent
from oadr.poll import Poll, Response
from oadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatePartyRegistration,
    QueryRegistration,
    RequestReregistration,
)
from oadr.report import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisteredReport,
    RegisterReport,
    UpdatedReport,
    UpdateReport,
)
from oadr.response import EiResponse
from oadr.vocabulary import ServiceName
from tests.unit.ven.makers import distribute, event
from tests.unit.ven.requests import usage_request
from ven.config import PushSettings
from ven.errors import NotRegistered, RegistrationEnded, Unproven
from ven.push import PushDesk, PushTalk

PUSHED = [
    (ServiceName.EVENT, distribute(event()), Response),
    (ServiceName.REPORT, RegisterReport(request_id="r", ven_id="ven"), RegisteredReport),
    (
        ServiceName.REPORT,
        CreateReport(request_id="r", requests=(usage_request(),), ven_id="ven"),
        CreatedReport,
    ),
    (
        ServiceName.REPORT,
        CancelReport(request_id="r", report_request_ids=("u",), ven_id="ven"),
        CanceledReport,
    ),
    (ServiceName.REPORT, UpdateReport(request_id="r", ven_id="ven"), UpdatedReport),
    (ServiceName.REGISTER_PARTY, RequestReregistration(ven_id="ven"), Response),
    (
        ServiceName.REGISTER_PARTY,
        CancelPartyRegistration(request_id="r", registration_id="reg-1", ven_id="ven"),
        CanceledPartyRegistration,
    ),
]


def push_desk(ven):
    return PushDesk(ven.reception, ven.registrar, ven.desk, None)


async def pushed(ven, service, message):
    reply = await push_desk(ven).take(service, oadr.build(message))
    assert reply.status == 200
    return oadr.parse(reply.body) if reply.body else None


@pytest.mark.parametrize(("service", "message", "kind"), PUSHED)
async def test_an_unregistered_ven_does_nothing_and_says_463(make_ven, service, message, kind):
    ven = make_ven(registered=False)  # rules 405 and 517
    answer = await pushed(ven, service, message)

    assert (type(answer), answer.response.response_code) == (kind, "463")
    assert answer.response.request_id in ("r", "d-1", "")
    assert not ven.state.answers()
    assert not ven.state.events()
    assert not ven.state.requests()


@pytest.mark.parametrize("ven_id", ["VEN", "other"])
@pytest.mark.parametrize(("service", "message", "kind"), PUSHED[1:])
async def test_what_is_for_another_ven_gets_452(ven, service, message, kind, ven_id):
    other = oadr.parse(  # rules 21, 304, 400 and 512
        oadr.build(message).replace(b">ven</ei:venID>", f">{ven_id}</ei:venID>".encode())
    )
    answer = await pushed(ven, service, other)

    assert (type(answer), answer.response.response_code) == (kind, "452")
    assert not ven.state.requests()
    assert ven.state.registration() is not None


async def test_requests_are_answered_in_the_response_with_their_own_id(ven):  # rules 207, 303, 329
    answer = await pushed(ven, *PUSHED[2][:2])
    assert (answer.response.request_id, answer.pending_report_request_ids) == ("r", ("u",))
    answer = await pushed(ven, *PUSHED[3][:2])
    assert (answer.response.request_id, answer.pending_report_request_ids) == ("r", ())
    assert not ven.state.answers()


async def test_events_are_acknowledged_by_nothing_and_answered_on_their_own(ven):  # rules 12, 51
    assert await pushed(ven, *PUSHED[0][:2]) is None
    await ven.outbox.drain()
    (answer,) = ven.vtn.of(CreatedEvent)
    assert answer.event_responses[0].request_id == "d-1"


async def test_an_empty_list_of_events_is_not_answered(ven):  # test E0_6010
    assert await pushed(ven, ServiceName.EVENT, distribute()) is None
    await ven.outbox.drain()
    assert not ven.vtn.received


@pytest.mark.parametrize(
    ("service", "message"),
    [
        (ServiceName.EVENT, RequestEvent(request_id="r", ven_id="ven")),  # rule 23
        (ServiceName.POLL, Poll(ven_id="ven")),  # rule 51
        (ServiceName.REPORT, distribute(event())),
        (ServiceName.OPT, RegisterReport(request_id="r", ven_id="ven")),
    ],
)
async def test_a_message_that_a_vtn_does_not_push_there_is_404(ven, service, message):
    reply = await push_desk(ven).take(service, oadr.build(message))
    assert reply.status == 404
    assert not ven.state.answers()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 406),
        (b"<x/>", 406),
        (b'<!DOCTYPE x [<!ENTITY e "e">]><x>&e;</x>', 406),
        (b"\xff\xfe", 406),
    ],
)
async def test_what_is_no_openadr_gets_its_http_status(ven, body, status):
    reply = await push_desk(ven).take(ServiceName.EVENT, body)
    assert reply.status == status


async def test_events_of_which_nothing_can_be_read_are_answered_so(ven):  # rule 33
    body = oadr.build(distribute(event())).replace(b"-40.0", b"NaN")
    assert (await push_desk(ven).take(ServiceName.EVENT, body)).body == b""
    await ven.outbox.drain()
    (answer,) = ven.vtn.of(CreatedEvent)
    assert (answer.response.response_code, answer.response.request_id) == ("459", "")  # rule 42


async def test_a_request_that_cannot_be_read_is_answered_in_its_own_kind(ven):  # rule 33
    body = oadr.build(PUSHED[2][1]).replace(b"PT4S", b"P1Y")
    answer = oadr.parse((await push_desk(ven).take(ServiceName.REPORT, body)).body)
    assert isinstance(answer, CreatedReport)
    assert (answer.response.response_code[0], answer.response.request_id) == ("4", "r")


async def test_what_follows_of_a_push_begins_when_the_vtn_has_its_answer(
    ven,
):  # tests N0_5040, 5050
    desk = push_desk(ven)
    reply = await desk.take(ServiceName.REGISTER_PARTY, oadr.build(PUSHED[5][1]))
    assert desk.next() is None
    reply.then()
    assert isinstance(desk.next(), RequestReregistration)
    wrong = CancelPartyRegistration(request_id="r", registration_id="REG-1", ven_id="ven")
    reply = await desk.take(ServiceName.REGISTER_PARTY, oadr.build(wrong))  # test N0_5070
    assert reply.then is None
    assert oadr.parse(reply.body).response.response_code == "452"


async def test_a_cancelled_registration_ends_the_conversation(ven):  # test N0_5040, rule 407
    desk = push_desk(ven)
    push = PushSettings(listen_port=0, address="https://ven.example")
    talk = PushTalk(push, desk, ven.poller, ven.registrar, ven.line)
    running = asyncio.create_task(talk.run())
    reply = await desk.take(ServiceName.REGISTER_PARTY, oadr.build(PUSHED[6][1]))
    reply.then()
    (result,) = await asyncio.gather(running, return_exceptions=True)

    assert isinstance(result.exceptions[0], RegistrationEnded)
    assert ven.state.registration() is None


async def test_a_push_waits_for_the_registration_that_is_under_way(make_ven):
    ven = make_ven(registered=False)
    desk = push_desk(ven)
    taken = []

    async def post(service, message):
        if not taken and type(message).__name__ == "CreatePartyRegistration":
            # The VTN pushes before its own answer has arrived here.
            taken.append(asyncio.create_task(desk.take(*_first_push())))
            await asyncio.sleep(0)
        return ven.vtn._answer(message)

    ven.vtn.post = post
    await ven.registrar.ensure()
    reply = await taken[0]
    assert oadr.parse(reply.body).response.ok


def _first_push():
    return ServiceName.REPORT, oadr.build(PUSHED[1][1])


async def test_other_settings_of_push_or_signature_register_again_with_the_ids(make_ven):
    ven = make_ven(push={"listen_port": 0, "address": "https://ven.example"})
    registration = await ven.registrar.ensure()  # it was registered for pull

    (message,) = (each for _, each in ven.vtn.received)
    assert (message.registration_id, message.ven_id) == ("reg-1", "ven")  # rule 402, test N1_0065
    assert (message.http_pull_model, message.transport_address) == (False, "https://ven.example")
    assert registration.terms == "push https://ven.example"
    assert registration.metadata_sent
    ven.vtn.received.clear()
    assert await ven.registrar.ensure() == registration
    assert not ven.vtn.received


async def test_an_allocated_ven_id_is_registered_with(make_ven):  # test N1_0025
    ven = make_ven(registered=False, ven={"ven_id": "0042"})
    await ven.registrar.ensure()
    message = ven.vtn.received[-1][1]
    assert (message.ven_id, message.registration_id) == ("0042", None)


def test_a_push_address_that_is_no_https_is_refused():
    with pytest.raises(ValueError, match="must begin with https"):
        PushSettings(listen_port=0, address="http://ven.example")


@pytest.mark.parametrize("knows_the_ids", [True, False])
async def test_a_vtn_that_forgot_the_ven_and_does_not_sign_is_registered_with_again(
    make_ven, knows_the_ids
):
    ven = make_ven(signature={"sign": True, "vtn_certificates": ["vtn.crt"]})  # rule 514

    def poll(_):
        if not ven.vtn.of(CreatePartyRegistration):
            raise Unproven("The answer is ignored.")

    def create(message):
        if message.registration_id and not knows_the_ids:
            return replace(
                ven.vtn.created(EiResponse(response_code="452"), known=False), vtn_id="vtn"
            )
        return None

    ven.vtn.script = {Poll: poll, CreatePartyRegistration: create}
    minding = asyncio.create_task(ven.registrar.mind_unproven())
    await ven.poller.poll()
    for _ in range(50):
        await asyncio.sleep(0)

    (message,) = ven.vtn.of(CreatePartyRegistration)
    assert (message.registration_id, message.xml_signature) == ("reg-1", True)
    assert minding.done() is not knows_the_ids
    minding.cancel()
    (result,) = await asyncio.gather(minding, return_exceptions=True)
    assert knows_the_ids or isinstance(result, NotRegistered)


@pytest.mark.parametrize("signs", [True, False])
async def test_a_query_that_is_answered_unsigned_keeps_no_ven_from_registering(make_ven, signs):
    ven = make_ven(registered=False, signature={"sign": True, "vtn_certificates": ["vtn.crt"]})

    def query(_):
        if not signs:
            raise Unproven("The answer is ignored.")

    ven.vtn.script[QueryRegistration] = query
    assert (await ven.registrar.ensure()).terms == "pull signed"
    assert len(ven.vtn.of(QueryRegistration)) == 1
