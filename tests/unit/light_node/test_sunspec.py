import pytest

from light_node.errors import ProfileFault
from light_node.modbus import ModbusMeter
from light_node.profile import load_profile
from light_node.sunspec import FoundModel, has_power, map_of
from tests.unit.light_node.test_modbus import Device

ANY = load_profile("sunspec")
INVERTER = load_profile("sunspec-inverter")
METER = FoundModel(id=203, address=40_070, length=105)
SOLAR = FoundModel(id=103, address=40_180, length=50)


def points(mapped):
    return {point.name: point for point in mapped.read}


def test_a_meter_comes_before_the_inverter_at_the_same_unit():
    assert points(map_of([SOLAR, METER], ANY))["active_power"].address == 40_070 + 18
    assert points(map_of([SOLAR, METER], INVERTER))["active_power"].address == 40_180 + 14


def test_what_an_inverter_generates_is_negative_consumption():
    assert points(map_of([METER], ANY))["active_power"].scale == 1
    assert points(map_of([SOLAR], ANY))["active_power"].scale == -1
    assert points(map_of([SOLAR], ANY))["energy_export"].scale == 1


def test_a_shorter_form_of_a_model_has_fewer_points():
    short = FoundModel(id=103, address=40_070, length=16)

    names = points(map_of([short], ANY))

    assert "active_power" in names
    assert "energy_export" not in names


@pytest.mark.parametrize("models", [[], [FoundModel(id=1, address=2, length=66)]])
def test_a_device_without_a_power_is_refused_in_one_sentence(models):
    assert not has_power(models, ANY)
    with pytest.raises(ProfileFault, match="has no model with a power"):
        map_of(models, ANY)


def test_a_model_nobody_knows_is_passed_over():
    unknown = FoundModel(id=64_001, address=40_002, length=9)

    assert has_power([unknown, METER], ANY)
    assert map_of([unknown, METER], ANY) == map_of([METER], ANY)


async def read(device):
    return await ModbusMeter(device, unit=1, profile=map_of([METER], ANY)).read(
        slow=True, budget_s=3
    )


async def test_the_devices_own_power_of_ten_is_applied_and_not_shown():
    mapped = map_of([METER], ANY)
    device = Device(mapped, {"active_power": 1234, "W_SF@40070": 2, "V_SF@40070": -1})
    device.registers[40_070 + 8] = 2305  # PhVphA

    values = await read(device)

    assert values["active_power"] == 123_400
    assert values["voltage_l1"] == pytest.approx(230.5)
    assert not [name for name in values if "@" in name]


async def test_without_a_possible_power_of_ten_there_is_no_value():
    mapped = map_of([METER], ANY)
    for said in (0x8000, 99):
        device = Device(mapped, {"active_power": 1234})
        device.registers[40_070 + 22] = said  # W_SF

        values = await read(device)

        assert "active_power" not in values
        assert "frequency" in values
