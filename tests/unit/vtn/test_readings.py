import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import oadr
from oadr.columns import Column, Intervals, LoadControl, ResourceStatus
from oadr.report import Report, ReportDescription
from oadr.target import Target
from oadr.vocabulary import DataQuality, ScaleCode
from vtn.errors import Rejected
from vtn.readings import data_name, facets, instants, samples

NOW = datetime(2030, 1, 9, 14, tzinfo=UTC)
T0 = int(NOW.timestamp())
FOUR = timedelta(seconds=4)


def report(count: int = 3, **changes) -> Report:
    intervals = {"count": count, "columns": (Column(r_id="P", values=(1.0,) * count),)}
    return Report(
        starts_at=changes.pop("report_starts_at", NOW),
        report_request_id="x",
        report_specifier_id="s",
        created_at=changes.pop("created_at", NOW),
        intervals=Intervals(**{**intervals, **changes}),
    )


def description(r_id: str = "P", unit=None) -> ReportDescription:
    return ReportDescription(
        r_id=r_id,
        report_type="usage",
        unit=unit or oadr.units.power(),
        reading_type="Direct Read",
        data_source=Target(resource_ids=("r1",)),
    )


def read(one: Report, *descriptions: ReportDescription):
    return samples(
        one,
        {found.r_id: found for found in descriptions or (description(),)},
        ven_id="v",
        report_name="TELEMETRY_USAGE",
        starts_at=instants(one, FOUR),
    )


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("METADATA_TELEMETRY_USAGE", "TELEMETRY_USAGE"),
        ("x-METADATA_CURTAILMENT", "x-CURTAILMENT"),
        ("x-CURTAILMENT", "x-CURTAILMENT"),
        ("x-OTHER", "x-OTHER"),
        (None, ""),
    ],
)
def test_data_are_called_by_their_metadata_without_the_prefix(name, plain):
    """Rule 331."""
    assert data_name(name) == plain


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=9))
def test_intervals_without_a_start_follow_one_another(lengths):
    """Rules 314 and 315."""
    durations = tuple(timedelta(seconds=length) for length in lengths)

    found = instants(report(len(lengths), durations=durations), FOUR)

    assert tuple(found) == tuple(T0 + sum(lengths[:index]) for index in range(len(lengths)))


def test_intervals_without_start_or_duration_are_as_far_apart_as_was_asked():
    """Rule 316."""
    assert tuple(instants(report(3), FOUR)) == (T0, T0 + 4, T0 + 8)


def test_a_start_of_its_own_counts_more():
    """Rules 314 and 316."""
    starts_at = (NOW, None, NOW + 10 * FOUR)

    assert instants(report(3, starts_at=starts_at), FOUR) == (T0, T0 + 4, T0 + 40)


def test_a_single_interval_may_leave_its_start_to_the_report_or_its_making():
    """Rules 313, 314 and 342."""
    assert instants(report(1, report_starts_at=None), FOUR) == (T0,)


def test_intervals_that_cannot_be_placed_are_refused():
    """Rules 313, 314 and 342."""
    with pytest.raises(Rejected, match="say when they start"):
        instants(report(2, report_starts_at=None), FOUR)
    with pytest.raises(Rejected, match="no duration"):
        instants(report(2), timedelta(0))
    with pytest.raises(Rejected, match="after all calendars"):
        instants(report(2, durations=(timedelta(days=9 * 10**6),) * 2), FOUR)


def test_values_come_in_base_units_with_their_quality_and_without_gaps_filled():
    """Rules 318 and 319."""
    column = Column(r_id="P", values=(1.5, None, 2.5), quality=(None, None, DataQuality.BAD))
    kilo = oadr.units.power(ScaleCode.KILO)

    (found,) = read(report(3, columns=(column,)), description(unit=kilo))

    assert found.starts_at == (T0, T0 + 8)
    assert found.values == (1500.0, 2500.0)
    assert found.quality == ("", "Quality Bad - Non Specific")
    assert (found.point.unit, found.point.resource_ids) == ("W", ("r1",))


def test_a_value_that_overflows_its_scale_is_refused():
    column = Column(r_id="P", values=(1e300,))
    tera = oadr.units.power(ScaleCode.TERA)

    with pytest.raises(Rejected, match="beyond all measure"):
        read(report(1, columns=(column,)), description(unit=tera))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_value_with_which_nothing_could_be_added_up_is_refused(sign):
    def column(value):
        return Column(r_id="P", values=(1.0, sign * value))

    assert read(report(2, columns=(column(1e100),)), description())
    with pytest.raises(Rejected, match="beyond all measure"):
        read(report(2, columns=(column(1e101),)), description())


def test_a_status_beyond_all_measure_is_refused():
    status = ResourceStatus(
        online=True, manual_override=False, set_point=LoadControl(current=1e300)
    )

    with pytest.raises(Rejected, match="beyond all measure"):
        read(report(1, columns=(Column(r_id="P", values=(status,)),)), description())


def test_a_point_that_was_not_asked_for_is_refused():
    """Rule 304."""
    with pytest.raises(Rejected) as caught:
        read(report(), description("Q"))

    assert caught.value.response_code == "452"


def test_a_status_is_told_as_numbers():
    status = ResourceStatus(
        online=True,
        manual_override=False,
        capacity=LoadControl(current=1.0, minimum=0.0),
        set_point=LoadControl(current=20.5),
    )

    assert facets(status) == {
        "online": 1.0,
        "manualOverride": 0.0,
        "capacity.current": 1.0,
        "capacity.min": 0.0,
        "setPoint.current": 20.5,
    }


def test_numbers_and_statuses_of_one_point_are_kept_apart():
    """Rules 331 and 334."""
    status = ResourceStatus(online=True, manual_override=True)
    column = Column(r_id="P", values=(1.0, status))

    found = {one.point.facet: one.values for one in read(report(2, columns=(column,)))}

    assert found == {"": (1.0,), "online": (1.0,), "manualOverride": (1.0,)}


def test_metadata_alone_says_nothing():
    assert read(dataclasses.replace(report(), intervals=None)) == []
