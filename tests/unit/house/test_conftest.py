"""The fixtures keep what they promise; a fixture that does not would make every test lie."""

import asyncio
import socket

import pytest
import pytest_socket
from structlog.testing import capture_logs

from chaos import postgres as postgres_room
from doorway import configure_logs, get_logger


def test_a_unit_test_cannot_reach_the_network() -> None:
    with (
        pytest.warns(UserWarning, match="tried to use socket"),
        pytest.raises(pytest_socket.SocketBlockedError),
    ):
        socket.create_connection(("127.0.0.1", 9))


async def test_a_unit_test_may_use_a_unix_socket(tmp_path) -> None:
    async def serve(reader, writer) -> None:
        writer.write(await reader.readline())
        writer.close()

    async with await asyncio.start_unix_server(serve, tmp_path / "s"):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b"hello\n")

        assert await reader.readline() == b"hello\n"
        writer.close()
        await writer.wait_closed()


def test_the_clock_moves_when_it_is_told_to(clock) -> None:
    start = clock.now()
    clock.advance(4)
    clock.step(-90)

    assert (clock.now() - start).total_seconds() == -86
    assert clock.monotonic() == 4


def test_a_test_can_listen_to_a_logger_that_a_program_has_used() -> None:
    log = get_logger()
    configure_logs(log_format="json")
    log.info("in the program")

    with capture_logs() as lines:
        log.info("in the next test")

    assert lines == [{"event": "in the next test", "log_level": "info"}]


def test_a_machine_without_postgresql_says_what_to_install(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(postgres_room, "Path", lambda _: tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(postgres_room.PostgresMissing, match="apt-get install postgresql"):
        postgres_room.server_programs()
