"""Rollups: a function of what is in the block, whatever came in whatever order."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oadr.vocabulary import DataQuality
from vtn.blocks import BLOCK_S, Block, merge, pack, split, unpack
from vtn.rollups import rolled

GOOD, BAD = DataQuality.GOOD.value, DataQuality.BAD_NOT_CONNECTED.value
QUARTER = 1_800_000_000 - 1_800_000_000 % BLOCK_S

samples = st.dictionaries(
    st.integers(0, BLOCK_S - 1),
    st.tuples(
        st.floats(allow_nan=True, allow_infinity=False, width=32),
        st.sampled_from(["", GOOD, BAD, DataQuality.UNCERTAIN.value, "x-own"]),
    ),
    max_size=40,
)


def block_of(found):
    columns = [(QUARTER + at, *found[at]) for at in found]
    if not columns:
        return Block((), (), ())
    return split(*zip(*columns, strict=True))[QUARTER]


def test_a_quarter_hour_of_power_is_its_energy():
    found = rolled(block_of(dict.fromkeys(range(0, BLOCK_S, 4), (3600.0, GOOD))))

    assert (found.usable, found.unusable, found.covered_s) == (225, 0, 900)
    assert (found.mean, found.minimum, found.maximum) == (3600.0, 3600.0, 3600.0)
    assert found.energy_wh == 900.0
    assert found.quality == GOOD


def test_what_is_missing_is_not_covered():
    found = rolled(block_of(dict.fromkeys(range(0, 300, 4), (3600.0, ""))))

    assert found.covered_s == 300
    assert found.energy_wh == 300.0


def test_one_value_in_a_quarter_hour_speaks_until_its_end():
    assert rolled(block_of({0: (1.0, "")})).covered_s == BLOCK_S


def test_bad_values_are_counted_and_not_reckoned_with():
    found = rolled(block_of({0: (10.0, GOOD), 4: (99.0, BAD), 8: (math.nan, GOOD)}))

    assert (found.usable, found.unusable, found.mean, found.maximum) == (1, 2, 10.0, 10.0)
    assert found.quality == BAD


def test_nothing_usable_has_no_mean_and_no_energy():
    found = rolled(block_of({0: (1.0, BAD)}))

    assert (found.mean, found.first, found.energy_wh, found.covered_s) == (None, None, None, 0)


@pytest.mark.parametrize(
    ("words", "worst"),
    [
        (["", GOOD], ""),
        ([GOOD, "x-own"], "x-own"),
        (["x-own", BAD], BAD),
        ([], ""),
    ],
)
def test_the_worst_word_stays(words, worst):
    found = rolled(block_of({index: (1.0, word) for index, word in enumerate(words)}))

    assert found.quality == worst


@given(samples, st.randoms(use_true_random=False))
def test_the_order_of_arrival_makes_no_difference(found, random):
    whole = rolled(unpack(pack(block_of(found), wide=True)))
    order = list(found)
    random.shuffle(order)
    cuts = sorted(random.sample(range(len(order) + 1), min(3, len(order) + 1)))
    pieces = [order[a:b] for a, b in pairwise([0, *cuts, len(order)])]
    merged = Block((), (), ())
    for piece in pieces:
        part = block_of({at: found[at] for at in piece})
        merged = unpack(pack(merge(merged, part), wide=True))

    assert rolled(merged) == whole


@given(samples)
def test_a_rollup_lies_within_its_values(found):
    result = rolled(block_of(found))

    assert result.total == len(found)
    assert 0 <= result.covered_s <= BLOCK_S
    assert (result.mean is None) == (result.usable == 0)
    if result.mean is not None:
        assert result.minimum <= result.mean <= result.maximum
        assert result.minimum <= result.first <= result.maximum
