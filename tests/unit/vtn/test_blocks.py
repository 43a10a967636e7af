import pytest
from hypothesis import given
from hypothesis import strategies as st

from oadr.vocabulary import DataQuality
from vtn import blocks
from vtn.blocks import Block, merge, narrow, pack, split, unpack

WORDS = st.sampled_from(["", *map(str, DataQuality), "x-own", "x-other", "x-" + "ü" * 20])
NARROW = st.floats(width=32, allow_nan=False, allow_infinity=False)
WIDE = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def some_blocks(draw, values=NARROW) -> Block:
    offsets = draw(
        st.lists(st.integers(0, 899), unique=True, max_size=30).map(sorted)
        | st.builds(
            lambda step, count: list(range(0, step * count, step)),
            st.integers(1, 29),
            st.integers(0, 30),
        )
    )
    count = len(offsets)
    return Block(
        tuple(offsets),
        tuple(draw(st.lists(values, min_size=count, max_size=count))),
        tuple(draw(st.lists(WORDS, min_size=count, max_size=count))),
    )


@given(some_blocks())
def test_32_bit_values_come_back_as_they_went_in(block):
    assert unpack(pack(block, wide=False)) == block


@given(some_blocks(WIDE))
def test_64_bit_values_come_back_as_they_went_in(block):
    assert unpack(pack(block, wide=True)) == block


@given(some_blocks(st.floats(-1e9, 1e9)))
def test_a_narrow_block_keeps_seven_digits(block):
    expected = Block(block.offsets, tuple(map(narrow, block.values)), block.quality)

    assert unpack(pack(block, wide=False)) == expected


def test_a_value_beyond_32_bits_makes_the_block_wide():
    block = Block((0,), (1e300,), ("",))

    assert unpack(pack(block, wide=False)) == block


@given(some_blocks(), some_blocks())
def test_merging_again_changes_nothing(old, new):
    once = merge(old, new)

    assert merge(once, new) == once
    assert merge(Block((), (), ()), new) == new
    assert merge(old, Block((), (), ())) == old


@given(some_blocks(), some_blocks())
def test_a_merge_holds_every_instant_once_and_the_new_value_where_both_have_one(old, new):
    merged = merge(old, new)

    assert merged.offsets == tuple(sorted(set(old.offsets) | set(new.offsets)))
    found = dict(zip(merged.offsets, merged.values, strict=True))
    assert found == {
        **dict(zip(old.offsets, old.values, strict=True)),
        **dict(zip(new.offsets, new.values, strict=True)),
    }


@given(some_blocks(), some_blocks())
def test_merging_different_instants_knows_no_order(one, other):
    keep = [index for index, offset in enumerate(other.offsets) if offset not in one.offsets]
    other = Block(
        *(
            tuple(column[index] for index in keep)
            for column in (other.offsets, other.values, other.quality)
        )
    )

    assert merge(one, other) == merge(other, one)


@given(st.lists(st.tuples(st.integers(-5000, 5000), NARROW), max_size=40))
def test_splitting_keeps_the_last_value_of_every_instant(samples):
    instants = [at for at, _ in samples]
    values = [value for _, value in samples]

    found = {
        start + offset: value
        for start, block in split(instants, values, [""] * len(samples)).items()
        for offset, value in zip(block.offsets, block.values, strict=True)
    }

    assert found == dict(samples)
    assert all(
        start % blocks.BLOCK_S == 0 for start in split(instants, values, [""] * len(samples))
    )


def test_a_quarter_of_an_hour_of_power_is_little_more_than_its_values():
    watts = tuple(40_000.0 + index for index in range(225))
    regular = Block(tuple(range(0, 900, 4)), watts, ("",) * 225)
    gap = Block(
        regular.offsets[:100] + tuple(o + 1 for o in regular.offsets[100:]),
        watts,
        ("",) * 224 + (str(DataQuality.BAD),),
    )

    assert len(pack(regular, wide=False)) == 909
    assert len(pack(gap, wide=False)) / 225 < 8


def test_a_block_of_a_later_version_is_not_guessed_at():
    packed = b"\x02" + pack(Block((0,), (1.0,), ("",)), wide=False)[1:]

    with pytest.raises(ValueError, match="version 2"):
        unpack(packed)


def test_a_block_written_by_the_first_version_is_read_for_ever():
    packed = bytes.fromhex("0105030000000400000080410000a0410000c04101")

    assert unpack(packed) == Block((0, 4, 8), (16.0, 20.0, 24.0), (str(DataQuality.GOOD),) * 3)


@given(
    st.integers(0, 4000),
    st.integers(1, 1000),
    st.lists(st.tuples(NARROW, WORDS), min_size=1, max_size=40),
)
def test_regular_instants_are_split_as_all_others(first, step, rows):
    values, quality = zip(*rows, strict=True)
    instants = range(first, first + step * len(rows), step)

    assert split(instants, values, quality) == split(tuple(instants), values, quality)
