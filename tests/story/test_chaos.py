"""The chaos runs can be trusted: the proxy makes the weather it promises, the judge sees a loss."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from chaos.program import wait_for
from chaos.proxy import BLACK_HOLE, CLEAR, Direction, FaultProxy, Weather

WITHIN_S = 30.0


class Echo:
    """Sends back what it gets, on as many connections as there are."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.got = b""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection:
            try:
                while chunk := connection.recv(65536):
                    self.got += chunk
                    connection.sendall(chunk)
            except OSError:
                return


@pytest.fixture
def echo() -> Iterator[Echo]:
    found = Echo()
    yield found
    found.listening.shutdown(socket.SHUT_RDWR)
    found.listening.close()


@pytest.fixture
def line(echo: Echo) -> Iterator[FaultProxy]:
    with FaultProxy(echo.port, seed=1) as proxy:
        yield proxy


@pytest.fixture
def caller(line: FaultProxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", line.port), timeout=WITHIN_S) as connection:
        yield connection


def hears(connection: socket.socket, said: bytes, within_s: float) -> bool:
    """Whether all of it comes back in time; silence is no."""
    connection.settimeout(within_s)
    heard = b""
    try:
        while len(heard) < len(said):
            chunk = connection.recv(65536)
            if not chunk:
                return False
            heard += chunk
    except TimeoutError:
        return False
    return heard == said


def test_in_clear_weather_everything_passes_in_order(caller):
    said = bytes(range(256)) * 2000
    threading.Thread(target=caller.sendall, args=(said,), daemon=True).start()

    assert hears(caller, said, WITHIN_S)


def test_a_delay_holds_each_way_up(caller, line):
    line.becomes(Weather(delay_s=0.15))
    sent_at = time.monotonic()
    caller.sendall(b"hello")

    assert hears(caller, b"hello", WITHIN_S)
    assert time.monotonic() - sent_at >= 0.3


@pytest.mark.parametrize(
    ("weather", "reaches"),
    [
        (BLACK_HOLE, False),
        (Weather(silent=frozenset({Direction.UP})), False),
        (Weather(silent=frozenset({Direction.DOWN})), True),
    ],
)
def test_silence_holds_back_what_comes_when_it_ends(caller, line, echo, weather, reaches):
    caller.sendall(b"a")
    assert hears(caller, b"a", WITHIN_S)
    line.becomes(weather)
    caller.sendall(b"hello")

    assert not hears(caller, b"hello", 0.3)
    if reaches:
        wait_for("it has arrived", lambda: echo.got == b"ahello")
    else:
        assert echo.got == b"a"
    line.becomes(CLEAR)
    assert hears(caller, b"hello", WITHIN_S)


def test_a_connection_is_reset_after_some_bytes(caller, line):
    line.becomes(Weather(reset_after=10_000))

    def talk() -> None:
        for _ in range(1000):
            caller.sendall(b"x" * 1000)
            caller.recv(65536)

    with pytest.raises(ConnectionError):
        talk()


def test_a_cut_resets_what_is_open_and_refusal_what_is_new(caller, line):
    caller.sendall(b"a")
    assert hears(caller, b"a", WITHIN_S)

    line.cut()
    with pytest.raises(ConnectionError):
        caller.recv(10)

    line.becomes(Weather(refuses=True))
    with (
        pytest.raises(ConnectionError),  # of the connecting itself, or of what follows
        socket.create_connection(("127.0.0.1", line.port), timeout=WITHIN_S) as refused,
    ):
        refused.recv(10)


def test_an_answer_can_be_kept_after_the_request_has_arrived(caller, line, echo):
    line.on_chunk = lambda direction, _: direction is Direction.UP
    caller.sendall(b"hello")

    with pytest.raises(ConnectionError):
        caller.recv(10)
    assert echo.got == b"hello"


def test_a_narrow_line_takes_its_time(caller, line):
    line.becomes(Weather(bytes_per_s=50_000))
    said = b"x" * 15_000
    sent_at = time.monotonic()
    caller.sendall(said)

    assert hears(caller, said, WITHIN_S)
    assert time.monotonic() - sent_at >= 0.29


def test_a_short_run_kills_a_vtn_and_writes_what_came_of_it(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "chaos", "--only", "vtn-killed-sqlite"),
            *("--scale", "0.02", "--seed", "1", "--out", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    result = json.loads((tmp_path / "result.json").read_text())
    (found,) = result["faults"]

    assert (found["runs"], found["lost"], found["doubled"], found["applied_wrongly"]) == (
        2,
        0,
        0,
        0,
    )
    assert found["measured"]["samples_acknowledged"] > 100
    assert done.returncode == (0 if found["held"] else 1)
    assert "vtn-killed-sqlite" in done.stdout


def test_a_fault_that_nobody_knows_is_named():
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "--only", "nothing"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, "No fault is named nothing" in done.stderr) == (1, True)
