# SPDX-License-Identifier: Apache-2.0
"""Certificates for devices: the first by a one-time code, the next by the one before.

code unknown or wrong       401; 10 from one address lock it out for an hour, 10 at one code lock it
code used, late, withdrawn  403; told only to who knows the code
code used a moment ago by   the same certificate again: the answer was lost
  the very same key
request not granted         400, and nothing was changed: the code is as good as before
certificate of nobody       403

A renewed certificate lets the VEN in beside its old one; when it is first used the old one is
nobody's (Office.take_up_certificate). Until then the same key gets the same certificate again.
"""

import hashlib
import hmac
import ipaddress
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from certs.errors import AuthorityFault, RequestRefused
from certs.issuing import Issuer, Request, common_name_of, key_sha256_of, read_request
from doorway import get_logger
from doorway.invitation import InvitationFault, read_code
from oadr.fingerprint import sha256
from vtn.enrolment.trust import trusted
from vtn.errors import ListenerFault, NotEnrolled
from vtn.news import News
from vtn.records import MOST_WRONG_TRIES, EnrolmentCode, Ven
from vtn.services.office import Office
from vtn.store import audit, codes, groups, vens

log = get_logger()

FORGOTTEN: Final = timedelta(hours=1)
"""After this, wrong codes of an address count no more."""
REPEAT: Final = timedelta(minutes=10)
"""So long after a code was used the device that used it may ask again."""


class Enrolment:
    """Issues to who may have it; any number of requests may be under way."""

    def __init__(self, office: Office) -> None:
        """Raises ListenerFault for files of [enrolment] that cannot be used."""
        settings = office.settings.enrolment
        assert settings is not None
        self._office = office
        self._life = timedelta(days=settings.life_days)
        try:
            self._issuer = Issuer.load(settings.cert, settings.key)
        except AuthorityFault as fault:
            raise ListenerFault(f"[enrolment] {fault}") from fault
        self._authorities = (*trusted(settings), self._issuer.der)

    @property
    def authorities(self) -> tuple[bytes, ...]:
        """What a device needs (DER): whom to trust, then what to show behind its certificate."""
        return self._authorities

    async def enrol(self, password: str, body: bytes, *, peer: str) -> bytes:
        """The certificate (DER) for a request, by a one-time code. Raises NotEnrolled."""
        at = self._office.now()
        peer = _network(peer)
        async with self._office.store.read() as connection:
            if await codes.failures(connection, peer, since=at - FORGOTTEN) >= MOST_WRONG_TRIES:
                raise NotEnrolled(
                    "Too many wrong codes came from this address; come again in an hour.",
                    status=429,
                )
        async with self._office.change() as (connection, news):
            code = await self._code(connection, password, peer, at)
            if code is not None:
                return await self._let_in(connection, code, _read(body), at, news)
        raise NotEnrolled("This is no code of ours; type it as it is on the sheet.", status=401)

    async def renew(self, shown: bytes, body: bytes) -> bytes:
        """The next certificate (DER) for the VEN that has shown this one. Raises NotEnrolled."""
        digest = sha256(shown)
        async with self._office.change() as (connection, news):
            ven_id = await vens.find_by_certificate(connection, digest)
            ven = await vens.find(connection, ven_id, lock=True) if ven_id is not None else None
            if ven is None or digest not in ven.certificates:
                raise NotEnrolled(
                    "This certificate is no VEN's here, or was revoked; ask the operator for an "
                    "enrolment code.",
                    status=403,
                )
            request = _read(body)
            name = common_name_of(shown)
            if not name:
                raise NotEnrolled(
                    "The subject of this certificate is more than a common name; only who issued "
                    "it can renew it.",
                    status=403,
                )
            _refuse_another_name(request, name)
            following = ven.next_certificate_der
            is_used = digest == ven.next_certificate_sha256
            again = following is not None and key_sha256_of(following) == request.key_sha256
            if following is not None and again and not is_used:
                return following  # the answer was lost
            der = self._issue(request, name)
            if is_used:
                await vens.replace_certificate(connection, ven.ven_id, digest, following)
            await vens.promise_certificate(connection, ven.ven_id, sha256(der), der)
            await self._note(connection, ven.ven_id, "renew certificate", sha256(der))
            news.changed(ven.ven_id)
        log.info("certificate renewed", ven=ven.ven_id, certificate=sha256(der))
        return der

    async def ven_of(self, shown: bytes) -> Ven:
        """Whose certificate this is. Raises NotEnrolled."""
        entry = await self._office.look_up(sha256(shown))
        if entry is None:
            raise NotEnrolled("This certificate is no VEN's here, or was revoked.", status=403)
        return entry.ven

    # --- inside ----------------------------------------------------------------------------------

    async def _code(
        self, connection: AsyncConnection, password: str, peer: str, at: datetime
    ) -> EnrolmentCode | None:
        """The code that was meant; None, and the try counted, where it is none."""
        try:
            said = read_code(password)
        except InvitationFault:
            said = None
        code = await codes.find(connection, said.name, lock=True) if said is not None else None
        locked = code is not None and code.wrong_tries >= MOST_WRONG_TRIES
        if said is not None and code is not None:
            digest = hashlib.sha256(said.secret.encode()).hexdigest()
            if hmac.compare_digest(digest, code.secret_sha256):
                if locked:
                    raise NotEnrolled(
                        "The code was locked after too many wrong tries; ask for another.",
                        status=403,
                    )
                return code
            if not locked:
                await codes.count_wrong_try(connection, code.code_id)
                if code.wrong_tries + 1 == MOST_WRONG_TRIES:
                    await self._note(connection, code.ven_id, "lock enrolment code", code.code_id)
        await codes.count_failure(connection, peer, at=at, forget_before=at - FORGOTTEN)
        log.warning("wrong enrolment code", client=peer, code=code.code_id if code else None)
        return None

    async def _let_in(
        self,
        connection: AsyncConnection,
        code: EnrolmentCode,
        request: Request,
        at: datetime,
        news: News,
    ) -> bytes:
        if code.used_at is not None:
            again = code.key_sha256 == request.key_sha256 and at - code.used_at <= REPEAT
            if again and code.certificate_der is not None:
                return code.certificate_der
            raise NotEnrolled("The code was used before; ask for another.", status=403)
        if code.withdrawn_at is not None:
            raise NotEnrolled("The code was withdrawn; ask for another.", status=403)
        if at >= code.expires_at:
            raise NotEnrolled("The code has expired; ask for another.", status=403)
        _refuse_another_name(request, code.ven_id)
        der = self._issue(request, code.ven_id)
        await self._bind(connection, code, der, at)
        await codes.use(connection, code.code_id, at=at, key_sha256=request.key_sha256, der=der)
        await self._note(
            connection, code.ven_id, "enrol VEN", f"{sha256(der)} by code {code.code_id}"
        )
        news.changed(code.ven_id)
        log.info("enrolled", ven=code.ven_id, certificate=sha256(der))
        return der

    async def _bind(
        self, connection: AsyncConnection, code: EnrolmentCode, der: bytes, at: datetime
    ) -> None:
        """The VEN is whoever shows this certificate; it is added where it is new."""
        ven = await vens.find(connection, code.ven_id, lock=True)
        if ven is None:
            await vens.add(
                connection,
                Ven(
                    ven_id=code.ven_id,
                    name=code.name,
                    certificate_sha256=sha256(der),
                    certificate_der=der,
                    added_at=at,
                    added_by=code.made_by,
                    resources=code.resources,
                ),
            )
        elif ven.revoked_at is not None:
            raise NotEnrolled("This VEN was revoked; ask the operator.", status=403)
        else:
            await vens.replace_certificate(connection, code.ven_id, sha256(der), der)
            for resource_id in code.resources:
                await vens.add_resource(connection, code.ven_id, resource_id)
        for group_id in code.groups:
            await groups.join(connection, group_id, [code.ven_id])

    def _issue(self, request: Request, name: str) -> bytes:
        try:
            return self._issuer.issue(request, name, life=self._life, now=self._office.now())
        except AuthorityFault as fault:
            log.error("nothing can be issued", reason=str(fault))  # noqa: TRY400 - the sentence says it all
            raise NotEnrolled("The VTN cannot issue now; tell its operator.", status=503) from fault

    async def _note(self, connection: AsyncConnection, ven_id: str, act: str, detail: str) -> None:
        await audit.note(
            connection,
            at=self._office.now(),
            actor=f"ven:{ven_id}",
            act=act,
            subject=f"ven:{ven_id}",
            detail=detail,
        )


def _read(body: bytes) -> Request:
    try:
        return read_request(body)
    except RequestRefused as refused:
        raise NotEnrolled(str(refused), status=400) from refused


def _refuse_another_name(request: Request, name: str) -> None:
    try:
        request.refuse_another_name(name)
    except RequestRefused as refused:
        raise NotEnrolled(str(refused), status=400) from refused


def _network(peer: str) -> str:
    """The address as it is counted: who has one of IPv6 has 2 to the 64th of them."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
