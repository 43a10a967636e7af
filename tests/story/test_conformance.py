"""The harness against unmodified openleadr, over mutual TLS: it must find what is known.

And against itself: the VTN it plays passes the tests that need no operator.
"""

import asyncio
import json
import subprocess
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from certs.authority import Authority, Issued
from conformance import drafts, vtn_bench
from conformance.declaration import VTN_TESTS, Ability, Transport
from conformance.examiner import Examiner
from conformance.knowledge import Memory, normal
from conformance.outcome import Outcome
from conformance.runner import run_vtn
from conformance.seal import Seal
from conformance.vtn_player import VEN_ID, VTN_ID, VtnPlayer
from conformance.wire import Client, Keys, Server, client_context, server_context

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(300)


@dataclass
class Credentials:
    vtn: Issued
    ven: Issued
    stranger: Issued
    ca: Path

    def as_ven(self):
        return ["--cert", self.ven.certificate, "--key", self.ven.key, "--ca", self.ca]

    def as_vtn(self):
        return ["--cert", self.vtn.certificate, "--key", self.vtn.key, "--ca", self.ca]


@pytest.fixture(scope="module")
def credentials(tmp_path_factory):
    authority = Authority.create(tmp_path_factory.mktemp("conformance") / "pki")
    ecc, _ = authority.vtn(["127.0.0.1"])
    return Credentials(
        vtn=ecc,
        ven=authority.ven("ven"),
        stranger=authority.ven("stranger"),
        ca=authority.trust,
    )


def run_harness(*words, only):
    """Run the command line -> exit status, and the result by test name."""
    command = [sys.executable, "-m", "conformance", *map(str, words), "--json", "--scale", "0.02"]
    for name in only:
        command += ["--only", name]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, {test["name"]: test for test in json.loads(done.stdout)["tests"]}


def test_the_known_faults_of_openleadrs_vtn_are_found(credentials, free_port):
    status, found = run_harness(
        *("vtn", "--url", f"https://127.0.0.1:{free_port}", "--ven-id", "Ven-0042"),
        *credentials.as_ven(),
        *("--adapter", "openleadr", "--set", f"port={free_port}", "--set", "ven_id=Ven-0042"),
        *("--set", f"cert={credentials.vtn.certificate}", "--set", f"key={credentials.vtn.key}"),
        *("--set", f"ca={credentials.ca}", "--set", f"fingerprint={credentials.ven.fingerprint}"),
        only=[
            "N1_0010",
            "E1_1010",
            "E1_1020",
            "P1_2010",
            "A_E3_0750",
            "X_HTTP_GET",
            "X_512",
            "E0_6010",
        ],
    )

    assert status == 1
    outcomes = {name.removesuffix("_TH_VEN"): test["outcome"] for name, test in found.items()}
    assert outcomes == {
        "N1_0010": "passed",
        "E1_1010": "failed",  # oadrResponse instead of an empty oadrDistributeEvent
        "E1_1020": "failed",
        "P1_2010": "failed",  # no EiOpt at all
        "A_E3_0750": "failed",  # replyLimit
        "X_HTTP_GET": "failed",  # 405
        "X_512_POLL": "failed",
        "E0_6010": "not_run",
    }
    broken = {finding["rule"] for finding in found["E1_1020_TH_VEN"]["findings"]}
    assert {103, 105} <= broken  # dtstart in intervals, no x-eiNotification
    assert found["A_E3_0750_TH_VEN"]["seen"].startswith("rule 27")


def test_the_known_faults_of_openleadrs_ven_are_found(credentials):
    status, found = run_harness(
        *("ven", *credentials.as_vtn(), "--adapter", "openleadr"),
        *("--set", f"cert={credentials.ven.certificate}", "--set", f"key={credentials.ven.key}"),
        *("--set", f"ca={credentials.ca}"),
        only=["N1_0020", "E1_1020", "X_12_NEVER", "X_48_CONTEXT", "X_58", "P1_2010"],
    )

    assert status == 1
    outcomes = {name.removesuffix("_TH_VTN"): test["outcome"] for name, test in found.items()}
    assert outcomes == {
        "N1_0020": "failed",  # transportAddress "None", reportType "reading"
        "E1_1020": "passed",
        "X_12_NEVER": "passed",
        "X_48_CONTEXT": "failed",  # opts in to any market context
        "X_58_LOWER": "failed",  # takes a lower modification
        "P1_2010": "not_run",
    }


@dataclass
class OwnVtn:
    """The VTN that the harness plays, prepared from within; `listed` breaks it on purpose."""

    player: VtnPlayer
    product: str = "the harness as a VTN"
    abilities: frozenset = frozenset({Ability.EVENTS})
    market_contexts: tuple = ("http://market.example/one", "http://market.example/two")
    resources: tuple = ("roof", "cellar")
    edited: dict = field(default_factory=dict)

    async def open(self):
        pass

    async def close(self):
        pass

    async def publish(self, ven_id, event):
        await self.player.distribute(*self.player.events, event)
        return event.event_id

    async def cancel(self, event_id):
        events = [
            drafts.cancelled(event) if event.event_id == event_id else event
            for event in self.player.events
        ]
        await self.player.distribute(*events)

    async def withdraw(self, ven_id, event_ids):
        await self.player.distribute()


async def try_own_vtn(credentials, only, *, spoil=None, push=False, signed=False):
    examiner = Examiner(memory=Memory(from_vtn=False, vtn_id=VTN_ID), now=drafts.utc_now)
    player = VtnPlayer(examiner, poll_s=1, market_context="http://market.example/one")
    if spoil is not None:
        spoil(player)
    keys = Keys(cert=credentials.vtn.certificate, key=credentials.vtn.key, ca=credentials.ca)
    ven_keys = Keys(cert=credentials.ven.certificate, key=credentials.ven.key, ca=credentials.ca)
    seal = Seal(keys, [ven_keys.cert]) if signed else None
    examiner.seal = seal
    close = seal.close if seal is not None else None
    results = []

    class Listener:
        def begun(self, test):
            pass

        def ended(self, result):
            results.append(result)

    player.transport = Transport.PUSH if push else Transport.PULL
    player.push_client = lambda address: Client(address, client_context(keys), [], close)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            Server("127.0.0.1", 0, server_context(keys), player.handle, [], close=close)
        )
        setup = vtn_bench.VtnSetUp(
            url=f"https://127.0.0.1:{server.port}",
            keys=ven_keys,
            adapter=OwnVtn(player),
            scale=0.02,
            ven_id=VEN_ID,
            seal=Seal(ven_keys, [keys.cert]) if signed else None,
            push_host="127.0.0.1:0" if push else "",
            push_keys=keys,
        )
        await run_vtn(setup, only, Listener())
    return {result.name: result for result in results}


async def test_the_harness_passes_its_own_tests_where_no_operator_is_needed(credentials):
    only = ["N1_0010", "N1_0020", "N1_0070", "E1_1010", "E1_1050", "A_E3_0430", "X_HTTP_GET"]

    found = await try_own_vtn(credentials, only)

    assert {
        name: one.seen for name, one in found.items() if one.outcome is not Outcome.PASSED
    } == {}
    assert len(found) == len(only)


async def test_the_same_steps_serve_push(credentials):
    only = ["N0_5020", "E0_6050", "A_E2_0430"]

    found = await try_own_vtn(credentials, only, push=True)

    troubles = {name: one.seen for name, one in found.items() if one.outcome is not Outcome.PASSED}
    assert troubles == {}
    assert len(found) == len(only)


@pytest.mark.parametrize("push", [False, True], ids=["pull", "push"])
async def test_the_same_steps_serve_signed_messages(credentials, push):
    only = ["N0_5020", "A_E2_0430"] if push else ["N1_0020", "A_E3_0430"]

    found = await try_own_vtn(credentials, only, push=push, signed=True)

    troubles = {name: one.seen for name, one in found.items() if one.outcome is not Outcome.PASSED}
    assert troubles == {}
    assert len(found) == len(only)


async def test_a_vtn_that_signs_but_believes_anybody_is_found_out(credentials):
    only = ["X_514_FORGED", "X_514_OLD", "X_514_REPLAY"]

    found = await try_own_vtn(credentials, only, signed=True)

    assert [one.outcome for one in found.values()] == [Outcome.FAILED] * len(only)
    assert all("a payload in answer to a message" in one.seen for one in found.values())


async def test_a_vtn_that_does_not_sign_is_found_out(credentials):
    def spoil(player):
        whole = player.handle

        async def unsigned(incoming):
            return replace(await whole(incoming), as_it_is=True)

        player.handle = unsigned

    found = await try_own_vtn(credentials, ["E1_1050"], spoil=spoil, signed=True)

    assert found["E1_1050_TH_VEN"].outcome is Outcome.FAILED
    assert "rule 514" in found["E1_1050_TH_VEN"].seen


async def test_a_vtn_that_forgets_an_event_is_found_out(credentials):
    def spoil(player):
        whole = player.distribute_event
        player.distribute_event = lambda *words, **named: replace(
            whole(*words, **named), events=whole(*words, **named).events[1:]
        )

    found = await try_own_vtn(credentials, ["E1_1050"], spoil=spoil)

    assert found["E1_1050_TH_VEN"].outcome is Outcome.FAILED
    assert "rule 50" in found["E1_1050_TH_VEN"].seen


async def test_a_vtn_that_never_answers_fails_every_test_and_ends(credentials, free_port):
    async def silent(_reader, writer):
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", free_port)
    async with server:
        setup_found = await try_unreachable(credentials, free_port)

    assert {one.outcome for one in setup_found} == {Outcome.FAILED}
    assert all("no answer" in one.seen for one in setup_found)


async def try_unreachable(credentials, port):
    examiner = Examiner(memory=Memory(from_vtn=False), now=drafts.utc_now)
    player = VtnPlayer(examiner, poll_s=1, market_context=normal("http://market.example/one"))

    class Silent:
        def begun(self, test):
            pass

        def ended(self, result):
            pass

    setup = vtn_bench.VtnSetUp(
        url=f"https://127.0.0.1:{port}",
        keys=Keys(cert=credentials.ven.certificate, key=credentials.ven.key, ca=credentials.ca),
        adapter=OwnVtn(player),
        scale=0.02,
    )
    assert "N1_0010_TH_VEN" in VTN_TESTS
    return await run_vtn(setup, ["N1_0010", "E1_1010"], Silent())
