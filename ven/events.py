# SPDX-License-Identifier: Apache-2.0
"""An oadrDistributeEvent is taken: what is known after it, and what is answered.

    unknown                      -> judged, decided, answered (56)
    higher modificationNumber    -> judged and decided anew, replaces (57)
    same                         -> answered again as it was decided (12)
    lower                        -> 450, nothing changes (58)
    cancelled and known          -> ends, at a random moment if it was randomised (36, 59, 65)
    cancelled and unknown        -> answered, nothing else (60)
    known and not in the message -> cancelled as well (61), unless it is running out its own
                                    random offset (66)

Judged: market context and target 462, resource 469, signal 460, contradictions and orders of more
than a year 459 (33, 48, 109, 112). One event that cannot be acted on harms none of the others (19).
"""

import contextlib
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import oadr
from doorway.values import value
from light_node.local import Keep, OverrideState
from oadr.event import DistributeEvent, Event, EventResponse
from oadr.opt import CreateOpt
from oadr.vocabulary import EventStatus, OptType, ResponseRequired
from ven.config import OptSettings, SiteSettings
from ven.errors import SignalFault
from ven.identifiers import normal_context
from ven.known import Decider, KnownEvent
from ven.opting import Decision, decide
from ven.setpoints import check_signals, target_of

Draw = Callable[[], float]
"""A number in [0, 1)."""
LONGEST = timedelta(days=366)
"""An order that is longer, or began so long ago, is a mistake; a price may last for ever."""
_YEARS = (1970, 9000)
"""Within these, instants can be reckoned with, also by a clock that is years off."""


@value
class Party:
    """Who takes the events, and by what rules."""

    ven_id: str
    vtn_id: str
    site: SiteSettings
    opt: OptSettings
    override: OverrideState
    schedules: Collection[CreateOpt] = ()
    """The opt schedules in force."""


@value
class Taken:
    """What a message has changed."""

    known: dict[str, KnownEvent]
    """All events after it."""
    answers: tuple[EventResponse, ...]
    """In the order of the message; empty when nothing wants an answer."""
    changed: tuple[str, ...]
    """The eventIDs that are new or other than before."""


@value
class _Judgement:
    response_code: str
    reason: str


def take(
    message: DistributeEvent,
    known: Mapping[str, KnownEvent],
    *,
    party: Party,
    now: datetime,
    draw: Draw,
) -> Taken:
    """Take a message whose vtnID is right. Pure: `known` is not touched, `draw` is the dice."""
    after = dict(known)
    answers: list[EventResponse] = []
    present: set[str] = set()
    for event in message.events:
        if event.event_id in present:
            answers.append(
                _answer(
                    message,
                    event,
                    OptType.OPT_OUT,
                    "459",
                    f"The event {event.event_id} is twice in one message.",
                )
            )
            continue
        present.add(event.event_id)
        if (flaw := _flaw(event)) is not None:
            answer = _answer(message, event, OptType.OPT_OUT, "459", flaw)
        else:
            answer = _take_one(message, event, after, party=party, now=now, draw=draw)
        if event.response_required is ResponseRequired.ALWAYS:
            answers.append(answer)
    for event_id, each in known.items():
        if event_id not in present and not _runs_out_by_itself(each, now):
            after[event_id] = _cancelled(each, now, draw)
    changed = tuple(name for name, each in after.items() if known.get(name) != each)
    return Taken(known=after, answers=tuple(answers), changed=changed)


def _take_one(
    message: DistributeEvent,
    event: Event,
    after: dict[str, KnownEvent],
    *,
    party: Party,
    now: datetime,
    draw: Draw,
) -> EventResponse:
    before = after.get(event.event_id)
    if before is not None and before.ends_early_at is not None:
        before = None  # cancelled is forgotten (rule 36); it is kept only to let it run out
    if before is None and event.status is EventStatus.CANCELLED:
        return _answer(message, event, OptType.OPT_IN)
    if before is not None:
        newest = before.event.modification_number
        if event.modification_number < newest:
            return _answer(
                message,
                event,
                OptType.OPT_OUT,
                "450",
                f"Modification {event.modification_number} comes after {newest}.",
            )
        if event.status is EventStatus.CANCELLED:
            ended = _cancelled(before, now, draw)
            after[event.event_id] = replace(
                ended,
                event=replace(ended.event, modification_number=event.modification_number),
                request_id=message.request_id,
            )
            return _answer(message, event, OptType.OPT_IN)
        if event.modification_number == newest:
            after[event.event_id] = replace(before, request_id=message.request_id)
            return _answer(message, event, before.opt, before.response_code, before.reason)
    taken = _decided(message, event, before, party=party, now=now, draw=draw)
    after[event.event_id] = taken
    return _answer(message, event, taken.opt, taken.response_code, taken.reason)


def _decided(
    message: DistributeEvent,
    event: Event,
    before: KnownEvent | None,
    *,
    party: Party,
    now: datetime,
    draw: Draw,
) -> KnownEvent:
    judgement = _judge(event, party, now)
    if judgement is not None:
        decision = Decision(opt=OptType.OPT_OUT, decided_by="rules", reason=judgement.reason)
    elif before is not None and before.decided_by == "person" and before.opt is OptType.OPT_OUT:
        # A person's no outlasts a change of the event; a yes was to what it was then.
        decision = Decision(opt=before.opt, decided_by="person", reason=before.reason)
    else:
        decision = decide(
            event,
            settings=party.opt,
            site=party.site,
            override=party.override,
            now=now,
            schedules=party.schedules,
        )
    # The resources that a person has opted out stay out of what others still take part in.
    stays = before if before is not None and decision.opt is OptType.OPT_IN else None
    return KnownEvent(
        event=event,
        offset=_offset(event, before, draw),
        opt=decision.opt,
        decided_by=decision.decided_by,
        reason=decision.reason,
        response_code=judgement.response_code if judgement is not None else "200",
        request_id=message.request_id,
        seen_at=before.seen_at if before is not None else now,
        answered=before.answered if before is not None else -1,
        out_resources=stays.out_resources if stays is not None else (),
        qualified=before is not None and before.qualified,
    )


def changed_mind(
    known: KnownEvent, opt: OptType, *, decided_by: Decider, reason: str
) -> tuple[KnownEvent, EventResponse]:
    """Another opt than the one answered before, with the answer that tells it (rules 17, 42)."""
    after = replace(
        known, opt=opt, decided_by=decided_by, reason=reason, answered=-1, out_resources=()
    )
    return after, EventResponse(
        description=reason,
        request_id=known.request_id,
        event_id=known.event_id,
        modification_number=known.event.modification_number,
        opt_type=opt,
    )


def _flaw(event: Event) -> str | None:
    """Why an event cannot even be kept: it has what only the schema lets pass, like odd URIs."""
    try:
        oadr.build(DistributeEvent(request_id="0", vtn_id="0", events=(event,)))
    except oadr.Unbuildable as error:
        return f"The event cannot be kept: {error}"
    if not _is_in_calendar(event):
        first, last = _YEARS
        return f"The event begins before the year {first} or may last until after {last}."
    return None


def _is_in_calendar(event: Event) -> bool:
    """Whether all its instants lie in _YEARS."""
    zero = timedelta(0)
    try:
        lengths = [
            sum((interval.duration or zero for interval in signal.intervals), zero)
            for signal in event.signals
        ]
        longest = max(event.duration, *lengths, zero)
        begins_at = event.starts_at - (event.ramp_up or zero)
        over_at = event.starts_at + (event.start_after or zero) + longest + (event.recovery or zero)
    except OverflowError:
        return False
    first, last = _YEARS
    return begins_at.year >= first and over_at.year <= last


def _judge(event: Event, party: Party, now: datetime) -> _Judgement | None:
    """Why an event cannot be acted on here, or None."""
    contexts = party.site.market_contexts
    if contexts and normal_context(event.market_context) not in map(normal_context, contexts):
        return _Judgement(
            response_code="462",
            reason=f"This site takes no part in the market context {event.market_context}.",
        )
    target = event.target
    if target:
        meant = (
            party.ven_id in target.ven_ids
            or any(resource in party.site.resource_ids for resource in target.resource_ids)
            or any(not party.site.groups or g in party.site.groups for g in target.group_ids)
        )
        if not meant and target.resource_ids and not target.ven_ids:
            return _Judgement(
                response_code="469",
                reason=f"This VEN has no resource {' or '.join(target.resource_ids)}.",
            )
        if not meant:
            return _Judgement(response_code="462", reason="The event is aimed at another VEN.")
    try:
        check_signals(event, party.site)
    except SignalFault as fault:
        return _Judgement(response_code=fault.response_code, reason=str(fault))
    is_long = event.duration > LONGEST or event.starts_at < now - LONGEST
    if is_long and _asks(event, party.site):
        return _Judgement(
            response_code="459",
            reason=f"This site holds nothing for more than {LONGEST.days} days.",
        )
    return None


def _asks(event: Event, site: SiteSettings) -> bool:
    """Whether it asks the site for something, as prices do not."""
    for signal in event.signals:
        # What is not understood is not followed; check_signals saw to it that something is.
        with contextlib.suppress(SignalFault):
            for interval in signal.intervals:
                if not isinstance(target_of(signal, interval.value, site), Keep):
                    return True
    return False


def _offset(event: Event, before: KnownEvent | None, draw: Draw) -> timedelta:
    within = event.start_after or timedelta(0)
    if before is not None and (before.event.start_after or not within):
        return min(before.offset, within)
    # Whole seconds: the wire knows no others.
    return timedelta(seconds=math.floor(draw() * (within.total_seconds() + 1)))


def _cancelled(known: KnownEvent, now: datetime, draw: Draw) -> KnownEvent:
    """Ended now or, where its start was randomised, at random within startafter (rule 65)."""
    if known.ends_early_at is not None or known.is_over(now):
        return known
    end = now.astimezone(UTC).replace(microsecond=0)
    if known.event.start_after and end >= known.starts_at:
        end += timedelta(seconds=math.floor(draw() * known.event.start_after.total_seconds()))
    return replace(known, ends_early_at=end)


def _runs_out_by_itself(known: KnownEvent, now: datetime) -> bool:
    """Whether a VTN that lists an event no more means only that its nominal time is over."""
    nominal_end = known.event.ends_at
    return nominal_end is not None and now >= nominal_end


def _answer(
    message: DistributeEvent, event: Event, opt: OptType, code: str = "200", why: str | None = None
) -> EventResponse:
    return EventResponse(
        response_code=code,
        description=why,
        request_id=message.request_id,
        event_id=event.event_id,
        modification_number=event.modification_number,
        opt_type=opt,
    )
