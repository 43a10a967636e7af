"""The whole path where the VTN pushes, with every message signed on both sides (rule 514)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import _free_port
from tests.story.house import House

SIGNED = """
[signature]
sign = true
vtn_certificates = ["certs/vtn-ecc.crt", "certs/vtn-rsa.crt"]
"""


@pytest.fixture
def house(tmp_path: Path, signed: bool) -> Iterator[House]:
    port = _free_port()
    house = House(
        tmp_path,
        "sqlite:///vtn.db",
        ven_settings=f"""
[push]
listen_host = "127.0.0.1"
listen_port = {port}
address = "https://127.0.0.1:{port}"
{SIGNED if signed else ""}
""",
    )
    try:
        house.open()
        yield house
    finally:
        house.close()


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_a_pushed_event_is_held_cancelled_and_reported(house: House, signed: bool) -> None:
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
    log = (house.folder / "vtn.log").read_text()
    assert "oadrPoll" not in log
