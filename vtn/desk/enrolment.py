# SPDX-License-Identifier: Apache-2.0
"""The desk: one-time codes with which devices enrol."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta

from doorway.invitation import Invitation, new_code
from vtn.config import enrolment_url
from vtn.desk.checks import identifier, known_group
from vtn.desk.room import Room
from vtn.enrolment.trust import root_of
from vtn.errors import Conflict, Invalid, Unknown
from vtn.records import EnrolmentCode
from vtn.store import codes, vens

_LONGEST_NAME = 64
"""A common name has no more characters (X.509)."""
_MOST = 200


class EnrolmentDesk(Room):
    """Codes are made, listed, taken back."""

    async def make_code(
        self,
        ven_id: str,
        *,
        name: str = "",
        resources: Sequence[str] = (),
        groups: Sequence[str] = (),
        hours: int | None = None,
        by: str,
    ) -> tuple[Invitation, EnrolmentCode]:
        """A code with which one device becomes this VEN, which may be new or known.

        Raises Conflict where [enrolment] is not set or the VEN is revoked, Invalid for a name that
        no certificate may bear, Unknown for a group.
        """
        settings = self._office.settings
        if settings.enrolment is None:
            raise Conflict("This VTN enrols nobody; set [enrolment] in vtn.toml.")
        if len(identifier("venID", ven_id)) > _LONGEST_NAME:
            raise Invalid(f"To enrol, a venID has at most {_LONGEST_NAME} characters.")
        secret = new_code()
        at = self._office.now()
        code = EnrolmentCode(
            code_id=secret.name,
            ven_id=ven_id,
            name=name or ven_id,
            resources=tuple(identifier("resourceID", one) for one in resources),
            groups=tuple(groups),
            made_at=at,
            made_by=by,
            expires_at=at + timedelta(hours=hours or settings.enrolment.code_hours),
            secret_sha256=hashlib.sha256(secret.secret.encode()).hexdigest(),
        )
        invitation = Invitation(
            url=enrolment_url(settings), code=secret, root=root_of(settings.enrolment)
        )
        async with self._office.store.write() as connection:
            ven = await vens.find(connection, ven_id)
            if ven is not None and ven.revoked_at is not None:
                raise Conflict(f"The VEN '{ven_id}' was revoked; let it in under another venID.")
            for group_id in code.groups:
                await known_group(connection, group_id)
            await codes.add(connection, code)
            await self._note(
                connection, by, "make enrolment code", f"ven:{ven_id}", at, detail=code.code_id
            )
        return invitation, code

    async def codes(self, *, after: str | None = None, limit: int = _MOST) -> list[EnrolmentCode]:
        """The latest codes, the newest first, `after` one. Raises Unknown where that is gone."""
        async with self._office.store.read() as connection:
            last = None if after is None else await codes.find(connection, after)
            if after is not None and last is None:
                raise _no_code(after)
            return await codes.latest(connection, after=last, limit=limit)

    async def withdraw_code(self, code_id: str, *, by: str) -> EnrolmentCode:
        """From now on nobody enrols with it. Raises Unknown, and Conflict for one that was used."""
        at = self._office.now()
        async with self._office.store.write() as connection:
            code = await codes.find(connection, code_id, lock=True)
            if code is None:
                raise _no_code(code_id)
            if code.used_at is not None:
                raise Conflict(
                    f"The code was used; to shut out who used it: vtn vens revoke {code.ven_id}."
                )
            await codes.withdraw(connection, code_id, at)
            await self._note(
                connection, by, "withdraw enrolment code", f"ven:{code.ven_id}", at, detail=code_id
            )
            found = await codes.find(connection, code_id)
        assert found is not None
        return found


def _no_code(code_id: str) -> Unknown:
    return Unknown(f"There is no enrolment code '{code_id}'; see `vtn codes list`.")
