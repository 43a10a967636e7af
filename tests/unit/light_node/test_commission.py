import pytest

from light_node.commission import Measured, Weight, judge

GOOD = {
    "active_power": 30_000.0,
    "frequency": 49.98,
    "energy_import": 5_000_000.0,
    "energy_export": 0.0,
    **{f"active_power_l{n}": 10_000.0 for n in (1, 2, 3)},
    **{f"voltage_l{n}": 230.0 + n for n in (1, 2, 3)},
    **{f"current_l{n}": 45.0 for n in (1, 2, 3)},
}


def seen(*, later=None, step_wh=1.0, seconds=6.0, **changes):
    """Findings for a meter that says GOOD but for `changes`, and at the end `later`."""
    first = {**GOOD, **changes}
    first = {name: value for name, value in first.items() if value is not None}
    rise = first.get("active_power", 0.0) * seconds / 3600
    risen = {"energy_import": 5_000_000.0 + max(0.0, rise), "energy_export": max(0.0, -rise)}
    last = {**first, **({} if "energy_import" in changes else risen), **(later or {})}
    return judge(
        Measured(
            at_s=(0.0, seconds),
            values=(first, last),
            steps_wh={"energy_import": step_wh, "energy_export": step_wh},
        )
    )


def exporting(**more):
    return {
        "active_power": -30_000.0,
        **{f"active_power_l{n}": -10_000.0 for n in (1, 2, 3)},
        **more,
    }


def test_a_meter_that_agrees_with_itself_is_fine():
    (finding,) = seen()

    assert finding.weight is Weight.FINE
    assert finding.said == "power, phases, voltages and counters agree"


@pytest.mark.parametrize(
    ("changes", "weight", "sentence"),
    [
        ({"active_power": None}, "wrong", "it does not say its power; check the profile."),
        ({"frequency": 72.0}, "wrong", "the frequency is 72.0 Hz"),
        ({"voltage_l2": 0.0}, "look", "L2 has no voltage (0 V)"),
        ({f"voltage_l{n}": 0.0 for n in (1, 2, 3)}, "wrong", "no phase has a voltage"),
        ({"voltage_l3": 165.0}, "look", "L3 has 165 V, which no grid has"),
        ({"voltage_l1": 207.9}, "look", "the voltages differ by 25 V"),
        ({"active_power_l3": 1_000.0}, "wrong", "the phases add up to 21.00 kW"),
        (
            {"active_power": 10_000.0, "active_power_l2": -10_000.0},
            "look",
            "L2 counts the other way than the others (-10.00 kW): its clamp is on backwards",
        ),
        (
            {f"current_l{n}": 1.0 for n in (1, 2, 3)},
            "wrong",
            "L1: 231 V times 1.0 A cannot be 10.00 kW: check ct_ratio",
        ),
        (
            {"active_power": 3_000.0, **{f"active_power_l{n}": 1_000.0 for n in (1, 2, 3)}},
            "look",
            "L1 and L2 and L3 have much current and little power: the clamps and the voltages",
        ),
        (exporting(), "look", "the building feeds in 30.00 kW: right where it generates now"),
        (
            {"energy_import": 10.0, "energy_export": 80_000.0, "later": {"energy_import": 60.0}},
            "look",
            "ten times more export than import: set invert = true",
        ),
        (
            {"later": {"energy_import": 4_999_000.0}},
            "wrong",
            "energy_import ran backwards by 1,000 Wh",
        ),
        (
            {"later": {"energy_import": 5_000_000.0, "energy_export": 50.0}},
            "wrong",
            "the power says import, but energy_export counts: set invert",
        ),
        (
            {"later": {"energy_import": 5_000_000.0}},
            "look",
            "energy_import has not moved while the power made 50 Wh",
        ),
        (
            {"later": {"energy_import": 5_002_000.0}},
            "wrong",
            "the counter rose by 2,000 Wh where the power makes 50 Wh (40.00 times)",
        ),
    ],
)
def test_what_looks_wrong_is_said_with_what_to_change(changes, weight, sentence):
    findings = seen(**changes)

    assert [(f.weight.value, sentence in f.said) for f in findings if sentence in f.said] == [
        (weight, True)
    ], findings


def test_a_coarse_counter_says_nothing_within_seconds():
    (finding,) = seen(step_wh=100.0, later={"energy_import": 5_000_000.0})

    assert finding.weight is Weight.FINE


@pytest.mark.parametrize("volts", [120.0, 277.0, 11_500.0])
def test_other_grids_have_other_voltages(volts):
    volts_and_amperes = {f"voltage_l{n}": volts for n in (1, 2, 3)} | {
        f"current_l{n}": 11_000 / volts for n in (1, 2, 3)
    }

    assert [f.weight for f in seen(**volts_and_amperes)] == [Weight.FINE]


def test_a_single_phase_meter_is_judged_by_what_it_has():
    values = {"active_power": 2300.0, "voltage_l1": 230.0, "current_l1": 10.0, "frequency": 50.0}

    (finding,) = judge(Measured(at_s=(0.0,), values=(values,), steps_wh={}))

    assert finding.weight is Weight.FINE
