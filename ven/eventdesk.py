# SPDX-License-Identifier: Apache-2.0
"""The event desk: takes the VTN's events, keeps them, answers them, and makes the plan of them."""

import random
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta

import oadr
from doorway import get_logger
from light_node.local import OverrideState, Step
from oadr.event import CreatedEvent, DistributeEvent, Event
from oadr.opt import CreateOpt, QualifiedEvent
from oadr.response import EiResponse
from oadr.target import Target
from oadr.vocabulary import OptReason, OptType, ServiceName
from ven import plan
from ven.bell import Bell
from ven.config import Settings
from ven.errors import UnknownEvent, UnknownOpt, Unusable
from ven.events import Party, changed_mind, take
from ven.identifiers import new_id, plain
from ven.known import Decider, KnownEvent
from ven.node import Plan
from ven.opting import by_override, by_schedule, is_spared
from ven.outbox import Outbox
from ven.state import State

log = get_logger()

SETTLE = timedelta(seconds=60)
"""How long after an event its readings still leave in short batches."""
KEPT = timedelta(hours=24)
"""How long an event that is over waits for its last curtailment report."""


class EventDesk:
    """All known events. What it does is on disk before it returns; answers go to the outbox."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        outbox: Outbox,
        *,
        override: Callable[[], OverrideState],
        now: Callable[[], datetime],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._state = state
        self._outbox = outbox
        self._override = override
        self._now = now
        self._draw = draw
        self.changed = Bell()
        """Rung when an event comes, changes or goes."""

    def take(self, message: DistributeEvent, *, answer_all: bool = True) -> None:
        """Take a list of events; `answer_all=False` answers only what has not been answered yet."""
        registration = self._state.registration()
        if registration is None:
            return  # rule 405: an unregistered VEN takes nothing
        if message.vtn_id != registration.vtn_id:
            self._refuse("452", f"The vtnID '{message.vtn_id}' is unknown here.")
            return
        if message.response is not None and not message.response.ok:
            log.warning("events_refused", why=message.response.description)
            return
        before = self._state.events()
        taken = take(
            message,
            before,
            party=Party(
                ven_id=registration.ven_id,
                vtn_id=registration.vtn_id,
                site=self._settings.site,
                opt=self._settings.opt,
                override=self._override(),
                schedules=self._state.schedules(),
            ),
            now=self._now(),
            draw=self._draw,
        )
        answers = tuple(
            answer
            for answer in taken.answers
            if answer_all or not self._is_answered(answer.event_id, answer.modification_number)
        )
        with self._state.transaction():
            for event_id in taken.changed:
                self._state.put_event(taken.known[event_id])
            if answers:
                self._outbox.put(
                    ServiceName.EVENT,
                    CreatedEvent(
                        response=EiResponse(),
                        event_responses=answers,
                        ven_id=registration.ven_id,
                    ),
                )
        for event_id in taken.changed:
            after = taken.known[event_id]
            known = before.get(event_id)
            if known is None or replace(known, request_id=after.request_id) != after:
                _log_event(after, self._now())
        self.changed.ring()

    def refuse(self, fault: Unusable | oadr.InvalidContent) -> None:
        """Answer a list of events of which nothing could be read (rule 33)."""
        self._refuse(fault.response_code, str(fault))

    def opt(
        self, event_id: str, opt: OptType, *, reason: str = "", resource_ids: Collection[str] = ()
    ) -> KnownEvent:
        """A person decides, for the whole site or for some of the event's resources (rule 206).

        Raises UnknownEvent, also where nothing is left to decide, and UnknownOpt for a resource
        that the event does not concern.
        """
        known = self._state.events().get(event_id)
        now = self._now()
        if known is None or known.is_over(now):
            raise UnknownEvent(
                f"There is no event '{event_id}' that is still to come or running; "
                "'ven events' lists them."
            )
        if known.response_code != "200":
            raise UnknownEvent(f"Event '{event_id}' cannot be acted on: {known.reason}")
        why = plain(reason) or "Decided by a person at the site."
        if resource_ids:
            return self._opt_resources(known, opt, why, set(resource_ids))
        return self._change(known, opt, "person", why)

    def _opt_resources(
        self, known: KnownEvent, opt: OptType, reason: str, named: set[str]
    ) -> KnownEvent:
        ours = self._resources(known.event)
        if not named <= set(ours):
            raise UnknownOpt(
                f"Event '{known.event_id}' does not concern "
                f"{' or '.join(sorted(named - set(ours)))}; of this site it does "
                f"{', '.join(ours) or 'no resource'}."
            )
        out = set(known.out_resources) if known.opt is OptType.OPT_IN else set(ours)
        out = out | named if opt is OptType.OPT_OUT else out - named
        takes_part = out != set(ours)
        after = replace(
            known,
            opt=OptType.OPT_IN if takes_part else OptType.OPT_OUT,
            decided_by="person",
            reason=reason,
            out_resources=tuple(sorted(out)) if takes_part else (),
            qualified=True,
        )
        with self._state.transaction():
            self._state.put_event(after)
            self._tell_by_opt(known.event, opt, Target(resource_ids=tuple(sorted(named))))
        _log_event(after, self._now())
        self.changed.ring()
        return after

    def _resources(self, event: Event) -> tuple[str, ...]:
        """The resources of this site that an event concerns; all, where it names none."""
        ours = self._settings.site.resource_ids
        asked = event.target.resource_ids
        return tuple(each for each in ours if each in asked) if asked else ours

    def mind_schedules(self) -> None:
        """Opt out of what is still to come or running and meets an opt schedule."""
        schedules = self._state.schedules()
        now = self._now()
        for known in self._state.events().values():
            if not known.holds or known.decided_by == "person" or known.is_over(now):
                continue
            decision = by_schedule(known.event, schedules)
            if decision is not None:
                self._change(
                    known,
                    decision.opt,
                    decision.decided_by,
                    decision.reason,
                    wire_reason=decision.wire_reason,
                )

    def mind_override(self) -> None:
        """Opt out at once of what runs while the building is overridden."""
        now = self._now()
        for known in self._state.events().values():
            if not known.holds or known.is_over(now):
                continue
            if is_spared(known.event.market_context, self._override()):
                continue
            decision = by_override(known.ramps_at, known.ends_at, self._override(), now)
            if decision is not None:
                self._change(
                    known,
                    decision.opt,
                    decision.decided_by,
                    decision.reason,
                    wire_reason=decision.wire_reason,
                )

    def plan(self) -> Plan:
        """What the light node is to hold and to tell the EMS."""
        known = list(self._state.events().values())
        site = self._settings.site
        return plan.steps(known, site), plan.notices(known, site, self._now())

    def steps(self) -> tuple[Step, ...]:
        return plan.steps(self._state.events().values(), self._settings.site)

    def is_moving(self) -> bool:
        """Whether an event moves the load now or did until a minute ago."""
        return plan.is_moving(self.steps(), self._now(), settle=SETTLE)

    def close(self, event_id: str) -> None:
        """Nothing is left to be reported of the event."""
        known = self._state.events().get(event_id)
        if known is not None and not known.reported:
            self._state.put_event(replace(known, reported=True))
            self.changed.ring()

    def forget_over(self) -> None:
        """Drop events that are over, settled, and reported or too old to be (rule 36)."""
        now = self._now()
        for known in self._state.events().values():
            end = known.recovered_at
            if end is None or now < end + SETTLE:
                continue
            if known.reported or not known.holds or now >= end + KEPT:
                self._state.drop_event(known.event_id)
                log.info("event_forgotten", event_id=known.event_id)

    def next_change_at(self) -> datetime | None:
        """When the plan or a status changes by itself."""
        now = self._now()
        instants = []
        for known in self._state.events().values():
            instants.append(known.next_change_at(now))
            end = known.recovered_at
            if end is not None and end + SETTLE > now:
                instants.append(end + SETTLE)
        return min((at for at in instants if at is not None), default=None)

    def _change(
        self,
        known: KnownEvent,
        opt: OptType,
        decided_by: Decider,
        reason: str,
        *,
        wire_reason: OptReason = OptReason.NOT_PARTICIPATING,
    ) -> KnownEvent:
        after, answer = changed_mind(known, opt, decided_by=decided_by, reason=reason)
        registration = self._state.registration()
        with self._state.transaction():
            self._state.put_event(after)
            if registration is None:
                pass
            elif self._settings.opt.by == "createOpt" or known.qualified:
                # Where an oadrCreateOpt was sent before, the VTN heeds no other (rule 206).
                after = replace(after, qualified=True, answered=known.answered)
                self._state.put_event(after)
                self._tell_by_opt(known.event, opt, self._scope(known), wire_reason)
            else:
                self._outbox.put(
                    ServiceName.EVENT,
                    CreatedEvent(
                        response=EiResponse(),
                        event_responses=(answer,),
                        ven_id=registration.ven_id,
                    ),
                )
        _log_event(after, self._now())
        self.changed.ring()
        return after

    def _scope(self, known: KnownEvent) -> Target:
        """The whole site, in the event's own words: an opt may aim at nothing else (rule 206)."""
        asked = known.event.target
        resources = self._resources(known.event)
        if resources and (asked.resource_ids or known.qualified):
            return Target(resource_ids=resources)
        registration = self._state.registration()
        assert registration is not None
        if not asked or registration.ven_id in asked.ven_ids:
            return Target(ven_ids=(registration.ven_id,))
        return Target(group_ids=asked.group_ids)

    def _tell_by_opt(
        self,
        event: Event,
        opt: OptType,
        target: Target,
        reason: OptReason = OptReason.NOT_PARTICIPATING,
    ) -> None:
        registration = self._state.registration()
        if registration is None:
            return
        self._outbox.put(
            ServiceName.OPT,
            CreateOpt(
                opt_id=new_id("opt"),
                opt_type=opt,
                opt_reason=reason if opt is OptType.OPT_OUT else OptReason.PARTICIPATING,
                ven_id=registration.ven_id,
                created_at=self._now(),
                request_id=new_id("opt"),
                event=QualifiedEvent(
                    event_id=event.event_id, modification_number=event.modification_number
                ),
                target=target,
            ),
        )

    def _refuse(self, code: str, sentence: str) -> None:
        registration = self._state.registration()
        log.warning("events_unusable", why=sentence)
        if registration is not None:
            self._outbox.put(
                ServiceName.EVENT,
                CreatedEvent(
                    # Its requestID stays empty, as in every oadrCreatedEvent (rule 42).
                    response=EiResponse(response_code=code, description=sentence),
                    ven_id=registration.ven_id,
                ),
            )

    def _is_answered(self, event_id: str, modification_number: int) -> bool:
        known = self._state.events().get(event_id)
        return known is not None and known.answered >= modification_number


def _log_event(known: KnownEvent, now: datetime) -> None:
    log.info(
        "event",
        event_id=known.event_id,
        modification=known.event.modification_number,
        status=known.status(now).value,
        opt=known.opt.value,
        code=known.response_code,
        why=known.reason,
        starts_at=known.starts_at.isoformat(),
    )
