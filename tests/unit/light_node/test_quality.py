import pytest
from hypothesis import given
from hypothesis import strategies as st

from light_node.quality import Judge, Quality, from_text, is_usable, to_text


@given(st.integers(min_value=0, max_value=1023))
def test_a_quality_survives_its_text(flags):
    quality = Quality(flags)

    assert from_text(to_text(quality)) == quality


def test_no_flag_reads_good_and_flags_read_by_name():
    assert to_text(Quality.GOOD) == "good"
    assert to_text(Quality.COMM | Quality.LATE) == "comm+late"


def test_a_name_nobody_gave_is_refused():
    with pytest.raises(KeyError):
        from_text("splendid")


@pytest.mark.parametrize("flag", list(Quality))
def test_only_what_spoils_the_power_makes_a_reading_unusable(flag):
    spoils = {Quality.STALE, Quality.COMM, Quality.IMPLAUSIBLE, Quality.MISSED}

    assert is_usable(flag) == (flag not in spoils)
    assert is_usable(to_text(flag)) == (flag not in spoils)


def test_a_power_out_of_range_is_left_out_and_flagged():
    judge = Judge(ranges={"active_power": (-1000, 1000)})

    assert judge.judge({"active_power": 2000.0}) == ({}, Quality.IMPLAUSIBLE)
    assert judge.judge({"active_power": float("nan")}) == ({}, Quality.IMPLAUSIBLE)


def test_another_value_out_of_range_spoils_only_itself():
    judge = Judge(ranges={"frequency": (40, 70)})

    values, quality = judge.judge({"active_power": 5.0, "frequency": 0.0})

    assert values == {"active_power": 5.0}
    assert quality == Quality.PARTIAL
    assert is_usable(quality)


def test_a_meter_that_repeats_its_voltage_to_the_last_bit_is_stale():
    judge = Judge(ranges={})
    frozen = {"active_power": 5.0, "frequency": 50.01234} | {
        f"voltage_l{n}": 230.123456 + n for n in (1, 2, 3)
    }

    qualities = [judge.judge(frozen)[1] for _ in range(4)]

    # The third one within 12 s on a grid of 4 s, wherever between two ticks it froze.
    assert qualities == [Quality.GOOD, Quality.GOOD, Quality.STALE, Quality.STALE]
    assert judge.judge(frozen | {"voltage_l1": 230.123457})[1] == Quality.GOOD


def test_the_fewer_values_a_meter_has_the_longer_it_may_repeat_itself():
    judge = Judge(ranges={})
    frozen = {"active_power": 5.0, "voltage_l1": 230.123456}

    qualities = [judge.judge(frozen)[1] for _ in range(9)]

    assert qualities == [Quality.GOOD] * 8 + [Quality.STALE]


def test_a_meter_may_be_slower_than_the_grid():
    judge = Judge(ranges={}, frozen_after=5)
    frozen = {f"voltage_l{n}": 230.123456 + n for n in (1, 2, 3)}

    assert [judge.judge(frozen)[1] for _ in range(6)] == [Quality.GOOD] * 5 + [Quality.STALE]


def test_a_voltage_in_tenths_may_repeat_itself():
    judge = Judge(ranges={})

    assert all(
        judge.judge({"active_power": 5.0, "voltage_l1": 2301 * 0.1})[1] == Quality.GOOD
        for _ in range(50)
    )


def test_a_power_that_is_not_the_sum_of_its_phases_is_implausible():
    judge = Judge(ranges={})
    phases = {f"active_power_l{n}": 10_000.0 for n in (1, 2, 3)}

    assert judge.judge(phases | {"active_power": 30_500.0})[1] == Quality.GOOD
    assert judge.judge(phases | {"active_power": 0.0})[1] == Quality.IMPLAUSIBLE


def test_a_counter_that_falls_is_not_believed_until_it_stays_down():
    judge = Judge(ranges={})
    judge.judge({"active_power": 1.0, "energy_import": 5000.0})

    garbled = judge.judge({"active_power": 1.0, "energy_import": 0.0})
    assert garbled == ({"active_power": 1.0}, Quality.PARTIAL)
    assert judge.judge({"active_power": 1.0, "energy_import": 5001.0})[1] == Quality.GOOD

    exchanged = [judge.judge({"energy_import": 7.0 + n})[0] for n in range(6)]
    assert exchanged[:-1] == [{}] * 5
    assert exchanged[-1] == {"energy_import": 12.0}


def test_a_calm_grid_may_show_one_hundredth_of_a_hertz_for_minutes():
    judge = Judge(ranges={})
    readings = [judge.judge({"active_power": 1.0, "frequency": 49.98}) for _ in range(60)]

    assert {quality for _, quality in readings} == {Quality.GOOD}
