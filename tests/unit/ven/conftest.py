import pytest

from tests.unit.ven.rooms import Ven


@pytest.fixture
def make_ven(tmp_path, clock):
    made = []

    def make(**options):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Ven(folder, clock, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def ven(make_ven):
    return make_ven()
