"""The whole path by push, and with every message signed on both sides (rule 514)."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.house import House
from demo.ports import free_port

SIGNED = """
[signature]
sign = true
vtn_certificates = ["certs/vtn-ecc.crt", "certs/vtn-rsa.crt"]
"""


@pytest.fixture
def house(tmp_path: Path, push: bool, signed: bool) -> Iterator[House]:
    port = free_port()
    pushed = f"""
[push]
listen_host = "127.0.0.1"
listen_port = {port}
address = "https://127.0.0.1:{port}"
"""
    settings = (pushed if push else "") + (SIGNED if signed else "")
    house = House(tmp_path, "sqlite:///vtn.db", ven_settings=settings)
    try:
        house.open()
        yield house
    finally:
        house.close()


@pytest.mark.parametrize(
    ("push", "signed"),
    [(True, False), (True, True), (False, True)],
    ids=["pushed", "pushed and signed", "signed"],
)
def test_an_event_is_held_cancelled_and_reported(house: House, push: bool, signed: bool) -> None:
    event = house.publish(kw=-60, starts_in_s=4, duration_s=120)
    house.wait("the VEN opts in", lambda: house.event(event.event_id).vens[0].opt)
    house.wait("the load falls", lambda: house.loads()[-1].reduction_w > 50_000)

    house.ven.kill()
    house.ven.start()
    house.cli("vtn", "event", "cancel", event.event_id)
    house.wait("the load is back", lambda: house.loads()[-1].reduction_w < 5_000, within_s=40)
    house.wait(
        "the VTN knows",
        lambda: house.event(event.event_id).vens[0].answered_modification == 1,
    )
    last = house.readings().starts_at[-1]
    house.wait("readings go on", lambda: house.readings().starts_at[-1] > last)
    terms = json.loads(house.cli("ven", "status", "--json", "--config", house.folder / "ven.toml"))
    assert terms["terms"].startswith("push https" if push else "pull")
    assert terms["terms"].endswith("signed") is signed
    assert terms["trouble"] == ""
