# SPDX-License-Identifier: Apache-2.0
"""Goal 6: memory of a registered VEN, by difference, in fresh processes."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from bench import honesty, messages
from bench.conversation import Talk
from bench.load import post
from bench.plan import Run
from bench.ratios import Row, at_most, over
from bench.servers import Openleadr, Ours, Server
from bench.stage import Site
from oadr.poll import Response
from vtn import config
from vtn.app import CONTACTS_S
from vtn.records import RequestRecord, RequestState, Ven
from vtn.store import Store, reports, vens

REST_S = CONTACTS_S + 5
"""Until ours has written down who was heard of, and given back what the burst had needed."""
AT_ONCE = 32
FEW = 100
"""VENs of the server that is compared with: all code has run in it."""
SHOWN_EVERY = 2500


async def measure(run: Run) -> None:
    """Adds the row of goal 6."""
    count = run.amounts.vens
    run.tell(f"certificates of {count:,} VENs")
    sites = await asyncio.to_thread(run.stage.sites, count)
    few, most = sites[:FEW], len(sites) - FEW
    mine = await _ours_with(run, sites) - await _ours_with(run, few)
    other = await _openleadr_with(run, sites) - await _openleadr_with(run, few)
    run.rows.every.append(
        Row(
            goal=6,
            what="memory (RSS) of a registered VEN: ours / openleadr",
            unit="KiB",
            ours=mine / most / 1024,
            peer=other / most / 1024,
            ratio=over(mine, other),
            target=at_most(0.5, text="<= 1/2"),
            note=f"{count:,} VENs, each registered, with one report asked for and one value of it "
            "sent, and one event fetched and answered, each on a connection of its own; RSS less "
            f"that of a fresh server with {FEW} such VENs. Ours has all of it on disk",
        )
    )


async def _ours_with(run: Run, sites: Sequence[Site]) -> int:
    """RSS of our VTN after each VEN did its part. Registrations and offers are put into the
    database beforehand, as they stand there after the VENs have said them.
    """
    server = Ours(run.stage, f"registered-ours-{len(sites)}")
    await server.prepare()
    await _let_in(run, server, sites)
    run.tell(f"ours: {len(sites):,} VENs are in the database")
    async with server:
        await server.publish_to_all()
        await _take_part(run, server, sites, {one.ven_id: _asked(one) for one in sites})
        await asyncio.sleep(REST_S)
        return server.rss_bytes()


async def _let_in(run: Run, server: Ours, sites: Sequence[Site]) -> None:
    now = run.now()
    store = await Store.open(config.load(server.config).store.url)
    try:
        async with store.write() as connection:
            for site in sites:
                await vens.add(
                    connection,
                    Ven(
                        ven_id=site.ven_id,
                        name=site.ven_id,
                        certificate_sha256=site.issued.sha256,
                        certificate_der=site.der(),
                        added_at=now,
                        added_by="bench",
                    ),
                )
                await vens.register(
                    connection,
                    site.ven_id,
                    registration_id=f"registration-{site.ven_id}",
                    at=now,
                    report_only=False,
                    push_address=None,
                    xml_signature=False,
                )
                offers = [messages.metadata(now)]
                await reports.replace_offers(connection, site.ven_id, offers, at=now)
                await reports.ask(
                    connection,
                    RequestRecord(
                        ven_id=site.ven_id,
                        request=messages.request(_asked(site), now),
                        report_name="TELEMETRY_USAGE",
                        state=RequestState.ACTIVE,
                        asked_at=now,
                        asked_by="bench",
                    ),
                )
    finally:
        await store.close()


def _asked(site: Site) -> str:
    return f"request-{site.ven_id}"


async def _openleadr_with(run: Run, sites: Sequence[Site]) -> int:
    """RSS of openleadr's after the same; it keeps all of it in memory, so offers are sent to it."""
    async with Openleadr(run.stage, f"registered-openleadr-{len(sites)}") as server:
        await server.admit(sites, registered=True)
        asked = await _offers(run, server, sites)
        run.tell(f"openleadr: {len(sites):,} VENs are registered")
        await server.publish(sites)
        await _take_part(run, server, sites, asked)
        await asyncio.sleep(REST_S)
        return server.rss_bytes()


async def _offers(run: Run, server: Server, sites: Sequence[Site]) -> dict[str, str]:
    """Each VEN offers its power: the IDs of the requests for it, by venID."""
    gate = asyncio.Semaphore(AT_ONCE)
    asked: dict[str, str] = {}

    async def one(site: Site) -> None:
        async with gate:
            connection = await server.connect(site)
            asked[site.ven_id] = await Talk(server, site, connection, now=run.now()).offer()
            connection.close()

    await asyncio.gather(*map(one, sites))
    return asked


async def _take_part(
    run: Run, server: Server, sites: Sequence[Site], asked: dict[str, str]
) -> None:
    """Each VEN fetches its event, opts in and reports one value; every answer is checked."""
    gate = asyncio.Semaphore(AT_ONCE)
    done = 0
    at = run.now().replace(microsecond=0) - timedelta(minutes=1)

    async def one(site: Site) -> None:
        nonlocal done
        async with gate:
            connection = await server.connect(site)
            told = await connection.ask_patiently(post(messages.POLL, messages.poll(site.ven_id)))
            event = honesty.distributed(told, server.vtn_id, who=server.name)
            opted = messages.opted_in(site.ven_id, event)
            reply = await connection.ask_patiently(post(messages.EVENT, opted))
            found = honesty.message(reply, Response, who=server.name)
            honesty.ok(found.response, who=server.name)
            value = messages.update(site.ven_id, asked[site.ven_id], at, rows=1, request_id="first")
            reply = await connection.ask_patiently(post(messages.REPORT, value))
            honesty.updated(reply, site.ven_id, "first", who=server.name)
            connection.close()
        done += 1
        if done % SHOWN_EVERY == 0:
            run.tell(f"{server.name}: {done:,} VENs took part")

    await asyncio.gather(*map(one, sites))
