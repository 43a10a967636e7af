"""The whole VTN as `vtn serve` puts it together: a VEN that signs and is pushed to, over TLS."""

import ssl
from datetime import UTC, datetime
from types import SimpleNamespace

import aiohttp

import oadr
from oadr.endpoints import path
from oadr.event import DistributeEvent
from oadr.report import RegisterReport
from tests.story.vtn.test_push import until
from tests.story.vtn.test_signatures import SigningPushVen
from tests.story.vtn.utility import CONTEXT, settings
from vtn.app import App
from vtn.credential import create_token, read_token
from vtn.gateway import Answer
from vtn.store import migrate


class WiredVen(SigningPushVen):
    """Posts to the App's own listener, and verifies what comes back."""

    async def post(self, service, body):
        context = ssl.create_default_context(cafile=self.utility.authority.vtn_trust)
        context.load_cert_chain(self.issued.certificate, self.issued.key)
        url = f"https://127.0.0.1:{self.utility.app.openadr_port}{path(service)}"
        signed = self.signer.sign(body, now=self.utility.clock.now())
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
            session.post(url, data=signed, headers={"Content-Type": "application/xml"}) as answer,
        ):
            return Answer(answer.status, oadr.build(self.opened(await answer.read())))


async def test_a_ven_that_signs_is_pushed_to_before_and_after_a_restart(tmp_path, authority):
    database = f"sqlite+aiosqlite:///{tmp_path / 'vtn.db'}"
    await migrate(database)
    stem = authority.folder / "vtn-ecc"
    chains = [{"cert": stem.with_suffix(".crt"), "key": stem.with_suffix(".key")}]
    more = {"certificates": chains, "client_ca": authority.ven_trust}
    chosen = settings(database, tmp_path, **more)
    create_token(chosen.operator.token_file)
    token = read_token(chosen.operator.token_file)
    issued = authority.ven("wired-and-pushed")
    place = SimpleNamespace(
        clock=SimpleNamespace(now=lambda: datetime.now(UTC)), authority=authority, app=None
    )
    ven = WiredVen(place, "0042", issued, authority)
    await ven.listen()

    async def operate(what, body):
        url = f"http://127.0.0.1:{place.app.operator_port}/api/v1/{what}"
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json=body, headers=headers) as answer,
        ):
            assert answer.status == 201, await answer.text()
            return await answer.json()

    event = {
        "signals": [{"name": "SIMPLE", "type": "level", "value": 1}],
        "start": "now+1h",
        "duration": "5m",
        "vens": ["0042"],
    }
    try:
        async with App(chosen) as place.app:
            added = await operate(
                "vens", {"ven_id": "0042", "certificate": issued.certificate.read_text()}
            )
            assert (added["certificate_known"], added["transport"]) == (True, "pull")
            await operate("market-contexts", {"uri": CONTEXT})
            await ven.register()
            await ven.get(RegisterReport)
            await operate("events", event)
            await ven.get(DistributeEvent)

        async with App(chosen) as place.app:
            await operate("events", event | {"start": "now+2h"})
            await until(
                "both events come again",
                lambda: any(len(one.events) == 2 for one in ven.pushed if hasattr(one, "events")),
            )
    finally:
        await ven.hang_up()
