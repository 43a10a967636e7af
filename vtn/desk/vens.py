# SPDX-License-Identifier: Apache-2.0
"""The desk: VENs are let in, changed, revoked."""

import uuid
from collections.abc import Sequence

from oadr.registration import CancelPartyRegistration, RequestReregistration
from vtn.desk.checks import digest, identifier, join, known_group, refuse_taken, registered_ven
from vtn.desk.room import Room
from vtn.errors import Conflict
from vtn.records import Ven
from vtn.services.office import known_ven
from vtn.store import outbox, vens


class VenDesk(Room):
    """Who takes part."""

    async def add_ven(
        self,
        *,
        ven_id: str | None,
        name: str,
        certificate_sha256: str,
        certificate_der: bytes | None = None,
        resources: Sequence[str] = (),
        groups: Sequence[str] = (),
        by: str,
    ) -> Ven:
        """Let a VEN in: with this certificate it may register; without `ven_id` one is made.

        Without `certificate_der` the certificate is kept when the VEN first shows it. Raises
        Conflict where the ID or the certificate is taken, Invalid for a fingerprint that is not 64
        hex digits, Unknown for a group.
        """
        sha256 = digest(certificate_sha256, certificate_der)
        at = self._office.now()
        ven = Ven(
            ven_id=identifier("venID", ven_id or uuid.uuid4().hex),
            name=name,
            certificate_sha256=sha256,
            certificate_der=certificate_der,
            added_at=at,
            added_by=by,
            resources=tuple(identifier("resourceID", one) for one in resources),
        )
        async with self._office.change() as (connection, news):
            if await vens.find(connection, ven.ven_id) is not None:
                raise Conflict(f"There is a VEN '{ven.ven_id}' already; choose another venID.")
            await refuse_taken(connection, sha256)
            await vens.add(connection, ven)
            for group_id in groups:
                await known_group(connection, group_id)
                await join(connection, group_id, [ven.ven_id])
            await self._note(connection, by, "add VEN", f"ven:{ven.ven_id}", at, detail=name)
            news.changed(ven.ven_id)
        return self._office.ven(ven.ven_id)

    async def vens(
        self, *, group: str | None = None, after: str = "", limit: int | None = None
    ) -> list[Ven]:
        """All VENs, or those of a group, by venID; or so many of them `after` one."""
        async with self._office.store.read() as connection:
            if group is not None:
                await known_group(connection, group)
            found = await vens.every(connection, group=group, after=after, limit=limit)
        return [self._live(ven) for ven in found]

    async def ven(self, ven_id: str) -> Ven:
        """Raises Unknown."""
        async with self._office.store.read() as connection:
            return self._live(await known_ven(connection, ven_id))

    async def add_resource(self, ven_id: str, resource_id: str, *, by: str) -> Ven:
        async with self._office.change() as (connection, news):
            await known_ven(connection, ven_id, lock=True)
            await vens.add_resource(connection, ven_id, identifier("resourceID", resource_id))
            await self._note(connection, by, "add resource", f"ven:{ven_id}", detail=resource_id)
            news.changed(ven_id)
        return self._office.ven(ven_id)

    async def revoke_ven(self, ven_id: str, *, by: str) -> Ven:
        """From the next request on its certificate is nobody's; what it sent stays."""
        at = self._office.now()
        async with self._office.change() as (connection, news):
            ven = await known_ven(connection, ven_id, lock=True)
            if ven.revoked_at is not None:
                raise Conflict(f"The VEN '{ven_id}' was revoked before.")
            await vens.revoke(connection, ven_id, at)
            await self._note(connection, by, "revoke VEN", f"ven:{ven_id}", at)
            news.changed(ven_id)
        return self._office.ven(ven_id)

    async def replace_certificate(
        self, ven_id: str, *, certificate_sha256: str, certificate_der: bytes | None = None, by: str
    ) -> Ven:
        """From the next request on the VEN is whoever shows this certificate; the old one is shut
        out, and all that the VEN has stays. Raises as add_ven, and Conflict for a revoked VEN.
        """
        sha256 = digest(certificate_sha256, certificate_der)
        async with self._office.change() as (connection, news):
            ven = await known_ven(connection, ven_id, lock=True)
            if ven.revoked_at is not None:
                raise Conflict(f"The VEN '{ven_id}' was revoked; let it in under another venID.")
            await refuse_taken(connection, sha256)
            await vens.replace_certificate(connection, ven_id, sha256, certificate_der)
            await self._note(connection, by, "replace certificate", f"ven:{ven_id}", detail=sha256)
            news.changed(ven_id)
        return self._office.ven(ven_id)

    async def request_reregistration(self, ven_id: str, *, by: str) -> None:
        """Ask the VEN, at its next poll, to register again with its IDs."""
        at = self._office.now()
        async with self._office.change() as (connection, news):
            await registered_ven(connection, ven_id)
            waiting = await outbox.waiting(connection, ven_id)
            if not any(one.kind == "oadrRequestReregistration" for one in waiting):
                message = RequestReregistration(ven_id=ven_id)
                await outbox.put(connection, ven_id, message, at=at)
            await self._note(connection, by, "request re-registration", f"ven:{ven_id}", at)
            news.woken([ven_id])

    async def cancel_registration(self, ven_id: str, *, by: str) -> None:
        """End the VEN's registration at its next poll; once it confirms, all of it is forgotten."""
        at = self._office.now()
        async with self._office.change() as (connection, news):
            ven = await registered_ven(connection, ven_id)
            waiting = await outbox.waiting(connection, ven_id)
            if any(one.kind == "oadrCancelPartyRegistration" for one in waiting):
                raise Conflict(f"The registration of '{ven_id}' is being cancelled already.")
            assert ven.registration_id is not None
            request_id = self._office.new_id()
            message = CancelPartyRegistration(
                request_id=request_id, registration_id=ven.registration_id, ven_id=ven_id
            )
            await outbox.put(connection, ven_id, message, at=at, request_id=request_id)
            await self._note(connection, by, "cancel registration", f"ven:{ven_id}", at)
            news.woken([ven_id])
