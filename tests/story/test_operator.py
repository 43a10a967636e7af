"""An operator's day: `vtn serve` and the command line as processes of their own, on loopback."""

import asyncio
import contextlib
import json
import secrets
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import aiohttp
import pytest

import oadr
from certs.authority import Authority, Issued
from demo.ports import free_port
from oadr.columns import Column, Intervals
from oadr.event import CreatedEvent, EventResponse, RequestEvent
from oadr.registration import CreatePartyRegistration
from oadr.report import (
    CreatedReport,
    RegisterReport,
    Report,
    ReportDescription,
    SamplingRate,
    UpdateReport,
)
from oadr.units import power
from oadr.vocabulary import OptType

VTN = Path(sys.executable).with_name("vtn")
CONTEXT = "http://demandflex.example/peak"
DEADLINE_S = 60.0


class Place:
    """A folder with a settings file, the VTN that serves it, and its command line."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.folder = folder
        self.authority = authority
        self.config = folder / "vtn.toml"
        self.openadr_port, self.operator_port = free_port(), free_port()
        ecc, rsa = authority.folder / "vtn-ecc", authority.folder / "vtn-rsa"
        self.config.write_text(
            f"""
[vtn]
id = "vtn"
[openadr]
host = "127.0.0.1"
port = {self.openadr_port}
client_ca = "{authority.trust}"
certificates = [
    {{ cert = "{ecc}.crt", key = "{ecc}.key" }}, {{ cert = "{rsa}.crt", key = "{rsa}.key" }}
]
[operator]
port = {self.operator_port}
token_file = "operator.token"
"""
        )
        self._serving: subprocess.Popen[str] | None = None

    def run(self, *words: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [VTN, *map(str, words)],
            check=False,
            capture_output=True,
            text=True,
            input=stdin,
            timeout=DEADLINE_S,
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "LOGNAME": "anna"},
        )

    def json(self, *words: object):
        answer = self.run(*words, "--json")
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)

    def serve(self) -> None:
        log = (self.folder / "serve.log").open("a")
        with log:
            self._serving = subprocess.Popen([VTN, "serve"], cwd=self.folder, stderr=log, text=True)
        until = time.monotonic() + DEADLINE_S
        while self.run("health").returncode:
            assert self._serving.poll() is None, (self.folder / "serve.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self._serving is not None
        serving, self._serving = self._serving, None
        serving.send_signal(number)
        try:
            return serving.wait(DEADLINE_S)
        finally:
            serving.kill()

    def close(self) -> None:
        if self._serving is not None:
            with contextlib.suppress(ProcessLookupError):
                self.stop()

    def state(self) -> list:
        """Everything an operator can see change, asked for without a process for each."""
        token = (self.folder / "operator.token").read_text().strip()
        found = []
        for path in ("vens", "groups", "market-contexts", "events", "audit"):
            wanted = urllib.request.Request(
                f"http://127.0.0.1:{self.operator_port}/api/v1/{path}",
                headers={"Authorization": f"Bearer {token}"},
            )
            with urllib.request.urlopen(wanted, timeout=DEADLINE_S) as answer:
                found.append(json.load(answer))
        for ven in found[0]:
            ven.pop("last_contact_at")
        return found


@pytest.fixture
def place(tmp_path: Path, authority: Authority) -> Iterator[Place]:
    place = Place(tmp_path, authority)
    try:
        yield place
    finally:
        place.close()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Place]:
    """A VTN that is up, with one market context and one VEN."""
    place = Place(tmp_path_factory.mktemp("office"), authority)
    try:
        assert place.run("init").returncode == 0
        place.serve()
        assert place.run("contexts", "add", CONTEXT).returncode == 0
        # pytest-xdist may set this module up twice in one process
        issued = authority.ven(f"operator-hq-{secrets.token_hex(4)}")
        added = place.run("vens", "add", "hq", "--cert", issued.certificate, "--resource", "roof")
        assert added.returncode == 0, added.stderr
        assert issued.fingerprint in added.stdout
        yield place
    finally:
        place.close()


DELTA = ("--signal", "LOAD_DISPATCH", "--type", "delta", "--unit", "kW", "--value", "-200")


def test_from_nothing_to_a_vtn_that_stops_when_told_and_forgets_nothing(place: Place) -> None:
    refused = place.run("serve")
    assert refused.returncode == 1
    assert "run vtn init" in refused.stderr
    missing = place.run("check")
    assert missing.returncode == 1
    assert "run vtn init" in missing.stdout

    assert place.run("init").returncode == 0
    assert place.run("check").returncode == 0
    place.serve()
    place.run("contexts", "add", CONTEXT)
    place.run("vens", "add", "hq", "--fingerprint", "ab" * 32)
    publish = ("event", "publish", "--ven", "hq", *DELTA, "--start", "now+1h", "--duration", "1h")
    published = place.json(*publish, "--event-id", "0042")
    before = place.state()
    assert before[3] == [published]

    assert place.stop(signal.SIGKILL) == -signal.SIGKILL
    silent = place.run("event", "list")
    assert silent.returncode == 1
    assert "is `vtn serve` running?" in silent.stderr
    place.serve()
    assert place.state() == before
    assert place.stop(signal.SIGTERM) == 0


def test_an_event_from_its_publication_to_its_cancellation(office: Place) -> None:
    words = ("event", "publish", "--ven", "hq", *DELTA, "--start", "now+10h", "--duration", "1h")
    event_id = office.json(*words, "--notification", "1h", "--comment", "heat")["event_id"]
    modified = office.json("event", "modify", event_id, "--value", "-100", "--reason", "cooler")
    assert modified["modification_number"] == 1
    again = office.run("event", "modify", event_id, "--duration", "2h", "--expect", 0)
    assert (again.returncode, len(again.stderr.splitlines())) == (1, 1)
    assert office.run("event", "cancel", event_id).returncode == 0
    shown = office.json("event", "show", event_id)
    assert shown["status"] == "cancelled"
    assert [each["modification_number"] for each in shown["history"]] == [0, 1, 2]
    acts = [line["act"] for line in office.json("audit", "--subject", f"event:{event_id}")]
    assert acts == ["cancel event", "modify event", "publish event"]
    assert {line["actor"] for line in office.json("audit", "--limit", 3)} == {"operator:anna"}


# --- mistakes change nothing ----------------------------------------------------------------------

PUBLISH = ("event", "publish", "--ven", "hq", *DELTA, "--start", "now+20h", "--duration", "1h")


@pytest.mark.parametrize(
    ("words", "stdin", "sentence"),
    [
        ((*PUBLISH, "--ven", "nix"), "", "nix"),
        ((*PUBLISH, "--group", "nix"), "", "nix"),
        ((*PUBLISH, "--resource", "nix"), "", "nix"),
        ((*PUBLISH, "--market-context", "http://nix.example"), "", "nix.example"),
        ((*PUBLISH, "--start", "2026-01-01T00:00:00Z"), "", "is in the past"),
        ((*PUBLISH, "--unit", "kWh"), "", "is a power: give W, kW or MW, not kWh."),
        ((*PUBLISH, "--type", "level", "--unit", "level"), "", "level"),
        ((*PUBLISH, "--interval", "20m=-1"), "", "one value for the whole event, or intervals"),
        (("event", "import", "-"), '{"signals": [], "strat": "now"}', "did you mean 'start'?"),
        (("event", "import", "-"), "{", "this is not JSON"),
        (("event", "modify", "nix", "--duration", "1h"), "", "nix"),
        (("event", "cancel", "nix"), "", "nix"),
        (("vens", "add", "hq", "--fingerprint", "ab" * 32), "", "hq"),
        (("vens", "add", "x", "--fingerprint", "AB:" * 9 + "AB"), "", "80 bits are too few"),
        (("vens", "add", "x", "--fingerprint", "ab" * 32, "--group", "nix"), "", "nix"),
        (("vens", "revoke", "nix"), "", "nix"),
        (("groups", "join", "nix", "hq"), "", "nix"),
        (("report", "request", "hq", "x", "--rid", "P", "--back", "60s"), "", "is not registered"),
        (("curtailment", "show", "nix"), "", "nix"),
        (
            ("measurements", "export", "--ven=hq", "--rid=nix", "--from=now-1h", "--out=x.csv"),
            "",
            "nix",
        ),
    ],
)
def test_a_mistake_gets_one_sentence_and_changes_nothing(
    office: Place, words: tuple, stdin: str, sentence: str
) -> None:
    before = office.state()
    answer = office.run(*words, stdin=stdin)

    assert answer.returncode == 1
    assert answer.stdout == ""
    assert sentence in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert "Traceback" not in answer.stderr
    assert before == office.state()
    assert not (office.folder / "x.csv").exists()


def test_a_stranger_gets_nothing_and_changes_nothing(office: Place) -> None:
    before = office.state()
    token = office.folder / "operator.token"
    right = token.read_text()
    token.write_text("somebody-elses-guess-of-it")
    try:
        answer = office.run("vens", "revoke", "hq")
    finally:
        token.write_text(right)

    assert answer.returncode == 1
    assert "The operator's token is missing or wrong" in answer.stderr
    assert before == office.state()


def test_an_unknown_setting_is_named_with_the_nearest_known_one(place: Place) -> None:
    place.config.write_text(place.config.read_text().replace("token_file", "token_fiel"))
    for words in (["serve"], ["check"], ["vens", "list"]):
        answer = place.run(*words)

        assert answer.returncode == 1
        assert "there is no setting 'token_fiel'" in answer.stderr
        assert "did you mean 'token_file'?" in answer.stderr


async def test_the_api_never_answers_rubbish_with_a_5xx(office: Place) -> None:
    token = (office.folder / "operator.token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    before = office.state()
    order = {"signals": [{"name": "LOAD_DISPATCH", "type": "delta", "unit": "kW", "value": -1}]}
    bodies = [
        b"",
        b"\xff\xfe",
        b"null",
        b"[" * 100_000,
        b'{"signals": [{"name": "SIMPLE", "type": "level", "value": 1e999}]}',
        *(
            json.dumps({**order, **wrong}).encode()
            for wrong in (
                {"vens": ["hq"], "duration": "1h", "priority": -1},
                {"vens": ["hq"], "duration": "1h", "priority": 2**70},
                {"vens": ["hq"], "duration": "99999999999999999999h"},
                {"vens": ["\u0000"], "duration": "1h"},
                {"vens": ["hq"], "duration": "1h", "comment": "\u0001"},
                {"vens": ["hq"], "duration": "1h", "event_id": "x" * 10_000},
                {"vens": ["hq"], "duration": "1h", "market_context": "not a uri \u0000"},
                {"vens": ["hq"], "duration": "1h", "start": "9999-12-31T23:59:59+00:00"},
            )
        ),
    ]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{office.operator_port}") as http:
        for body in bodies:
            async with http.post("/api/v1/events", data=body, headers=headers) as answer:
                problem = await answer.json(content_type="application/problem+json")
                assert 400 <= answer.status < 500, (body[:80], problem)
                assert problem["detail"].endswith((".", "?"))
        for path in ("/api/v1/vens/%00", "/api/v1/events/%ff", f"/api/v1/audit?before={10**30}"):
            async with http.get(path, headers=headers) as answer:
                assert 400 <= answer.status < 500, path
    assert before == office.state()


# --- curtailment ----------------------------------------------------------------------------------


class ScriptedVen:
    """As much of a VEN as is needed to deliver, and to claim what it likes."""

    def __init__(self, ven_id: str, place: Place, issued: Issued) -> None:
        self._ven_id = ven_id
        self._url = f"https://127.0.0.1:{place.openadr_port}/OpenADR2/Simple/2.0b"
        self._tls = ssl.create_default_context(cafile=place.authority.trust)
        self._tls.load_cert_chain(issued.certificate, issued.key)

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls))
        return self

    async def __aexit__(self, *_exc) -> None:
        await self._http.close()

    async def say(self, service: str, message):
        body = oadr.build(message)
        headers = {"Content-Type": "application/xml"}
        async with self._http.post(f"{self._url}/{service}", data=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return oadr.parse(await answer.read())

    async def register(self) -> dict[str, str]:
        """Register with reports of 4 s and 60 s; the reportRequestIDs by specifier."""
        created = await self.say(
            "EiRegisterParty", CreatePartyRegistration(request_id="1", http_pull_model=True)
        )
        assert created.ven_id == self._ven_id

        def offer(name: str, period_s: int, *points: tuple[str, str]) -> Report:
            period = timedelta(seconds=period_s)
            return Report(
                duration=timedelta(hours=1),
                descriptions=tuple(
                    ReportDescription(
                        r_id=r_id,
                        report_type=kind,
                        unit=power(),
                        reading_type="Direct Read",
                        sampling_rate=SamplingRate(min_period=period, max_period=period),
                    )
                    for r_id, kind in points
                ),
                report_request_id="0",
                report_specifier_id=name,
                report_name=name,
                created_at=datetime.now(UTC),
            )

        answer = await self.say(
            "EiReport",
            RegisterReport(
                request_id="2",
                ven_id=self._ven_id,
                reports=(
                    offer("METADATA_TELEMETRY_USAGE", 4, ("P", "usage")),
                    offer("x-METADATA_CURTAILMENT", 60, ("B", "baseline"), ("D", "deviation")),
                ),
            ),
        )
        asked = {each.report_specifier_id: each.report_request_id for each in answer.requests}
        await self.say(
            "EiReport",
            CreatedReport(
                response=oadr.EiResponse(response_code="200", request_id="2"),
                pending_report_request_ids=tuple(asked.values()),
                ven_id=self._ven_id,
            ),
        )
        return asked

    async def opt_in(self) -> None:
        found = await self.say("EiEvent", RequestEvent(request_id="3", ven_id=self._ven_id))
        await self.say(
            "EiEvent",
            CreatedEvent(
                response=oadr.EiResponse(response_code="200", request_id=""),
                event_responses=tuple(
                    EventResponse(
                        request_id=found.request_id,
                        event_id=event.event_id,
                        modification_number=event.modification_number,
                        opt_type=OptType.OPT_IN,
                    )
                    for event in found.events
                ),
                ven_id=self._ven_id,
            ),
        )

    async def report(
        self, request_id: str, specifier: str, at: list[datetime], step_s: int, **points: float
    ) -> None:
        answer = await self.say(
            "EiReport",
            UpdateReport(
                request_id="4",
                ven_id=self._ven_id,
                reports=(
                    Report(
                        starts_at=at[0],
                        intervals=Intervals(
                            count=len(at),
                            starts_at=tuple(at),
                            durations=(timedelta(seconds=step_s),) * len(at),
                            columns=tuple(
                                Column(r_id=r_id, values=(float(value),) * len(at))
                                for r_id, value in sorted(points.items())
                            ),
                        ),
                        report_request_id=request_id,
                        report_specifier_id=specifier,
                        report_name=specifier.replace("METADATA_", ""),
                        created_at=datetime.now(UTC),
                    ),
                ),
            ),
        )
        assert answer.response.response_code == "200", answer


async def test_curtailment_is_what_the_stored_readings_show(
    place: Place, authority: Authority
) -> None:
    """Two mills deliver the same; one of them claims more than its readings show."""
    issued = {name: authority.ven(f"{name}-mill") for name in ("honest", "boasting")}
    claimed = {"honest": -200_000, "boasting": -260_000}
    place.run("init")
    await asyncio.to_thread(place.serve)
    place.run("contexts", "add", CONTEXT)
    for name, certificate in issued.items():
        added = place.run("vens", "add", name, "--cert", certificate.certificate)
        assert added.returncode == 0, added.stderr
    usage, claim = "METADATA_TELEMETRY_USAGE", "x-METADATA_CURTAILMENT"
    async with contextlib.AsyncExitStack() as vens:
        mills = {
            name: await vens.enter_async_context(ScriptedVen(name, place, issued[name]))
            for name in issued
        }
        asked = {name: await mill.register() for name, mill in mills.items()}
        words = ("event", "publish", "--everyone", *DELTA, "--start", "now", "--duration", "8s")
        published = place.json(*words)
        event_id = published["event_id"]
        starts_at = datetime.fromisoformat(published["starts_at"])
        ticks = [starts_at + timedelta(seconds=4 * number) for number in range(2)]
        for name, mill in mills.items():
            await mill.opt_in()
            await mill.report(asked[name][usage], usage, ticks, 4, P=210_000)
            values = {"B": 410_000, "D": claimed[name]}
            await mill.report(asked[name][claim], claim, [starts_at], 60, **values)

    found = await asyncio.to_thread(place.json, "curtailment", "show", event_id, "--wait", 50)
    assert found["final"]
    assert found["ordered_w"] == pytest.approx(400_000)
    assert found["delivered_w"] == pytest.approx(400_000)
    assert found["fraction"] == pytest.approx(1)
    assert (found["samples_received"], found["samples_expected"]) == (4, 4)
    assert not found["agrees"]
    by_name = {ven["ven_id"]: ven for ven in found["vens"]}
    assert by_name["honest"]["agrees"]
    assert not by_name["boasting"]["agrees"]
    assert {ven["opt"] for ven in by_name.values()} == {"optIn"}
    shown = place.run("curtailment", "show", event_id).stdout
    assert "boasting: The node claims 260.0 kW, its readings show 200.0 kW" in shown

    exported = place.json(
        *("measurements", "export", "--ven", "honest", "--rid", "P", "--from", "now-1h"),
        *("--to", "now+1h", "-o", "honest.csv"),
    )
    assert exported["values"] == 2
    assert (place.folder / "honest.csv").read_text().splitlines()[1].split(",")[3:6] == [
        f"{ticks[0]:%Y-%m-%dT%H:%M:%SZ}",
        "210000.0",
        "W",
    ]
    assert any(line["actor"] == "ven:honest" for line in place.json("audit"))
