"""A VEN on the wire: the VTN's own listener over mutual TLS, and everything hostile to it."""

import asyncio
import dataclasses
import ssl
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from structlog.testing import capture_logs

import oadr
from certs import Authority
from oadr.event import DistributeEvent, RequestEvent, SignalInterval
from oadr.poll import Poll, Response
from oadr.registration import CreatedPartyRegistration, QueryRegistration
from oadr.report import RegisterReport
from oadr.vocabulary import ServiceName
from tests.story.vtn.served import NAMES, XML, Wired, serving
from tests.story.vtn.utility import settings, simple, values
from vtn import listener as listening
from vtn.errors import ListenerFault
from vtn.listener import Listener, bind


@pytest.fixture
async def served(tmp_path, clock, authority):
    async with serving(tmp_path, clock, authority) as found:
        yield found


POLL = oadr.build(Poll(ven_id="0042"))
DTD = b'<!DOCTYPE a [<!ENTITY e "x">]>'


async def test_a_ven_goes_the_whole_way_and_the_vtn_restarts_in_between(served):
    async with await served.wired() as ven:
        await ven.say(
            ServiceName.REGISTER_PARTY, QueryRegistration(request_id="q"), CreatedPartyRegistration
        )
        await ven.register()
        await ven.poll(RegisterReport)
        asked = (await ven.offer()).requests[0].report_request_id
        await served.publish()
        event = (await ven.poll(DistributeEvent)).events[0]

        await served.store.close()
        await served.start()
        async with Listener(served.settings.openadr, served.gateway) as served.listener:
            assert (await ven.answer(event)).ok
            now = served.clock.now()
            reply = await ven.update(values(asked, now, tuple(map(float, range(225)))))
            assert reply.response.ok
            await served.restart()

    series = await served.desk.measurements("0042", "P", now, now.replace(hour=23))
    assert list(map(float, range(225))) == list(series.values)
    assert list((await served.desk.event(event.event_id)).answers) == ["0042"]


@pytest.mark.parametrize("rsa", [False, True])
@pytest.mark.parametrize(
    ("version", "ciphers"),
    [
        (ssl.TLSVersion.TLSv1_3, None),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA256"),
        (ssl.TLSVersion.TLSv1_2, "AES128-SHA256"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM"),
    ],
)
async def test_every_suite_of_the_standard_is_served(served, rsa, version, ciphers):
    """Rules 67 and 68."""
    async with await served.wired(rsa=rsa) as ven:
        ven.context.minimum_version = ven.context.maximum_version = version
        if ciphers is not None:
            ven.context.set_ciphers(ciphers)
        assert (await ven.poll()).response.response_code == "463"
        await ven.register()
        await ven.poll(RegisterReport)


async def test_nobody_gets_in_without_a_certificate_of_the_authority(served, tmp_path):
    """Rules 68 and 517."""
    stranger = type(served.authority).create(tmp_path / "other").ven("stranger")
    contexts = [served.tls(), served.tls(stranger)]

    for context in contexts:
        async with Wired(served, "0042", context) as ven:
            with pytest.raises(aiohttp.ClientError):
                await ven.post(ServiceName.POLL, POLL)


async def test_an_expired_certificate_does_not_get_in(served):
    """Rule 516."""
    two_years_ago = Authority.open(
        served.authority.folder, now=lambda: datetime.now(UTC) - timedelta(days=730)
    )
    expired = served.tls(two_years_ago.ven(next(NAMES)))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=expired)) as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(served.url(), data=POLL, headers=XML)


async def test_a_long_answer_is_compressed_for_who_accepts_that(served):
    """§9.1.5; and never chunked."""
    async with await served.wired() as ven:
        await ven.register()
        intervals = tuple(
            SignalInterval(duration=timedelta(minutes=1), value=float(n % 4)) for n in range(200)
        )
        signal = dataclasses.replace(simple(1)[0], intervals=intervals)
        await served.publish(signals=(signal,), duration=timedelta(minutes=200))
        asking = oadr.build(RequestEvent(request_id="e", ven_id="0042"))
        sizes = {}
        for encoding in ("identity", "gzip"):
            async with ven.session.post(
                served.url("EiEvent"), data=asking, headers=XML | {"Accept-Encoding": encoding}
            ) as response:
                assert "Transfer-Encoding" not in response.headers
                sizes[encoding] = int(response.headers["Content-Length"])
                assert len(oadr.parse(await response.read()).events[0].signals[0].intervals) == 200
        assert sizes["gzip"] < sizes["identity"] / 4


async def test_a_certificate_of_nobody_gets_463_and_a_revoked_one_is_nobodys(served):
    async with Wired(served, "0042", served.tls(served.authority.ven(next(NAMES)))) as stranger:
        assert (await stranger.poll()).response.response_code == "463"
    async with await served.wired() as ven:
        await ven.register()
        await served.desk.revoke_ven("0042", by="anna")  # which closes its connection

        async with Wired(served, "0042", ven.context) as again:
            assert (await again.poll()).response.response_code == "463"


async def lines(served):
    return len(await served.desk.audit(limit=1000))


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (406, b"", XML),
        (406, b"no XML at all", XML),
        (406, POLL[:-5], XML),
        (406, b"<oadrPoll/>", XML),
        (406, POLL.replace(b"venID", b"venId"), XML),
        (406, POLL.replace(b"?>", b"?>" + DTD, 1), XML),
        (406, POLL.decode().encode("utf-16"), XML),
        (406, POLL.replace(b"UTF-8", b"ISO-8859-1"), XML),
        (406, POLL.replace(b"0042", b"\xff"), XML),
        (406, POLL, {"Content-Type": "text/xml"}),
        (406, POLL, {"Content-Type": "application/xml; charset=utf-16"}),
        (406, POLL, {**XML, "Content-Encoding": "gzip"}),
        (413, b" " * 200_001, XML),
        (404, oadr.build(QueryRegistration(request_id="q")), XML),
    ],
)
async def test_what_is_not_openadr_gets_a_4xx_and_changes_nothing(served, status, body, headers):
    """Rule 53."""
    async with await served.wired() as ven:
        await ven.register()
        before = await lines(served)

        answer = await ven.post(ServiceName.POLL, body, headers)

        assert status == answer.status, answer.body
        assert answer.body.decode().strip()
        assert before == await lines(served)
        await ven.poll(RegisterReport)


async def test_mutated_messages_never_get_a_5xx(served):
    async with await served.wired() as ven:
        await ven.register()
        now = served.clock.now()
        asked = (await ven.offer()).requests[0].report_request_id
        good = oadr.build(
            oadr.report.UpdateReport(
                request_id="u", reports=(values(asked, now, (1.0, 2.0)),), ven_id="0042"
            )
        )
        for index in range(0, len(good), 23):
            broken = good[:index] + b"%9" + good[index + 3 :]
            answer = await ven.post(ServiceName.REPORT, broken)
            assert answer.status < 500, (index, answer)


async def test_only_post_and_only_the_five_paths_are_served(served):
    """Rules 53 and 511."""
    async with await served.wired() as ven:
        for method in ("GET", "PUT", "HEAD"):
            async with ven.session.request(method, served.url(), headers=XML) as response:
                assert response.status == 501
        base = f"https://127.0.0.1:{served.listener.port}"
        statuses = {}
        for where in (
            "/OpenADR2/Simple/2.0b/OadrPoll/",
            "/utility/OpenADR2/Simple/2.0b/OadrPoll",
            "/OpenADR2/Simple/2.0b/Nothing",
            "/OpenADR2/Simple/2.0b",
            "/",
        ):
            async with ven.session.post(base + where, data=POLL, headers=XML) as response:
                statuses[where] = response.status
        assert list(statuses.values()) == [200, 200, 404, 404, 404]


async def test_a_body_without_a_length_is_refused(served):
    async def pieces():
        yield POLL

    async with await served.wired() as ven:
        assert (await ven.post(ServiceName.POLL, pieces())).status == 411


async def test_parameters_of_the_content_type_are_no_matter(served):
    async with await served.wired() as ven:
        answer = await ven.post(
            ServiceName.POLL, POLL, {"Content-Type": 'application/xml; charset="UTF-8"; x=1'}
        )
        assert answer.status == 200


async def test_a_client_that_waits_for_100_continue_is_told_to_go_on(served):
    async with await served.wired() as ven:
        answer = await ven.post(ServiceName.POLL, POLL, expect100=True)
        assert answer.status == 200


async def test_stallers_are_cut_off(served, monkeypatch):
    monkeypatch.setattr(listening, "HEADER_S", 0.2)
    monkeypatch.setattr(listening, "BODY_S", 0.2)
    ven = await served.wired()
    head = b"POST /OpenADR2/Simple/2.0b/OadrPoll HTTP/1.1\r\nHost: vtn\r\n"
    body = head + b"Content-Type: application/xml\r\nContent-Length: 500\r\n\r\n<oadr"
    answers = {}
    for said in (b"", head, body):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", served.listener.port, ssl=ven.context
        )
        writer.write(said)
        async with asyncio.timeout(60):
            answers[said] = await reader.read()
        writer.close()

    assert (answers[b""], answers[head]) == (b"", b"")
    assert b"408" in answers[body].split(b"\r\n")[0]


async def test_a_client_that_goes_away_in_the_middle_disturbs_nobody(served):
    async with await served.wired() as ven:
        _reader, writer = await asyncio.open_connection(
            "127.0.0.1", served.listener.port, ssl=ven.context
        )
        writer.write(
            b"POST /OpenADR2/Simple/2.0b/OadrPoll HTTP/1.1\r\nHost: vtn\r\n"
            b"Content-Type: application/xml\r\nContent-Length: 500\r\n\r\n<oadr"
        )
        await writer.drain()
        writer.transport.abort()

        with capture_logs() as logged:
            assert (await ven.poll(Response)).response.response_code == "463"
        assert not [one for one in logged if one["log_level"] == "error"]


async def test_a_listener_that_cannot_start_says_why(served, tmp_path):
    port = served.listener.port
    with pytest.raises(ListenerFault, match=f"127.0.0.1:{port} cannot be bound: something else"):
        bind("127.0.0.1", port, whose="The listener for VENs")
    chain = served.settings.openadr.certificates[0]
    with pytest.raises(ListenerFault, match=r"no\.crt"):
        listening.tls_context(
            settings(
                "sqlite://",
                tmp_path,
                certificates=[{"cert": tmp_path / "no.crt", "key": chain.key}],
            ).openadr
        )
    with pytest.raises(ListenerFault, match=r"nothing\.pem"):
        listening.tls_context(
            settings(
                "sqlite://",
                tmp_path,
                certificates=[{"cert": chain.cert, "key": chain.key}],
                client_ca=tmp_path / "nothing.pem",
            ).openadr
        )
