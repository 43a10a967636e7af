"""What every unit test gets: files that cost no disk."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

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
