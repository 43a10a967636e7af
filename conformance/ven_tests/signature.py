# SPDX-License-Identifier: Apache-2.0
"""XML signatures towards a VEN (rule 514): what is not signed well is ignored.

That the VEN signs what it says is looked at in every test of a signed run.
"""

from datetime import timedelta

from conformance import drafts
from conformance.declaration import Ability, Start, ven_test
from conformance.errors import expect
from conformance.forgeries import FORGERIES, forge
from conformance.seal import Seal
from conformance.services import EVENT
from conformance.ven_bench import FIRST_CONTACT_S, VenBench
from conformance.ven_tests.event import answer_to, answered, unanswered
from oadr import EiResponse, build
from oadr.event import CreatedEvent, Event
from oadr.poll import Poll, Response
from oadr.registration import CreatePartyRegistration

SIGNED = (Ability.SIGNATURES,)
FAR_OFF = timedelta(hours=2)
"""Outside any window that makes sense."""


def seal_of(bench: VenBench) -> Seal:
    """The harness's own; tests that need SIGNATURES have one."""
    assert bench.setup.seal is not None
    return bench.setup.seal


def telling(bench: VenBench, *events: Event) -> bytes:
    """An oadrDistributeEvent with these events, unsigned."""
    kept, bench.vtn.events = bench.vtn.events, list(events)
    body = build(bench.vtn.distribute_event())
    bench.vtn.events = kept
    return body


async def ignored(bench: VenBench, body: bytes) -> None:
    """No oadrCreatedEvent comes, and the VEN goes on."""
    since = bench.vtn.mark()
    await bench.vtn.deliver_bytes(body, EVENT)
    await unanswered(bench, rule=514, since=since)


async def goes_on(bench: VenBench) -> None:
    """What is signed well is answered as ever."""
    await answered(bench, bench.price_event(), rule=514)


@ven_test(
    pull="X_514_REGISTERS",
    push="X_514_PUSH_REGISTERS",
    title="The VEN registers with oadrXmlSignature",
    rules=(514, 402),
    start=Start.FRESH,
    needs=(Ability.SIGNATURES, Ability.FRESH),
)
async def registers(bench: VenBench) -> None:
    message = await bench.vtn.received(CreatePartyRegistration, FIRST_CONTACT_S, rule=401)
    expect(message.xml_signature, rule=514, seen="oadrXmlSignature false", wanted="true")


@ven_test(
    pull="X_514_FORGED",
    push="X_514_PUSH_FORGED",
    title="Unsigned, exchanged, wrapped, half signed: ignored",
    rules=(514,),
    needs=SIGNED,
    longest_s=400,
)
async def forged(bench: VenBench) -> None:
    since = bench.vtn.mark()
    empty = build(Response(response=EiResponse(), ven_id=bench.vtn.ven_id))
    for how in FORGERIES:
        signed = seal_of(bench).close(empty)
        body = forge(how, signed, telling(bench, bench.price_event()))
        await bench.vtn.deliver_bytes(body, EVENT)
        await bench.vtn.took_queue(60)
    await unanswered(bench, rule=514, since=since)
    await goes_on(bench)


@ven_test(
    pull="X_514_OLD",
    push="X_514_PUSH_OLD",
    title="Signed two hours ago, or two hours ahead: ignored",
    rules=(514,),
    needs=SIGNED,
)
async def outside_the_window(bench: VenBench) -> None:
    now = drafts.utc_now()
    for at in (now - FAR_OFF, now + FAR_OFF):
        body = telling(bench, bench.price_event())
        await ignored(bench, seal_of(bench).close(body, at=at))
    await goes_on(bench)


async def told_once(bench: VenBench) -> bytes:
    """An event is told in a signed message and answered -> the message."""
    event = bench.price_event()
    body = seal_of(bench).close(telling(bench, event))
    bench.vtn.events = [event]
    since = bench.vtn.mark()
    await bench.vtn.deliver_bytes(body, EVENT)
    await answer_to(bench, event, rule=514, since=since)
    return body


@ven_test(
    pull="X_514_REPLAY",
    push="X_514_PUSH_REPLAY",
    title="The same signed message again: ignored",
    rules=(514,),
    needs=SIGNED,
)
async def replayed(bench: VenBench) -> None:
    await ignored(bench, await told_once(bench))
    await goes_on(bench)


@ven_test(
    pull="X_514_RESTART",
    title="The same signed message again, after a restart of the VEN: ignored",
    rules=(514,),
    needs=(Ability.SIGNATURES, Ability.RESTART),
)
async def replayed_after_restart(bench: VenBench) -> None:
    body = await told_once(bench)
    bench.vtn.events = []
    since = bench.vtn.mark()
    await bench.ven.restart(forget=False)
    await bench.vtn.received(Poll, FIRST_CONTACT_S, rule=500, since=since)
    await bench.quiet()  # what it asks of its own accord when it starts
    since = bench.vtn.mark()
    await bench.vtn.deliver_bytes(body, EVENT)
    await bench.vtn.took_queue(bench.settle_s)
    await bench.quiet()
    found = bench.vtn.all_received(CreatedEvent, since=since)
    expect(not found, rule=514, seen="an oadrCreatedEvent", wanted="none: a nonce counts once")
    await goes_on(bench)
