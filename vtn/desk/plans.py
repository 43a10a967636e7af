# SPDX-License-Identifier: Apache-2.0
"""The desk: events that wait for a second person, and templates to begin from."""

import uuid

from sqlalchemy.ext.asyncio import AsyncConnection

from oadr.event import Event
from vtn import eventbook
from vtn.desk.checks import identifier, known_event, refuse_stale
from vtn.desk.events import EventDesk
from vtn.errors import Conflict, Forbidden, Invalid, Stale, Unknown
from vtn.orders import EventOrder
from vtn.records import EventRecord, Proposal, ProposalState, Repeat, Template
from vtn.store import plans

_MOST_TEMPLATES = 500


class PlanDesk(EventDesk):
    """What is prepared."""

    # --- proposals -------------------------------------------------------------------------------

    async def propose_event(
        self,
        event: Event,
        *,
        modifies: int | None = None,
        repeat: Repeat | None = None,
        by: str,
    ) -> Proposal:
        """Have an event wait for a second person; it is checked as if it were published.

        `modifies` is the modification of the event that it changes. Raises as publish_event and
        modify_event do.
        """
        at = self._office.now()
        event_id = identifier("eventID", event.event_id or uuid.uuid4().hex)
        async with self._office.store.write() as connection:
            if repeat is not None and (found := await self._repeated(connection, by, repeat)):
                known = await plans.proposal(connection, found.removeprefix("proposal:"))
                if known is not None:
                    return known
            if modifies is None:
                draft = eventbook.drafted(event, event_id=event_id, now=at)
            else:
                current = await known_event(connection, event_id)
                refuse_stale(current, modifies)
                draft = eventbook.modified(current, event, now=at)
            await self._targets(connection, draft)
            proposal = Proposal(
                proposal_id=uuid.uuid4().hex,
                event=draft,
                expected_modification=modifies,
                state=ProposalState.AWAITING,
                proposed_at=at,
                proposed_by=by,
            )
            await plans.propose(connection, proposal)
            await self._note(connection, by, "propose event", f"event:{event_id}", at)
            if repeat is not None:
                answer = f"proposal:{proposal.proposal_id}"
                await self._remember(connection, by, repeat, answer, at)
        return proposal

    async def proposals(
        self,
        *,
        state: ProposalState | None = ProposalState.AWAITING,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Proposal]:
        """Those that wait, the latest first, `after` one; with None as `state` all of them.

        Raises Unknown where that one is gone.
        """
        async with self._office.store.read() as connection:
            last = None if after is None else await plans.proposal(connection, after)
            if after is not None and last is None:
                raise _no_proposal(after)
            return await plans.proposals(connection, state=state, after=last, limit=limit)

    async def proposal(self, proposal_id: str) -> Proposal:
        """Raises Unknown."""
        async with self._office.store.read() as connection:
            found = await plans.proposal(connection, proposal_id)
        if found is None:
            raise _no_proposal(proposal_id)
        return found

    async def approve(self, proposal_id: str, *, by: str) -> EventRecord:
        """Publish what somebody else has proposed.

        Raises Forbidden for one's own, Conflict where it was decided already or the event has
        changed meanwhile, else as publish_event and modify_event do.
        """
        at = self._office.now()
        async with self._office.change() as (connection, news):
            found = await self._waiting(connection, proposal_id)
            if found.proposed_by == by:
                raise Forbidden("You have proposed this yourself; somebody else must approve it.")
            await plans.decide(
                connection, proposal_id, state=ProposalState.APPROVED, at=at, by=by, remark=""
            )
            event_id = found.event.event_id
            await self._note(connection, by, "approve event", f"event:{event_id}", at)
            if found.expected_modification is None:
                drafted = eventbook.drafted(found.event, event_id=event_id, now=at)
                return await self._publish(connection, news, drafted, at, found.proposed_by)
            current = await known_event(connection, event_id)
            refuse_stale(current, found.expected_modification)
            modified = eventbook.modified(current, found.event, now=at)
            return await self._modify(
                connection, news, modified, "modify event", at=at, by=found.proposed_by
            )

    async def decline(self, proposal_id: str, *, remark: str = "", by: str) -> Proposal:
        """Refuse a proposal, or take one's own back. Raises Unknown, Conflict."""
        at = self._office.now()
        async with self._office.store.write() as connection:
            found = await self._waiting(connection, proposal_id)
            await plans.decide(
                connection, proposal_id, state=ProposalState.DECLINED, at=at, by=by, remark=remark
            )
            subject = f"event:{found.event.event_id}"
            await self._note(connection, by, "decline event", subject, at, detail=remark)
            declined = await plans.proposal(connection, proposal_id)
        assert declined is not None
        return declined

    async def _waiting(self, connection: AsyncConnection, proposal_id: str) -> Proposal:
        found = await plans.proposal(connection, proposal_id, lock=True)
        if found is None:
            raise _no_proposal(proposal_id)
        if found.state is not ProposalState.AWAITING:
            raise Conflict(f"The proposal was {found.state.value} by {found.decided_by} already.")
        return found

    # --- templates -------------------------------------------------------------------------------

    async def templates(self, *, after: str = "", limit: int | None = None) -> list[Template]:
        """By name: all, or so many `after` one."""
        async with self._office.store.read() as connection:
            return await plans.templates(connection, after=after, limit=limit)

    async def template(self, name: str) -> Template:
        """Raises Unknown."""
        async with self._office.store.read() as connection:
            found = await plans.template(connection, name)
        if found is None:
            raise Unknown(f"There is no template '{name}'.")
        return found

    async def put_template(
        self, name: str, order: EventOrder, *, expected: int | None = None, by: str
    ) -> Template:
        """Make a template, or replace it.

        Raises Stale where its version is not `expected` (0: there is none yet).
        """
        at = self._office.now()
        name = identifier("template name", name)
        async with self._office.store.write() as connection:
            before = await plans.template(connection, name, lock=True)
            version = before.version if before else 0
            if expected is not None and expected != version:
                raise Stale(f"Somebody else has changed the template '{name}'; look again.")
            if before is None and await plans.count_templates(connection) >= _MOST_TEMPLATES:
                raise Invalid(f"There are {_MOST_TEMPLATES} templates; remove one first.")
            template = Template(
                name=name, order=order, version=version + 1, changed_at=at, changed_by=by
            )
            await plans.put_template(connection, template)
            await self._note(connection, by, "keep template", f"template:{name}", at)
        return template

    async def drop_template(self, name: str, *, by: str) -> None:
        """Raises Unknown."""
        async with self._office.store.write() as connection:
            if not await plans.drop_template(connection, name):
                raise Unknown(f"There is no template '{name}'.")
            await self._note(connection, by, "remove template", f"template:{name}")


def _no_proposal(proposal_id: str) -> Unknown:
    return Unknown(f"There is no proposal '{proposal_id}'.")
