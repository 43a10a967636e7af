# SPDX-License-Identifier: Apache-2.0
"""EiRegisterParty of a VTN: N1 by pull, N0 by push."""

from conformance import drafts
from conformance.declaration import Ability, Start, vtn_test
from conformance.errors import Failed, NotRun, expect
from conformance.ven_player import VenPlayer
from conformance.vtn_bench import VtnBench
from oadr.poll import Poll, Response
from oadr.registration import CancelPartyRegistration, RequestReregistration
from oadr.report import RegisterReport, UpdateReport
from oadr.vocabulary import ProfileName, TransportName

SOON_S = 15.0


@vtn_test(
    pull="N1_0010",
    push="N0_5010",
    title="Query while not registered: profiles, no IDs",
    rules=(404, 403),
    start=Start.UNREGISTERED,
)
async def query_unregistered(bench: VtnBench) -> None:
    answer = await bench.ven.query()
    profiles = {profile.name: profile.transports for profile in answer.profiles}
    expect(
        TransportName.SIMPLE_HTTP in profiles.get(ProfileName.B, ()),
        rule=403,
        seen=f"profiles {profiles}",
        wanted="2.0b over simpleHttp",
    )
    expect(
        not answer.registration_id,
        rule=404,
        seen=f"registrationID {answer.registration_id}",
        wanted="no registrationID",
    )
    expect(not answer.ven_id, rule=404, seen=f"venID {answer.ven_id}", wanted="no venID")


@vtn_test(
    pull="N1_0015",
    push="N0_5015",
    title="Query while registered",
    rules=(404, 403),
)
async def query_registered(bench: VtnBench) -> None:
    answer = await bench.ven.query()
    memory = bench.ven.memory
    for what, found, wanted in (
        ("registrationID", answer.registration_id, memory.registration_id),
        ("venID", answer.ven_id, memory.ven_id),
    ):
        expect(found in (None, wanted), rule=404, seen=f"{what} {found}", wanted=wanted)


@vtn_test(
    pull="N1_0020",
    push="N0_5020",
    title="First registration and the exchange of metadata",
    rules=(301, 303, 309, 400, 401, 403, 405),
    start=Start.UNREGISTERED,
)
async def boot(bench: VtnBench) -> None:
    await bench.ven.register()
    await exchange_metadata(bench.ven)


async def exchange_metadata(ven: VenPlayer) -> None:
    """The VTN's metadata first, then the VEN's, then its events (rules 301, 309, 405)."""
    message = await ven.wait_for(
        RegisterReport, SOON_S, rule=301, wanted="oadrRegisterReport of the VTN after registration"
    )
    expect(
        all(report.intervals is None for report in message.reports),
        rule=305,
        seen="intervals in metadata",
        wanted="descriptions",
    )
    await ven.answer(message)
    await ven.offer_reports()
    await ven.request_events()


@vtn_test(
    pull="N1_0025",
    title="First registration with a venID allocated beforehand",
    rules=(301, 309, 402, 403, 405),
    start=Start.UNREGISTERED,
)
async def boot_with_ven_id(bench: VtnBench) -> None:
    given = bench.ven.given_ven_id or bench.ven.memory.ven_id
    if not given:
        raise NotRun("no venID is known: give it with --ven-id")
    before, bench.ven.given_ven_id = bench.ven.given_ven_id, given
    try:
        answer = await bench.ven.register()
    finally:
        bench.ven.given_ven_id = before
    expect(answer.ven_id == given, rule=403, seen=f"venID {answer.ven_id}", wanted=given)
    await exchange_metadata(bench.ven)


@vtn_test(
    pull="N1_0030",
    push="N0_5030",
    title="The VEN cancels its registration",
    rules=(400, 401, 407, 517),
)
async def ven_cancels(bench: VtnBench) -> None:
    ven_id = bench.ven.memory.ven_id
    await bench.ven.cancel_registration()
    bench.ven.memory.ven_id = ven_id
    await refused_unregistered(bench, Poll(ven_id=ven_id))


async def refused_unregistered(bench: VtnBench, message: Poll) -> None:
    """A VEN that is not registered gets 463 in an oadrResponse (rule 517)."""
    await bench.ven.ask(message, code="463", rule=517)


@vtn_test(
    pull="N1_0040",
    push="N0_5040",
    title="The VTN cancels the registration",
    rules=(401, 407, 517),
    needs=(Ability.UNREGISTER,),
)
async def vtn_cancels(bench: VtnBench) -> None:
    memory = bench.ven.memory
    ven_id, registration_id = memory.ven_id, memory.registration_id
    await bench.vtn.cancel_registration(ven_id)
    message = await bench.ven.wait_for(CancelPartyRegistration, SOON_S, rule=401)
    expect(
        message.registration_id == registration_id,
        rule=400,
        seen=f"registrationID {message.registration_id}",
        wanted=registration_id,
    )
    await bench.ven.answer(message)
    await refused_unregistered(bench, Poll(ven_id=ven_id))


@vtn_test(
    pull="N1_0050",
    push="N0_5050",
    title="The VTN asks for re-registration",
    rules=(401, 402, 403),
    needs=(Ability.REREGISTER,),
)
async def vtn_asks_again(bench: VtnBench) -> None:
    memory = bench.ven.memory
    ids = memory.ven_id, memory.registration_id
    await bench.vtn.request_reregistration(memory.ven_id)
    message = await bench.ven.wait_for(RequestReregistration, SOON_S, rule=401)
    if bench.ven.push_url:  # the same address, written otherwise
        bench.ven.push_url = (
            bench.ven.push_url[:-1]
            if bench.ven.push_url.endswith("/")
            else bench.ven.push_url + "/"
        )
    await bench.ven.answer(message)
    expect(
        (memory.ven_id, memory.registration_id) == ids,
        rule=403,
        seen=f"{memory.ven_id}, {memory.registration_id}",
        wanted=f"the same venID and registrationID: {', '.join(ids)}",
    )
    left = await bench.ven.drain()
    expect(
        not any(isinstance(one, RegisterReport) for one in left),
        rule=405,
        seen="metadata after a re-registration",
        wanted="metadata only after a new registration",
    )


@vtn_test(
    pull="N1_0060",
    push="N0_5060",
    title="A new registration although registered: everything begins anew",
    rules=(301, 405, 406),
)
async def register_anew(bench: VtnBench) -> None:
    old = dict(bench.ven.memory.requested)
    await bench.ven.register()
    await exchange_metadata(bench.ven)
    for request in list(old.values())[:1]:
        await bench.ven.ask(
            bench.ven.update(drafts.values(request, "TELEMETRY_USAGE", rows=1, step=drafts.SECOND)),
            code="4xx",
            rule=406,
        )


@vtn_test(
    pull="N1_0065",
    title="A re-registration keeps the IDs and needs no metadata",
    rules=(402, 403, 405),
)
async def register_again(bench: VtnBench) -> None:
    memory = bench.ven.memory
    ids = memory.ven_id, memory.registration_id
    await bench.ven.register(again=True)
    expect(
        (memory.ven_id, memory.registration_id) == ids,
        rule=403,
        seen=f"{memory.ven_id}, {memory.registration_id}",
        wanted=f"the same venID and registrationID: {', '.join(ids)}",
    )
    answer = await bench.ven.next_message(2.0)
    expect(
        not isinstance(answer, RegisterReport),
        rule=405,
        seen="metadata after a re-registration",
        wanted="metadata only after a new registration",
    )


@vtn_test(
    pull="N1_0070",
    push="N0_5070",
    title="Cancelling with a wrong registrationID",
    rules=(400, 33),
)
async def cancel_with_wrong_id(bench: VtnBench) -> None:
    await bench.ven.ask(
        CancelPartyRegistration(
            request_id=drafts.fresh("cancel"),
            registration_id="no-such-registration",
            ven_id=bench.ven.memory.ven_id,
        ),
        code="452",
        rule=400,
    )
    await bench.ven.request_events()  # still registered


@vtn_test(
    pull="N1_0080",
    push="N0_5080",
    title="No service while not registered",
    rules=(517, 405, 309),
    start=Start.UNREGISTERED,
)
async def no_service_unregistered(bench: VtnBench) -> None:
    ven_id = bench.ven.memory.ven_id or bench.ven.given_ven_id
    if not ven_id:
        raise NotRun("no venID is known: give it with --ven-id")
    await bench.ven.ask(Poll(ven_id=ven_id), code="463", rule=517)
    request = drafts.report_request(drafts.USAGE, drafts.POINTS[drafts.USAGE])
    message = UpdateReport(
        request_id=drafts.fresh("update"),
        reports=(drafts.values(request, "TELEMETRY_USAGE", rows=1, step=drafts.SECOND),),
        ven_id=ven_id,
    )
    answer = await bench.ven.say(message)
    if answer is None or isinstance(answer, Response):
        raise Failed(517, seen="oadrResponse", wanted="463 in an oadrUpdatedReport")
    await bench.ven.ask(message, code="463", rule=517)
