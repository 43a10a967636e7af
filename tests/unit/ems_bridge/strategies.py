"""Any valid message of the EMS line."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from ems_bridge.messages import (
    Acknowledgement,
    AckStatus,
    Alert,
    Description,
    EmsStatus,
    EventNotice,
    Heartbeat,
    MeterNotice,
    Minute,
    NodeStatus,
    Offer,
    Override,
    Reason,
    Sample,
    SetPoint,
    SiteLimits,
    Verdict,
)

watts = st.floats(-1e9, 1e9)
positive = st.floats(1e-3, 1e9)
texts = st.text(max_size=40)
names = st.text(min_size=1, max_size=40)
counts = st.integers(0, 2**53 - 1)
instants = st.datetimes(
    datetime(2000, 1, 1),
    datetime(2100, 1, 1),
    timezones=st.just(UTC),
)
durations = st.floats(1e-3, 1e6)


def maybe(strategy):
    return st.none() | strategy


@st.composite
def set_points(draw):
    target = draw(st.sampled_from(["delta", "max", "min", "both", "release"]))
    low, high = sorted([draw(watts), draw(watts)])
    begins = draw(instants)
    return SetPoint(
        id=draw(names),
        seq=draw(counts),
        issued_at=draw(instants),
        not_before=begins,
        not_after=begins + timedelta(seconds=draw(durations)),
        ttl_s=draw(durations),
        delta_w=draw(watts) if target == "delta" else None,
        max_w=high if target in {"max", "both"} else None,
        min_w=low if target in {"min", "both"} else None,
        ramp_w_per_s=draw(maybe(positive)),
        fallback_w=draw(maybe(positive)),
        reason=Reason(
            event_id=draw(texts),
            modification_number=draw(st.integers(0, 9)),
            signal_name=draw(texts),
            signal_type=draw(texts),
            market_context=draw(texts),
        ),
        release=target == "release",
    )


messages = st.one_of(
    set_points(),
    st.builds(
        Acknowledgement,
        id=names,
        seq=counts,
        status=st.sampled_from(AckStatus),
        applied_w=maybe(watts),
        reason=texts,
        at=instants,
    ),
    st.builds(Heartbeat, counter=counts, at=instants),
    st.builds(
        EmsStatus, state=st.sampled_from(["online", "offline", "lost"]), version=texts, at=instants
    ),
    st.builds(Override, active=st.booleans(), reason=texts, until=maybe(instants), at=instants),
    st.builds(
        NodeStatus,
        state=st.sampled_from(["online", "offline", "lost"]),
        boot=texts,
        version=texts,
        at=instants,
    ),
    st.builds(
        EventNotice,
        event_id=texts,
        modification_number=st.integers(0, 9),
        status=st.sampled_from(["far", "near", "active", "completed", "cancelled", "none"]),
        signal_name=texts,
        signal_type=texts,
        unit=texts,
        value=maybe(watts),
        starts_at=maybe(instants),
        ends_at=maybe(instants),
        remaining_s=maybe(durations),
        opt=st.sampled_from(["optIn", "optOut", ""]),
        test=st.booleans(),
        comment=texts,
        at=instants,
    ),
    st.builds(
        Sample,
        meter=names,
        k=st.integers(0, 2**40),
        seq=counts,
        boot=texts,
        at=instants,
        values=st.dictionaries(names, watts, max_size=4),
        quality=texts,
    ),
    st.builds(
        Verdict,
        lease_id=names,
        event_id=texts,
        baseline_w=watts,
        target_w=watts,
        actual_w=watts,
        reached_after_s=maybe(durations),
        verdict=st.sampled_from(["reached", "partial", "not reached"]),
        at=instants,
    ),
    st.builds(
        Description,
        ems=names,
        meters=st.lists(
            st.builds(
                MeterNotice,
                id=names,
                role=st.sampled_from(["site", "sub"]),
                profile=texts,
                quantities=st.dictionaries(names, texts, max_size=3),
            ),
            max_size=2,
        ).map(tuple),
        limits=st.builds(SiteLimits, max_reduction_w=maybe(positive), max_load_w=maybe(watts)),
        interval_s=durations,
        lease_s=durations,
        refresh_s=durations,
        heartbeat_s=durations,
        silence_s=durations,
        timezone=texts,
        schemas=st.lists(names, max_size=3).map(tuple),
        version=texts,
        at=instants,
    ),
    st.builds(
        Minute,
        meter=names,
        starts_at=instants,
        duration_s=durations,
        mean_w=maybe(watts),
        min_w=maybe(watts),
        max_w=maybe(watts),
        energy_wh=maybe(watts),
        coverage=st.floats(0, 1),
        historical=st.booleans(),
    ),
    st.builds(
        Offer,
        down_w=positive,
        up_w=positive,
        min_duration_s=st.floats(0, 10),
        max_duration_s=maybe(st.floats(10, 1e6)),
        notice_s=durations,
        ramp_w_per_s=maybe(positive),
        valid_until=instants,
        at=instants,
    ),
    st.builds(Alert, id=names, sentence=texts, since=instants, at=instants),
)
