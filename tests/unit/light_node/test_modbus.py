import asyncio
from types import SimpleNamespace

import pytest
from pymodbus.exceptions import ConnectionException

from light_node import modbus
from light_node.errors import MeterBusy, MeterRefused, MeterSilent, NoTimeLeft
from light_node.modbus import Bus, ModbusMeter
from light_node.profile import load_profile


class Device:
    """A bus with one device: registers, and which addresses it does not have."""

    name = "bus"

    def __init__(self, profile, values, *, missing=(), busy=0, exception=None):
        self.missing = set(missing)
        self.busy = busy
        self.exception = exception
        self.asked = []
        self.registers = {}
        for point in profile.read:
            for n, word in enumerate(profile.encode(point, values.get(point.name, 0.0))):
                self.registers[point.address + n] = word

    async def read(self, unit, function, address, count, *, until):
        self.asked.append((address, count))
        span = range(address, address + count)
        if self.busy:
            self.busy -= 1
            return answer(exception=6)
        if self.exception:
            return answer(exception=self.exception)
        if self.missing & set(span):
            return answer(exception=2)
        return answer([self.registers.get(a, 0) for a in span])


def answer(registers=None, exception=None):
    return SimpleNamespace(
        isError=lambda: exception is not None, exception_code=exception, registers=registers
    )


SDM630 = load_profile("sdm630")
VALUES = {"active_power": 1234.5, "current_l1": 2.0, "energy_import": 5000.0, "power_factor": 0.5}


def meter(device, **how):
    return ModbusMeter(device, unit=1, profile=SDM630, **how)


async def test_one_request_brings_all_points_of_an_sdm630():
    device = Device(SDM630, VALUES)

    values = await meter(device).read(slow=True, budget_s=3)

    assert device.asked == [(0, 80)]
    assert len(values) == 27
    assert values["active_power"] == 1234.5


async def test_the_site_turns_the_sign_and_multiplies_by_the_ct_ratio():
    values = await meter(Device(SDM630, VALUES), invert=True, ct_ratio=40).read(
        slow=True, budget_s=3
    )

    assert values["active_power"] == -1234.5 * 40
    assert values["current_l1"] == 80.0
    assert (values["energy_import"], values["energy_export"]) == (0.0, 200_000.0)
    assert values["power_factor"] == 0.5


async def test_a_block_with_holes_is_split_once_for_all():
    device = Device(SDM630, VALUES, missing=range(36, 52))
    read = meter(device)

    first = await read.read(slow=True, budget_s=3)
    asked = len(device.asked)
    second = await read.read(slow=True, budget_s=3)

    assert first == second
    assert len(first) == 27
    assert device.asked[0] == (0, 80)
    assert (0, 80) not in device.asked[asked:]


async def test_a_point_the_meter_lacks_is_left_out_from_then_on():
    device = Device(SDM630, VALUES, missing={30})
    read = meter(device)

    values = await read.read(slow=True, budget_s=3)
    asked = len(device.asked)
    await read.read(slow=True, budget_s=3)

    assert "power_factor_l1" not in values
    assert len(values) == 26
    assert not any(a <= 30 < a + count for a, count in device.asked[asked:])


async def test_a_meter_without_a_power_register_is_another_meter():
    device = Device(SDM630, VALUES, missing={52})

    with pytest.raises(MeterRefused, match="another meter than the profile says"):
        await meter(device).read(slow=True, budget_s=3)


async def test_a_busy_meter_is_asked_again(monkeypatch):
    monkeypatch.setattr(modbus, "_BUSY_PAUSE_S", 0.0)
    device = Device(SDM630, VALUES, busy=2)

    values = await meter(device).read(slow=True, budget_s=3)

    assert len(device.asked) == 3
    assert values["active_power"] == 1234.5


async def test_a_meter_that_stays_busy_is_given_up_within_the_budget():
    with pytest.raises(MeterBusy):
        await meter(Device(SDM630, VALUES, busy=99)).read(slow=True, budget_s=0.04)


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        (1, MeterRefused, "check the profile"),
        (3, MeterRefused, "max_registers"),
        (4, MeterRefused, "failure of its own"),
        (11, MeterSilent, "exception 11"),
    ],
)
async def test_each_modbus_exception_says_what_to_do(code, kind, advice):
    with pytest.raises(kind, match=advice):
        await meter(Device(SDM630, VALUES, exception=code)).read(slow=True, budget_s=3)


async def test_a_short_answer_is_refused():
    class Short(Device):
        async def read(self, *where, until):
            return answer([1, 2])

    with pytest.raises(MeterRefused, match="2 registers instead of 80"):
        await meter(Short(SDM630, VALUES)).read(slow=True, budget_s=3)


class Client:
    """Stands for a pymodbus client."""

    def __init__(self, *, connects=True, fault=None, hangs=False):
        self.connected = False
        self.connects = connects
        self.fault = fault
        self.hangs = hangs
        self.closed = False

    async def connect(self):
        self.connected = self.connects
        return self.connects

    def close(self):
        self.closed = True

    def read_input_registers(self, address, *, count, device_id):
        if self.fault:
            raise self.fault
        return self._answer()

    async def _answer(self):
        if self.hangs:
            await asyncio.Event().wait()
        return answer([1])


async def read(bus, budget_s=3.0):
    until = asyncio.get_running_loop().time() + budget_s
    return await bus.read(1, 4, 0, 1, until=until)


async def test_a_fault_raised_by_the_call_itself_is_a_silence():
    bus = Bus("b", lambda: Client(fault=ConnectionException("gone")), timeout_s=0.8)

    with pytest.raises(MeterSilent, match="unit 1 did not answer"):
        await read(bus)


async def test_no_connection_is_a_silence():
    with pytest.raises(MeterSilent, match="no connection"):
        await read(Bus("b", lambda: Client(connects=False), timeout_s=0.8))


async def test_after_three_silences_the_line_is_opened_anew():
    made = []

    def make():
        made.append(Client(hangs=len(made) == 0))
        return made[-1]

    bus = Bus("b", make, timeout_s=0.025)
    for _ in range(3):
        with pytest.raises(MeterSilent):
            await read(bus)

    assert made[0].closed
    assert (await read(bus)).registers == [1]
    assert len(made) == 2


async def test_a_tick_without_time_left_asks_nothing():
    with pytest.raises(NoTimeLeft, match="no time was left"):
        await read(Bus("b", Client, timeout_s=0.8), budget_s=0.001)


async def test_after_a_silence_a_serial_line_rests_before_it_is_used_again():
    bus = Bus("b", lambda: Client(fault=ConnectionException("gone")), timeout_s=0.5, quiet_s=0.5)
    with pytest.raises(MeterSilent):
        await read(bus)

    with pytest.raises(NoTimeLeft):
        await read(bus, budget_s=0.3)


def test_ranges_follow_the_site():
    turned = meter(Device(SDM630, VALUES), invert=True, ct_ratio=10)

    assert turned.ranges["active_power"] == (-4e7, 4e7)
    assert turned.ranges["frequency"] == (40, 70)


class SilentOnce(Device):
    """Says nothing to the first requests."""

    silences = 1

    async def read(self, unit, function, address, count, *, until):
        if self.silences:
            self.silences -= 1
            raise MeterSilent("silent.")
        return await super().read(unit, function, address, count, until=until)


async def test_the_sites_meter_is_asked_once_more_before_it_counts_as_silent():
    device = SilentOnce(SDM630, VALUES)
    assert (await meter(device, second_try=True).read(slow=True, budget_s=3))["active_power"]

    device.silences = 2
    with pytest.raises(MeterSilent):
        await meter(device, second_try=True).read(slow=True, budget_s=3)
    device.silences = 1
    with pytest.raises(MeterSilent):
        await meter(device).read(slow=True, budget_s=3)
