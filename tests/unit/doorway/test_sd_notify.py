import asyncio
import os
import socket

import pytest

from doorway.sd_notify import keep_alive, notify, period_s


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """Stands for systemd: (environment, received messages)."""
    path = str(tmp_path / "notify") if request.param == "path" else f"@test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind("\0" + path[1:] if path.startswith("@") else path)
        line.setblocking(False)
        yield {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "30000000"}, line


def test_without_a_service_manager_nothing_is_sent():
    assert not notify("READY=1", environment={})


def test_readiness_reaches_the_service_manager(manager):
    environment, line = manager

    assert notify("READY=1", "STATUS=serves", environment=environment)
    assert line.recv(99) == b"READY=1\nSTATUS=serves"


def test_a_manager_that_has_gone_is_no_fault():
    assert not notify("READY=1", environment={"NOTIFY_SOCKET": "/nowhere/at/all"})


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "2000000"}, None),
        ({"WATCHDOG_USEC": "2000000", "NOTIFY_SOCKET": "/x"}, 2.0),
        ({"WATCHDOG_USEC": "2000000", "NOTIFY_SOCKET": "/x", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0", "NOTIFY_SOCKET": "/x"}, None),
        ({"WATCHDOG_USEC": "soon", "NOTIFY_SOCKET": "/x"}, None),
    ],
)
def test_a_sign_of_life_is_owed_only_where_it_is_asked_of_this_process(environment, seconds):
    assert seconds == period_s(environment)


async def test_signs_of_life_stop_when_progress_stops(manager):
    environment, line = manager
    progress = iter([True, True, False, False])
    pauses = []

    async def is_alive():
        return next(progress)

    async def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 4:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await keep_alive(is_alive, environment, sleep=sleep)

    assert [line.recv(99), line.recv(99)] == [b"WATCHDOG=1"] * 2
    with pytest.raises(BlockingIOError):
        line.recv(99)
    assert pauses == [10.0] * 4


async def test_who_does_not_answer_in_time_shows_no_progress(manager):
    environment, line = manager

    async def is_alive():
        await asyncio.Event().wait()

    async def sleep(_seconds):
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await keep_alive(is_alive, environment | {"WATCHDOG_USEC": "3000"}, sleep=sleep)

    with pytest.raises(BlockingIOError):
        line.recv(99)
