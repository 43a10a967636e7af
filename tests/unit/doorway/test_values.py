import copy
import dataclasses
import pickle

import pytest

from doorway.values import value


@value
class Limit:
    watts: float
    reason: str = ""
    phases: tuple[int, ...] = (1, 2, 3)


@value
class Other:
    watts: float
    reason: str = ""
    phases: tuple[int, ...] = (1, 2, 3)


@value
class Nothing:
    """It has no fields."""


def test_it_takes_words_only_and_knows_its_defaults():
    limit = Limit(watts=5.0)

    assert (limit.watts, limit.reason, limit.phases) == (5.0, "", (1, 2, 3))
    for words, keywords in (((5.0,), {}), ((), {}), ((), {"watts": 5.0, "volts": 230})):
        with pytest.raises(TypeError):
            Limit(*words, **keywords)


def test_it_equals_what_is_of_its_class_and_holds_the_same():
    assert Limit(watts=5.0) == Limit(watts=5.0)
    assert hash(Limit(watts=5.0)) == hash(Limit(watts=5.0))
    assert Limit(watts=5.0) != Limit(watts=6.0)
    assert Limit(watts=5.0) != Other(watts=5.0)
    assert Nothing() == Nothing()
    assert Nothing() != Limit(watts=5.0)


def test_it_cannot_be_changed():
    limit = Limit(watts=5.0)

    for change in (lambda: setattr(limit, "watts", 6.0), lambda: delattr(limit, "watts")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            change()
    with pytest.raises(dataclasses.FrozenInstanceError):
        limit.more = 1
    assert not hasattr(limit, "__dict__")


def test_it_is_a_dataclass_to_all_who_ask():
    limit = Limit(watts=5.0)

    assert [field.name for field in dataclasses.fields(Limit)] == ["watts", "reason", "phases"]
    assert dataclasses.replace(limit, reason="heat") == Limit(watts=5.0, reason="heat")
    assert dataclasses.asdict(limit) == {"watts": 5.0, "reason": "", "phases": (1, 2, 3)}
    assert repr(limit) == "Limit(watts=5.0, reason='', phases=(1, 2, 3))"


def test_it_can_be_copied_and_pickled():
    limit = Limit(watts=5.0, reason="heat")

    assert copy.deepcopy(limit) == limit
    assert pickle.loads(pickle.dumps(limit)) == limit


def test_what_is_more_than_a_value_is_refused():
    with pytest.raises(TypeError, match="more than a value"):

        @value
        class Checked:
            watts: float

            def __post_init__(self):
                raise AssertionError

    with pytest.raises(TypeError, match="more than a value"):

        @value
        class Kept(Limit):
            until_s: float

    with pytest.raises(TypeError, match="factory"):

        @value
        class Listed:
            watts: list[float] = dataclasses.field(default_factory=list)
