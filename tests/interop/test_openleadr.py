"""Unmodified openleadr 0.5.36, each end against ours, over mutual TLS, as separate processes."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs import describe
from chaos.house import House
from oadr.fingerprint import fingerprint

HERE = Path(__file__).parent
T = TypeVar("T")


class Peer:
    """An openleadr program that prints what it sees, a JSON object a line."""

    def __init__(self, script: str, folder: Path, **options: object) -> None:
        self._out = folder / f"{script}.out"
        words = [str(w) for k, v in options.items() for w in (f"--{k.replace('_', '-')}", v)]
        with self._out.open("wb") as out, (folder / f"{script}.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / f"{script}.py"), *words], stdout=out, stderr=log
            )

    def saw(self, what: str) -> list[dict]:
        whole = self._out.read_text().rpartition("\n")[0]
        lines = [line for line in whole.splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, lines) if line["saw"] == what]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    # openleadr reads "0042" as the number 42, so our venID may not look like a number; and its VTN
    # fails at an interval with two payloads, so the site reports power alone.
    house = House(tmp_path, "sqlite:///vtn.db", interval_s=1, ven_id="site-0042", energy=False)
    try:
        yield house
    finally:
        house.close()


@pytest.fixture
def peers() -> Iterator[list[Peer]]:
    running: list[Peer] = []
    yield running
    for peer in running:
        peer.stop()


@pytest.mark.parametrize("signed", [False, True])
def test_an_openleadr_ven_registers_opts_in_and_reports_to_our_vtn(
    house: House, peers: list[Peer], *, signed: bool
) -> None:
    """With signatures, too: its own signer and verifier at the other end (rule 514)."""
    more: dict[str, object] = {}
    if signed:
        settings = house.folder / "vtn.toml"
        settings.write_text(
            settings.read_text().replace("[operator]", 'signatures = "required"\n[operator]')
        )
        more["vtn_fingerprint"] = describe(house.folder / "certs" / "vtn-ecc.crt")[0].fingerprint
    house.open_vtn()
    ven = Peer(
        "openleadr_ven",
        house.folder,
        url=f"https://127.0.0.1:{house.openadr_port}/OpenADR2/Simple/2.0b",
        cert=house.ven_cert.certificate,
        key=house.ven_cert.key,
        ca=house.folder / "certs" / "vtn-ca.crt",
        ven_id=house.ven_id,
        **more,
    )
    peers.append(ven)
    house.wait("the openleadr VEN registers", house.registered)
    house.wait("its registration is complete", lambda: ven.saw("registered"))

    event = house.publish(kw=-5, starts_in_s=5, duration_s=20)

    house.wait("it sees the event", lambda: ven.saw("event"))
    opted = house.wait("its opt arrives", lambda: house.event(event.event_id).vens[0].opt)
    assert opted == "optIn"
    seen = ven.saw("event")[0]
    assert (event.event_id, 0, "LOAD_DISPATCH") == (
        seen["event_id"],
        seen["modification_number"],
        seen["signal"],
    )
    power = house.wait("it offers its power", house.power)
    held = house.wait(
        "its readings arrive", lambda: (r := house.readings(power)).values and r, within_s=40
    )
    told = [line["value"] for line in ven.saw("reading")]
    assert set(held.values) <= set(told)
    assert held.values == sorted(held.values), "in the order they were read"

    house.cli("vtn", "event", "cancel", event.event_id)

    house.wait(
        "it sees the cancellation",
        lambda: [e for e in ven.saw("event") if e["status"] == "cancelled"],
    )
    house.wait(
        "its answer to it arrives",
        lambda: house.event(event.event_id).vens[0].answered_modification == 1,
    )


def test_our_ven_registers_opts_in_and_reports_to_an_openleadr_vtn(
    house: House, peers: list[Peer]
) -> None:
    certs = house.folder / "certs"
    leaf = x509.load_pem_x509_certificate(house.ven_cert.certificate.read_bytes())
    vtn = Peer(
        "openleadr_vtn",
        house.folder,
        port=house.openadr_port,
        cert=certs / "vtn-ecc.crt",
        key=certs / "vtn-ecc.key",
        ca=certs / "ven-ca.crt",
        fingerprint=fingerprint(leaf.public_bytes(Encoding.DER)),
    )
    peers.append(vtn)
    _wait("it listens", lambda: vtn.saw("listening"))
    house.open_site()
    house.ven.start()

    house.wait("our VEN registers", lambda: vtn.saw("registration"))
    opts = house.wait("our VEN opts", lambda: vtn.saw("opt"))
    readings = house.wait("our readings arrive", lambda: vtn.saw("reading"), within_s=60)

    assert {"ven_id": "site-0042", "event_id": "peer-event", "opt": "optIn"}.items() <= opts[
        0
    ].items()
    assert any(offer["what"] == "RealPower" for offer in vtn.saw("offer"))
    natural = [load.natural_w for load in house.loads()]
    power = [line["value"] for line in readings if line["what"] == "RealPower"]
    assert power
    assert 0.5 * min(natural) < power[0] < 1.1 * max(natural)
    now = datetime.now(UTC)
    taken = datetime.fromisoformat(readings[-1]["at"])
    assert abs((now - taken).total_seconds()) < 120


def _wait(what: str, ask: Callable[[], T], within_s: float = 60.0) -> T:
    deadline = time.monotonic() + within_s
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.1)
    return answer
