"""A VTN that really listens over mutual TLS, and VENs that really post to it."""

import itertools
import ssl
from contextlib import asynccontextmanager

import aiohttp

from oadr.endpoints import path
from tests.story.vtn.utility import CONTEXT, Speaker, Utility, settings
from vtn.gateway import Answer, Gateway
from vtn.listener import Listener
from vtn.proof import Proof
from vtn.store import migrate
from vtn.store.nonces import Nonces

XML = {"Content-Type": "application/xml"}
NAMES = (f"ven-{number}" for number in itertools.count(1))


class Served(Utility):
    """A VTN with its listener, and the authority that made its certificates."""

    async def start(self):
        await super().start()
        self.gateway = Gateway(self.office, Proof(self.settings.openadr, Nonces(self.store)))

    def url(self, service="OadrPoll"):
        return f"https://127.0.0.1:{self.listener.port}/OpenADR2/Simple/2.0b/{service}"

    def tls(self, issued=None):
        context = ssl.create_default_context(cafile=self.authority.trust)
        if issued is not None:
            context.load_cert_chain(issued.certificate, issued.key)
        return context

    async def wired(self, ven_id="0042", *, rsa=False):
        """A VEN that is let in with a certificate of its own, and its context."""
        issued = self.authority.ven(next(NAMES), rsa=rsa)
        await self.desk.add_ven(
            ven_id=ven_id,
            name=ven_id,
            certificate_sha256=issued.sha256,
            resources=("r1",),
            by="anna",
        )
        return Wired(self, ven_id, self.tls(issued), issued)

    def stranger(self):
        """Somebody with a certificate of the right authority that is no VEN's."""
        issued = self.authority.ven(next(NAMES))
        return Wired(self, "0042", self.tls(issued), issued)


class Wired(Speaker):
    """A VEN that really posts over TLS; an async context manager around its connections."""

    def __init__(self, utility, ven_id, context, issued=None):
        super().__init__(utility, ven_id, "")
        self.context = context
        self.issued = issued

    async def __aenter__(self):
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.context))
        return self

    async def __aexit__(self, *_):
        await self.session.close()

    async def post(self, service, body, headers=XML, **more):
        url = f"https://127.0.0.1:{self.utility.listener.port}{path(service)}"
        async with self.session.post(url, data=body, headers=headers, **more) as response:
            assert "Transfer-Encoding" not in response.headers
            return Answer(response.status, await response.read())


@asynccontextmanager
async def serving(folder, clock, authority, *, now_s=None, **openadr):
    """A VTN on SQLite in `folder` while the block runs."""
    url = f"sqlite+aiosqlite:///{folder / 'vtn.db'}"
    await migrate(url)
    stems = [authority.folder / "vtn-ecc", authority.folder / "vtn-rsa"]
    more = {
        "certificates": [{"cert": f"{stem}.crt", "key": f"{stem}.key"} for stem in stems],
        "client_ca": authority.ven_trust,
        "max_bytes": 200_000,
        **openadr,
    }
    found = Served(settings(url, folder, **more), clock)
    found.authority = authority
    await found.start()
    try:
        await found.desk.add_market_context(CONTEXT, "Peak", by="anna")
        clocked = {} if now_s is None else {"now_s": now_s}
        listener = Listener(found.settings.openadr, found.gateway, **clocked)
        async with listener as found.listener:
            found.office.directory.on_shut_out = listener.close_connections  # as the App does
            yield found
    finally:
        await found.store.close()
