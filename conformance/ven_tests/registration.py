# SPDX-License-Identifier: Apache-2.0
"""EiRegisterParty of a VEN: N1 by pull, N0 by push."""

from conformance import drafts
from conformance.declaration import Ability, Start, ven_test
from conformance.errors import NotRun, expect
from conformance.services import EVENT
from conformance.ven_bench import FIRST_CONTACT_S, VenBench
from oadr import build
from oadr.event import CreatedEvent, RequestEvent
from oadr.poll import Poll
from oadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatePartyRegistration,
    QueryRegistration,
    RequestReregistration,
)
from oadr.report import RegisteredReport, RegisterReport, UpdateReport

FRESH = (Ability.FRESH,)


async def registration(
    bench: VenBench, *, again: bool, since: int | None = None
) -> CreatePartyRegistration:
    """The VEN registers, with its IDs or without (rule 402)."""
    message = await bench.vtn.received(
        CreatePartyRegistration, FIRST_CONTACT_S, rule=401, since=since
    )
    expect(
        bool(message.registration_id) is again,
        rule=402,
        seen=f"registrationID {message.registration_id!r}",
        wanted="its registrationID" if again else "no registrationID",
    )
    return message


@ven_test(
    pull="N1_0010",
    push="N0_5010",
    title="Query while not registered",
    rules=(401, 404),
    start=Start.FRESH,
    needs=FRESH,
)
async def query_unregistered(bench: VenBench) -> None:
    await registration(bench, again=False)
    if not bench.vtn.all_received(QueryRegistration):
        raise NotRun("the VEN registers without asking what the VTN offers, as it may")


@ven_test(
    pull="N1_0015",
    push="N0_5015",
    title="An answer with what the schema demands and nothing more",
    rules=(46, 404),
    start=Start.FRESH,
    needs=FRESH,
)
async def required_only(bench: VenBench) -> None:
    bench.vtn.with_ids_only = True
    await registration(bench, again=False)
    await bench.vtn.received(RegisterReport, bench.settle_s, rule=309)
    if not bench.vtn.push_address:
        await bench.vtn.polled(within_s=FIRST_CONTACT_S)


@ven_test(
    pull="N1_0020",
    push="N0_5020",
    title="First registration and the exchange of metadata",
    rules=(301, 303, 305, 309, 331, 401, 402, 405, 508, 511),
    start=Start.FRESH,
    needs=FRESH,
)
async def boot(bench: VenBench) -> None:
    message = await registration(bench, again=False)
    expect(
        message.http_pull_model is not None,
        rule=402,
        seen="no oadrHttpPullModel",
        wanted="oadrHttpPullModel",
    )
    await metadata_exchanged(bench)


async def metadata_exchanged(bench: VenBench, since: int | None = None) -> None:
    """Metadata of the VEN, its answer to that of the VTN, and its request for events."""
    await bench.vtn.received(RegisterReport, bench.settle_s, rule=309, since=since)
    await bench.vtn.received(RequestEvent, bench.settle_s, rule=405, since=since)
    await bench.vtn.received(RegisteredReport, bench.settle_s, rule=301, since=since)


@ven_test(
    pull="N1_0025",
    title="First registration with a venID allocated beforehand",
    rules=(402, 309, 405),
    start=Start.FRESH,
    needs=FRESH,
)
async def boot_with_ven_id(bench: VenBench) -> None:
    message = await registration(bench, again=False)
    if not message.ven_id:
        raise NotRun("the VEN was not given a venID, and sends none")
    bench.vtn.ven_id = message.ven_id
    await metadata_exchanged(bench)


@ven_test(
    pull="N1_0030",
    push="N0_5030",
    title="The VEN cancels its registration",
    rules=(400, 401, 407),
    needs=(Ability.UNREGISTER,),
)
async def ven_cancels(bench: VenBench) -> None:
    registration_id = bench.vtn.memory.registration_id
    await bench.ven.cancel_registration()
    try:
        message = await bench.vtn.received(CancelPartyRegistration, bench.settle_s, rule=401)
        expect(
            message.registration_id == registration_id,
            rule=400,
            seen=f"registrationID {message.registration_id}",
            wanted=registration_id,
        )
        since = bench.vtn.mark()
        await bench.quiet()
        expect(
            not bench.vtn.all_received(Poll, since=since),
            rule=407,
            seen="polls after the registration was cancelled",
            wanted="no more polls",
        )
    finally:
        await bench.ven.register()


@ven_test(
    pull="N1_0040",
    push="N0_5040",
    title="The VTN cancels the registration",
    rules=(401, 407),
)
async def vtn_cancels(bench: VenBench) -> None:
    message = CancelPartyRegistration(
        request_id=drafts.fresh("cancel"),
        registration_id=bench.vtn.memory.registration_id,
        ven_id=bench.vtn.ven_id,
    )
    await bench.vtn.deliver(message)
    answer = await bench.vtn.received(CanceledPartyRegistration, bench.settle_s, rule=401)
    expect(
        answer.response.ok and answer.response.request_id == message.request_id,
        rule=401,
        seen=f"{answer.response}",
        wanted="200 with the requestID of the request",
    )
    bench.vtn.forget()
    since = bench.vtn.mark()
    await registration(bench, again=False, since=since)
    early = bench.vtn.all_received(UpdateReport, since=since)
    expect(not early, rule=407, seen="reports of the old registration", wanted="all forgotten")


async def reregistered(bench: VenBench) -> int:
    """Ask for re-registration; the VEN comes back with both IDs -> the mark before."""
    since = bench.vtn.mark()
    await bench.vtn.deliver(RequestReregistration(ven_id=bench.vtn.ven_id))
    message = await registration(bench, again=True, since=since)
    for what, found, wanted in (
        ("venID", message.ven_id, bench.vtn.ven_id),
        ("registrationID", message.registration_id, bench.vtn.memory.registration_id),
    ):
        expect(found == wanted, rule=402, seen=f"{what} {found}", wanted=f"{wanted}")
    return since


@ven_test(
    pull="N1_0050",
    push="N0_5050",
    title="The VTN asks for re-registration",
    rules=(401, 402),
)
async def asked_to_register_again(bench: VenBench) -> None:
    await reregistered(bench)


@ven_test(
    pull="N1_0060",
    push="N0_5060",
    title="A new registration: metadata again",
    rules=(301, 402, 405, 406),
    needs=FRESH,
)
async def register_anew(bench: VenBench) -> None:
    since = bench.vtn.mark()
    await bench.ven.restart(forget=True)
    await registration(bench, again=False, since=since)
    await metadata_exchanged(bench, since)


@ven_test(
    pull="N1_0065",
    title="A re-registration needs no metadata",
    rules=(402, 405),
)
async def no_metadata_again(bench: VenBench) -> None:
    since = await reregistered(bench)
    await bench.quiet()
    expect(
        not bench.vtn.all_received(RegisterReport, since=since),
        rule=405,
        seen="metadata after a re-registration",
        wanted="metadata only after a new registration",
    )


@ven_test(
    pull="N1_0070",
    push="N0_5070",
    title="A cancellation with a wrong registrationID",
    rules=(400, 33),
)
async def cancel_with_wrong_id(bench: VenBench) -> None:
    await bench.vtn.deliver(
        CancelPartyRegistration(
            request_id=drafts.fresh("cancel"),
            registration_id="no-such-registration",
            ven_id=bench.vtn.ven_id,
        )
    )
    answer = await bench.vtn.received(CanceledPartyRegistration, bench.settle_s, rule=400)
    expect(
        answer.response.response_code == "452",
        rule=400,
        seen=f"responseCode {answer.response.response_code}",
        wanted="452, and the registration stays",
    )


@ven_test(
    pull="N1_0080",
    title="A VTN that does not know the VEN any more: it registers anew",
    rules=(401, 405),
)
async def unknown_at_the_vtn(bench: VenBench) -> None:
    since = bench.vtn.mark()
    bench.vtn.forget()
    await bench.vtn.received(
        CreatePartyRegistration,
        FIRST_CONTACT_S,
        rule=401,
        since=since,
        wanted="a registration after 463",
    )


@ven_test(
    push="N0_5080",
    title="What is pushed to a VEN that has left gets no normal service",
    rules=(405, 407, 33),
    needs=(Ability.UNREGISTER,),
)
async def pushed_while_unregistered(bench: VenBench) -> None:
    event = bench.price_event()
    address = bench.vtn.push_address
    await bench.ven.cancel_registration()
    try:
        await bench.vtn.received(CancelPartyRegistration, bench.settle_s, rule=401)
        since = bench.vtn.mark()
        bench.vtn.push_address = address
        bench.vtn.events = [event]
        await bench.vtn.deliver_bytes(build(bench.vtn.distribute_event()), EVENT)
        bench.vtn.events = []
        await bench.quiet()
        taken = [
            one for one in bench.vtn.all_received(CreatedEvent, since=since) if one.response.ok
        ]
        expect(not taken, rule=405, seen="an oadrCreatedEvent", wanted="no answer to it")
    finally:
        await bench.ven.register()


@ven_test(
    pull="X_401_DOWN",
    title="A VTN that is down while the VEN starts",
    rules=(401,),
    start=Start.FRESH,
    needs=FRESH,
    longest_s=240,
)
async def down_at_boot(bench: VenBench) -> None:
    bench.vtn.unavailable(3)
    await registration(bench, again=False)
    await bench.vtn.received(RegisterReport, FIRST_CONTACT_S, rule=401)


@ven_test(
    pull="X_402_RESTART",
    title="A restarted VEN keeps its registration",
    rules=(401, 402),
    needs=(Ability.RESTART,),
)
async def restarted(bench: VenBench) -> None:
    since = bench.vtn.mark()
    await bench.ven.restart(forget=False)
    await bench.vtn.anything_within(FIRST_CONTACT_S, rule=401)
    await bench.quiet()
    for message in bench.vtn.all_received(CreatePartyRegistration, since=since):
        expect(
            message.registration_id,
            rule=402,
            seen="a new registration without IDs",
            wanted="the registration it has",
        )
