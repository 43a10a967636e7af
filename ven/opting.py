# SPDX-License-Identifier: Apache-2.0
"""The opt policy: what the site promises to take part in, and why not."""

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from doorway.values import value
from light_node.local import Delta, Keep, Limit, OverrideState, Share, Target
from oadr.event import Event
from oadr.opt import Availability, CreateOpt
from oadr.vocabulary import OptReason, OptType
from ven.config import WEEKDAYS, OptSettings, SiteSettings, zone
from ven.errors import SignalFault
from ven.identifiers import normal_context, plain
from ven.known import Decider
from ven.setpoints import target_of

LOOK_AHEAD = timedelta(days=7)
"""How far into an event the windows are looked at; an open-ended event never ends."""


@value
class Decision:
    """In or out, who said so, and one sentence why."""

    opt: OptType
    decided_by: Decider
    reason: str
    wire_reason: OptReason = OptReason.PARTICIPATING
    """For oadrCreateOpt."""


def decide(
    event: Event,
    *,
    settings: OptSettings,
    site: SiteSettings,
    override: OverrideState,
    now: datetime,
    schedules: Collection[CreateOpt] = (),
) -> Decision:
    """Whether to take part in an event that is new or has changed."""
    if not is_spared(event.market_context, override) and (
        opted_out := by_override(event.starts_at, event.ends_at, override, now)
    ):
        return opted_out
    if opted_out := by_schedule(event, schedules):
        return opted_out
    if event.ends_at is not None and event.ends_at <= now:
        return _out("The event was over before it was heard of.", OptReason.NOT_PARTICIPATING)
    if settings.policy == "never":
        return _out("This site takes part in nothing ([opt] policy).", OptReason.NOT_PARTICIPATING)
    if settings.policy == "limits":
        for sentence, reason in _limits(event, settings, site, now):
            return _out(sentence, reason)
    return Decision(
        opt=OptType.OPT_IN, decided_by="policy", reason="Within what this site takes part in."
    )


def is_spared(market_context: str, override: OverrideState) -> bool:
    """Whether an override does not reach an event: a cap for the grid's sake."""
    return any(_is_same_context(spared, market_context) for spared in override.spares)


def by_override(
    starts_at: datetime, ends_at: datetime | None, override: OverrideState, now: datetime
) -> Decision | None:
    """Opt out of an event that meets an override at the building; None where they do not meet.

    An override without an end is taken to last for now only: events still to come are decided when
    they begin.
    """
    if not override.active:
        return None
    until = override.until if override.until is not None else now + timedelta(seconds=1)
    if starts_at >= until or until <= now or (ends_at is not None and ends_at <= now):
        return None
    reason = plain(override.reason)
    why = f": {reason}" if reason else ""
    return Decision(
        opt=OptType.OPT_OUT,
        decided_by="override",
        reason=f"Overridden at the building{why}.",
        wire_reason=OptReason.OVERRIDE_STATUS,
    )


def by_schedule(event: Event, schedules: Collection[CreateOpt]) -> Decision | None:
    """Opt out of an event that meets an opt schedule of the whole site; None where none does."""
    for schedule in schedules:
        if (
            schedule.opt_type is OptType.OPT_OUT
            and not schedule.target.resource_ids
            and schedule.device_class is None
            and _is_same_context(schedule.market_context, event.market_context)
            and any(_meets(event, stretch) for stretch in schedule.schedule)
        ):
            return _out(
                f"The site takes no part then (opt schedule {schedule.opt_id}).",
                OptReason.SCHEDULE,
            )
    return None


def _is_same_context(scheduled: str | None, asked: str) -> bool:
    return scheduled is None or normal_context(scheduled) == normal_context(asked)


def _meets(event: Event, stretch: Availability) -> bool:
    """Half open at both ends; duration 0 is open-ended (rules 47 and 210)."""
    in_time = not stretch.duration or event.starts_at < stretch.starts_at + stretch.duration
    return in_time and (event.ends_at is None or stretch.starts_at < event.ends_at)


def reduction_w(target: Target, site: SiteSettings) -> float | None:
    """The most a target may take away, W; None where the site's rated load is not known."""
    match target:
        case Keep():
            return 0.0
        case Delta(watts=watts):
            return max(-watts, 0.0)
        case _ if site.rated_w is None:
            return None
        case Limit(max_watts=most):
            return max(site.rated_w - most, 0.0) if most is not None else 0.0
        case Share(of_baseline=share):
            return max((1 - share) * site.rated_w, 0.0)


def _limits(
    event: Event, settings: OptSettings, site: SiteSettings, now: datetime
) -> Iterator[tuple[str, OptReason]]:
    notice_s = (event.starts_at - now).total_seconds()
    if notice_s < settings.min_notice_s:
        yield (
            (
                f"The event starts in {max(notice_s, 0):.0f} s; this site needs "
                f"{settings.min_notice_s:.0f} s notice."
            ),
            OptReason.NOT_PARTICIPATING,
        )
    length_s = event.duration.total_seconds()
    if settings.max_duration_s is not None and not 0 < length_s <= settings.max_duration_s:
        lasts = f"lasts {length_s:.0f} s" if length_s else "has no end"
        yield (
            f"The event {lasts}; this site takes part for {settings.max_duration_s:.0f} s.",
            OptReason.NOT_PARTICIPATING,
        )
    if settings.max_reduction_w is not None:
        asked_w = _most_asked_w(event, site)
        if asked_w is None or asked_w > settings.max_reduction_w:
            asked = f"{asked_w:.0f} W" if asked_w is not None else "a load no one can foretell"
            yield (
                (
                    f"The event asks for {asked} less; this site gives up to "
                    f"{settings.max_reduction_w:.0f} W."
                ),
                OptReason.ECONOMIC,
            )
    if settings.windows and not _within_windows(event, settings, site):
        yield (
            "The event lies outside the hours in which this site takes part.",
            OptReason.SCHEDULE,
        )


def _most_asked_w(event: Event, site: SiteSettings) -> float | None:
    most = 0.0
    for signal in event.signals:
        for interval in signal.intervals:
            try:
                asked = reduction_w(target_of(signal, interval.value, site), site)
            except SignalFault:
                continue
            if asked is None:
                return None
            most = max(most, asked)
    return most


def _within_windows(event: Event, settings: OptSettings, site: SiteSettings) -> bool:
    latest = event.starts_at + (event.start_after or timedelta(0)) + (event.duration or LOOK_AHEAD)
    end = min(latest, event.starts_at + LOOK_AHEAD)
    here = zone(site.timezone)
    at = event.starts_at
    while at < end:
        local = at.astimezone(here)
        if not any(w.holds(WEEKDAYS[local.weekday()], local.time()) for w in settings.windows):
            return False
        # Windows begin and end on whole minutes.
        at = at.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return True


def _out(sentence: str, reason: OptReason) -> Decision:
    return Decision(opt=OptType.OPT_OUT, decided_by="policy", reason=sentence, wire_reason=reason)
