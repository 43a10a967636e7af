import asyncio
import socket

import pytest

from ems_bridge import plant as module
from ems_bridge.errors import PlantFault
from ems_bridge.plant import SimulatedPlant, TcpPlant, plant_at
from ems_bridge.reference_ems import PlantState


@pytest.fixture
def port_of_a_building(monkeypatch):
    """A load port over a socket pair: no network. `answers` are given line by line."""
    asked, servers = [], []

    def serve(*answers):
        waiting = list(answers)

        async def open_connection(_host, _port):
            ours, theirs = socket.socketpair()

            async def serving(reader, writer):
                while line := await reader.readline():
                    asked.append(line)
                    answer = waiting.pop(0) if waiting else None
                    if answer is None:
                        break
                    writer.write(answer)
                writer.close()

            reader, writer = await real(sock=theirs)
            servers.append(asyncio.create_task(serving(reader, writer)))
            return await real(sock=ours)

        real = asyncio.open_connection
        monkeypatch.setattr(module.asyncio, "open_connection", open_connection)
        return asked

    return serve


GOOD = b'{"load_w": 55000.0, "natural_w": 60000, "reduction_w": 5000, "more": "said"}\n'


async def test_the_load_port_is_read_and_moved(port_of_a_building):
    asked = port_of_a_building(GOOD, GOOD)
    plant = TcpPlant("building", 1)

    assert await plant.read() == PlantState(load_w=55_000, natural_w=60_000, reduction_w=5_000)
    await plant.reduce(5000.0)
    await plant.close()

    assert asked == [b"{}\n", b'{"reduction_w":5000.0}\n']


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b'{"error": "the meter is off"}\n', "refuses: the meter is off"),
        (b"hello\n", "what is not understood"),
        (b'{"load_w": 1}\n', "leaves out"),
        (b'{"load_w": "1"}\n', "what is not understood"),
        (None, "closed the connection"),
    ],
)
async def test_what_a_load_port_should_not_say_is_a_fault(port_of_a_building, answer, sentence):
    port_of_a_building(answer, GOOD)
    plant = TcpPlant("building", 1)

    with pytest.raises(PlantFault, match=sentence):
        await plant.read()
    await plant.close()


async def test_after_a_broken_connection_the_next_question_connects_anew(port_of_a_building):
    port_of_a_building(None, GOOD)
    plant = TcpPlant("building", 1)
    with pytest.raises(PlantFault):
        await plant.read()

    assert (await plant.read()).load_w == 55_000
    await plant.close()


async def test_a_silent_load_port_is_a_fault_in_time(port_of_a_building, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_TIMEOUT_S", 0.01)
    port_of_a_building(b"")
    plant = TcpPlant("building", 1)

    with pytest.raises(PlantFault, match="nothing came within"):
        await plant.read()


async def test_the_simulated_plant_does_what_it_is_told(clock):
    plant = SimulatedPlant(rated_w=100_000, monotonic=clock.monotonic)

    before = await plant.read()
    after = await plant.reduce(7_000)
    clock.advance(150)
    later = await plant.read()

    assert (before.load_w, before.reduction_w) == (60_000, 0)
    assert (after.load_w, after.natural_w) == (53_000, 60_000)
    assert later.natural_w == pytest.approx(65_000)


@pytest.mark.parametrize("url", ["host:1", "http://host:1", "tcp://host", "tcp://:1", "tcp://h:x"])
def test_an_address_that_is_no_load_port_is_refused(url):
    with pytest.raises(PlantFault, match="the plant's address"):
        plant_at(url)


def test_an_address_of_a_load_port_is_read():
    plant = plant_at("tcp://127.0.0.1:4000")

    assert (plant._host, plant._port) == ("127.0.0.1", 4000)
