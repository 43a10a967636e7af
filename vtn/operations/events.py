# SPDX-License-Identifier: Apache-2.0
"""/events and /curtailments: what is asked for, and what came of it."""

import asyncio
from typing import Any

from litestar import Request, Response, Router, delete, get, patch, post, put
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody

from oadr.vocabulary import EventStatus
from vtn import curtailment, orders
from vtn.accounts import Act
from vtn.desk import Desk
from vtn.errors import Stale
from vtn.operations.access import second_person
from vtn.operations.bodies import Declined, StopOrder
from vtn.operations.needs import By, DeskHere, NowHere, Who
from vtn.operations.pages import MOST, Cursor, Limit, linked, placed
from vtn.operations.versions import RepeatKey, Seen, expected_version, repeat_of, tagged
from vtn.orders import EventChange, EventOrder
from vtn.records import ProposalState
from vtn.views import (
    EventCurtailment,
    EventView,
    ProposalView,
    Stopped,
    TemplateView,
    VenCurtailment,
)

WAITS = ResponseSpec(
    ProposalView, generate_examples=False, description="It waits for a second person."
)


@get("/events", act=Act.VIEW)
async def list_events(
    *,
    request: Request[Any, Any, State],
    desk: DeskHere,
    status: FromQuery[EventStatus | None] = None,
    ven: FromQuery[str | None] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response[list[EventView]]:
    """Events, the one that starts last first; `Link` leads to the next page."""
    with placed(cursor):
        found = await desk.events(status=status, ven_id=ven, after=cursor, limit=limit + 1)
    return linked(
        request, found, limit=limit, key=lambda one: one.event.event_id, view=EventView.of
    )


@post("/events", act=Act.EVENTS, responses={202: WAITS})
async def publish_event(
    data: JSONBody[EventOrder], desk: DeskHere, now: NowHere, by: By, repeat: RepeatKey = None
) -> Response[EventView] | Response[ProposalView]:
    """Publish an event. All that the VENs are told follows from this answer.

    202: it waits for a second person. The same request under the same Idempotency-Key is answered
    as before, for 24 hours.
    """
    context = data.market_context or await _only_context(desk)
    draft = orders.draft(data, now=now(), market_context=context)
    known = repeat_of(repeat, data)
    if desk.needs_approval(draft):
        proposal = await desk.propose_event(draft, repeat=known, by=by)
        return Response(ProposalView.of(proposal), status_code=202)
    more = {} if known is None else {"repeat": known}
    record = await desk.publish_event(draft, **more, by=by)
    return tagged(EventView.of(record), record.event.modification_number)


@get("/events/{event_id:str}", act=Act.VIEW)
async def show_event(event_id: FromPath[str], desk: DeskHere) -> Response[EventView]:
    """One event, with how each VEN stands to it and every modification."""
    record = await desk.event(event_id)
    return tagged(EventView.of(record), record.event.modification_number)


@patch("/events/{event_id:str}", act=Act.EVENTS, responses={202: WAITS})
async def modify_event(
    *,
    event_id: FromPath[str],
    data: JSONBody[EventChange],
    desk: DeskHere,
    now: NowHere,
    by: By,
    seen: Seen = None,
) -> Response[EventView] | Response[ProposalView]:
    """Change what is named, as the next modification.

    `If-Match` (or expected_modification) says which modification was looked at: 428 without, 412
    (or 409) where it has changed meanwhile. 202: it waits for a second person.
    """
    before = (await desk.event(event_id)).event
    expected = expected_version(seen, data.expected_modification)
    if seen is not None and expected != before.modification_number:
        raise Stale(
            f"The event '{event_id}' is at modification {before.modification_number}, not "
            f"{expected}: somebody else changed it; look at it again."
        )
    draft = orders.changed(before, data, now=now())
    if desk.needs_approval(draft):
        proposal = await desk.propose_event(draft, modifies=expected, by=by)
        return Response(ProposalView.of(proposal), status_code=202)
    record = await desk.modify_event(event_id, draft, expected_modification=expected, by=by)
    return tagged(EventView.of(record), record.event.modification_number)


@post("/events/{event_id:str}/cancel", status_code=200, act=Act.EVENTS)
async def cancel_event(
    event_id: FromPath[str], desk: DeskHere, by: By, seen: Seen = None
) -> Response[EventView]:
    """Call the event off; it is listed until the VENs have acknowledged that."""
    expected = None if seen is None else expected_version(seen)
    more = {} if expected is None else {"expected_modification": expected}
    record = await desk.cancel_event(event_id, **more, by=by)
    return tagged(EventView.of(record), record.event.modification_number)


@post("/events/{event_id:str}/end", status_code=200, act=Act.EVENTS)
async def end_event(
    event_id: FromPath[str], desk: DeskHere, by: By, seen: Seen = None
) -> Response[EventView]:
    """End an active event now; what it asked until now stands, and counts."""
    expected = None if seen is None else expected_version(seen)
    record = await desk.end_event(event_id, expected_modification=expected, by=by)
    return tagged(EventView.of(record), record.event.modification_number)


@post("/stop", status_code=200, act=Act.STOP)
async def stop_all(data: JSONBody[StopOrder], desk: DeskHere, by: By) -> Stopped:
    """The emergency stop: cancel every event that is not over, all or none of them."""
    return Stopped(events=tuple(await desk.stop_all(word=data.word, by=by)))


@get("/proposals", act=Act.VIEW)
async def list_proposals(
    *,
    request: Request[Any, Any, State],
    desk: DeskHere,
    decided: FromQuery[bool] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response[list[ProposalView]]:
    """Events that wait for a second person, the latest first; with `decided` those before, too."""
    state = None if decided else ProposalState.AWAITING
    with placed(cursor):
        found = await desk.proposals(state=state, after=cursor, limit=limit + 1)
    return linked(
        request, found, limit=limit, key=lambda one: one.proposal_id, view=ProposalView.of
    )


@post("/proposals/{proposal_id:str}/approve", status_code=200, act=Act.APPROVE)
async def approve_event(
    proposal_id: FromPath[str], desk: DeskHere, who: Who
) -> Response[EventView]:
    """Publish what somebody else has proposed; for who is logged in, not for a token."""
    record = await desk.approve(proposal_id, by=second_person(who))
    return tagged(EventView.of(record), record.event.modification_number)


@post("/proposals/{proposal_id:str}/decline", status_code=200, act=Act.APPROVE)
async def decline_event(
    proposal_id: FromPath[str], data: JSONBody[Declined], desk: DeskHere, by: By
) -> ProposalView:
    """Refuse what was proposed."""
    return ProposalView.of(await desk.decline(proposal_id, remark=data.remark, by=by))


@get("/templates", act=Act.VIEW)
async def list_templates(
    *,
    request: Request[Any, Any, State],
    desk: DeskHere,
    limit: Limit = MOST,
    cursor: Cursor = None,
) -> Response[list[TemplateView]]:
    """Orders to begin from, by name; `Link` leads to the next page."""
    found = await desk.templates(after=cursor or "", limit=limit + 1)
    return linked(request, found, limit=limit, key=lambda one: one.name, view=TemplateView.of)


@get("/templates/{name:str}", act=Act.VIEW)
async def show_template(name: FromPath[str], desk: DeskHere) -> Response[TemplateView]:
    """One template."""
    found = await desk.template(name)
    return tagged(TemplateView.of(found), found.version)


@put("/templates/{name:str}", act=Act.EVENTS)
async def put_template(
    *,
    name: FromPath[str],
    data: JSONBody[EventOrder],
    desk: DeskHere,
    by: By,
    seen: Seen = None,
) -> Response[TemplateView]:
    """Keep a template; `If-Match: "0"` for one that is not there yet."""
    expected = expected_version(seen)
    found = await desk.put_template(name, data, expected=expected, by=by)
    return tagged(TemplateView.of(found), found.version)


@delete("/templates/{name:str}", act=Act.EVENTS)
async def drop_template(name: FromPath[str], desk: DeskHere, by: By) -> None:
    """Remove a template."""
    await desk.drop_template(name, by=by)


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
    contexts = await desk.market_contexts(limit=2)
    return contexts[0].uri if len(contexts) == 1 else ""


router = Router(
    "/",
    route_handlers=[
        list_events,
        publish_event,
        show_event,
        modify_event,
        cancel_event,
        end_event,
        stop_all,
        list_proposals,
        approve_event,
        decline_event,
        list_templates,
        show_template,
        put_template,
        drop_template,
        show_curtailment,
    ],
    tags=["events"],
)
