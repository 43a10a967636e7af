"""What every test may ask for: a clock to turn by hand, a throw-away CA, empty databases."""

import gc
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from certs.authority import Authority
from chaos.postgres import PostgresCluster, PostgresMissing
from demo.ports import free_port

UNIT = Path(__file__).parent / "unit"

# A run in CI is the same every time; on a developer's machine each run tries new examples, and
# EXAMPLES=1000 make unit tries more of them.
settings.register_profile(
    "demandflex",
    max_examples=int(os.environ.get("EXAMPLES", "15")),
    deadline=None,  # another program on the machine is no failure
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("demandflex")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A unit test has 20 s and no network; the others keep the 300 s of pyproject.toml.

    Unix sockets stay allowed (pyproject.toml): an event loop wakes itself through one.
    """
    for item in items:
        if not item.path.is_relative_to(UNIT):
            continue
        item.add_marker(pytest.mark.disable_socket)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(20))


def pytest_collection_finish() -> None:
    """What is imported and collected stays: the search for garbage in it took a fifth of a run."""
    gc.freeze()


class Clock:
    """A clock that stands still until it is told to go on; hand `clock.now` to what needs one."""

    def __init__(self, at: datetime = datetime(2030, 1, 9, 14, 0, tzinfo=UTC)) -> None:
        self.at = at
        self.elapsed_s = 0.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.elapsed_s

    def advance(self, seconds: float) -> datetime:
        self.at += timedelta(seconds=seconds)
        self.elapsed_s += seconds
        return self.at

    def step(self, seconds: float) -> datetime:
        """The wall clock is set; the monotonic one does not notice."""
        self.at += timedelta(seconds=seconds)
        return self.at


@pytest.fixture
def clock() -> Clock:
    """Wednesday, 9 January 2030, 14:00 UTC, and only the test moves it."""
    return Clock()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority of this run alone, whose VTN chains (vtn-ecc, vtn-rsa) are issued."""
    authority = Authority.create(tmp_path_factory.mktemp("certs") / "authority")
    authority.vtn(["127.0.0.1"])
    return authority


@pytest.fixture(name="free_port")
def a_free_port() -> int:
    """A TCP port of 127.0.0.1 that is free, and given to no other test."""
    return free_port()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    """One PostgreSQL server for the run. A machine without it fails the test and says why."""
    try:
        cluster = PostgresCluster(free_port())
    except PostgresMissing as missing:
        pytest.fail(str(missing))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The SQLAlchemy URL of an empty database: the test runs once on each of the two."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"
        return
    cluster: PostgresCluster = request.getfixturevalue("postgres")
    name, url = cluster.fresh()
    try:
        yield url
    finally:
        cluster.drop(name)
