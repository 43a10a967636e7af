# SPDX-License-Identifier: Apache-2.0
"""Opt schedules: when this site takes part or does not, told to the VTN ahead of any event.

They are the site's own word and outlast a registration: a new one is told them all again. A new
schedule takes the place of the one with the same scope (rule 203); several may share one optID, and
go with it (rule 204).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from doorway import get_logger
from oadr.opt import Availability, CancelOpt, CreateOpt
from oadr.target import Target
from oadr.vocabulary import OptReason, OptType, ServiceName
from ven.bell import Bell
from ven.config import Settings
from ven.errors import UnknownOpt
from ven.identifiers import new_id
from ven.outbox import Outbox
from ven.state import State

log = get_logger()


class Schedules:
    """The opt schedules in force. What is put is on disk, and will be told, when `put` returns."""

    def __init__(
        self, settings: Settings, state: State, outbox: Outbox, *, now: Callable[[], datetime]
    ) -> None:
        self._settings = settings
        self._state = state
        self._outbox = outbox
        self._now = now
        self.changed = Bell()
        """Rung when a schedule comes or goes."""

    def put(
        self,
        opt: OptType,
        stretches: Sequence[Availability],
        *,
        reason: str = "",
        market_context: str = "",
        resource_ids: Sequence[str] = (),
        device_classes: Sequence[str] = (),
        opt_id: str = "",
    ) -> CreateOpt:
        """Keep and tell a schedule; without resources it is the whole VEN's.

        Raises UnknownOpt for a resource that this VEN does not have.
        """
        strange = [each for each in resource_ids if each not in self._settings.site.resource_ids]
        if strange:
            raise UnknownOpt(
                f"This VEN has no resource {' or '.join(strange)}; it has "
                f"{', '.join(self._settings.site.resource_ids)}."
            )
        registration = self._state.registration()
        ven_id = registration.ven_id if registration is not None else ""
        schedule = CreateOpt(
            opt_id=opt_id or new_id("opt"),
            opt_type=opt,
            opt_reason=reason or OptReason.SCHEDULE,
            market_context=market_context or None,
            ven_id=ven_id,
            schedule=tuple(stretches),
            created_at=self._now(),
            request_id=new_id("opt"),
            target=_target(ven_id, resource_ids),
            device_class=Target(end_device_assets=tuple(device_classes))
            if device_classes
            else None,
        )
        with self._state.transaction():
            kept = [each for each in self.all() if _scope(each) != _scope(schedule)]
            self._state.replace_schedules([*kept, schedule])
            if registration is not None:
                self._outbox.put(ServiceName.OPT, schedule)
        log.info("schedule", opt_id=schedule.opt_id, opt=opt.value, stretches=len(stretches))
        self.changed.ring()
        return schedule

    def cancel(self, opt_id: str) -> None:
        """Take back all schedules under an optID. Raises UnknownOpt."""
        kept = [each for each in self.all() if each.opt_id != opt_id]
        if len(kept) == len(self.all()):
            raise UnknownOpt(
                f"There is no opt schedule '{opt_id}'; 'ven opt schedules' lists them."
            )
        registration = self._state.registration()
        with self._state.transaction():
            self._state.replace_schedules(kept)
            if registration is not None:
                self._outbox.put(
                    ServiceName.OPT,
                    CancelOpt(
                        request_id=new_id("cancel"), opt_id=opt_id, ven_id=registration.ven_id
                    ),
                )
        log.info("schedule_cancelled", opt_id=opt_id)
        self.changed.ring()

    def all(self) -> tuple[CreateOpt, ...]:
        """Oldest first."""
        return self._state.schedules()

    def announce(self) -> None:
        """Tell them all to a VTN with which the VEN has just registered anew."""
        self.forget_over()
        registration = self._state.registration()
        if registration is None:
            return
        with self._state.transaction():
            told = [_for(each, registration.ven_id) for each in self.all()]
            self._state.replace_schedules(told)
            for schedule in told:
                self._outbox.put(ServiceName.OPT, schedule)

    def forget_over(self) -> None:
        """Drop those that lie in the past altogether."""
        now = self._now()
        schedules = self.all()
        kept = [each for each in schedules if not all(_is_over(s, now) for s in each.schedule)]
        if len(kept) < len(schedules):
            self._state.replace_schedules(kept)


def _is_over(stretch: Availability, now: datetime) -> bool:
    return bool(stretch.duration) and stretch.starts_at + stretch.duration <= now


def _target(ven_id: str, resource_ids: Sequence[str]) -> Target:
    """Never empty: some VTNs take an empty target for none."""
    return Target(resource_ids=tuple(resource_ids)) if resource_ids else Target(ven_ids=(ven_id,))


def _for(schedule: CreateOpt, ven_id: str) -> CreateOpt:
    target = _target(ven_id, schedule.target.resource_ids)
    return replace(schedule, ven_id=ven_id, target=target, request_id=new_id("opt"))


def _scope(schedule: CreateOpt) -> tuple[object, ...]:
    return (
        schedule.opt_type,
        schedule.market_context,
        schedule.target.resource_ids,
        schedule.device_class,
    )
