# SPDX-License-Identifier: Apache-2.0
"""G1 by pull, G0 by push: TLS and polling of a VTN."""

import ssl

from conformance import drafts
from conformance.declaration import Ability, vtn_test
from conformance.errors import Failed, expect
from conformance.ven_player import find
from conformance.vtn_bench import VtnBench
from conformance.vtn_tests.event import longer, published
from conformance.vtn_tests.registration import SOON_S
from conformance.wire import client_context, handshake
from oadr.poll import Response
from oadr.report import CreateReport

MANDATED = {"ECDHE-ECDSA-AES128-SHA256": "an ECC", "AES128-SHA256": "an RSA"}


@vtn_test(
    pull="G1_4005",
    push="G0_9005",
    title="Mutual TLS: no certificate, no service",
    rules=(67, 68, 517),
)
async def certificate_demanded(bench: VtnBench) -> None:
    context = client_context(bench.setup.keys, anonymous=True)
    try:
        await handshake(bench.setup.url, context)
    except ConnectionError:
        return
    raise Failed(68, seen="an answer to a client without certificate", wanted="a TLS refusal")


@vtn_test(
    pull="G1_4010",
    push="G0_9010",
    title="TLS 1.2 with the mandated suites; an event and its modification over it",
    rules=(67, 68),
    needs=(Ability.EVENTS, Ability.MODIFY),
)
async def mandated_suites(bench: VtnBench) -> None:
    for suite, key in MANDATED.items():
        context = client_context(bench.setup.keys)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(suite)
        try:
            agreed, version = await handshake(bench.setup.url, context)
        except ConnectionError as error:
            raise Failed(
                67, seen=f"{suite}: {error}", wanted=f"{suite} with {key} chain"
            ) from error
        expect(
            (agreed, version) == (suite, "TLSv1.2"),
            rule=67,
            seen=f"{agreed} in {version}",
            wanted=f"{suite} in TLSv1.2",
        )
    await longer(bench)


@vtn_test(
    pull="X_67_OLD",
    title="TLS before 1.2 is refused",
    rules=(67,),
)
async def old_tls(bench: VtnBench) -> None:
    context = client_context(bench.setup.keys)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.options &= ~(ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    try:
        agreed = await handshake(bench.setup.url, context)
    except ConnectionError:
        return
    raise Failed(67, seen=f"{agreed[0]} in {agreed[1]}", wanted="TLS 1.2 or later")


@vtn_test(
    pull="X_516_EXPIRED",
    title="An expired certificate is refused",
    rules=(516,),
    needs=(Ability.EXPIRED,),
)
async def expired(bench: VtnBench) -> None:
    assert bench.setup.expired is not None
    try:
        await handshake(bench.setup.url, client_context(bench.setup.expired))
    except ConnectionError:
        return
    raise Failed(516, seen="an answer to an expired certificate", wanted="a TLS refusal")


@vtn_test(
    pull="G1_4011",
    title="A poll with nothing waiting",
    rules=(500, 501),
)
async def nothing_waits(bench: VtnBench) -> None:
    answer = await bench.ven.poll()
    expect(
        isinstance(answer, Response) and answer.response.ok,
        rule=500,
        seen=type(answer).__name__,
        wanted="oadrResponse 200",
    )


@vtn_test(
    pull="G1_4015",
    title="An event and a report request wait together",
    rules=(500, 502, 50),
    needs=(Ability.EVENTS, Ability.REPORTS),
)
async def both_wait(bench: VtnBench) -> None:
    ven = bench.ven
    draft = drafts.report_request(
        drafts.USAGE,
        ["usage-power"],
        granularity=bench.span(1),
        back=bench.span(1),
        length=bench.span(5),
    )
    request_id = await bench.vtn.request_report(ven.memory.ven_id, draft)
    event_id = await bench.publish(bench.price_event())
    message, _ = await ven.wait_event(event_id, SOON_S, rule=502)
    # The report request may have come first, and was accepted then; else it comes now.
    if request_id not in ven.memory.requested:
        waiting = await ven.wait_for(CreateReport, SOON_S, rule=500)
        await ven.answer(waiting)
    await ven.respond(message)
    left = await ven.drain()
    expect(
        not any(isinstance(one, CreateReport) for one in left),
        rule=500,
        seen="the answered oadrCreateReport once more",
        wanted="each message until it is answered",
    )


@vtn_test(
    pull="G1_4020",
    push="G0_9020",
    title="An event and a report without any reconfiguration in between",
    rules=(50, 300),
    needs=(Ability.EVENTS,),
)
async def as_it_is(bench: VtnBench) -> None:
    found = await published(bench, bench.price_event())
    message = await bench.ven.request_events()
    expect(find(message, found.event_id), rule=50, seen="no event", wanted=found.event_id)
    for request in (await bench.ven.offer_reports()).requests:
        await bench.ven.report(request)


@vtn_test(
    pull="X_500_LOST",
    title="What was handed out and not answered is handed out again",
    rules=(500, 52),
    needs=(Ability.REPORTS,),
    longest_s=180,
)
async def handed_out_again(bench: VtnBench) -> None:
    ven = bench.ven
    draft = drafts.report_request(drafts.USAGE, ["usage-power"], granularity=bench.span(1))
    request_id = await bench.vtn.request_report(ven.memory.ven_id, draft)

    def ours(message: CreateReport) -> bool:
        return request_id in [one.report_request_id for one in message.requests]

    await ven.wait_for(CreateReport, SOON_S, rule=500, where=ours)
    again = await ven.wait_for(CreateReport, 60, rule=500, where=ours, wanted="the same once more")
    await ven.answer(again)


@vtn_test(
    pull="X_RESTART",
    title="A restart of the VTN loses neither registration nor event",
    rules=(50, 407),
    needs=(Ability.EVENTS, Ability.RESTART),
    longest_s=180,
)
async def restarted(bench: VtnBench) -> None:
    found = await published(bench, bench.price_event(minutes=10))
    await bench.vtn.restart()
    message = await bench.ven.request_events()
    expect(find(message, found.event_id), rule=50, seen="the event is gone", wanted=found.event_id)
