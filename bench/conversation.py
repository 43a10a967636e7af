# SPDX-License-Identifier: Apache-2.0
"""What a VEN says before it is measured: it registers, offers its power, takes the request on."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

import oadr
from bench import honesty, messages
from bench.errors import WrongAnswer
from bench.load import Connection, Reply, post
from bench.servers import Server
from bench.stage import Site
from oadr.poll import Response
from oadr.registration import CreatedPartyRegistration
from oadr.report import RegisteredReport, RegisterReport
from oadr.signature import Signer, Verifier

MOST_POLLS = 5


class Talk:
    """One VEN's conversation on one connection; signs where it has a signer."""

    def __init__(
        self,
        server: Server,
        site: Site,
        connection: Connection,
        *,
        now: datetime,
        signer: Signer | None = None,
        verifier: Verifier | None = None,
    ) -> None:
        self.connection = connection
        self._who = server.name
        self._ven_id = site.ven_id
        self._now = now
        self._signer = signer
        self._verifier = verifier

    def request(self, path: str, body: bytes) -> bytes:
        """A whole HTTP request, signed now where this VEN signs."""
        return post(path, self._signer.sign(body, now=self._now) if self._signer else body)

    async def ask(self, path: str, body: bytes) -> Reply:
        return await self.connection.ask_patiently(self.request(path, body))

    async def register(self) -> None:
        """Register, and poll until nothing waits any more. Raises WrongAnswer."""
        body = messages.registration(self._ven_id, signs=self._signer is not None)
        reply = await self.ask(messages.REGISTER, body)
        found = honesty.message(
            reply, CreatedPartyRegistration, who=self._who, verifier=self._verifier
        )
        honesty.ok(found.response, who=self._who, request_id="register")
        await self.drain()

    async def drain(self) -> None:
        """Poll until nothing waits; our VTN offers its (empty) metadata after a registration."""
        for _ in range(MOST_POLLS):
            reply = await self.ask(messages.POLL, messages.poll(self._ven_id))
            found = self._message(reply)
            if isinstance(found, Response):
                return
            if not isinstance(found, RegisterReport):
                break
            taken = messages.taken_metadata(self._ven_id, found.request_id)
            await self.ask(messages.REPORT, taken)
        raise WrongAnswer(f"{self._who} does not come to rest after a registration.")

    def _message(self, reply: Reply) -> oadr.Message:
        if self._verifier is None:
            return oadr.parse(reply.body)
        verified = self._verifier.verify(oadr.checked(reply.body))
        return oadr.read_message(verified.signed_object)

    async def offer(self) -> str:
        """Offer the site's power and take on the report that is asked for: its request's ID."""
        reply = await self.ask(messages.REPORT, messages.offer(self._ven_id, self._now))
        found = honesty.message(reply, RegisteredReport, who=self._who, verifier=self._verifier)
        honesty.ok(found.response, who=self._who, request_id="offer")
        if len(found.requests) != 1:
            raise WrongAnswer(f"{self._who} asked for {len(found.requests)} reports, not for 1.")
        name = found.requests[0].report_request_id
        await self.ask(messages.REPORT, messages.created_report(self._ven_id, name))
        await self.drain()
        return name


async def introduce(
    server: Server, sites: Sequence[Site], *, now: datetime, reports: bool = False
) -> dict[str, str]:
    """Admit and register VENs, a few at a time; with `reports`, their report requests' IDs."""
    await server.admit(sites)
    gate = asyncio.Semaphore(8)
    asked: dict[str, str] = {}

    async def one(site: Site) -> None:
        async with gate:
            connection = await server.connect(site)
            talk = Talk(server, site, connection, now=now)
            await talk.register()
            if reports:
                asked[site.ven_id] = await talk.offer()
            connection.close()

    await asyncio.gather(*map(one, sites))
    return asked
