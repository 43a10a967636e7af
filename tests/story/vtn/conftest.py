"""A VTN on each of the two databases."""

import pytest

from tests.story.vtn.utility import utility


@pytest.fixture
async def house(database, tmp_path, clock):
    async with utility(database, tmp_path, clock) as found:
        yield found
