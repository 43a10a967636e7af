"""What every unit test gets: files that cost no disk, loggers as if no program had run before."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

MEMORY = Path("/dev/shm")


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder, in memory where the machine has such a place.

    The rings and states of the VEN and the light node wait for the disk at each commit, as they
    should; what a unit test asks of them is not whether the disk keeps its word.
    """
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path_factory.mktemp("unit")
        return
    with tempfile.TemporaryDirectory(prefix="unit-", dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture(scope="session", autouse=True)
def loggers_are_not_kept() -> Iterator[None]:
    """A program keeps each logger as it was at first use; here the next test listens to it, too."""
    configure = structlog.configure

    def configure_for_now(**how: object) -> None:
        configure(**{**how, "cache_logger_on_first_use": False})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", configure_for_now)
        yield


def pytest_runtest_teardown() -> None:
    """The stream that a command logged to ended with its test."""
    structlog.reset_defaults()
