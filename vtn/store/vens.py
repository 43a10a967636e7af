# SPDX-License-Identifier: Apache-2.0
"""VENs, their registrations and resources."""

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime

from sqlalchemy import bindparam, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.records import Ven
from vtn.store.documents import insert_into
from vtn.store.tables import MemberRow, ResourceRow, VenRow

_AT_ONCE = 1000
"""VENs named in one statement."""


async def add(connection: AsyncConnection, ven: Ven) -> None:
    await connection.execute(
        insert(VenRow).values(
            ven_id=ven.ven_id,
            name=ven.name,
            certificate_sha256=ven.certificate_sha256,
            added_at=ven.added_at,
            added_by=ven.added_by,
            certificate_der=ven.certificate_der,
        )
    )
    for resource_id in ven.resources:
        await add_resource(connection, ven.ven_id, resource_id)


async def add_resource(connection: AsyncConnection, ven_id: str, resource_id: str) -> None:
    """Known already: nothing happens."""
    await connection.execute(
        insert_into(connection, ResourceRow)
        .values(ven_id=ven_id, resource_id=resource_id)
        .on_conflict_do_nothing()
    )


async def find(connection: AsyncConnection, ven_id: str, *, lock: bool = False) -> Ven | None:
    """One VEN; with `lock` nobody else changes it until the transaction ends."""
    if lock:
        await connection.execute(
            select(VenRow.ven_id).where(VenRow.ven_id == ven_id).with_for_update()
        )
    return next(iter(await _read(connection, [ven_id])), None)


async def find_by_certificate(connection: AsyncConnection, sha256: str) -> str | None:
    """The venID that a certificate belongs to, also one that was not used yet."""
    query = select(VenRow.ven_id).where(
        or_(VenRow.certificate_sha256 == sha256, VenRow.next_certificate_sha256 == sha256)
    )
    found: str | None = await connection.scalar(query)
    return found


async def every(
    connection: AsyncConnection,
    *,
    group: str | None = None,
    after: str = "",
    limit: int | None = None,
) -> list[Ven]:
    """All VENs, or those of a group, by venID; or so many of them `after` one."""
    if group is None and not after and limit is None:
        return await _read(connection, None)
    column = VenRow.ven_id if group is None else MemberRow.ven_id
    query = select(column).where(column > after).order_by(column).limit(limit)
    if group is not None:
        query = query.where(MemberRow.group_id == group)
    return await _read(connection, list(await connection.scalars(query)))


async def in_parts(connection: AsyncConnection) -> AsyncIterator[list[Ven]]:
    """All VENs by venID, some at a time: a hundred thousand take seconds to read."""
    after = ""
    while True:
        query = select(VenRow.ven_id).where(VenRow.ven_id > after).order_by(VenRow.ven_id)
        ven_ids = list(await connection.scalars(query.limit(_AT_ONCE)))
        if not ven_ids:
            return
        yield await _read(connection, ven_ids)
        after = ven_ids[-1]


async def certificates(
    connection: AsyncConnection, *, after: str, limit: int
) -> list[tuple[str, bytes]]:
    """The known certificates (DER) of those that may come in, by venID; so many `after` one."""
    query = (
        select(VenRow.ven_id, VenRow.certificate_der)
        .where(
            VenRow.ven_id > after, VenRow.revoked_at.is_(None), VenRow.certificate_der.is_not(None)
        )
        .order_by(VenRow.ven_id)
        .limit(limit)
    )
    return [(ven_id, der) for ven_id, der in await connection.execute(query) if der is not None]


async def some(connection: AsyncConnection, ven_ids: Iterable[str]) -> list[Ven]:
    """Those of these VENs that there are, by venID."""
    wanted = list(ven_ids)
    return [
        ven
        for start in range(0, len(wanted), _AT_ONCE)
        for ven in await _read(connection, wanted[start : start + _AT_ONCE])
    ]


async def owners(
    connection: AsyncConnection, resource_ids: Iterable[str]
) -> Mapping[str, tuple[str, ...]]:
    """Which VENs have a resource of that name, by resourceID."""
    query = select(ResourceRow.resource_id, ResourceRow.ven_id).where(
        ResourceRow.resource_id.in_(list(resource_ids))
    )
    found: dict[str, tuple[str, ...]] = {}
    for resource_id, ven_id in await connection.execute(query.order_by(ResourceRow.ven_id)):
        found[resource_id] = (*found.get(resource_id, ()), ven_id)
    return found


async def register(
    connection: AsyncConnection,
    ven_id: str,
    *,
    registration_id: str,
    at: datetime,
    report_only: bool,
    push_address: str | None,
    xml_signature: bool,
) -> None:
    await connection.execute(
        update(VenRow)
        .where(VenRow.ven_id == ven_id)
        .values(
            registration_id=registration_id,
            registered_at=at,
            report_only=report_only,
            push_address=push_address,
            xml_signature=xml_signature,
        )
    )


async def unregister(connection: AsyncConnection, ven_id: str) -> None:
    await connection.execute(
        update(VenRow)
        .where(VenRow.ven_id == ven_id)
        .values(registration_id=None, registered_at=None, push_address=None, xml_signature=False)
    )


async def remember_certificate(connection: AsyncConnection, ven_id: str, der: bytes) -> None:
    """The certificate whose fingerprint is known already."""
    await connection.execute(
        update(VenRow).where(VenRow.ven_id == ven_id).values(certificate_der=der)
    )


async def revoke(connection: AsyncConnection, ven_id: str, at: datetime) -> None:
    await connection.execute(update(VenRow).where(VenRow.ven_id == ven_id).values(revoked_at=at))


async def replace_certificate(
    connection: AsyncConnection, ven_id: str, sha256: str, der: bytes | None
) -> None:
    await connection.execute(
        update(VenRow)
        .where(VenRow.ven_id == ven_id)
        .values(
            certificate_sha256=sha256,
            certificate_der=der,
            next_certificate_sha256=None,
            next_certificate_der=None,
        )
    )


async def promise_certificate(
    connection: AsyncConnection, ven_id: str, sha256: str, der: bytes
) -> None:
    """A certificate that lets the VEN in beside its own, until it is first used."""
    await connection.execute(
        update(VenRow)
        .where(VenRow.ven_id == ven_id)
        .values(next_certificate_sha256=sha256, next_certificate_der=der)
    )


async def touch(connection: AsyncConnection, contacts: Mapping[str, datetime]) -> None:
    """When each VEN was last heard of; another process may have written down a later contact."""
    await connection.execute(
        update(VenRow)
        .where(
            VenRow.ven_id == bindparam("ven"),
            or_(VenRow.last_contact_at.is_(None), VenRow.last_contact_at < bindparam("contact_at")),
        )
        .values(last_contact_at=bindparam("contact_at")),
        # in one order everywhere: two processes must not wait for each other
        [{"ven": ven_id, "contact_at": at} for ven_id, at in sorted(contacts.items())],
    )


async def _read(connection: AsyncConnection, ven_ids: list[str] | None) -> list[Ven]:
    vens = select(VenRow.__table__).order_by(VenRow.ven_id)
    resources = select(ResourceRow.ven_id, ResourceRow.resource_id)
    members = select(MemberRow.ven_id, MemberRow.group_id)
    if ven_ids is not None:
        vens = vens.where(VenRow.ven_id.in_(ven_ids))
        resources = resources.where(ResourceRow.ven_id.in_(ven_ids))
        members = members.where(MemberRow.ven_id.in_(ven_ids))
    owned: dict[str, list[str]] = {}
    for ven_id, resource_id in await connection.execute(
        resources.order_by(ResourceRow.resource_id)
    ):
        owned.setdefault(ven_id, []).append(resource_id)
    groups: dict[str, list[str]] = {}
    for ven_id, group_id in await connection.execute(members.order_by(MemberRow.group_id)):
        groups.setdefault(ven_id, []).append(group_id)
    return [
        Ven(
            **row,
            resources=tuple(owned.get(row["ven_id"], ())),
            groups=tuple(groups.get(row["ven_id"], ())),
        )
        for row in (await connection.execute(vens)).mappings()
    ]
