"""Who may stay connected, and who may speak through a TLS front."""

import asyncio
import base64
import contextlib
import shutil
import ssl
import stat
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from structlog.testing import capture_logs

import oadr
from certs import Authority
from demo.ports import free_port
from oadr.endpoints import path
from oadr.event import DistributeEvent
from oadr.poll import Poll
from oadr.report import RegisterReport
from oadr.vocabulary import ServiceName
from tests.story.vtn.served import NAMES, XML, Wired, serving
from tests.story.vtn.test_push import until
from tests.unit.oadr.test_signature import of_version_14
from vtn import listener as listening
from vtn import revocation
from vtn.errors import ListenerFault
from vtn.listener import Listener
from vtn.revocation import RevocationLists

POLL = oadr.build(Poll(ven_id="0042"))


async def connected(ven):
    """A connection of the VEN that is open and says nothing."""
    port = ven.utility.listener.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=ven.context)
    sha256 = ven.issued.sha256
    await until("connected", lambda: ven.utility.listener.connections.of(sha256))
    return reader, writer


async def closed(reader):
    async with asyncio.timeout(60):
        with contextlib.suppress(OSError):
            return await reader.read() == b""
        return True


async def refused(ven):
    with pytest.raises((aiohttp.ClientError, OSError)):
        async with Wired(ven.utility, ven.ven_id, ven.context) as again:
            await again.post(ServiceName.POLL, POLL)
    return True


# --- revocation and expiry -----------------------------------------------------------------------


async def test_revoking_a_ven_closes_its_open_connections_at_once(tmp_path, clock, authority):
    async with serving(tmp_path, clock, authority) as vtn:
        ven, other = await vtn.wired("0042"), await vtn.wired("0043")
        reader, writer = await connected(ven)
        _, kept = await connected(other)

        await vtn.desk.revoke_ven("0042", by="anna")

        assert await closed(reader)
        assert len(vtn.listener.connections) == 1
        for one in (writer, kept):
            one.close()


async def test_a_revocation_list_shuts_out_who_is_on_it_and_follows_its_file(
    tmp_path, clock, monkeypatch
):
    monkeypatch.setattr(revocation, "CRL_LOOK_S", 0.02)
    authority = Authority.create(tmp_path / "pki")
    authority.vtn(["127.0.0.1"])
    crl = authority.folder / "ven-ca.crl"
    before = authority.ven(next(NAMES))
    authority.revoke(before.certificate)
    async with serving(tmp_path, clock, authority, crl=[crl]) as vtn:
        gone = Wired(vtn, "0001", vtn.tls(before))
        assert await refused(gone)

        async with await vtn.wired("0042", rsa=True) as ven, await vtn.wired("0043") as other:
            await ven.register()
            await other.register()
            reader, writer = await connected(ven)
            authority.revoke(ven.issued.certificate)

            assert await closed(reader)
            writer.close()
            assert await refused(ven)
            await other.poll(RegisterReport)

            with capture_logs() as lines:  # what replaces it is no list: it holds on
                crl.write_text("nothing")
                await until(
                    "an alarm", lambda: any("not taken" in line.get("reason", "") for line in lines)
                )
            assert await refused(ven)
            assert await refused(gone)
            assert (await other.poll()).response.ok


async def test_an_overdue_list_is_an_alarm_and_no_outage(tmp_path, clock):
    month_ago = datetime.now(UTC) - timedelta(days=40)
    authority = Authority.create(tmp_path / "pki", now=lambda: month_ago)
    authority.vtn(["127.0.0.1"])
    stolen = authority.ven("stolen")
    crl = authority.revoke(stolen.certificate).file
    with capture_logs() as lines:
        async with (
            serving(tmp_path, clock, authority, crl=[crl]) as vtn,
            await vtn.wired("0042") as ven,
        ):
            assert (await ven.register()).response.ok
            assert await refused(Wired(vtn, "0001", vtn.tls(stolen)))
            (due_at,) = vtn.listener.revocation.next_update_at().values()
            assert due_at < datetime.now(UTC)
    assert any("overdue since" in line.get("reason", "") for line in lines)


def test_a_list_that_cannot_be_used_is_refused_at_the_start(tmp_path, authority):
    other = Authority.create(tmp_path / "other")
    own = next(one.file for one in authority.crls() if one.file.name == "ven-ca.crl")
    foreign = next(one.file for one in other.crls() if one.file.name == "ven-ca.crl")
    garbled, der = tmp_path / "garbled.crl", tmp_path / "list.der"
    garbled.write_bytes(own.read_bytes().replace(b"M", b"N", 40))
    der.write_bytes(x509.load_pem_x509_crl(own.read_bytes()).public_bytes(Encoding.DER))

    for file, sentence in (
        (tmp_path / "none.crl", "No such file"),
        (garbled, "no revocation list"),
        (foreign, "not signed by an authority"),
        (authority.ven_trust, "there is none in it"),
    ):
        with pytest.raises(ListenerFault, match=sentence):
            RevocationLists([file], authority.ven_trust)
    assert not RevocationLists([own, der], authority.ven_trust).revoked(b"", 1)


def test_an_alarm_is_raised_before_a_list_is_overdue_and_an_older_list_is_not_taken(
    tmp_path,
):
    now = datetime.now(UTC)
    authority = Authority.create(tmp_path / "pki")
    crl = authority.folder / "ven-ca.crl"
    older = authority.crls(life=timedelta(days=20)) and crl.read_bytes()
    Authority.open(authority.folder, now=lambda: now + timedelta(days=1)).crls()
    lists = RevocationLists([crl], authority.ven_trust)
    assert lists.alarms(now) == []
    assert "overdue from" in lists.alarms(now + timedelta(days=29))[0]
    assert "overdue since" in lists.alarms(now + timedelta(days=32))[0]

    crl.write_bytes(older)
    assert not lists.look()
    assert "older than the list we have" in lists.alarms(now)[0]
    authority = Authority.open(authority.folder, now=lambda: now + timedelta(days=2))
    authority.crls()
    assert lists.look()
    assert lists.alarms(now) == []


async def test_a_certificate_that_runs_out_on_an_open_connection_is_refused_from_then_on(
    tmp_path, clock, authority
):
    now_s = time.time()
    async with (
        serving(tmp_path, clock, authority, now_s=lambda: now_s) as vtn,
        await vtn.wired("0042") as ven,
    ):
        assert (await ven.register()).response.ok
        now_s += timedelta(days=366).total_seconds()

        answer = await ven.post(ServiceName.POLL, POLL)
        assert (answer.status, answer.body) == (
            403,
            b"The certificate is no longer valid; renew it.",
        )
        await until("closed", lambda: not len(vtn.listener.connections))


async def test_a_ven_that_polls_slowly_keeps_its_connection_until_it_is_idle_for_long(
    tmp_path, clock, authority, monkeypatch
):
    """Neither the time for headers nor the poll interval ends it; nobody hangs on for ever."""
    monkeypatch.setattr(listening, "IDLE_S", 0.2)
    async with (
        serving(tmp_path, clock, authority, poll_interval_s=3) as vtn,  # idle: 4.5 s
        await vtn.wired("0042") as ven,
    ):
        await ven.register()
        monkeypatch.setattr(listening, "HEADER_S", 0.1)
        (connection,) = vtn.listener.connections.of(ven.issued.sha256)
        await asyncio.sleep(0.5)
        await ven.poll(RegisterReport)
        assert vtn.listener.connections.of(ven.issued.sha256) == (connection,)

        await until("closed", lambda: not len(vtn.listener.connections))


# --- behind a TLS front --------------------------------------------------------------------------


def headed(issued, header="Client-Cert"):
    pem = issued.certificate.read_bytes()
    certificate = x509.load_pem_x509_certificate(pem)
    if header == "Client-Cert":
        der = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
        return {**XML, header: f":{der}:"}
    return {**XML, header: quote(certificate.public_bytes(Encoding.PEM).decode(), safe="")}


@contextlib.asynccontextmanager
async def fronted(folder, clock, authority, **proxy):
    """A VTN with a plain listener, and what posts to that with a VEN's certificate in a header."""
    async with serving(folder, clock, authority, proxy=proxy) as vtn:
        where = vtn.listener.proxy_address
        if isinstance(where, str):
            connector, base = aiohttp.UnixConnector(where), "http://vtn"
        else:
            connector, base = aiohttp.TCPConnector(), f"http://127.0.0.1:{where[1]}"
        async with aiohttp.ClientSession(connector=connector) as session:

            async def post(headers, body=POLL):
                async with session.post(
                    base + path(ServiceName.POLL), data=body, headers=headers
                ) as r:
                    return r.status, await r.read()

            vtn.post = post
            yield vtn


@pytest.mark.parametrize("header", ["Client-Cert", "X-SSL-Client-Cert"])
@pytest.mark.parametrize("where", ["socket", "port"])
async def test_a_front_hands_on_a_certificate_which_is_verified_here(
    tmp_path, clock, authority, header, where
):
    at = {"socket": tmp_path / "s"} if where == "socket" else {"port": 0, "peers": ["127.0.0.0/8"]}
    async with fronted(tmp_path, clock, authority, header=header, **at) as vtn:
        async with await vtn.wired("0042") as ven:
            await ven.register()
        status, body = await vtn.post(headed(ven.issued, header))
        assert (status, type(oadr.parse(body))) == (200, RegisterReport)

        stranger = authority.ven(next(NAMES))
        status, body = await vtn.post(headed(stranger, header))
        assert oadr.parse(body).response.response_code == "463"

        foreign = Authority.create(tmp_path / "other").ven("x")
        past = Authority.open(
            authority.folder, now=lambda: datetime.now(UTC) - timedelta(days=730)
        ).ven(next(NAMES))
        own = type(foreign)(certificate=authority.folder / "vtn-ecc.crt", **_REST)
        good = headed(ven.issued, header)
        twice = [*good.items(), (header, good[header])]
        garbled = {**good, header: good[header].replace("A", "B", 9)}
        strange = strange_version(headed(ven.issued), good, header)
        for headers in (
            *(XML, twice, garbled, strange),
            *(headed(x, header) for x in (foreign, past, own)),
        ):
            status, body = await vtn.post(headers)
            assert status == 403, (headers, body)
            assert b"oadr" not in body


def strange_version(plain, good, header):
    """A certificate of version 14: fuzzing found that it was a 500."""
    der = of_version_14(ssl.DER_cert_to_PEM_cert(base64.b64decode(plain["Client-Cert"])).encode())
    if header == "Client-Cert":
        return {**good, header: f":{base64.b64encode(der).decode()}:"}
    return {**good, header: quote(ssl.DER_cert_to_PEM_cert(der))}


_REST = {"key": None, "sha256": "", "fingerprint": ""}


async def test_nobody_but_a_front_is_listened_to_on_its_socket(tmp_path, clock, authority):
    async with fronted(tmp_path, clock, authority, port=0, peers=["192.0.2.7"]) as vtn:
        ven = await vtn.wired("0042")
        with pytest.raises(aiohttp.ClientError):
            await vtn.post(headed(ven.issued))


async def test_a_socket_of_a_running_vtn_is_left_to_it_and_one_of_a_killed_one_is_taken(
    tmp_path, clock, authority
):
    place = tmp_path / "front.sock"
    async with fronted(tmp_path, clock, authority, socket=place) as vtn:
        assert stat.S_IMODE(place.stat().st_mode) == 0o660
        with pytest.raises(ListenerFault, match="something else listens there"):
            listening.listening(vtn.settings.openadr)
    assert place.exists()  # as a killed VTN leaves it
    for one in listening.listening(vtn.settings.openadr):
        one.close()


@pytest.mark.parametrize("header", ["Client-Cert", "X-SSL-Client-Cert"])
async def test_a_ven_that_hands_on_a_certificate_itself_is_refused(
    tmp_path, clock, authority, header
):
    """And so it is beside a front, for on the VENs' own listener the header is nobody's to say."""
    async with fronted(tmp_path, clock, authority, port=0, peers=["127.0.0.1"]) as vtn:
        victim = await vtn.wired("0042")
        async with await vtn.wired("0043") as ven:
            answer = await ven.post(ServiceName.POLL, POLL, headed(victim.issued, header))
            assert answer.status == 400


async def test_a_revoked_certificate_is_refused_behind_a_front_as_well(tmp_path, clock):
    authority = Authority.create(tmp_path / "pki")
    authority.vtn(["127.0.0.1"])
    issued = authority.ven("gone")
    crl = authority.revoke(issued.certificate).file
    proxy = {"port": 0, "peers": ["127.0.0.1"]}
    async with serving(tmp_path, clock, authority, proxy=proxy, crl=[crl]) as vtn:
        url = f"http://127.0.0.1:{vtn.listener.proxy_address[1]}{path(ServiceName.POLL)}"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=POLL, headers=headed(issued)) as response,
        ):
            assert response.status == 403
            assert b"revocation list" in await response.read()


NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr warn;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream vtn {{ server unix:{folder}/vtn.sock; keepalive 8; }}
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {pki}/vtn-ecc.crt; ssl_certificate_key {pki}/vtn-ecc.key;
    ssl_certificate {pki}/vtn-rsa.crt; ssl_certificate_key {pki}/vtn-rsa.key;
    ssl_client_certificate {pki}/ven-ca.crt; ssl_verify_client on;
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {{
      proxy_pass http://vtn; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;
      proxy_set_header Client-Cert ""; proxy_set_header Client-Cert-Chain "";
    }}
  }}
}}
"""


async def test_a_ven_goes_its_way_through_a_real_nginx(tmp_path, clock, authority):
    """What a VEN itself puts into the header is overwritten there."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert nginx, "nginx is missing: run scripts/packages"
    port = free_port()
    conf = tmp_path / "nginx.conf"
    conf.write_text(NGINX.format(folder=tmp_path, port=port, pki=authority.folder))
    proxy = {"socket": tmp_path / "vtn.sock", "header": "X-SSL-Client-Cert"}
    async with serving(tmp_path, clock, authority, proxy=proxy) as vtn:
        process = await asyncio.create_subprocess_exec(nginx, "-c", conf, "-p", tmp_path)
        try:
            async with await vtn.wired("0042") as ven, await vtn.wired("0043") as other:
                vtn.listener = Through(vtn.listener, port)
                await until_open(port)
                await ven.register()
                await ven.poll(RegisterReport)
                for hours in (1, 2):
                    await vtn.publish(starts_at=clock.now() + timedelta(hours=hours))
                    event = (await ven.poll(DistributeEvent)).events[-1]
                    assert (await ven.answer(event)).ok
                mine = headed(other.issued, "X-SSL-Client-Cert")
                answer = await ven.post(ServiceName.POLL, oadr.build(Poll(ven_id="0042")), mine)
                assert oadr.parse(answer.body).response.ok
        finally:
            process.terminate()
            await process.wait()


class Through:
    """A listener as its VENs find it: at the front's port."""

    def __init__(self, listener: Listener, port: int) -> None:
        self.listener = listener
        self.port = port


async def until_open(port):
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
