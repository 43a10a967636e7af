"""What a light node tells its building beside set-points, over a real broker."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from chaos.brokers import start_mosquitto
from ems_bridge import Alert, BrokerSettings, Description, Topics, decode
from ems_bridge.probe import connected
from ems_bridge.settings import Settings
from light_node.local import LocalClient
from light_node.node import ALERTS
from tests.story.test_light_node import Plant, a_building, begin_ems, collect, now, step, until

TOPICS = Topics("hq", "node-1")


@pytest.fixture
async def building(tmp_path):
    async with a_building(tmp_path) as building:
        yield building


@contextlib.asynccontextmanager
async def told(broker, *topics):
    """What lies retained on these topics, followed live; yields a dict by topic."""
    at = BrokerSettings(host="127.0.0.1", port=broker.port)
    found = {}
    async with connected(Settings(site="hq", node="node-1", broker=at), topics, now) as link:

        async def listen():
            while True:
                incoming = await link.receive()
                found[incoming.topic] = decode(incoming.payload) if incoming.payload else None

        listening = asyncio.create_task(listen())
        yield found
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_a_set_point_that_nobody_hears_raises_alerts_until_an_ems_is_there(building):
    broker = start_mosquitto(building.folder)
    building.configure(
        f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\nems = "bms"\nprotocol = "5"\n'
        "[guard]\nrefresh_s = 2\n"
    )
    nobody = TOPICS.alert("nobody-listens")
    try:
        await building.start()
        async with (
            LocalClient(building.socket) as client,
            told(broker, f"{TOPICS.root}/alert/+", TOPICS.description) as found,
        ):
            await collect(client, 4)
            await client.put_plan(1, (step(120, ramp=200_000.0),))

            async def is_raised():
                return isinstance(found.get(nobody), Alert)

            await until(is_raised, "the alert")
            description = found[TOPICS.description]
            shown = await building.ask("status")
            assert isinstance(description, Description)
            assert (description.ems, description.meters[0].id) == ("bms", "main")
            assert "active_power_w" in description.meters[0].quantities
            assert "no EMS listens to set-points" in " ".join(shown.stdout.split())
            assert shown.returncode == 1

            plant = Plant()
            building.load = lambda: plant.state.load_w
            building.ems = begin_ems(broker, plant)

            async def is_over():
                return found[nobody] is None

            await until(is_over, "the end of the alert")
            status = await client.status()
            assert status.lease.acknowledged
            assert status.ems.offer.down_w == 100_000
            assert not [one for one in status.troubles if "listens" in one]
    finally:
        if building.ems is not None:
            building.ems.cancel()
            await asyncio.gather(building.ems, return_exceptions=True)
        broker.kill()


def test_vendors_are_told_of_every_alert():
    page = (Path(__file__).parents[2] / "docs" / "topics.md").read_text(encoding="utf-8")

    assert [alert for alert in ALERTS if f"| `{alert}` |" not in page] == []
