"""`vtn serve --workers 3` on PostgreSQL: three processes that answer as one."""

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

import oadr
from demo.ports import free_port
from oadr.endpoints import path
from oadr.event import DistributeEvent
from oadr.poll import Poll, Response
from oadr.registration import QueryRegistration
from oadr.report import RegisteredReport, RegisterReport
from oadr.response import EiResponse
from oadr.signature import Signer
from oadr.vocabulary import ServiceName
from tests.story.vtn.test_push import PushVen, until
from tests.story.vtn.utility import CONTEXT, Speaker, values
from vtn.gateway import Answer

VTN = Path(sys.executable).with_name("vtn")
WITHIN_S = 60.0
POLL = ServiceName.POLL
OUT_OF_STEP = "out of step: every"
OPEN: list[http.client.HTTPSConnection] = []


@pytest.fixture(autouse=True)
def hang_up():
    yield
    for one in OPEN:
        one.close()
    OPEN.clear()


def soon(what, condition, within_s=WITHIN_S):
    """The first truth of `condition`, waited for."""
    deadline = time.monotonic() + within_s
    while not (got := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {within_s} s"
        time.sleep(0.02)
    return got


class Served:
    """`vtn serve` with three workers as a process of its own, with its database."""

    def __init__(self, folder, authority, cluster, *, workers=3, operator=""):
        """`operator` are more settings of [operator]."""
        self.folder, self.authority, self.cluster = folder, authority, cluster
        self.clock = SimpleNamespace(now=lambda: datetime.now(UTC))
        self.database, _ = cluster.fresh()
        self.port, self.operator_port = free_port(), free_port()
        ecc = authority.folder / "vtn-ecc"
        url = cluster.tcp_url(self.database).replace("+asyncpg", "")
        self.config = folder / "vtn.toml"
        self.config.write_text(
            f"""
[vtn]
id = "vtn"
workers = {workers}
[openadr]
host = "127.0.0.1"
port = {self.port}
client_ca = "{authority.ven_trust}"
certificates = [{{ cert = "{ecc}.crt", key = "{ecc}.key" }}]
resend_after_s = 3600
[store]
url = "{url}"
[operator]
port = {self.operator_port}
token_file = "operator.token"
{operator}
"""
        )
        self.run("init")
        self.numbers = iter(range(1, 1000))
        self.process = None

    def run(self, *words):
        done = subprocess.run(
            [VTN, *words, "--config", self.config], check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def serve(self):
        with (self.folder / "serve.log").open("w") as log:
            self.process = subprocess.Popen(
                [VTN, "serve", "--config", self.config], stderr=log, stdout=log
            )
        soon("the workers listen", lambda: "all workers listen" in self.log() or self.dead())
        assert self.process.poll() is None, self.log()

    def dead(self):
        return self.process.poll() is not None

    def log(self):
        return (self.folder / "serve.log").read_text()

    def workers(self):
        """Their process IDs."""
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(one) for one in task.read_text().split()]

    def is_buried(self, victim):
        """The supervisor has noticed, and has shut its doors or begun another behind them.

        Until then the kernel may still hand it a connection, and resets that when it ends.
        """

        def told():
            died = [one for one in self.log().splitlines() if "a worker died" in one]
            return any(re.search(rf"\b{victim}\b", one) for one in died)

        soon("it is buried", told)
        assert victim not in self.workers()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                return self.process.wait(WITHIN_S)
            finally:
                self.process.kill()
        return None

    def operate(self, what, body=None, method="POST"):
        url = f"http://127.0.0.1:{self.operator_port}/api/v1/{what}"
        token = (self.folder / "operator.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(url, data=content, headers=headers, method=method)
        with urllib.request.urlopen(asked, timeout=WITHIN_S) as answer:
            return json.load(answer)

    def let_in(self):
        number = next(self.numbers)
        issued = self.authority.ven(f"{self.folder.name}-{number}")
        ven_id = f"ven-{number}"
        self.operate("vens", {"ven_id": ven_id, "certificate": issued.certificate.read_text()})
        return Wired(self, ven_id, issued)

    async def registered(self):
        ven = self.let_in()
        await ven.register()
        metadata = await ven.poll(RegisterReport)
        answer = RegisteredReport(
            response=EiResponse(request_id=metadata.request_id), ven_id=ven.ven_id
        )
        await ven.say(ServiceName.REPORT, answer, Response)
        await ven.poll(Response)
        return ven

    def publish(self, ven):
        return self.operate(
            "events",
            {
                "signals": [{"name": "SIMPLE", "type": "level", "value": 1}],
                "start": f"now+{next(self.numbers)}h",
                "duration": "5m",
                "vens": [ven.ven_id],
            },
        )

    def stored(self, ven, first):
        """When there are samples of the VEN, in the day from `first` on."""
        to = first + timedelta(days=1)
        query = f"from={first:%Y-%m-%dT%H:%M:%SZ}&to={to:%Y-%m-%dT%H:%M:%SZ}"
        return self.operate(f"measurements?ven={ven.ven_id}&rid=P&{query}", method="GET")[
            "starts_at"
        ]

    def sql(self, statement):
        psql = self.cluster._programs / "psql"
        where = ["-h", "127.0.0.1", "-p", str(self.cluster.port), "-U", "postgres"]
        return subprocess.run(
            [psql, "-X", "-A", "-t", *where, "-d", self.database, "-c", statement],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()


def worker_of(served, local_port, port=None):
    """Which worker has accepted the connection that comes from this port of ours.

    Of the VENs' listener, or of that at `port`.
    """
    server = f":{port or served.port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if columns[1].endswith(server) and columns[2].endswith(f":{local_port:04X}"):
            inode = f"socket:[{columns[9]}]"
            for pid in served.workers():
                if any(_points_to(fd, inode) for fd in Path(f"/proc/{pid}/fd").iterdir()):
                    return pid
    raise AssertionError("nobody has accepted this connection")


class Wired(Speaker):
    """A VEN with connections to its name: `at` says over which it speaks."""

    def __init__(self, served, ven_id, issued):
        super().__init__(served, ven_id, "")
        self.served, self.issued = served, issued
        self.at = self.connect()

    def connect(self):
        context = ssl.create_default_context(cafile=self.served.authority.vtn_trust)
        context.load_cert_chain(self.issued.certificate, self.issued.key)
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.served.port, context=context, timeout=WITHIN_S
        )
        OPEN.append(connection)
        connection.connect()
        return connection

    async def post(self, service, body):
        return self.send(self.at, service, body)

    def send(self, connection, service, body, *, patiently=True):
        """Again where it is told to come again: on a machine that is held up a VTN is behind."""
        headers = {"Content-Type": "application/xml"}
        deadline = time.monotonic() + WITHIN_S
        while True:
            connection.request("POST", path(service), body=body, headers=headers)
            answer = connection.getresponse()
            found = Answer(answer.status, answer.read())
            if found.status != 503 or not patiently or time.monotonic() > deadline:
                return found
            time.sleep(0.1)

    def everywhere(self):
        """A connection to each of the three workers, by process ID."""
        found = {}

        def more():
            connection = self.connect()
            self.send(connection, POLL, b"accepted")
            found.setdefault(worker_of(self.served, connection.sock.getsockname()[1]), connection)
            return len(found) == 3

        soon("a connection to each worker", more)
        return found

    def ask_anew(self):
        """As `ask`, over a connection that is not cut by the news of a revocation."""
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.ask(self.connect())

    def ask(self, connection):
        """What a poll over this connection brings."""
        answer = self.send(connection, POLL, oadr.build(Poll(ven_id=self.ven_id)))
        assert answer.status == 200, answer
        return oadr.parse(answer.body)


@pytest.fixture(scope="module")
def served(tmp_path_factory, authority, postgres):
    found = Served(tmp_path_factory.mktemp("workers"), authority, postgres)
    try:
        found.serve()
        found.operate("market-contexts", {"uri": CONTEXT})
        yield found
        assert found.stop() == 0, found.log()
    finally:
        found.stop()
        postgres.drop(found.database)


async def test_what_is_put_in_at_one_worker_is_handed_out_at_each_other(served):
    ven = await served.registered()
    for connection in ven.everywhere().values():
        while not isinstance(ven.ask(connection), Response):
            pass
        served.publish(ven)

        soon("the event", lambda c=connection: isinstance(ven.ask(c), DistributeEvent))


async def test_two_polls_at_two_workers_never_get_the_same_message(served):
    ven = await served.registered()
    connections = list(ven.everywhere().values())
    for connection in connections:
        ven.ask(connection)
    with ThreadPoolExecutor(3) as threads:
        for _ in range(12):
            served.publish(ven)
            got = []
            while not any(isinstance(one, DistributeEvent) for one in got):
                start = threading.Barrier(3)

                def poll(connection, start=start):
                    start.wait()
                    return ven.ask(connection)

                got = list(threads.map(poll, connections))

            assert [DistributeEvent, Response, Response] == sorted(map(type, got), key=str)


async def test_a_worker_that_is_killed_is_replaced_and_nothing_acknowledged_is_lost(served):
    ven = await served.registered()
    asked = (await ven.offer()).requests[0].report_request_id
    connections = ven.everywhere()
    first = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    acknowledged, victim = [], next(iter(connections))
    for number in range(60):
        at = first + timedelta(seconds=4 * number)
        if number == 20:
            os.kill(victim, signal.SIGKILL)
        for pid in list(connections):
            ven.at = connections[pid]
            try:
                await ven.update(values(asked, at, (float(number),)))
            except (OSError, http.client.HTTPException):
                assert pid == victim
                del connections[pid]
                continue
            acknowledged.append(at.timestamp())

    served.is_buried(victim)
    soon("three workers again", lambda: len(served.workers()) == 3)
    assert len(ven.everywhere()) == 3
    assert set(acknowledged) <= set(served.stored(ven, first))


async def test_nobody_waits_at_the_door_of_a_worker_that_dies_again_and_again(served):
    """It is begun anew after a pause only; the kernel would hand it a third of all connections."""
    ven = await served.registered()
    victim = served.workers()[0]
    for _ in range(3):
        before = set(served.workers())
        os.kill(victim, signal.SIGKILL)
        soon("another worker", lambda before=before: set(served.workers()) - before)
        (victim,) = set(served.workers()) - before
    os.kill(victim, signal.SIGKILL)
    served.is_buried(victim)

    for _ in range(12):
        assert isinstance(ven.ask(ven.connect()), Response | RegisterReport)
    assert len(served.workers()) == 2, "it was begun anew too early to show anything"
    soon("three workers again", lambda: len(served.workers()) == 3)
    assert len(ven.everywhere()) == 3


async def test_what_waits_is_found_while_no_worker_can_listen(served):
    ven, revoked = await served.registered(), await served.registered()
    connections = ven.everywhere()
    for connection in connections.values():
        ven.ask(connection)
    over, cut_before = threading.Event(), served.log().count(OUT_OF_STEP)

    def cut():
        while not over.is_set():
            served.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE application_name = 'demandflex line' AND datname = '{served.database}'"
            )

    cutting = threading.Thread(target=cut)
    cutting.start()
    try:
        soon("the lines are cut", lambda: served.log().count(OUT_OF_STEP) >= cut_before + 3)
        served.publish(ven)
        got = [ven.ask(connection) for connection in connections.values()]
        served.operate(f"vens/{revoked.ven_id}/revoke")

        def is_out():
            replies = [revoked.ask_anew() for _ in range(6)]
            return all(code(one) == "463" for one in replies)

        # A line that has just been made anew is cut a moment later, with the news on it or not.
        soon("it is shut out", is_out, within_s=10)
    finally:
        over.set()
        cutting.join()

    assert [DistributeEvent, Response, Response] == sorted(map(type, got), key=str)
    soon(
        "in step again",
        lambda: served.log().count("in step again") >= served.log().count(OUT_OF_STEP),
    )


def code(reply):
    """ "200" ... of a reply that says how it went; "" of what was handed out."""
    response = getattr(reply, "response", None)
    return response.response_code if response is not None else ""


async def test_a_revoked_ven_is_shut_out_of_every_worker(served):
    ven = await served.registered()
    connections = ven.everywhere().values()

    served.operate(f"vens/{ven.ven_id}/revoke")

    for connection in connections:
        soon("the connection is closed", lambda c=connection: c.sock.recv(1) == b"")
    for _ in range(6):
        reply = ven.ask_anew()
        assert reply.response.response_code == "463"


async def test_a_contact_with_one_worker_is_known_to_all(served):
    ven = await served.registered()
    before = datetime.now(UTC)
    ven.ask(next(iter(ven.everywhere().values())))

    def known():
        told = served.operate(f"vens/{ven.ven_id}", method="GET")["last_contact_at"]
        return told is not None and datetime.fromisoformat(told) >= before

    for _ in range(8):  # each request of the operator goes to any worker
        soon("the contact", known)
    health = served.operate("health", method="GET")
    assert health["online"] >= 1


async def test_whichever_worker_is_scraped_tells_what_all_have_counted(served):
    ven = await served.registered()
    for connection in ven.everywhere().values():
        ven.ask(connection)
    url = f"http://127.0.0.1:{served.operator_port}/metrics"
    token = (served.folder / "operator.token").read_text().strip()
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})

    def told():
        with urllib.request.urlopen(asked, timeout=WITHIN_S) as answer:
            text = answer.read().decode()
        polls = 'oadr_requests_total{code="200",service="OadrPoll",worker="'
        return {line[len(polls)] for line in text.splitlines() if line.startswith(polls)}

    soon("the counts of all three", lambda: told() == {"1", "2", "3"})


async def test_a_signed_message_counts_once_among_all_workers(served):
    ven = await served.registered()
    signer = Signer(ven.issued.certificate.read_bytes(), ven.issued.key.read_bytes())
    connections = list(ven.everywhere().values())

    def signed(message):
        return signer.sign(oadr.build(message), now=datetime.now(UTC))

    again = oadr.registration.CreatePartyRegistration(
        request_id="r",
        ven_id=ven.ven_id,
        registration_id=ven.registration_id,
        xml_signature=True,
    )
    assert ven.send(connections[0], ServiceName.REGISTER_PARTY, signed(again)).status == 200

    def asks_for_signatures(connection):
        plain = oadr.build(QueryRegistration(request_id="p"))
        return ven.send(connection, ServiceName.REGISTER_PARTY, plain).status == 403

    for one in connections:  # each hears of the registration a moment later
        soon("signatures are asked for", lambda one=one: asks_for_signatures(one))
    query = signed(QueryRegistration(request_id="q"))
    statuses = [ven.send(one, ServiceName.REGISTER_PARTY, query).status for one in connections]

    assert statuses == [200, 403, 403]


async def test_pushing_goes_on_when_the_worker_that_pushes_is_killed(served):
    issued = served.authority.ven("pushed-by-workers")
    wired = Wired(served, "pushed", issued)
    served.operate("vens", {"ven_id": "pushed", "certificate": issued.certificate.read_text()})

    class Pushed(PushVen):
        async def post(self, service, body):
            return await asyncio.to_thread(wired.send, wired.connect(), service, body)

    ven = Pushed(served, "pushed", issued, served.authority)
    await ven.listen()
    try:
        await ven.register()
        await ven.get(RegisterReport)
        on_duty = served.sql(
            "SELECT client_port FROM pg_stat_activity JOIN pg_locks USING (pid) "
            f"WHERE locktype = 'advisory' AND classid = 3569 AND datname = '{served.database}'"
        )
        os.kill(victim := _owner(served, int(on_duty)), signal.SIGKILL)
        served.is_buried(victim)
        await asyncio.to_thread(served.publish, wired)

        await ven.get(DistributeEvent)
        soon("three workers again", lambda: len(served.workers()) == 3)
        await until("nothing is left to push", lambda: len(ven.pushed) >= 2)
    finally:
        await ven.hang_up()


def _owner(served, port):
    """The worker whose connection to the database has this port at our end."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if columns[1].endswith(f":{port:04X}") and columns[9] != "0":
            inode = f"socket:[{columns[9]}]"
            for pid in served.workers():
                if any(_points_to(fd, inode) for fd in Path(f"/proc/{pid}/fd").iterdir()):
                    return pid
    raise AssertionError("no worker has this connection")


def _points_to(fd, inode):
    with contextlib.suppress(OSError):
        return str(fd.readlink()) == inode
    return False


async def test_a_stop_answers_what_was_taken_and_no_worker_outlives_the_supervisor(
    tmp_path, authority, postgres
):
    served = Served(tmp_path, authority, postgres)
    served.serve()
    try:
        ven = await served.registered()
        asked = (await ven.offer()).requests[0].report_request_id
        first = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
        acknowledged, statuses, begun = [], [], threading.Event()

        def report(lane, connection):
            for number in range(10_000):
                at = first + timedelta(seconds=4 * (8 * number + lane))
                message = oadr.report.UpdateReport(
                    request_id="u", reports=(values(asked, at, (1.0,)),)
                )
                try:
                    answer = ven.send(
                        connection, ServiceName.REPORT, oadr.build(message), patiently=False
                    )
                except (OSError, http.client.HTTPException):
                    return
                statuses.append(answer.status)
                if answer.status == 200:
                    acknowledged.append(at.timestamp())
                if number == 3:
                    begun.set()

        with ThreadPoolExecutor(8) as threads:
            connections = [ven.connect() for _ in range(8)]
            lanes = [threads.submit(report, *one) for one in enumerate(connections)]
            assert begun.wait(WITHIN_S)
            assert served.stop() == 0
            for one in lanes:
                one.result()

        assert {200} == set(statuses)
        served.serve()

        assert set(acknowledged) <= set(served.stored(ven, first))

        workers = served.workers()
        served.process.kill()
        served.process.wait(WITHIN_S)
        soon("no worker is left", lambda: not any(map(_is_running, workers)))
    finally:
        served.stop()
        postgres.drop(served.database)


def _is_running(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_sqlite_serves_one_process_only(tmp_path, authority):
    stem = authority.folder / "vtn-ecc"
    (tmp_path / "vtn.toml").write_text(
        f"""
[vtn]
id = "vtn"
[openadr]
client_ca = "{authority.ven_trust}"
certificates = [{{ cert = "{stem}.crt", key = "{stem}.key" }}]
[operator]
token_file = "operator.token"
"""
    )
    refused = subprocess.run(
        [VTN, "serve", "--workers", "2"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert refused.returncode == 1
    assert refused.stderr.strip().endswith(
        "SQLite serves one process, not 2; set [store] url to a PostgreSQL database, "
        "or serve with --workers 1."
    )
