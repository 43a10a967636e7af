# SPDX-License-Identifier: Apache-2.0
"""/events and /curtailments: what is asked for, and what came of it."""

import asyncio
from typing import Annotated

from litestar import Router, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from oadr.vocabulary import EventStatus
from vtn import curtailment, orders
from vtn.accounts import Act
from vtn.desk import Desk
from vtn.operations.needs import By, DeskHere, NowHere
from vtn.orders import EventChange, EventOrder
from vtn.views import EventCurtailment, EventView, VenCurtailment

Limit = Annotated[int, QueryParameter(ge=1, le=1000)]


@get("/events", act=Act.VIEW)
async def list_events(
    desk: DeskHere,
    status: FromQuery[EventStatus | None] = None,
    ven: FromQuery[str | None] = None,
    limit: Limit = 100,
) -> list[EventView]:
    """Events, the one that starts last first."""
    found = await desk.events(status=status, ven_id=ven, limit=limit)
    return [EventView.of(each) for each in found]


@post("/events", act=Act.EVENTS)
async def publish_event(
    data: JSONBody[EventOrder], desk: DeskHere, now: NowHere, by: By
) -> EventView:
    """Publish an event. All that the VENs are told follows from this answer."""
    context = data.market_context or await _only_context(desk)
    draft = orders.draft(data, now=now(), market_context=context)
    return EventView.of(await desk.publish_event(draft, by=by))


@get("/events/{event_id:str}", act=Act.VIEW)
async def show_event(event_id: FromPath[str], desk: DeskHere) -> EventView:
    """One event, with how each VEN stands to it and every modification."""
    return EventView.of(await desk.event(event_id))


@patch("/events/{event_id:str}", act=Act.EVENTS)
async def modify_event(
    event_id: FromPath[str], data: JSONBody[EventChange], desk: DeskHere, now: NowHere, by: By
) -> EventView:
    """Change what is named, as the next modification; 409 where it has changed meanwhile."""
    before = (await desk.event(event_id)).event
    # The change is worked out on the version just read, so that is the one it must still be.
    seen = data.expected_modification
    expected = before.modification_number if seen is None else seen
    draft = orders.changed(before, data, now=now())
    return EventView.of(
        await desk.modify_event(event_id, draft, expected_modification=expected, by=by)
    )


@post("/events/{event_id:str}/cancel", status_code=200, act=Act.EVENTS)
async def cancel_event(event_id: FromPath[str], desk: DeskHere, by: By) -> EventView:
    """Call the event off; it is listed until the VENs have acknowledged that."""
    return EventView.of(await desk.cancel_event(event_id, by=by))


@get("/curtailments/{event_id:str}", act=Act.VIEW)
async def show_curtailment(
    event_id: FromPath[str], desk: DeskHere, now: NowHere
) -> EventCurtailment:
    """What each VEN delivered, recomputed from its stored readings.

    Aside, VEN by VEN: no VEN is to wait for its answer meanwhile.
    """
    record = await desk.event(event_id)
    found = []
    for ven_id in record.ven_ids:
        inputs = await desk.curtailment_inputs(event_id, ven_id, record=record)
        answer = record.answers.get(ven_id)
        verified = await asyncio.to_thread(curtailment.verified, inputs, now=now())
        found.append(VenCurtailment.of(ven_id, answer.opt_type if answer else "", verified))
    return EventCurtailment.of(record, tuple(found))


async def _only_context(desk: Desk) -> str:
    """The market context, where there is no choice; "" where there is."""
    contexts = await desk.market_contexts()
    return contexts[0].uri if len(contexts) == 1 else ""


router = Router(
    "/",
    route_handlers=[
        list_events,
        publish_event,
        show_event,
        modify_event,
        cancel_event,
        show_curtailment,
    ],
    tags=["events"],
)
