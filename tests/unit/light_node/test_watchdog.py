import asyncio
import socket

import pytest

from light_node.watchdog import keep_alive, notify


@pytest.fixture
def manager(tmp_path):
    """Stands for systemd: (environment, received messages)."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(path))
        line.settimeout(5)
        yield {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "2000"}, line


def test_without_a_service_manager_nothing_is_sent():
    assert not notify("READY=1", {})


def test_readiness_reaches_the_service_manager(manager):
    environment, line = manager

    assert notify("READY=1", environment)
    assert line.recv(99) == b"READY=1"


async def test_signs_of_life_stop_when_ticks_stop(manager):
    environment, line = manager
    alive = iter([True, True, False, False])
    asked = asyncio.Event()

    def is_alive():
        answer = next(alive, None)
        if answer is None:
            asked.set()
        return bool(answer)

    task = asyncio.create_task(keep_alive(is_alive, environment))
    await asked.wait()
    task.cancel()

    line.setblocking(False)
    assert [line.recv(99), line.recv(99)] == [b"WATCHDOG=1"] * 2
    with pytest.raises(BlockingIOError):
        line.recv(99)


async def test_without_a_period_no_signs_of_life_are_sent():
    await keep_alive(lambda: True, {"NOTIFY_SOCKET": "/nowhere"})
