import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from light_node.errors import ProfileFault
from light_node.profile import Mark, Point, known_profiles, load_profile, plan_blocks

# Points and requests of each meter, as they were counted independently of this code.
MAPS = {
    "b23": (23, 3),
    "countis": (15, 1),
    "em24": (20, 7),
    "em340": (28, 2),
    "iem3155": (17, 5),
    "pac2200": (15, 3),
    "pm5000": (13, 4),
    "sdm120": (10, 3),
    "sdm630": (27, 1),
    "umg96": (26, 1),
}

MAP = """
[device]
id = "mine"
function = 4
[meta]
vendor = "V"
model = "M"
[[read]]
name = "active_power"
address = 10
type = "int32"
unit = "W"
"""


def own_map(folder, text):
    (folder / "mine.toml").write_text(text)
    return load_profile("mine.toml", folder=folder)


def test_every_map_is_counted_above():
    assert known_profiles() == sorted([*MAPS, "sunspec", "sunspec-inverter"])


@pytest.mark.parametrize("name", MAPS)
def test_a_map_has_its_points_in_few_requests(name):
    profile = load_profile(name)

    assert (len(profile.read), len(profile.blocks())) == MAPS[name]
    assert len(profile.blocks(slow=False)) <= MAPS[name][1]


@pytest.mark.parametrize("name", MAPS)
def test_what_a_map_encodes_it_decodes(name):
    profile = load_profile(name)
    for point in profile.read:
        for watts in (0.0, 123.4, -75.5):
            if watts < 0 and point.type.startswith("uint"):
                continue
            value = watts / 200 if point.unit == "1" else watts
            step = 1e-6 * abs(value) if point.type.startswith("float") else point.scale / 2

            decoded = profile.decode(point, profile.encode(point, value))

            assert decoded == pytest.approx(value, abs=abs(step) + 1e-9)


def test_the_sdm630_says_its_power_at_52_and_its_energy_in_kwh_at_72():
    profile = load_profile("sdm630")
    points = {point.name: point for point in profile.read}

    assert (points["active_power"].address, points["energy_import"].address) == (52, 72)
    # 1234.5 as IEEE 754 single precision, high word first.
    assert profile.decode(points["active_power"], [0x449A, 0x5000]) == 1234.5
    assert profile.decode(points["energy_import"], [0x449A, 0x5000]) == 1_234_500.0


def test_a_little_word_order_meter_says_its_low_word_first():
    profile = load_profile("em24")
    power = next(point for point in profile.read if point.name == "active_power")

    assert profile.decode(power, [0x0001, 0x0000]) == pytest.approx(0.1)
    assert profile.decode(power, [0xFFFF, 0xFFFF]) == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("name", "point", "registers"),
    [
        ("b23", "voltage_l1", [0xFFFF, 0xFFFF]),
        ("b23", "active_power", [0x7FFF, 0xFFFF]),
        ("iem3155", "energy_import", [0x8000, 0, 0, 0]),
        ("sdm630", "active_power", [0x7FC0, 0]),
    ],
)
def test_what_a_meter_calls_not_available_is_no_value(name, point, registers):
    profile = load_profile(name)

    assert profile.decode(next(p for p in profile.read if p.name == point), registers) is None


def points(addresses):
    return [
        Point(name=f"p{n}", address=address * 4, type="float64", unit="x")
        for n, address in enumerate(addresses)
    ]


@given(
    st.lists(st.integers(0, 500), unique=True, min_size=1, max_size=30),
    st.integers(4, 125),
    st.integers(0, 120),
)
def test_blocks_hold_each_point_once_within_the_meters_limits(addresses, longest, gap):
    wanted = points(addresses)

    blocks = plan_blocks(wanted, max_registers=longest, gap=gap)

    held = [point for block in blocks for point in block.points]
    assert sorted(p.name for p in held) == sorted(p.name for p in wanted)
    for block in blocks:
        assert block.count <= longest
        assert block.address == block.points[0].address
        assert block.address + block.count == block.points[-1].end
        for before, after in itertools.pairwise(block.points):
            assert 0 <= after.address - before.end <= gap
    for one, next_one in itertools.pairwise(blocks):
        assert one.address + one.count <= next_one.address


def test_a_value_that_does_not_fit_its_register_is_refused():
    profile = load_profile("em24")
    factor = next(point for point in profile.read if point.name == "power_factor")

    with pytest.raises(ProfileFault, match="does not fit the int16 of 'power_factor'"):
        profile.encode(factor, 1000.0)


def test_an_unknown_profile_names_the_known_ones():
    with pytest.raises(ProfileFault, match=r"no meter profile 'sdm360'; known are .*sdm630"):
        load_profile("sdm360")


def test_a_map_of_ones_own_is_found_beside_the_settings(tmp_path):
    assert own_map(tmp_path, MAP).device.id == "mine"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("int32", "int33"), "int33"),
        (('"active_power"', '"power"'), "'active_power' is missing"),
        (('unit = "W"', 'unit = "kW"'), "must be in W, not kW"),
        (('unit = "W"', 'unit = "W"\nscale = 0'), "scale of 'active_power'"),
        (('unit = "W"', 'unitt = "W"'), "did you mean 'unit'"),
        (("function = 4", "function = 5"), "5"),
        (("address = 10", "address = 65535"), "past the last register"),
        (('unit = "W"', 'unit = "W"\nrange = [5, 5]'), "must begin with its lower end"),
        (('unit = "W"', 'unit = "W"\nscale_by = "W_SF"'), "'W_SF', which is no point"),
    ],
)
def test_a_wrong_map_gets_one_sentence(tmp_path, change, sentence):
    with pytest.raises(ProfileFault) as fault:
        own_map(tmp_path, MAP.replace(*change))

    assert sentence in str(fault.value)
    assert "mine.toml" in str(fault.value)


def test_overlapping_points_are_refused(tmp_path):
    second = MAP.split("[[read]]")[1].replace("active_power", "current_l1")
    second = second.replace("10", "11").replace('"W"', '"A"')

    with pytest.raises(ProfileFault, match="'current_l1' at 11 overlaps 'active_power'"):
        own_map(tmp_path, MAP + "[[read]]" + second)


def test_a_point_named_twice_is_refused(tmp_path):
    second = MAP.split("[[read]]")[1].replace("10", "20")

    with pytest.raises(ProfileFault, match="'active_power' stands there twice"):
        own_map(tmp_path, MAP + "[[read]]" + second)


def test_a_missing_map_file_is_one_sentence(tmp_path):
    with pytest.raises(ProfileFault, match="cannot be read"):
        load_profile("gone.toml", folder=tmp_path)


def test_every_ranges_bounds_are_finite():
    for name in known_profiles():
        for low, high in load_profile(name).ranges.values():
            assert math.isfinite(low)
            assert low < high


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("ascii", [0x4233, 0x3120]), ("utf-16-be", [0x42, 0x33])],
)
def test_a_mark_is_known_by_how_its_registers_begin(encoding, said):
    mark = Mark(address=0, registers=2, text=("x", "b3"), encoding=encoding)

    assert mark.is_on(said)
    assert not mark.is_on([0, 0])


@pytest.mark.parametrize("name", MAPS)
def test_a_simulated_meter_bears_the_mark_of_its_map(name):
    for mark in load_profile(name).identify:
        assert mark.is_on(mark.words())
