from datetime import UTC, datetime, timedelta

import pytest

from light_node.local import OverrideState
from oadr.vocabulary import OptReason, OptType, SignalType
from tests.unit.ven.makers import QUIET, START, event, price, settings, signal, simple
from ven.opting import by_override, decide

NOW = START - timedelta(minutes=10)


def decided(asked, *, now=NOW, override=QUIET, site=None, **opt):
    here = settings(site=site or {}, opt={"policy": "limits", **opt})
    return decide(asked, settings=here.opt, site=here.site, override=override, now=now)


def test_always_means_always():
    assert OptType.OPT_IN is decided(event(), policy="always").opt


def test_never_means_never():
    assert OptType.OPT_OUT is decided(event(), policy="never").opt


def test_limits_without_limits_take_part():
    assert OptType.OPT_IN is decided(event()).opt


def test_an_event_that_is_over_is_opted_out_of_whatever_the_policy():
    late = decided(event(), policy="always", now=START + timedelta(hours=1))

    assert OptType.OPT_OUT is late.opt


def test_short_notice_is_refused_with_the_seconds():
    refused = decided(event(), min_notice_s=601)

    assert OptType.OPT_OUT is refused.opt
    assert refused.reason == "The event starts in 600 s; this site needs 601 s notice."
    assert OptType.OPT_IN is decided(event(), min_notice_s=600).opt


def test_long_and_endless_events_are_refused():
    assert OptType.OPT_IN is decided(event(), max_duration_s=3600).opt
    assert OptType.OPT_OUT is decided(event(), max_duration_s=3599).opt
    endless = event(length_s=0, signals=(signal(-1, lengths_s=[0]),))
    assert "has no end" in decided(endless, max_duration_s=3600).reason


@pytest.mark.parametrize(
    ("asked", "reduction_w"),
    [
        (signal(-40), 40_000),
        (signal(-10, -50), 50_000),
        (signal(20), 0),
        (signal(150, kind=SignalType.SETPOINT), 50_000),
        (signal(0.9, kind=SignalType.MULTIPLIER, unit=None), 20_000),
        (price(0.3), 0),
        (simple(1), 7_000),
    ],
)
def test_the_largest_reduction_asked_for_is_what_counts(asked, reduction_w):
    site = {"rated_w": 200_000, "simple_levels": {"1": {"delta_w": -7_000}}}
    made = event(signals=(asked,))

    assert OptType.OPT_IN is decided(made, site=site, max_reduction_w=reduction_w + 1).opt
    if reduction_w:
        refused = decided(made, site=site, max_reduction_w=reduction_w - 1)
        assert (refused.opt, refused.wire_reason) == (OptType.OPT_OUT, OptReason.ECONOMIC)


def test_a_reduction_nobody_can_foretell_is_refused():
    limit = event(signals=(signal(150, kind=SignalType.SETPOINT),))

    assert OptType.OPT_OUT is decided(limit, max_reduction_w=1e6).opt


def test_windows_are_in_the_sites_own_time():
    # 15:00 to 16:00 UTC is 16:00 to 17:00 in Zurich.
    zurich = {"timezone": "Europe/Zurich"}
    inside = [{"days": ["wed"], "from": "16:00", "to": "17:00"}]
    outside = [{"days": ["wed"], "from": "15:00", "to": "16:30"}]

    assert OptType.OPT_IN is decided(event(), site=zurich, window=inside).opt
    assert OptType.OPT_OUT is decided(event(), site=zurich, window=outside).opt
    thursday = [{"days": ["thu"], "from": "16:00", "to": "17:00"}]
    assert OptType.OPT_OUT is decided(event(), site=zurich, window=thursday).opt


def test_two_windows_may_adjoin_also_over_midnight():
    night = event(starts_at=datetime(2030, 1, 9, 23, 30, tzinfo=UTC))
    windows = [{"from": "23:00"}, {"to": "01:00"}]

    assert OptType.OPT_IN is decided(night, window=windows).opt
    assert OptType.OPT_OUT is decided(night, window=windows[:1]).opt


def test_the_random_start_must_fit_the_window_too():
    window = [{"from": "15:00", "to": "16:00"}]

    assert OptType.OPT_IN is decided(event(), window=window).opt
    moved = event(start_after=timedelta(minutes=1))
    assert OptType.OPT_OUT is decided(moved, window=window).opt


@pytest.mark.parametrize(
    ("override", "meets"),
    [
        (QUIET, False),
        (OverrideState(active=True), False),
        (OverrideState(active=True, until=START), False),
        (OverrideState(active=True, until=START + timedelta(seconds=1)), True),
    ],
)
def test_an_override_meets_a_coming_event_only_if_it_lasts_until_then(override, meets):
    found = by_override(START, START + timedelta(hours=1), override, NOW)

    assert meets == (found is not None)


def test_an_override_meets_what_runs():
    found = by_override(
        START, None, OverrideState(active=True, reason="lift"), START + timedelta(hours=9)
    )

    assert found.reason == "Overridden at the building: lift."
    assert OptReason.OVERRIDE_STATUS is found.wire_reason


def test_an_override_that_has_run_out_meets_nothing():
    old = OverrideState(active=True, until=START)

    assert by_override(START, None, old, START + timedelta(minutes=1)) is None


def test_an_override_spares_caps_for_the_grid_s_sake():
    asked = event()
    spared = OverrideState(active=True, spares=(asked.market_context,))

    late = START + timedelta(minutes=1)
    assert OptType.OPT_IN is decided(asked, override=spared, now=late, policy="always").opt
    other = OverrideState(active=True, spares=("http://other",))
    assert OptType.OPT_OUT is decided(asked, override=other, now=late, policy="always").opt
