"""From nothing to a certificate, and to the next one; openssl and curl are the other side."""

import asyncio
import contextlib
import json
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from cryptography import x509

import oadr
from certs.authority import Authority
from certs.errors import AuthorityFault
from certs.issuing import Issuer, read_request
from certs.sheet import made_code, write_sheet
from demo.ports import free_port
from doorway.invitation import read_invitation
from oadr.fingerprint import sha256
from oadr.registration import CreatePartyRegistration
from oadr.signature import Signer
from oadr.vocabulary import ServiceName
from tests.story.pretend_node import PretendNode
from tests.story.vtn.utility import Speaker, Utility, settings
from ven import agent, config, control
from ven.cli import main as ven_cli
from ven.credentials import read_credentials
from ven.renewal import newest, renewed_file
from vtn.app import App
from vtn.config import EnrolmentSettings, ReportSettings
from vtn.credential import create_token
from vtn.enrolment.room import Enrolment
from vtn.errors import Conflict, NotEnrolled
from vtn.store import migrate

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
VEN = [sys.executable, "-c", "from ven.cli import main; main()"]
WITHIN_S = 120.0


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp("enrolment") / "pki"
    made = Authority.create(folder, now=lambda: datetime.now(UTC) - timedelta(days=2))
    made.vtn(["127.0.0.1"])
    made.enrolment()
    return made


def chosen(pki, database, folder, **enrolment):
    chain = {"cert": pki.folder / "vtn-ecc.crt", "key": pki.folder / "vtn-ecc.key"}
    found = settings(database, folder, certificates=[chain], client_ca=pki.ven_trust)
    stem = pki.folder / "enrolment-ca"
    return msgspec.structs.replace(
        found,
        vtn=msgspec.structs.replace(found.vtn, url="https://127.0.0.1:1"),
        enrolment=EnrolmentSettings(
            cert=stem.with_suffix(".crt"),
            key=stem.with_suffix(".key"),
            trust=pki.vtn_trust,
            host="127.0.0.1",
            port=0,
            **enrolment,
        ),
    )


def openssl(*words, given=b""):
    done = subprocess.run(
        ["openssl", *map(str, words)], input=given, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def csr(tmp_path, *more, kind=("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), subject="/"):
    """A request by openssl with a new key, DER."""
    key = tmp_path / "device.key"
    return openssl(
        *("req", "-new", "-newkey", *kind, "-nodes", "-keyout", key, "-subj", subject),
        *("-outform", "DER", *more),
    )


# --- codes, on both databases ---------------------------------------------------------------------


class Office(Utility):
    """A VTN with an enrolment room and no listener."""

    async def start(self):
        await super().start()
        self.enrolment = Enrolment(self.office)

    async def code(self, ven_id="hq", **more):
        invitation, _ = await self.desk.make_code(ven_id, by="anna", **more)
        return str(invitation.code)

    async def enrol(self, code, body, peer="192.0.2.1"):
        return await self.enrolment.enrol(code, body, peer=peer)

    async def refusal(self, code, body, peer="192.0.2.1"):
        with pytest.raises(NotEnrolled) as caught:
            await self.enrol(code, body, peer)
        return caught.value.status, str(caught.value)


@pytest.fixture
async def office(database, tmp_path, pki, clock):
    await migrate(database)
    found = Office(chosen(pki, database, tmp_path), clock)
    await found.start()
    yield found
    await found.store.close()


async def test_a_code_makes_a_ven_once_and_gives_the_same_key_its_certificate_again(
    office, tmp_path
):
    await office.desk.add_group("north", "North", by="anna")
    code = await office.code(name="Town hall", resources=("roof",), groups=("north",))
    mine, another = csr(tmp_path), csr(tmp_path)

    der = await office.enrol(code, mine)

    ven = await office.desk.ven("hq")
    assert ("Town hall", sha256(der), der) == (
        ven.name,
        ven.certificate_sha256,
        ven.certificate_der,
    )
    assert (ven.resources, ven.groups) == (("roof",), ("north",))
    assert office.office.directory.by_certificate(sha256(der)).ven.ven_id == "hq"
    office.clock.advance(9 * 60)
    assert der == await office.enrol(code, mine)  # the answer was lost
    assert (await office.refusal(code, another))[0] == 403
    office.clock.advance(2 * 60)
    assert await office.refusal(code, mine) == (403, "The code was used before; ask for another.")
    acts = [(line.actor, line.act) for line in await office.desk.audit(limit=5)]
    assert acts[:2] == [("ven:hq", "enrol VEN"), ("operator:anna", "make enrolment code")]


@on_sqlite
async def test_expired_withdrawn_and_unknown_codes_are_refused(office, tmp_path):
    body = csr(tmp_path)
    late, taken = await office.code(), await office.code()
    await office.desk.withdraw_code(taken[:4] + taken[5], by="anna")
    office.clock.advance(24 * 3600)

    assert await office.refusal(late, body) == (403, "The code has expired; ask for another.")
    assert await office.refusal(taken, body) == (403, "The code was withdrawn; ask for another.")
    for nonsense in ("", "0" * 32, "not a code", late[:-2] + "00"):
        assert (await office.refusal(nonsense, body))[0] == 401
    assert await office.desk.vens() == []


async def test_ten_wrong_tries_lock_a_code_and_whoever_made_them(office, tmp_path):
    code, other, body = await office.code(), await office.code("mill"), csr(tmp_path)
    said = read_invitation(f"https://x#code={code}&root={'0' * 64}").code
    guesses = [str(type(said)(said.name, said.secret[:-1] + sign)) for sign in "0123456789ABCDEF"]
    guesses = [guess for guess in guesses if guess != code]

    for guess in guesses[:10]:
        assert (await office.refusal(guess, body, "198.51.100.9"))[0] == 401

    assert (await office.refusal(code, body)) == (
        403,
        "The code was locked after too many wrong tries; ask for another.",
    )
    assert (await office.refusal(other, body, "198.51.100.9"))[0] == 429
    office.clock.advance(3600.1)
    assert await office.enrol(other, body, "198.51.100.9")
    states = {one.ven_id: one.state(office.clock.now()) for one in await office.desk.codes()}
    assert states == {"hq": "locked", "mill": "used"}


@on_sqlite
async def test_an_address_of_ipv6_is_counted_by_its_network(office, tmp_path):
    code, body = await office.code(), csr(tmp_path)
    for number in range(10):
        assert (await office.refusal("0" * 32, body, f"2001:db8::{number:x}"))[0] == 401

    assert (await office.refusal(code, body, "2001:db8::ffff"))[0] == 429
    assert await office.enrol(code, body, "2001:db8:0:1::1")


async def test_two_devices_with_one_code_at_once_get_one_certificate(office, tmp_path):
    code = await office.code()

    answers = await asyncio.gather(
        *(office.enrol(code, csr(tmp_path)) for _ in range(6)), return_exceptions=True
    )

    assert sum(isinstance(one, bytes) for one in answers) == 1
    assert sum(isinstance(one, NotEnrolled) and one.status == 403 for one in answers) == 5


REFUSED = [
    ({"kind": ("rsa:1024",)}, "1024 bits"),
    ({"kind": ("ec", "-pkeyopt", "ec_paramgen_curve:P-192")}, "secp192r1"),
    ({"kind": ("ec", "-pkeyopt", "ec_paramgen_curve:P-384")}, "secp384r1"),
    ({"kind": ("ed25519",)}, "neither ECC on P-256 nor RSA"),
    ({"subject": "/CN=another"}, "the name 'another'"),
    ({"subject": "/CN=hq/O=Example"}, "and nothing else"),
    ({"subject": "/CN=hq/CN=hq"}, "and nothing else"),
    ({"more": ("-addext", "subjectAltName=DNS:vtn.example")}, "alternative names"),
]


@on_sqlite
async def test_a_request_that_is_not_granted_leaves_the_code_good(office, tmp_path):
    code = await office.code()
    for asked, words in REFUSED:
        named = {name: value for name, value in asked.items() if name != "more"}

        status, sentence = await office.refusal(
            code, csr(tmp_path, *asked.get("more", ()), **named)
        )

        assert status == 400
        assert words in sentence
    assert await office.desk.vens() == []
    assert await office.enrol(code, csr(tmp_path, subject="/CN=hq"))


@on_sqlite
async def test_bytes_that_are_no_request_and_a_request_that_was_changed_are_refused(
    office, tmp_path
):
    code, good = await office.code(), csr(tmp_path)
    changed = good[:-3] + bytes([good[-3] ^ 1]) + good[-2:]
    for body in (
        b"",
        b"hello",
        b"\x30",
        good[:-9],
        good + b"x",
        b"-----BEGIN",
        changed,
        b"\xff" * 99,
    ):
        status, sentence = await office.refusal(code, body)
        assert status == 400, body
        assert sentence.endswith(".")

    assert await office.enrol(code, csr(tmp_path, kind=("rsa:2048",)))


async def test_old_and_new_are_let_in_until_the_new_one_is_used(office, tmp_path):
    first = await office.enrol(await office.code(), csr(tmp_path))
    ven = Speaker(office, "hq", sha256(first))
    await ven.register()
    body = csr(tmp_path)

    second = await office.enrolment.renew(first, body)

    assert second == await office.enrolment.renew(first, body)  # the answer was lost
    await ven.poll(object)
    ven.certificate = sha256(second)
    await ven.poll(object)
    assert sha256(second) == (await office.desk.ven("hq")).certificate_sha256
    ven.certificate = sha256(first)
    reply = await ven.post(
        ServiceName.REGISTER_PARTY, oadr.build(CreatePartyRegistration(request_id="x"))
    )
    assert b"463" in reply.body
    with pytest.raises(NotEnrolled, match="no VEN's here"):
        await office.enrolment.renew(first, csr(tmp_path))


@on_sqlite
async def test_a_revoked_ven_gets_neither_a_certificate_nor_a_code(office, tmp_path):
    first = await office.enrol(await office.code(), csr(tmp_path))
    waiting = await office.code()
    second = await office.enrolment.renew(first, csr(tmp_path))
    await office.desk.revoke_ven("hq", by="anna")

    for shown in (first, second):
        with pytest.raises(NotEnrolled, match="was revoked"):
            await office.enrolment.renew(shown, csr(tmp_path))
        assert office.office.directory.by_certificate(sha256(shown)) is None
    assert await office.refusal(waiting, csr(tmp_path)) == (
        403,
        "This VEN was revoked; ask the operator.",
    )
    with pytest.raises(Conflict, match="was revoked"):
        await office.code()


@on_sqlite
async def test_a_code_for_a_known_ven_replaces_its_device(office, tmp_path):
    first = await office.enrol(await office.code(), csr(tmp_path))
    second = await office.enrol(await office.code(resources=("yard",)), csr(tmp_path))

    ven = await office.desk.ven("hq")
    assert (sha256(second), ("yard",)) == (ven.certificate_sha256, ven.resources)
    assert office.office.directory.by_certificate(sha256(first)) is None


# --- over the wire --------------------------------------------------------------------------------


class House:
    """A whole VTN; its clock may be behind by `behind`."""

    def __init__(self, folder, pki, app):
        self.folder, self.pki, self.app = folder, pki, app
        self.behind = timedelta(0)

    @property
    def url(self):
        return f"https://127.0.0.1:{self.app.enrolment_port}"

    async def sheet(self, ven_id="hq", **more):
        invitation, code = await self.app._desk.make_code(ven_id, by="anna", **more)
        return msgspec.structs.replace(
            made_code(invitation, ven_id=ven_id, name=code.name, expires_at=code.expires_at),
            invitation=f"{self.url}#code={invitation.code}&root={invitation.root}",
        )


@pytest.fixture
async def house(tmp_path, pki, free_port):
    database = f"sqlite+aiosqlite:///{tmp_path / 'vtn.db'}"
    await migrate(database)
    settings = chosen(pki, database, tmp_path, life_days=1)
    settings = msgspec.structs.replace(
        settings,
        reports=ReportSettings(back_s=2),
        vtn=msgspec.structs.replace(settings.vtn, url=f"https://127.0.0.1:{free_port}"),
        openadr=msgspec.structs.replace(settings.openadr, port=free_port),
    )
    create_token(settings.operator.token_file)
    found = House(tmp_path, pki, None)
    found.app = App(settings, now=lambda: datetime.now(UTC) - found.behind)
    async with found.app:
        yield found


async def curl(*words, given=None):
    process = await asyncio.create_subprocess_exec(
        *("curl", "-s", "-w", "\n%{http_code}", *map(str, words)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(given), WITHIN_S)
    body, _, status = out.rpartition(b"\n")
    return int(status), body


async def ven(*words):
    process = await asyncio.create_subprocess_exec(
        *VEN, *map(str, words), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), WITHIN_S)
    return process.returncode, out.decode(), err.decode()


async def test_curl_and_openssl_enrol_and_renew_by_est(house, tmp_path):
    sheet = await house.sheet()
    trust = ("--cacert", house.pki.vtn_trust)
    sends = (*trust, "-H", "Content-Type: application/pkcs10", "--data-binary", "@-")
    est = f"{house.url}/.well-known/est"

    _, cacerts = await curl(*trust, f"{est}/cacerts")
    listed = openssl(
        "pkcs7", "-inform", "DER", "-print_certs", given=openssl("base64", "-d", given=cacerts)
    )
    assert listed.count(b"BEGIN CERTIFICATE") == 3
    assert b"demandflex enrolment CA" in listed
    assert (
        sheet.root
        in openssl("x509", "-in", house.pki.vtn_trust, "-noout", "-fingerprint", "-sha256")
        .decode()
        .replace(":", "")
        .lower()
    )

    request = openssl("base64", given=csr(tmp_path))
    status, body = await curl(*sends, f"{est}/simpleenroll", given=request)
    assert status == 401
    status, body = await curl(
        *sends, "-u", f"hq:{sheet.code}", f"{est}/simpleenroll", given=request
    )
    assert status == 200, body
    first = tmp_path / "first.crt"
    der = openssl("base64", "-d", given=body)
    first.write_bytes(openssl("pkcs7", "-inform", "DER", "-print_certs", given=der))
    for purpose in ("sslclient", "sslserver"):
        openssl("verify", "-CAfile", house.pki.ven_trust, "-purpose", purpose, first)
    openssl(
        *("verify", "-CAfile", house.pki.trust),
        *("-untrusted", house.pki.folder / "enrolment-ca.crt", first),
    )
    with pytest.raises(AssertionError, match="unable to get"):  # it cannot play the VTN
        openssl("verify", "-CAfile", house.pki.vtn_trust, first)

    key = tmp_path / "first.key"
    (tmp_path / "device.key").rename(key)
    again = openssl("base64", given=csr(tmp_path, subject="/CN=hq"))
    status, _ = await curl(*sends, f"{est}/simplereenroll", given=again)
    assert status == 403
    shows = ("--cert", first, "--key", key)
    status, body = await curl(*sends, *shows, f"{est}/simplereenroll", given=again)
    assert status == 200, body
    second = tmp_path / "second.crt"
    der = openssl("base64", "-d", given=body)
    second.write_bytes(openssl("pkcs7", "-inform", "DER", "-print_certs", given=der))
    openssl("verify", "-CAfile", house.pki.ven_trust, "-purpose", "sslclient", second)


PKCS10 = ("-H", "Content-Type: application/pkcs10", "-u", "a:b")
CHUNKED = ("-H", "Transfer-Encoding: chunked")


ODD = [
    (404, ("/.well-known/est/serverkeygen",)),
    (405, ("-X", "DELETE", "/.well-known/est/cacerts")),
    (401, ("-d", "x", "/.well-known/est/simpleenroll")),
    (401, ("-d", "x", "-H", "Authorization: Basic !!", "/.well-known/est/simpleenroll")),
    (415, ("-d", "x", "-u", "a:b", "/.well-known/est/simpleenroll")),
    (413, ("-d", "x" * 40000, *PKCS10, "/.well-known/est/simpleenroll")),
    (411, ("-d", "x", *CHUNKED, *PKCS10, "/.well-known/est/simpleenroll")),
    (403, ("/.well-known/demandflex/ven",)),
]


async def test_what_the_listener_does_not_do_is_a_4xx(house):
    for status, (*options, path) in ODD:
        trust = ("--cacert", house.pki.vtn_trust)

        found, sentence = await curl(*trust, *options, house.url + path)

        assert (found, sentence[-1:]) == (status, b"."), path


async def test_strangers_who_say_nothing_are_cut_off_and_hold_nobody_up(house, monkeypatch):
    monkeypatch.setattr("vtn.enrolment.listener.MOST_S", 3.0)
    monkeypatch.setattr("vtn.enrolment.listener.MOST_CONNECTIONS", 8)
    tls = ssl.create_default_context(cafile=house.pki.vtn_trust)
    port = house.app.enrolment_port
    crowd = [await asyncio.open_connection("127.0.0.1", port, ssl=tls) for _ in range(10)]
    for _, writer in crowd:
        writer.write(b"GET /.well-known/est/cacerts HTTP/1.1\r\nHost: x\r\nX: ")  # and no more

    status, _ = await curl("--cacert", house.pki.vtn_trust, f"{house.url}/.well-known/est/cacerts")

    assert status == 200
    async with asyncio.timeout(WITHIN_S):
        for reader, writer in crowd:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                assert await reader.read() == b""
            writer.close()


async def test_more_than_a_few_connections_of_one_address_are_closed_at_once(house, monkeypatch):
    monkeypatch.setattr("vtn.enrolment.listener.MOST_OF_ONE", 2)
    tls = ssl.create_default_context(cafile=house.pki.vtn_trust)
    port = house.app.enrolment_port
    crowd = [await asyncio.open_connection("127.0.0.1", port, ssl=tls) for _ in range(3)]

    async with asyncio.timeout(WITHIN_S):
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert await crowd[2][0].read() == b""
    for _, writer in crowd:
        writer.close()


async def test_who_enrols_at_one_worker_is_known_to_all(pki, tmp_path, postgres):
    name, _ = postgres.fresh()
    url = postgres.tcp_url(name).replace("+asyncpg", "")
    port, operator_port, enrolment_port = free_port(), free_port(), free_port()
    stem, authority = pki.folder / "vtn-ecc", pki.folder / "enrolment-ca"
    settings_file = tmp_path / "vtn.toml"
    settings_file.write_text(f"""
[vtn]
id = "vtn"
url = "https://127.0.0.1:{port}"
workers = 2
[openadr]
host = "127.0.0.1"
port = {port}
client_ca = "{pki.ven_trust}"
certificates = [{{ cert = "{stem}.crt", key = "{stem}.key" }}]
[enrolment]
host = "127.0.0.1"
port = {enrolment_port}
cert = "{authority}.crt"
key = "{authority}.key"
trust = "{pki.vtn_trust}"
[store]
url = "{url}"
[operator]
port = {operator_port}
token_file = "operator.token"
""")
    vtn = (Path(sys.executable).with_name("vtn"), "--config", settings_file)
    await run(vtn[0], "init", *vtn[1:])
    with (tmp_path / "serve.log").open("w") as log:
        serving = await asyncio.create_subprocess_exec(
            vtn[0], "serve", *vtn[1:], stdout=log, stderr=log
        )
    try:
        async with asyncio.timeout(WITHIN_S):
            while "all workers listen" not in (tmp_path / "serve.log").read_text():
                assert serving.returncode is None, (tmp_path / "serve.log").read_text()
                await asyncio.sleep(0.1)
        made = json.loads(
            await run(
                *(Path(sys.executable).with_name("certs"), "code", "hq", "--json"),
                *("--vtn", f"http://127.0.0.1:{operator_port}"),
                *("--token-file", tmp_path / "operator.token"),
            )
        )
        assert "open" in await run(vtn[0], "codes", "list", *vtn[1:])
        dev = tmp_path / "dev"
        _, out, err = await ven("enroll", made["invitation"], "--dir", dev)
        assert "registers this VEN as 'hq'" in out, err
        shows = ("--cert", dev / "ven" / "ven.crt", "--key", dev / "ven" / "ven.key")
        for _ in range(8):  # each a connection of its own, at one worker or the other
            status, body = await curl(
                *("--cacert", pki.vtn_trust, *shows),
                f"https://127.0.0.1:{enrolment_port}/.well-known/demandflex/ven",
            )
            assert (status, json.loads(body)["ven_id"]) == (200, "hq")
        assert "used" in await run(vtn[0], "codes", "list", *vtn[1:])
    finally:
        if serving.returncode is None:
            serving.terminate()
        await asyncio.wait_for(serving.wait(), WITHIN_S)
        postgres.drop(name)


async def run(*words):
    process = await asyncio.create_subprocess_exec(
        *map(str, words), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), WITHIN_S)
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_three_commands_from_nothing_to_ready(house, tmp_path):
    sheet = await house.sheet(resources=("hq", "annexe"))
    dev = tmp_path / "dev"
    dev.mkdir()
    (dev / "site.toml").write_text(
        '[site]\ntimezone = "Europe/Zurich"\n[sampling]\ninterval_s = 1\n'
    )
    async with PretendNode(dev / "light-node.sock") as node:
        node.add(int(datetime.now(UTC).timestamp()) - 2)
        node.add(int(datetime.now(UTC).timestamp()) - 1)
        _, out, err = await ven("enroll", sheet.invitation, "--dir", dev)

        for line in (
            "certificate: issued to 'CN=hq'",
            "registers this VEN as 'hq'",
            "reads 1 meter",
        ):
            assert f"{line}" in out, out + err
        assert "MISSING" not in out.replace("MISSING  EMS", "")
        assert (dev / "ven" / "ven.key").stat().st_mode & 0o777 == 0o600
        found = config.load(dev / "ven.toml")
        assert (found.site.resource_id, found.site.more_resource_ids) == ("hq", ("annexe",))
        assert found.site.timezone == "Europe/Zurich"
        openssl("verify", "-CAfile", house.pki.ven_trust, dev / "ven" / "ven.crt")

        # The same command again, after any cut, goes on where it was.
        before = (dev / "ven" / "ven.crt").read_bytes()
        (dev / "ven.toml").unlink()
        (dev / "ven" / "ven.crt").unlink()
        _, out, _ = await ven("enroll", sheet.invitation, "--dir", dev)
        assert before == (dev / "ven" / "ven.crt").read_bytes()
        assert (dev / "ven.toml").exists()
        (dev / "ven" / "ven.key").unlink()
        status, _, err = await ven("enroll", sheet.invitation, "--dir", dev)
        assert (status, "The code was used before" in err) == (1, True)
        _, out, err = await ven("enroll", (await house.sheet()).invitation, "--dir", dev)
        assert "issued to 'CN=hq'" in out, err
        await house.app._desk.revoke_ven("hq", by="anna")
        status, _, err = await ven("enroll", sheet.invitation, "--dir", dev)
        assert status == 1
        assert "or was revoked. With a new code, add --again" in err


async def test_an_impostor_is_not_told_the_code(house, tmp_path, authority):
    """Another authority's VTN answers at the address: the code must not reach it."""
    sheet = await house.sheet()
    heard = []
    # First its own authorities, then the right ones, from somebody who has not their key.
    trusts = [authority.vtn_trust, house.pki.vtn_trust]

    async def answer(reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            words = ("crl2pkcs7", "-nocrl", "-certfile", trusts[0], "-outform", "DER")
            body = openssl("base64", given=openssl(*words))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
            writer.close()

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(authority.folder / "vtn-ecc.crt", authority.folder / "vtn-ecc.key")
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        text = f"https://127.0.0.1:{port}#{sheet.invitation.partition('#')[2]}"
        for words in ("not of the authority that the sheet names", "not of the authority that is"):
            status, _, err = await ven("enroll", text, "--dir", tmp_path / "dev")
            assert status == 1
            assert words in err
            trusts.pop(0)
    assert heard
    assert all(b"cacerts" in head and b"Authorization" not in head for head in heard)
    assert not (tmp_path / "dev" / "ven" / "ven.crt").exists()


async def test_a_running_ven_renews_and_loses_no_sample(house, tmp_path, monkeypatch):
    monkeypatch.setattr("ven.renewal.SPREAD", 0.0)
    house.behind = timedelta(hours=8) - timedelta(seconds=15)  # two thirds are over in 15 s
    sheet = await house.sheet(resources=("building-1",))
    dev = tmp_path / "dev"
    dev.mkdir()
    desk = house.app._desk
    async with PretendNode(dev / "light-node.sock") as node:
        _, out, err = await ven("enroll", sheet.invitation, "--dir", dev)
        assert "issued to 'CN=hq'" in out, err
        house.behind = timedelta(0)
        settings = written(dev / "ven.toml", "min_period_s = 4", "min_period_s = 1")
        first = (await desk.ven("hq")).certificate_sha256
        running = asyncio.create_task(agent.run(settings))
        try:
            async with asyncio.timeout(WITHIN_S):
                renewed_at = None
                starts = []
                while renewed_at is None or not is_whole(starts, beyond=renewed_at + 3):
                    await asyncio.sleep(0.1)
                    is_new = (await desk.ven("hq")).certificate_sha256 != first
                    if is_new and renewed_at is None:
                        renewed_at = datetime.now(UTC).timestamp()
                    starts = await samples(desk)
            status = await control.ask(settings.ven.control_socket, control.AskStatus())
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    assert starts[0] < renewed_at
    assert status.registered
    assert status.certificate_renews_at > datetime.now(UTC)
    assert renewed_file(settings).stat().st_mode & 0o777 == 0o600
    assert renewed_file(settings) == newest(settings).ven.cert
    openssl("verify", "-CAfile", house.pki.ven_trust, renewed_file(settings))
    assert node.plans


def written(path, before, after):
    path.write_text(path.read_text().replace(before, after))
    return config.load(path)


async def samples(desk):
    """When each stored sample of the site's power began."""
    points = [one for one in await desk.points("hq") if one.unit == "W" and not one.facet]
    if not points:
        return []
    at = datetime.now(UTC)
    day = timedelta(days=1)
    return (await desk.measurements("hq", points[0].r_id, at - day, at + day)).starts_at


def is_whole(starts, *, beyond):
    """Every second from the first on, to one later than `beyond`; what is new may go ahead."""
    return bool(starts) and starts[-1] > beyond and starts[-1] - starts[0] + 1 == len(starts)


def test_a_certificate_that_was_bought_is_requested_and_imported(tmp_path, pki):
    dev, wanted, bought = tmp_path / "dev", tmp_path / "hq.csr", tmp_path / "hq.crt"

    def told(*words):
        done = CliRunner().invoke(ven_cli, [*map(str, words), "--dir", str(dev)])
        return done.exit_code, done.output

    assert "begin with `ven request`" in told("import", wanted)[1]
    assert told("request", "--out", wanted, "--subject", "CN=hq,O=Example")[0] == 0
    shown = openssl("req", "-in", wanted, "-noout", "-verify", "-subject", "-text").decode()
    assert "O = Example" in shown
    assert "prime256v1" in shown
    own = pki.folder / "authority" / "ven-ca-ecc"
    issue = ("x509", "-req", "-in", wanted, "-CA", own.with_suffix(".crt"), "-CAkey")
    bought.write_bytes(openssl(*issue, own.with_suffix(".key"), "-days", "30"))

    status, out = told("import", bought)

    assert status == 0
    assert sha256(ssl.PEM_cert_to_DER_cert(bought.read_text())) in out
    for wrong, words in (
        (pki.folder / "vtn-ecc.crt", "not for the key of this device"),
        (wanted, "holds no PEM certificate"),
        (tmp_path / "none.crt", "cannot be read"),
    ):
        status, out = told("import", wrong)
        assert status == 1
        assert words in out


def test_a_renewed_pair_in_one_file_serves_tls_and_signatures(pki, tmp_path):
    issued = pki.ven("in-one-file")
    renewed = tmp_path / "ven-renewed.pem"
    renewed.write_bytes(issued.key.read_bytes() + issued.certificate.read_bytes())

    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(renewed, renewed)
    Signer(renewed.read_bytes(), renewed.read_bytes())

    assert read_credentials(renewed).sha256 == issued.sha256


def test_the_sheet_holds_what_a_person_and_a_camera_need(tmp_path):
    invitation = read_invitation(f"https://vtn.example:8446#code={'0' * 32}&root={'3f' * 32}")
    made = made_code(
        invitation, ven_id="hq", name="<Town hall>", expires_at=datetime(2030, 1, 1, tzinfo=UTC)
    )
    for name, words in (("sheet.html", b"&lt;Town hall&gt;"), ("sheet.svg", b"<svg")):
        write_sheet(made, tmp_path / name)
        assert words in (tmp_path / name).read_bytes()
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_the_enrolment_authority_is_made_once_and_what_it_issued_can_be_revoked(pki, tmp_path):
    with pytest.raises(AuthorityFault, match="never overwrites"):
        pki.enrolment()
    issuer = Issuer.load(pki.folder / "enrolment-ca.crt", pki.folder / "enrolment-ca.key")
    request = read_request(csr(tmp_path))
    der = issuer.issue(request, "hq", life=timedelta(days=1), now=datetime.now(UTC))
    issued = tmp_path / "issued.crt"
    issued.write_text(ssl.DER_cert_to_PEM_cert(der))

    made = pki.revoke(issued)

    assert (made.file.name, made.revoked) == ("ven-ca.crl", 1)
    listed = openssl("crl", "-in", made.file, "-noout", "-text")  # the first of three
    assert b"demandflex VEN CA ECC" in listed
    blocks = made.file.read_text().split("-----END X509 CRL-----")
    mine = openssl("crl", "-noout", "-text", given=(blocks[2] + "-----END X509 CRL-----").encode())
    assert b"demandflex enrolment CA" in mine
    assert f"{request_serial(der):X}".encode() in mine


def request_serial(der):
    return x509.load_der_x509_certificate(der).serial_number
