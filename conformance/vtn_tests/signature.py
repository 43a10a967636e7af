# SPDX-License-Identifier: Apache-2.0
"""XML signatures towards a VTN (rule 514): what is not signed well is ignored.

The harness has registered with oadrXmlSignature, and signs. That the VTN signs what it says is
looked at in every test of a signed run.
"""

from datetime import timedelta

from conformance import drafts
from conformance.declaration import Ability, vtn_test
from conformance.errors import expect
from conformance.forgeries import FORGERIES, forge
from conformance.seal import Seal
from conformance.services import REGISTER
from conformance.vtn_bench import VtnBench
from oadr import Message, build
from oadr.event import RequestEvent
from oadr.registration import CancelPartyRegistration, QueryRegistration

SIGNED = (Ability.SIGNATURES,)
FAR_OFF = timedelta(hours=2)
"""Outside any window that makes sense."""


def seal_of(bench: VtnBench) -> Seal:
    """The harness's own; tests that need SIGNATURES have one."""
    assert bench.setup.seal is not None
    return bench.setup.seal


def leave(bench: VtnBench) -> Message:
    """A message that would be missed if it were acted on: the end of the registration."""
    return CancelPartyRegistration(
        request_id=drafts.fresh("cancel"),
        registration_id=bench.ven.memory.registration_id,
        ven_id=bench.ven.memory.ven_id,
    )


def question(bench: VtnBench) -> Message:
    """A message that is answered each time."""
    return RequestEvent(request_id=drafts.fresh("events"), ven_id=bench.ven.memory.ven_id)


async def ignored(bench: VtnBench, body: bytes, what: str) -> None:
    """The VTN says nothing to it but an HTTP status, and the registration stays."""
    exchange = await bench.ven.client.send(REGISTER, body, as_it_is=True)
    expect(
        exchange.status != 200 or not exchange.response,
        rule=514,
        seen=f"a payload in answer to a message {what}",
        wanted="no payload: the message is ignored",
    )
    await bench.ven.request_events()


async def ignored_again(bench: VtnBench, body: bytes) -> None:
    """The same signed bytes, sent before, are not answered a second time."""
    exchange = await bench.ven.client.send("EiEvent", body, as_it_is=True)
    expect(
        exchange.status != 200 or not exchange.response,
        rule=514,
        seen="a payload in answer to a message that was received before",
        wanted="no payload: a nonce counts once",
    )
    await bench.ven.request_events()


@vtn_test(
    pull="X_514_FORGED",
    push="X_514_PUSH_FORGED",
    title="Unsigned, exchanged, wrapped, half signed: ignored",
    rules=(514,),
    needs=SIGNED,
)
async def forged(bench: VtnBench) -> None:
    for how in FORGERIES:
        harmless = QueryRegistration(request_id=drafts.fresh("query"))
        signed = seal_of(bench).close(build(harmless))
        name = how.__name__.replace("_", " ")
        await ignored(bench, forge(how, signed, build(leave(bench))), f"made: {name}")


@vtn_test(
    pull="X_514_OLD",
    push="X_514_PUSH_OLD",
    title="Signed two hours ago, or two hours ahead: ignored",
    rules=(514,),
    needs=SIGNED,
)
async def outside_the_window(bench: VtnBench) -> None:
    now = drafts.utc_now()
    for at, what in ((now - FAR_OFF, "two hours old"), (now + FAR_OFF, "two hours ahead")):
        await ignored(bench, seal_of(bench).close(build(leave(bench)), at=at), what)


@vtn_test(
    pull="X_514_REPLAY",
    push="X_514_PUSH_REPLAY",
    title="The same signed message again: ignored",
    rules=(514,),
    needs=SIGNED,
)
async def replayed(bench: VtnBench) -> None:
    body = seal_of(bench).close(build(question(bench)))
    first = await bench.ven.client.send("EiEvent", body, as_it_is=True)
    expect(
        first.status == 200 and first.response,
        rule=514,
        seen=f"HTTP {first.status}, {len(first.response)} bytes",
        wanted="an answer to what is signed well",
    )
    await ignored_again(bench, body)


@vtn_test(
    pull="X_514_RESTART",
    title="The same signed message again, after a restart of the VTN: ignored",
    rules=(514,),
    needs=(Ability.SIGNATURES, Ability.RESTART),
)
async def replayed_after_restart(bench: VtnBench) -> None:
    body = seal_of(bench).close(build(question(bench)))
    await bench.ven.client.send("EiEvent", body, as_it_is=True)
    await bench.vtn.restart()
    await ignored_again(bench, body)


@vtn_test(
    pull="X_514_STRANGER",
    title="Signed well, with the key of somebody else: ignored",
    rules=(514,),
    needs=(Ability.SIGNATURES, Ability.STRANGER),
)
async def signed_by_a_stranger(bench: VtnBench) -> None:
    assert bench.setup.stranger is not None
    other = Seal(bench.setup.stranger, [bench.setup.stranger.cert])
    await ignored(bench, other.close(build(leave(bench))), "signed by a stranger")
