# SPDX-License-Identifier: Apache-2.0
"""EiRegisterParty: register, register again with the same IDs, and end it."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from datetime import datetime, timedelta

import oadr
from doorway import get_logger
from oadr.poll import Response
from oadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    QueryRegistration,
)
from oadr.response import EiResponse
from oadr.vocabulary import ProfileName, ServiceName, TransportName
from ven.bell import Bell
from ven.config import Settings
from ven.errors import (
    Declined,
    NotRegistered,
    RegistrationEnded,
    TurnedAway,
    Unproven,
    Unreachable,
    Unusable,
)
from ven.identifiers import new_id
from ven.line import Line
from ven.retry import at_least_s
from ven.state import Registration, State

log = get_logger()

UNDER_WAY_S = 5.0
"""So long a push waits for the answer to a registration that the VTN has sent just before it."""
_UNKNOWN_ID = "452"


class Registrar:
    """Has the VEN registered, for as long as it takes."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        line: Line,
        *,
        fingerprint: str,
        now: Callable[[], datetime],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._state = state
        self._line = line
        self._fingerprint = fingerprint
        self._now = now
        self._draw = draw
        self._not_before: datetime | None = None
        self._registered_at: datetime | None = None
        self._wish = Bell()
        self._under_way = asyncio.Lock()
        self._terms = _terms(settings)
        self.trouble = ""
        """Why the VEN is not registered, in one sentence; empty while it is."""

    async def ensure(self) -> Registration:
        """Return the registration; make one first, if need be, however often it is refused."""
        while True:
            seen = self._wish.rings
            registration = self._state.registration()
            if registration is not None and registration.terms == self._terms:
                self.trouble = ""
                return registration
            if registration is not None:
                await self._change_terms(registration)
                continue
            if self._state.is_withdrawn:
                self.trouble = "A person has taken this VEN out; 'ven register' brings it back."
                await self._wish.wait(seen)
                continue
            pause_s = self._pause_s()
            if pause_s > 0:
                await self._wish.wait(seen, at_most_s=pause_s)
                continue
            try:
                await self._register_anew()
            except (Declined, TurnedAway, Unusable) as fault:
                self.trouble = (
                    f"{fault} The VTN's operator can let this VEN in by its fingerprint "
                    f"{self._fingerprint}."
                )
                log.warning("not_registered", why=str(fault), fingerprint=self._fingerprint)
                self.rest()

    async def again(self) -> None:
        """Register again with the same IDs (tests N1_0050 and N1_0065). Raises NotRegistered.

        Raises Declined, TurnedAway and Unusable where the VTN wants none of it.
        """
        registration = self._state.registration()
        if registration is None:
            self.wish()
            return
        async with self._under_way:
            try:
                created = await self._create(
                    registration_id=registration.registration_id, ven_id=registration.ven_id
                )
            except NotRegistered:
                raise
            except Declined as fault:
                if fault.response_code == _UNKNOWN_ID:
                    raise NotRegistered(str(fault), response_code=_UNKNOWN_ID) from fault
                raise
            current = self._state.registration() or registration  # its metadata may be there by now
            self._keep(created, metadata_sent=current.metadata_sent, offered=current.offered)

    async def mind_unproven(self) -> None:
        """Register again when answers prove nothing any more, until cancelled.

        A VTN that has forgotten this VEN does not know that it must sign, and so cannot tell it.
        Raises NotRegistered.
        """
        while True:
            seen = self._line.changed.rings
            if self._line.is_unproven:
                log.info("registers_again", why=self._line.trouble)
                try:
                    await self.again()
                except NotRegistered:
                    raise
                except (Declined, TurnedAway, Unusable) as fault:
                    log.warning("reregistration_refused", why=str(fault))
            await self._line.changed.wait(seen, at_most_s=self._settings.vtn.register_again_s)

    async def cancel(self) -> None:
        """A person takes the VEN out: tell the VTN, forget it, and stay out (test N1_0030)."""
        registration = self._state.registration()
        if registration is not None:
            message = CancelPartyRegistration(
                request_id=new_id("cancel"),
                registration_id=registration.registration_id,
                ven_id=registration.ven_id,
            )
            try:
                await self._line.ask(ServiceName.REGISTER_PARTY, message, CanceledPartyRegistration)
            except (Declined, TurnedAway, Unusable) as fault:
                log.warning("cancel_refused", why=str(fault))
        with self._state.transaction():
            self._state.forget_everything()
            self._state.withdraw(withdrawn=True)
        log.info("registration_cancelled", by="the site")

    def answer_cancel(self, message: CancelPartyRegistration) -> CanceledPartyRegistration:
        """The VTN wants to end it (test N1_0040); where the answer is good, `end` must follow."""
        registration = self._state.registration()
        known = (
            registration is not None
            and message.registration_id == registration.registration_id
            and message.ven_id in (None, registration.ven_id)
        )
        return CanceledPartyRegistration(
            response=EiResponse(
                response_code="200" if known else _UNKNOWN_ID,
                description=None if known else "That registration is unknown here.",
                request_id=message.request_id,
            ),
            registration_id=message.registration_id,
            ven_id=registration.ven_id if registration is not None else None,
        )

    async def take_cancel(self, message: CancelPartyRegistration) -> None:
        """Answer it by a message of its own. Raises RegistrationEnded once all is forgotten."""
        answer = self.answer_cancel(message)
        try:
            await self._line.ask(ServiceName.REGISTER_PARTY, answer, Response)
        except (Declined, TurnedAway, Unusable) as fault:
            log.warning("answer_refused", why=str(fault))
        if answer.response.ok:
            self.end()

    def end(self) -> None:
        """The VTN has ended it: forget all about it (rule 407). Raises RegistrationEnded."""
        self._state.forget_everything()
        self.rest()
        raise RegistrationEnded("The VTN has cancelled the registration.")

    async def settled(self) -> None:
        """Return when no registration is under way, or after a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(UNDER_WAY_S), self._under_way:
                pass

    def wish(self) -> None:
        """A person wants the VEN in: withdraw a withdrawal, and do not wait any longer."""
        self._state.withdraw(withdrawn=False)
        self._not_before = None
        self._wish.ring()

    def lost(self, why: str) -> None:
        """The VTN does not know the VEN any more; where it did just now, do not hurry."""
        self.trouble = f"{why} The VEN asks to be let in again by itself."
        pause = timedelta(seconds=self._settings.vtn.register_again_s)
        if self._registered_at is not None and self._now() < self._registered_at + pause:
            self.rest()

    def rest(self) -> None:
        """Leave the VTN alone for a while before registering again (rule 401)."""
        pause_s = at_least_s(self._settings.vtn.register_again_s, self._draw)
        self._not_before = self._now() + timedelta(seconds=pause_s)

    def _pause_s(self) -> float:
        if self._not_before is None:
            return 0.0
        return (self._not_before - self._now()).total_seconds()

    async def _register_anew(self) -> None:
        await self._query()
        async with self._under_way:
            allocated = self._settings.ven.ven_id or None  # test N1_0025
            self._keep(await self._create(ven_id=allocated), metadata_sent=False)

    async def _query(self) -> None:
        """See whether the VTN speaks as this VEN does. Raises Declined, TurnedAway, Unusable."""
        query = QueryRegistration(request_id=new_id("query"))
        if self._settings.signature.sign:
            offered: oadr.Message | None = None
            try:
                offered = await self._line.once(ServiceName.REGISTER_PARTY, query)
            except Unproven:
                return  # it may sign only for who has registered
            except Unreachable:
                pass  # the line tries on
            if isinstance(offered, CreatedPartyRegistration) and offered.response.ok:
                check_offer(offered)
                return
        check_offer(
            await self._line.ask(ServiceName.REGISTER_PARTY, query, CreatedPartyRegistration)
        )

    async def _change_terms(self, registration: Registration) -> None:
        """The settings of push or signature have changed since: register again with the IDs."""
        log.info("terms_changed", were=registration.terms, are=self._terms)
        try:
            await self.again()
        except NotRegistered as fault:
            log.warning("registration_lost", why=str(fault))
            self._state.forget_registration()
        except (Declined, TurnedAway, Unusable) as fault:
            # On the old terms the two would not understand each other.
            log.warning("terms_refused", why=str(fault))
            self._state.forget_registration()
            self.rest()

    async def _create(
        self, registration_id: str | None = None, ven_id: str | None = None
    ) -> CreatedPartyRegistration:
        push = self._settings.push
        return await self._line.ask(
            ServiceName.REGISTER_PARTY,
            CreatePartyRegistration(
                request_id=new_id("register"),
                registration_id=registration_id,
                ven_id=ven_id,
                profile=ProfileName.B,
                transport=TransportName.SIMPLE_HTTP,
                transport_address=push.address if push is not None else None,
                xml_signature=self._settings.signature.sign,
                ven_name=self._settings.ven.name,
                http_pull_model=push is None,
            ),
            CreatedPartyRegistration,
        )

    def _keep(
        self, created: CreatedPartyRegistration, *, metadata_sent: bool, offered: str = ""
    ) -> None:
        if created.registration_id is None or created.ven_id is None:
            raise Declined("The VTN registered this VEN but gave it no IDs.", response_code="459")
        interval = created.poll_interval
        registration = Registration(
            registration_id=created.registration_id,
            ven_id=created.ven_id,
            vtn_id=created.vtn_id,
            poll_interval_s=interval.total_seconds() if interval else None,
            metadata_sent=metadata_sent,
            terms=self._terms,
            offered=offered,
        )
        self._state.set_registration(registration)
        self._registered_at = self._now()
        log.info("registered", ven_id=registration.ven_id, vtn_id=registration.vtn_id)


def _terms(settings: Settings) -> str:
    """How the VEN registers; where this changes it registers again."""
    way = f"push {settings.push.address}" if settings.push is not None else "pull"
    return f"{way} signed" if settings.signature.sign else way


def check_offer(offered: CreatedPartyRegistration) -> None:
    """Whether the VTN speaks OpenADR 2.0b over HTTP. Raises Declined."""
    if not any(
        profile.name is ProfileName.B and TransportName.SIMPLE_HTTP in profile.transports
        for profile in offered.profiles
    ):
        raise Declined(
            "The VTN does not offer OpenADR 2.0b over simpleHttp, which is all this VEN speaks.",
            response_code="459",
        )
