"""Attacks on `vtn serve` as a process: replays over a kill -9, revocation, guessed tokens."""

import contextlib
import http.client
import socket
import ssl
import subprocess
from datetime import UTC, datetime

import pytest

import oadr
from chaos.utility import Utility
from oadr.endpoints import path
from oadr.poll import Poll
from oadr.registration import CreatePartyRegistration
from oadr.signature import Signer
from oadr.vocabulary import ServiceName
from tests.unit.oadr.test_signature import of_version_14
from vtn.errors import RefusedByVtn
from vtn.operations.access import MOST
from vtn.operations.bodies import NewVen
from vtn.views import Ven

WITHIN_S = 60.0


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    found = Utility(tmp_path_factory.mktemp("attacked"), "sqlite:///vtn.db")
    try:
        found.open()
        yield found
    finally:
        found.close()


def tls(place, issued):
    context = ssl.create_default_context(cafile=place.authority.vtn_trust)
    context.load_cert_chain(issued.certificate, issued.key)
    return context


def post(place, issued, service, body):
    line = http.client.HTTPSConnection(
        "127.0.0.1", place.openadr_port, context=tls(place, issued), timeout=WITHIN_S
    )
    with contextlib.closing(line):
        line.request("POST", path(service), body, {"Content-Type": "application/xml"})
        answer = line.getresponse()
        return answer.status, answer.read()


def test_a_replay_is_refused_also_after_the_vtn_was_killed(place):
    (issued,) = place.let_in(["signer"])
    signer = Signer(issued.certificate.read_bytes(), issued.key.read_bytes())

    def signed(message):
        return signer.sign(message, now=datetime.now(UTC))

    registration = signed(CreatePartyRegistration(request_id="r", xml_signature=True))
    poll = signed(Poll(ven_id="signer"))
    recorded = [(ServiceName.REGISTER_PARTY, registration), (ServiceName.POLL, poll)]
    assert [post(place, issued, *one)[0] for one in recorded] == [200, 200]
    before = place.operator.get("vens", "signer", into=Ven)
    assert [post(place, issued, *one)[0] for one in recorded] == [403, 403]

    place.vtn.kill()
    place.vtn.start()
    place.wait_ready()

    assert [post(place, issued, *one)[0] for one in recorded] == [403, 403]
    after = place.operator.get("vens", "signer", into=Ven)
    assert after.registration_id == before.registration_id
    assert post(place, issued, ServiceName.POLL, signed(Poll(ven_id="signer")))[0] == 200


def test_an_operator_who_revokes_a_ven_closes_its_connection(place):
    issued, kept = place.let_in(["gone", "kept"])
    lines = [
        tls(place, one).wrap_socket(
            socket.create_connection(("127.0.0.1", place.openadr_port)),
            server_hostname="127.0.0.1",
        )
        for one in (issued, kept)
    ]
    body = oadr.build(CreatePartyRegistration(request_id="r"))
    for line in lines:
        line.settimeout(WITHIN_S)
        line.sendall(request(body))
        assert line.recv(65_536).startswith(b"HTTP/1.1 200")

    place.operator.post("vens", "gone", "revoke", into=Ven)

    with contextlib.suppress(ConnectionError):
        assert lines[0].recv(1) == b""
    lines[1].sendall(request(body))
    assert lines[1].recv(65_536).startswith(b"HTTP/1.1 200")
    for line in lines:
        line.close()


def request(body):
    head = f"POST {path(ServiceName.REGISTER_PARTY)} HTTP/1.1\r\nHost: vtn\r\n"
    head += f"Content-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def test_who_guesses_tokens_is_refused_and_the_operator_is_not(place):
    statuses = []
    for guess in range(MOST + 3):
        line = http.client.HTTPConnection("127.0.0.1", place.operator_port, timeout=WITHIN_S)
        with contextlib.closing(line):
            headers = {"Authorization": f"Bearer guess-{guess}", "X-Operator": "mallory"}
            line.request("POST", "/api/v1/vens/x/revoke", headers=headers)
            statuses.append(line.getresponse().status)

    assert statuses == [401] * MOST + [429] * 3
    assert place.answers()
    log = place.vtn.log.read_text()
    assert log.count("operator refused") == MOST
    assert "guess-0" not in log


def test_hundreds_of_connections_that_say_nothing_leave_room_for_an_honest_ven(place):
    (issued,) = place.let_in(["honest"])
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            line = socket.create_connection(("127.0.0.1", place.openadr_port))
            stack.callback(line.close)

        body = oadr.build(Poll(ven_id="honest"))
        assert post(place, issued, ServiceName.POLL, body)[0] == 200
    assert place.vtn.alive


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_session_is_the_same_ven_and_revoked_it_is_nobodys(place, version):
    """A session brings its certificate back without the handshake that looked at it."""
    name = f"resumed-{version.name}"
    (issued,) = place.let_in([name])
    context = tls(place, issued)
    context.maximum_version = version
    body = oadr.build(CreatePartyRegistration(request_id="r"))

    def say(session=None):
        line = socket.create_connection(("127.0.0.1", place.openadr_port), timeout=WITHIN_S)
        with context.wrap_socket(line, server_hostname="127.0.0.1", session=session) as wrapped:
            wrapped.sendall(request(body))
            answer = wrapped.recv(65_536).partition(b"\r\n\r\n")[2]
            code = oadr.parse(answer).response.response_code
            return code, wrapped.session_reused, wrapped.session

    code, reused, session = say()
    assert (code, reused) == ("200", False)
    assert say(session)[:2] == ("200", True)
    place.operator.post("vens", name, "revoke", into=Ven)
    assert say(session)[:2] == ("463", True)


def test_a_client_cannot_renegotiate(place):
    (issued,) = place.let_in(["renegotiating"])
    done = subprocess.run(
        [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{place.openadr_port}", "-tls1_2"),
            *("-cert", issued.certificate, "-key", issued.key),
            *("-CAfile", place.authority.vtn_trust),
        ],
        input=b"R\n",
        capture_output=True,
        check=False,
        timeout=WITHIN_S,
    )
    assert b"RENEGOTIATING" in done.stderr
    assert b"no renegotiation" in done.stderr


def test_an_operator_who_adds_a_certificate_of_no_known_version_is_told_so(place):
    """Found by fuzzing: it was a 500."""
    good = place.authority.ven("of-version-3").certificate.read_bytes()
    body = NewVen(ven_id="x", certificate=ssl.DER_cert_to_PEM_cert(of_version_14(good)))

    with pytest.raises(RefusedByVtn, match="no certificate in PEM") as refusal:
        place.operator.post("vens", into=Ven, body=body)
    assert refusal.value.status == 422
