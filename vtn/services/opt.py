# SPDX-License-Identifier: Apache-2.0
"""EiOpt: when a VEN is available, and how its resources stand to one event."""

from oadr.event import Event
from oadr.opt import CanceledOpt, CancelOpt, CreatedOpt, CreateOpt
from vtn.errors import Rejected
from vtn.eventbook import only_device_classes, strange_device_class
from vtn.identity import fitting
from vtn.replies import ok
from vtn.services.office import Caller, Office, known_ven, note_ven
from vtn.store import events, opts
from vtn.store.documents import encode

MOST_CHARACTERS = 2 * 1024 * 1024
"""Of a VEN's schedules in force, or its opts for one event: each resource named has a copy."""


async def create(office: Office, caller: Caller, message: CreateOpt) -> CreatedOpt:
    """Keep a schedule (rule 203), or the opt for resources of one event (rule 206)."""
    fitting("optID", message.opt_id)
    if set(message.target.ven_ids) - {caller.ven_id}:
        raise Rejected("452", "An opt can only be about this VEN and its resources (rule 208).")
    _refuse_mixture(message)
    _refuse_device_class(message)
    at = office.now()
    named = [fitting("resourceID", one) for one in message.target.resource_ids]
    scopes = dict.fromkeys(named or [""])
    if len(scopes) * len(encode(message)) > MOST_CHARACTERS:  # before any of it is written
        raise _too_much()
    async with office.store.write() as connection:
        event_id = message.event.event_id if message.event else None
        if event_id is not None:
            known = await events.at_ven(connection, caller.ven_id, [event_id])
            ven = await known_ven(connection, caller.ven_id)
            _refuse_foreign(message, known.get(event_id), ven.resources)
        await opts.add(connection, caller.ven_id, message, scopes, at=at)
        if await opts.weight(connection, caller.ven_id, event_id) > MOST_CHARACTERS:
            raise _too_much()
        await note_ven(
            connection,
            caller,
            f"{message.opt_type.value} by oadrCreateOpt",
            at=at,
            subject=f"event:{message.event.event_id}" if message.event else None,
            detail=f"{message.opt_id}: {message.opt_reason}",
        )
    return CreatedOpt(response=ok(message.request_id), opt_id=message.opt_id)


async def cancel(office: Office, caller: Caller, message: CancelOpt) -> CanceledOpt:
    """End every schedule under the optID (rules 204, 208, 211)."""
    at = office.now()
    async with office.store.write() as connection:
        known = await opts.named(connection, caller.ven_id, message.opt_id)
        live = [one for one in known if one.ended_by in ("", "superseded")]
        if not live:
            raise Rejected("452", f"There is no opt '{message.opt_id}'.")
        if all(one.opt.event is not None for one in live):
            raise Rejected(
                "451", "The opt for an event is not cancelled; send another one (rule 211)."
            )
        await opts.cancel(connection, caller.ven_id, message.opt_id, at=at)
        await note_ven(connection, caller, "cancel opt", at=at, detail=message.opt_id)
    return CanceledOpt(response=ok(message.request_id), opt_id=message.opt_id)


def _too_much() -> Rejected:
    return Rejected(
        "469", "Together these opts are too long; name fewer resources, or cancel some."
    )


def _refuse_device_class(message: CreateOpt) -> None:
    """Rule 209."""
    target = message.device_class
    if target is None or not target:
        return
    if not only_device_classes(target):
        raise Rejected("459", "An oadrDeviceClass names endDeviceAssets only (rule 209).")
    strange = strange_device_class(target)
    if strange is not None:
        raise Rejected("459", f"There is no device class '{strange}' (rule 209).")


def _refuse_mixture(message: CreateOpt) -> None:
    if message.event is None:
        if not message.schedule:
            raise Rejected("459", "An opt needs a vavailability or a qualifiedEventID.")
        return
    if message.schedule or message.market_context:
        raise Rejected(
            "459", "With a qualifiedEventID there is no vavailability or marketContext (rule 206)."
        )


def _refuse_foreign(message: CreateOpt, event: Event | None, owned: tuple[str, ...]) -> None:
    """The event must be this VEN's, current, and concern the resources named (rule 206)."""
    assert message.event is not None
    if event is None:
        raise Rejected("452", f"There is no event '{message.event.event_id}' for this VEN.")
    if message.event.modification_number != event.modification_number:
        raise Rejected(
            "450",
            f"The event '{event.event_id}' is at modification {event.modification_number}, "
            f"not {message.event.modification_number}.",
        )
    concerned = set(event.target.resource_ids)
    if not concerned or event.target.ven_ids:  # the whole VEN
        if not owned:
            return  # nobody told us its resources: they cannot be judged
        concerned |= set(owned)
    strangers = set(message.target.resource_ids) - concerned
    if strangers:
        raise Rejected(
            "462", f"The event does not concern the resource '{min(strangers)}' (rule 206)."
        )
