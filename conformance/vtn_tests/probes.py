# SPDX-License-Identifier: Apache-2.0
"""Tests of our own (X_…): where VTNs have been seen to go wrong, and the rules of HTTP."""

from dataclasses import replace

from conformance import drafts
from conformance.declaration import Ability, vtn_test
from conformance.errors import Failed, expect
from conformance.ven_player import find
from conformance.vtn_bench import VtnBench
from conformance.vtn_tests.ported import ACTIVE, answer_to, listed
from conformance.vtn_tests.registration import SOON_S
from conformance.wire import Client, Exchange, client_context
from oadr import build
from oadr.event import DistributeEvent, RequestEvent
from oadr.poll import Poll
from oadr.vocabulary import OptType, SignalType

XML = {"Content-Type": "application/xml"}


async def refused(
    bench: VtnBench,
    body: bytes,
    *,
    statuses: tuple[int, ...],
    path: str = "OadrPoll",
    method: str = "POST",
    headers: dict[str, str] | None = None,
) -> Exchange:
    """The VTN refuses this by one of the HTTP statuses, and goes on as before."""
    exchange = await bench.ven.client.send(
        path, body, method=method, headers=XML if headers is None else headers
    )
    wanted = " or ".join(f"HTTP {status}" for status in statuses)
    expect(exchange.status in statuses, rule=53, seen=f"HTTP {exchange.status}", wanted=wanted)
    await bench.ven.request_events()  # and nothing has happened to the registration
    return exchange


def poll_of(bench: VtnBench) -> bytes:
    """A poll as it should be."""
    return build(Poll(ven_id=bench.ven.memory.ven_id))


@vtn_test(pull="X_HTTP_GET", title="GET is no method of OpenADR: 501", rules=(53,))
async def get(bench: VtnBench) -> None:
    await refused(bench, b"", method="GET", statuses=(501,), headers={})


@vtn_test(pull="X_HTTP_TYPE", title="Another content type: 406", rules=(53,))
async def content_type(bench: VtnBench) -> None:
    await refused(
        bench, poll_of(bench), headers={"Content-Type": "application/json"}, statuses=(406,)
    )


@vtn_test(pull="X_HTTP_CHARSET", title="A charset beside the content type is fine", rules=(53,))
async def charset(bench: VtnBench) -> None:
    exchange = await bench.ven.client.send(
        "OadrPoll", poll_of(bench), headers={"Content-Type": "application/xml; charset=utf-8"}
    )
    expect(exchange.status == 200, rule=53, seen=f"HTTP {exchange.status}", wanted="HTTP 200")


@vtn_test(pull="X_HTTP_PATH", title="A path that does not exist: 404", rules=(511, 53))
async def wrong_path(bench: VtnBench) -> None:
    await refused(bench, poll_of(bench), path="NoSuchService", statuses=(404,))


@vtn_test(pull="X_511_URL", title="The URL is compared after normalisation", rules=(511,))
async def normalised_path(bench: VtnBench) -> None:
    for path in ("/OpenADR2/Simple/2.0b/%4FadrPoll", "/OpenADR2/Simple/./2.0b/OadrPoll"):
        exchange = await bench.ven.client.send(path, poll_of(bench))
        expect(
            exchange.status == 200,
            rule=511,
            seen=f"HTTP {exchange.status} to {path}",
            wanted="HTTP 200, as to the same path in normal form",
        )


@vtn_test(pull="X_HTTP_SERVICE", title="A message at another service's path", rules=(33, 53))
async def wrong_service(bench: VtnBench) -> None:
    exchange = await bench.ven.client.send("EiOpt", poll_of(bench))
    if exchange.status == 200:
        answer = bench.examiner.take(
            exchange.response, exchange.response_headers, request=None, asked=False
        )
        response = getattr(answer, "response", None)
        expect(
            response is not None and not response.ok,
            rule=33,
            seen=f"{answer}",
            wanted="HTTP 404 or an application error",
        )
        return
    expect(exchange.status == 404, rule=53, seen=f"HTTP {exchange.status}", wanted="HTTP 404")


@vtn_test(
    pull="X_HTTP_SCHEMA", title="A payload that is not valid by the schema: 406", rules=(53, 33)
)
async def schema_invalid(bench: VtnBench) -> None:
    body = poll_of(bench).replace(b"oadrPoll", b"oadrPool")
    await refused(bench, body, statuses=(406,))


@vtn_test(pull="X_HTTP_XML", title="A body that is not XML: 406", rules=(53,))
async def not_xml(bench: VtnBench) -> None:
    await refused(bench, b"poll, please", statuses=(406,))
    await refused(bench, b"", statuses=(406, 411))


@vtn_test(pull="X_HTTP_DOCTYPE", title="A DOCTYPE with an entity is not read", rules=(53,))
async def doctype(bench: VtnBench) -> None:
    ven_id = bench.ven.memory.ven_id.encode()
    body = poll_of(bench).replace(b"?>", b'?><!DOCTYPE a [<!ENTITY who "' + ven_id + b'">]>', 1)
    body = body.replace(b">" + ven_id + b"<", b">&who;<")
    await refused(bench, body, statuses=(400, 403, 406))


@vtn_test(pull="X_HTTP_UTF8", title="Another encoding than UTF-8: 406", rules=(53,))
async def other_encoding(bench: VtnBench) -> None:
    body = poll_of(bench).decode().replace("UTF-8", "UTF-16", 1).encode("utf-16")
    await refused(bench, body, statuses=(400, 406))


@vtn_test(
    pull="X_HTTP_SIZE", title="A body of many megabytes is refused, not choked on", rules=(53,)
)
async def oversize(bench: VtnBench) -> None:
    body = poll_of(bench).replace(b"?>", b"?><!--" + b"x" * (6 * 1024 * 1024) + b"-->", 1)
    try:
        exchange = await bench.ven.client.send("OadrPoll", body)
    except ConnectionError:
        exchange = None
    if exchange is not None:
        expect(
            exchange.status in (400, 406, 413),
            rule=53,
            seen=f"HTTP {exchange.status} to 6 MB",
            wanted="HTTP 413 or 406",
        )
    await bench.ven.request_events()


@vtn_test(pull="X_500_STRANGER", title="A poll under a venID that does not exist", rules=(500, 517))
async def poll_of_nobody(bench: VtnBench) -> None:
    await bench.ven.ask(Poll(ven_id="no-such-ven"), code="452", rule=500)


@vtn_test(pull="X_512_POLL", title="A poll under a venID in the other letters", rules=(512, 517))
async def poll_in_other_letters(bench: VtnBench) -> None:
    await bench.ven.ask(
        bench.ven.swapped(Poll(ven_id=bench.ven.memory.ven_id)), code="452", rule=512
    )


@vtn_test(
    pull="X_517_STRANGER",
    title="A certificate that no VEN has",
    rules=(517, 68),
    needs=(Ability.STRANGER,),
)
async def certificate_of_nobody(bench: VtnBench) -> None:
    assert bench.setup.stranger is not None
    context = client_context(bench.setup.stranger)
    async with Client(bench.setup.url, context, bench.record) as client:
        exchange = await client.send("OadrPoll", poll_of(bench))
    if exchange.status == 403:
        return
    answer = bench.examiner.take(
        exchange.response, exchange.response_headers, request=None, asked=False, agreed=False
    )
    code = getattr(getattr(answer, "response", None), "response_code", f"HTTP {exchange.status}")
    expect(
        code in ("452", "463"),
        rule=517,
        seen=f"{code} for a stranger under the venID of another",
        wanted="463 or 452, or HTTP 403",
    )


@vtn_test(
    pull="X_29_CURRENT",
    title="currentValue of an active SIMPLE event",
    rules=(14, 29),
    needs=(Ability.EVENTS, Ability.INTERVALS),
)
async def current_value(bench: VtnBench) -> None:
    five = 5 * drafts.SECOND
    signal = drafts.signal("SIMPLE", SignalType.LEVEL, [1, 2], [five, 4 * five])
    event_id = await bench.publish(bench.draft([signal], starts_at=bench.after()))
    message, found = await bench.ven.wait_event(event_id, SOON_S)
    await bench.ven.respond(message)
    for wanted, at in ((1.0, 2), (2.0, 8)):
        await bench.until(found.starts_at + at * drafts.SECOND)
        _, now = await listed(bench, event_id)
        seen = now.signals[0].current_value
        expect(now.status is ACTIVE, rule=13, seen=now.status, wanted="active")
        expect(seen == wanted, rule=29, seen=f"currentValue {seen}", wanted=f"{wanted:g}")


@vtn_test(
    pull="X_115_TOGETHER",
    title="One createdDateTime for all events of a payload",
    rules=(115,),
    needs=(Ability.EVENTS, Ability.CONTEXTS),
)
async def created_together(bench: VtnBench) -> None:
    one, other = bench.contexts
    await bench.publish(bench.price_event(context=one))
    await bench.until(drafts.utc_now() + 1.2 * drafts.SECOND)
    await bench.publish(bench.price_event(context=other))
    message = await bench.ven.request_events()
    created = {event.created_at for event in message.events}
    expect(
        len(message.events) >= 2 and len(created) == 1,
        rule=115,
        seen=f"{len(created)} createdDateTimes in {len(message.events)} events",
        wanted="one for all",
    )


@vtn_test(
    pull="X_21_NO_EVENTS",
    title="An answer to an event from a VEN that has none",
    rules=(21, 33, 48),
)
async def answer_without_events(bench: VtnBench) -> None:
    event = bench.draft([drafts.simple(1, bench.span(5))])
    message = DistributeEvent(request_id=drafts.fresh("request"), vtn_id="none")
    await bench.ven.ask(answer_to(bench, message, event, OptType.OPT_IN), code="452", rule=21)


@vtn_test(pull="X_46_EMPTY", title="An empty optional element counts as none", rules=(46,))
async def empty_is_omitted(bench: VtnBench) -> None:
    push = b"<oadr:oadrTransportAddress></oadr:oadrTransportAddress><oadr:oadrReportOnly>"
    request = replace(bench.ven.registration(again=True), transport_address=None)
    body = build(request).replace(b"<oadr:oadrReportOnly>", push)
    exchange = await bench.ven.client.send("EiRegisterParty", body)
    expect(exchange.status == 200, rule=46, seen=f"HTTP {exchange.status}", wanted="HTTP 200")
    answer = bench.examiner.take(
        exchange.response, exchange.response_headers, request=request, asked=False
    )
    response = getattr(answer, "response", None)
    expect(
        response is not None and response.ok, rule=46, seen=f"{answer}", wanted="responseCode 200"
    )


@vtn_test(pull="X_1_FRACTION", title="An instant with fractions of a second is taken", rules=(1,))
async def fractions(bench: VtnBench) -> None:
    message = bench.ven.metadata_message(drafts.metadata(bench.resources))
    stamp = message.reports[0].created_at.strftime("%Y-%m-%dT%H:%M:%S").encode()
    exchange = await bench.ven.client.send(
        "EiReport", build(message).replace(stamp + b"Z", stamp + b".123Z")
    )
    expect(exchange.status == 200, rule=1, seen=f"HTTP {exchange.status}", wanted="HTTP 200")
    answer = bench.examiner.take(
        exchange.response, exchange.response_headers, request=message, asked=False
    )
    response = getattr(answer, "response", None)
    expect(
        response is not None and response.ok, rule=1, seen=f"{answer}", wanted="responseCode 200"
    )


@vtn_test(
    pull="X_23_DIRECTION",
    title="oadrDistributeEvent from a VEN is not acted on",
    rules=(23, 33),
)
async def wrong_direction(bench: VtnBench) -> None:
    body = build(
        DistributeEvent(request_id=drafts.fresh("request"), vtn_id=bench.ven.memory.vtn_id)
    )
    exchange = await bench.ven.client.send("EiEvent", body)
    if exchange.status in (404, 406):
        return
    answer = bench.examiner.take(
        exchange.response, exchange.response_headers, request=None, asked=False
    )
    response = getattr(answer, "response", None)
    if exchange.status != 200 or response is None or response.ok:
        raise Failed(
            23, seen=f"HTTP {exchange.status}: {answer}", wanted="an application error or HTTP 404"
        )


@vtn_test(
    pull="X_12_COMPLETED",
    title="An event that is over is not listed as active",
    rules=(13, 50),
    needs=(Ability.EVENTS,),
)
async def over(bench: VtnBench) -> None:
    event = bench.draft([drafts.simple(1, 2 * drafts.SECOND)], starts_at=bench.after())
    event_id = await bench.publish(event)
    message, found = await bench.ven.wait_event(event_id, SOON_S)
    await bench.ven.respond(message)
    await bench.until(found.starts_at + found.duration + 2 * drafts.SECOND)
    again = find(await bench.ven.request_events(), event_id)
    expect(
        again is None or again.status == "completed",
        rule=13,
        seen=again.status if again else "",
        wanted="completed or gone",
    )


@vtn_test(
    pull="X_27_ZERO",
    title="A huge replyLimit is no limit",
    rules=(27,),
)
async def huge_limit(bench: VtnBench) -> None:
    await bench.ven.ask(
        RequestEvent(
            request_id=drafts.fresh("events"),
            ven_id=bench.ven.memory.ven_id,
            reply_limit=4_000_000_000,
        ),
        rule=27,
    )
