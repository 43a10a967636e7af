"""Attacks below the message: HTTP out of shape, TLS out of order, slowness, and sheer numbers.

The VTN runs on uvloop, as `vtn serve` does. All the while and right after, an honest VEN is
answered within a second or two.
"""

import asyncio
import contextlib
import random
import re
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import uvloop

import oadr
from certs import Authority, SiteRole
from oadr.poll import Poll
from oadr.registration import QueryRegistration
from oadr.report import RegisterReport
from oadr.vocabulary import ServiceName
from tests.conftest import Clock
from tests.story.vtn.served import NAMES, Wired, serving
from tests.story.vtn.utility import usage
from vtn import greeting
from vtn import listener as listening

PATH = b"/OpenADR2/Simple/2.0b/OadrPoll"
POLL = oadr.build(Poll(ven_id="mallory"))
PATIENCE_S = 60.0


@contextlib.asynccontextmanager
async def besieged(folder, authority, **more):
    """A VTN with an honest VEN and one that is not."""
    async with (
        serving(folder, Clock(), authority, **more) as vtn,
        await vtn.wired("honest") as vtn.honest,
    ):
        await vtn.honest.register()
        await vtn.honest.poll(RegisterReport)
        vtn.mallory = await vtn.wired("mallory")
        yield vtn


def in_uvloop(act):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(act)


async def honest_is_answered(vtn):
    """On the connection it has, and on a new one."""
    async with asyncio.timeout(PATIENCE_S):
        assert (await vtn.honest.poll()).response.ok
    async with asyncio.timeout(PATIENCE_S), Wired(vtn, "honest", vtn.honest.context) as again:
        assert (await again.poll()).response.ok


async def line(vtn, context=None):
    return await asyncio.open_connection(
        "127.0.0.1", vtn.listener.port, ssl=context or vtn.mallory.context
    )


async def heard(reader):
    """All that comes until the connection is closed, which must happen by itself."""
    said = b""
    async with asyncio.timeout(PATIENCE_S):
        with contextlib.suppress(OSError):
            while part := await reader.read(65_536):
                said += part
    return said


def statuses(said):
    return [int(each) for each in re.findall(rb"HTTP/1\.[01] (\d{3}) ", said)]


def post(body=POLL, *headers, head=b"POST " + PATH + b" HTTP/1.1", length=True):
    lines = [head, b"Host: vtn", b"Content-Type: application/xml", b"Connection: close", *headers]
    if length:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


SMUGGLED = post()
HTTP = {
    "CL and TE": post(b"0\r\n\r\n" + SMUGGLED, b"Transfer-Encoding: chunked"),
    "TE and CL": post(
        b"1\r\nx\r\n0\r\n\r\n" + SMUGGLED,
        b"Content-Length: 4",
        b"Transfer-Encoding: chunked",
        length=False,
    ),
    "TE twice": post(
        b"0\r\n\r\n",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
        length=False,
    ),
    "TE in disguise": post(SMUGGLED, b"Transfer-Encoding : chunked"),
    "TE xchunked": post(SMUGGLED, b"Transfer-Encoding: xchunked"),
    "chunked": post(b"1\r\nx\r\n0\r\n\r\n", b"Transfer-Encoding: chunked", length=False),
    "two lengths": post(POLL, b"Content-Length: 0"),
    "a negative length": post(POLL, b"Content-Length: -1", length=False),
    "a length with a sign": post(POLL, b"Content-Length: +%d" % len(POLL), length=False),
    "a length in hex": post(POLL, b"Content-Length: 0x10", length=False),
    "an endless length": post(POLL, b"Content-Length: " + b"9" * 40, length=False),
    "a folded header": post(POLL, b"X: a\r\n b"),
    "a space before the colon": post(POLL, b"X : a"),
    "a NUL in a header": post(POLL, b"X: a\0b"),
    "a header without a name": post(POLL, b": a"),
    "a header of 64 KiB": post(POLL, b"X: " + b"x" * 65_536),
    "a thousand headers": post(POLL, *(b"X-%d: 1" % number for number in range(1000))),
    "a path of 64 KiB": post(POLL, head=b"POST /" + b"x" * 65_536 + b" HTTP/1.1"),
    "a path that climbs": post(POLL, head=b"POST /../../etc/passwd HTTP/1.1"),
    "CONNECT": post(POLL, head=b"CONNECT 127.0.0.1:22 HTTP/1.1"),
    "GET with a body": post(POLL, head=b"GET " + PATH + b" HTTP/1.1"),
    "TRACE": post(POLL, head=b"TRACE " + PATH + b" HTTP/1.1"),
    "a method of its own": post(POLL, head=b"PO\0ST " + PATH + b" HTTP/1.1"),
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "HTTP/9.9": post(POLL, head=b"POST " + PATH + b" HTTP/9.9"),
    "an expectation of its own": post(POLL[:-1], b"Expect: the-unexpected"),
    "thirty megabytes": post(bytes(30_000_000)),
    "a terabyte, it says": post(POLL, b"Content-Length: 1000000000000", length=False),
    "a body of nothing": post(b""),
    "two requests at once, the second broken": (
        post().replace(b"Connection: close\r\n", b"") + b"POST\r\n\r\n"
    ),
    "TLS within TLS": b"\x16\x03\x01\x02\x00\x01\x00" * 20,
    "noise": random.Random(4).randbytes(4096),
    "another's certificate in a header": post(POLL, b"Client-Cert: :AAAA:"),
    "the same for nginx": post(POLL, b"x-ssl-client-cert: -----BEGIN%20CERTIFICATE-----"),
}


LEFT_ALONE = {
    "an upgrade to WebSocket": (post(POLL, b"Upgrade: websocket"), [200]),
    "an upgrade to HTTP/2": (post(POLL, b"Upgrade: h2c", b"HTTP2-Settings: AA"), [200]),
    "an unknown header": (post(POLL, b"X-Forwarded-For: 127.0.0.1"), [200]),
}


def test_what_http_offers_and_openadr_has_no_use_for_is_left_alone(tmp_path, authority):
    async def act():
        async with besieged(tmp_path, authority) as vtn:
            for name, (request, wanted) in LEFT_ALONE.items():
                reader, writer = await line(vtn)
                writer.write(request)
                answer = await heard(reader)
                writer.close()
                assert statuses(answer) == wanted, name
                assert answer.count(b"oadrPayload>") == 1, name
                assert b"463" in answer, name
                await honest_is_answered(vtn)

    in_uvloop(act())


def test_http_out_of_shape_is_refused_or_cut_off_and_nothing_is_smuggled(
    tmp_path, authority, monkeypatch
):
    monkeypatch.setattr(listening, "HEADER_S", 2.0)
    monkeypatch.setattr(listening, "BODY_S", 2.0)
    monkeypatch.setattr(listening, "LINGER_S", 0.2)

    async def act():
        async with besieged(tmp_path, authority) as vtn:
            before = await vtn.desk.audit()
            said = {}
            for name, request in HTTP.items():
                reader, writer = await line(vtn)
                writer.write(request)
                answer = await heard(reader)
                writer.close()
                said[name] = statuses(answer)
                assert b"oadrPayload" not in answer, name
                assert b"xxxx" not in answer, name  # nothing is echoed
                await honest_is_answered(vtn)
            assert await vtn.desk.audit() == before
            return said

    said = in_uvloop(act())
    assert all(400 <= each < 500 or each == 501 for all_ in said.values() for each in all_), said
    assert all(len(each) <= 1 for each in said.values()), said
    for name in ("CL and TE", "two lengths", "another's certificate in a header"):
        assert said[name] == [400], (name, said)


def contexts(vtn, folder):
    """Everybody who may not even speak."""
    other = Authority.create(folder / "other")
    past = Authority.open(vtn.authority.folder, now=lambda: datetime.now(UTC) - timedelta(days=730))
    yield "no certificate", vtn.tls()
    yield "of another authority", vtn.tls(other.ven("stranger"))
    yield "expired", vtn.tls(past.ven(next(NAMES)))
    yield "a VTN's", vtn.tls(vtn.authority.folder and issued_of(vtn.authority, "vtn-ecc"))
    yield "of the building's network", vtn.tls(vtn.authority.site(next(NAMES), SiteRole.EMS))
    for name, version in (("TLS 1.0", ssl.TLSVersion.TLSv1), ("TLS 1.1", ssl.TLSVersion.TLSv1_1)):
        yield name, older(vtn, version)
    for suite in ("AES256-SHA", "NULL-SHA256", "ECDHE-ECDSA-AES256-SHA384", "AECDH-NULL-SHA"):
        context = vtn.tls(vtn.mallory.issued)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(f"{suite}:@SECLEVEL=0")
        yield suite, context


def issued_of(authority, stem):
    class Issued:
        certificate = authority.folder / f"{stem}.crt"
        key = authority.folder / f"{stem}.key"

    return Issued


def older(vtn, version):
    context = vtn.tls(vtn.mallory.issued)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="is deprecated"):
        context.minimum_version = context.maximum_version = version
    return context


def test_nobody_without_a_good_certificate_and_good_tls_says_a_word(tmp_path, authority):
    async def act():
        async with besieged(tmp_path, authority) as vtn:
            for name, context in contexts(vtn, tmp_path):
                answer = b""
                with contextlib.suppress(OSError):
                    reader, writer = await line(vtn, context)
                    writer.write(post())
                    answer = await heard(reader)
                    writer.close()
                assert answer == b"", name
                await honest_is_answered(vtn)

    in_uvloop(act())


@pytest.mark.parametrize("rsa", [False, True])
def test_openssl_connects_with_both_suites_of_the_standard_and_with_tls_1_3(
    tmp_path, authority, rsa
):
    """Rules 67 and 68: on one listener, whatever kind of certificate the VEN has."""

    async def act():
        async with besieged(tmp_path, authority) as vtn:
            ven = authority.ven(next(NAMES), rsa=rsa)
            for words, suite in (
                (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"], "ECDHE-ECDSA-AES128-SHA256"),
                (["-tls1_2", "-cipher", "AES128-SHA256"], "AES128-SHA256"),
                (["-tls1_2", "-cipher", "AES128-GCM-SHA256"], "AES128-GCM-SHA256"),
                (["-tls1_3"], "TLS_AES_256_GCM_SHA384"),
            ):
                process = await asyncio.create_subprocess_exec(
                    *("openssl", "s_client", "-connect", f"127.0.0.1:{vtn.listener.port}"),
                    *("-cert", ven.certificate, "-cert_chain", ven.certificate, "-key", ven.key),
                    *("-CAfile", authority.vtn_trust, "-verify_return_error", "-quiet", *words),
                    *("-no_ign_eof", "-brief"),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                )
                async with asyncio.timeout(PATIENCE_S):
                    out, err = await process.communicate(post(POLL, b"Connection: close"))
                assert f"Ciphersuite: {suite}".encode() in err, err
                assert b"463" in out or b"HTTP" in out or process.returncode == 0

    in_uvloop(act())


# --- slowness and numbers ------------------------------------------------------------------------


def test_slow_headers_slow_bodies_and_stalled_handshakes_hold_nobody_up(
    tmp_path, authority, monkeypatch
):
    """150 of each; all are cut off when their time is over."""
    monkeypatch.setattr(listening, "HEADER_S", 4.0)
    monkeypatch.setattr(listening, "BODY_S", 4.0)
    monkeypatch.setattr(listening, "HANDSHAKE_S", 4.0)
    monkeypatch.setattr(listening, "LINGER_S", 0.2)

    async def act():
        async with besieged(tmp_path, authority, max_connections_per_certificate=400) as vtn:
            lines = [
                await asyncio.open_connection("127.0.0.1", vtn.listener.port) for _ in "x" * 150
            ]
            for number in range(300):
                reader, writer = await line(vtn)
                half = post()[:-150] if number % 2 else post()[:60]
                writer.write(half)
                lines.append((reader, writer))
            await honest_is_answered(vtn)
            async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
                dripping = tasks.create_task(drip([writer for _, writer in lines[150:]]))
                said = await asyncio.gather(*(heard(reader) for reader, _ in lines))
                dripping.cancel()
            await honest_is_answered(vtn)
            for _, writer in lines:
                writer.close()
            return said, len(vtn.listener.connections)

    said, left = in_uvloop(act())
    assert {tuple(statuses(each)) for each in said} <= {(), (408,)}
    assert left <= 2  # the honest one's


async def drip(writers):
    """A byte now and then, as slowloris does, so that no idle timeout ever fires."""
    while True:
        for writer in writers:
            with contextlib.suppress(OSError):
                writer.write(b"x")
        await asyncio.sleep(0.2)


def test_handshakes_under_way_are_bounded_and_who_stalls_makes_room(
    tmp_path, authority, monkeypatch
):
    monkeypatch.setattr(greeting, "MOST", 10)
    monkeypatch.setattr(greeting, "STALLED_S", 0.3)

    async def act():
        async with besieged(tmp_path, authority) as vtn:
            lines = [await stalling(vtn) for _ in range(30)]
            most = 0
            async with (
                asyncio.timeout(PATIENCE_S),
                Wired(vtn, "honest", vtn.honest.context) as again,
            ):
                asking = asyncio.create_task(again.poll())
                while not asking.done():
                    most = max(most, len(vtn.listener.greeting))
                    await asyncio.sleep(0.005)
                assert (await asking).response.ok
            cut_off = [await heard(reader) for reader, _ in lines[:10]]
            for _, writer in lines:
                writer.close()
            return most, cut_off

    most, cut_off = in_uvloop(act())
    assert most == 10
    assert cut_off == [b""] * 10


def test_a_crowd_that_comes_at_once_is_let_in_one_after_the_other(tmp_path, authority, monkeypatch):
    monkeypatch.setattr(greeting, "MOST", 5)

    async def act():
        async with besieged(tmp_path, authority, max_connections_per_certificate=100) as vtn:

            async def come():
                async with Wired(vtn, "honest", vtn.honest.context) as again:
                    return (await again.poll()).response.ok

            async with asyncio.timeout(PATIENCE_S):
                return await asyncio.gather(*(come() for _ in range(60)))

    assert in_uvloop(act()) == [True] * 60


async def stalling(vtn):
    return await asyncio.open_connection("127.0.0.1", vtn.listener.port)


def test_hundreds_of_connections_of_one_certificate_cost_only_its_own(tmp_path, authority):
    async def act():
        async with besieged(tmp_path, authority, max_connections_per_certificate=8) as vtn:
            lines = []
            for _ in range(200):
                lines.append(await line(vtn))
                assert len(vtn.listener.connections) <= 9
            await honest_is_answered(vtn)
            open_ = vtn.listener.connections.of(vtn.mallory.issued.sha256)
            for _, writer in lines:
                writer.close()
            return len(open_)

    assert in_uvloop(act()) == 8


def test_of_too_many_connections_in_all_the_longest_idle_goes(tmp_path, authority):
    async def act():
        async with besieged(tmp_path, authority, max_connections=6) as vtn:
            vens = [vtn.tls(authority.ven(next(NAMES))) for _ in range(3)]
            lines = [await line(vtn, context) for context in vens * 4]
            assert len(vtn.listener.connections) == 6
            await honest_is_answered(vtn)  # connects anew: its own was idle longest
            for _, writer in lines:
                writer.close()

    in_uvloop(act())


def test_who_sends_many_requests_and_reads_no_answer_is_cut_off(tmp_path, authority, monkeypatch):
    monkeypatch.setattr(listening, "TAKE_S", 0.5)

    async def act():
        async with besieged(tmp_path, authority) as vtn:
            _, writer = await line(vtn)
            writer.transport.pause_reading()
            asking = post(oadr.build(QueryRegistration(request_id="q" * 200)))
            asking = asking.replace(b"OadrPoll", b"EiRegisterParty").replace(b": close", b": x")
            most = 0
            with contextlib.suppress(OSError):
                async with asyncio.timeout(PATIENCE_S):
                    while not most or vtn.listener.connections.of(vtn.mallory.issued.sha256):
                        most += len(vtn.listener.connections.of(vtn.mallory.issued.sha256))
                        if writer.transport.get_write_buffer_size() < 1_000_000:
                            writer.write(asking * 100)
                        await asyncio.sleep(0.02)
            writer.transport.abort()
            await honest_is_answered(vtn)
            return vtn.listener.connections.of(vtn.mallory.issued.sha256)

    assert in_uvloop(act()) == ()


# --- mutations -----------------------------------------------------------------------------------


def mutated(body, chance):
    body = bytearray(body)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(body))
        act = chance.randrange(4)
        if act == 0:
            body[at] = chance.randrange(256)
        elif act == 1:
            del body[at : at + chance.randint(1, 40)]
        elif act == 2:
            body[at:at] = chance.randbytes(chance.randint(1, 8))
        else:
            to = chance.randrange(len(body))
            body[at:at] = body[to : to + 60]
    return bytes(body)


def test_three_hundred_mutated_messages_get_no_5xx(tmp_path, authority):
    async def act():
        async with besieged(tmp_path, authority) as vtn, vtn.mallory as mallory:
            await mallory.register()
            chance = random.Random(300)
            good = [
                (ServiceName.POLL, POLL),
                (
                    ServiceName.REPORT,
                    oadr.build(
                        RegisterReport(request_id="r", reports=(usage(),), ven_id="mallory")
                    ),
                ),
                (ServiceName.REGISTER_PARTY, oadr.build(QueryRegistration(request_id="q"))),
            ]
            for _ in range(300):
                service, body = chance.choice(good)
                answer = await mallory.post(service, mutated(body, chance))
                assert answer.status < 500, answer
            await honest_is_answered(vtn)

    in_uvloop(act())
