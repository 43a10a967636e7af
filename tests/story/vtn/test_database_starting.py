"""A PostgreSQL that is there but not ready yet is no other than one that is away."""

import asyncio
import struct

import pytest

from vtn.errors import StoreUnavailable
from vtn.store import Store
from vtn.store.engine import revision

STARTING = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"


@pytest.fixture
async def url():
    """A server that says what PostgreSQL says while it recovers."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!i", await reader.readexactly(4))
        said = await reader.readexactly(length - 4)
        if said == struct.pack("!i", 80877103):  # it asks for TLS first
            writer.write(b"N")
            (length,) = struct.unpack("!i", await reader.readexactly(4))
            await reader.readexactly(length - 4)
        writer.write(b"E" + struct.pack("!i", len(STARTING) + 4) + STARTING)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"postgresql+asyncpg://vtn@127.0.0.1:{port}/vtn"


@pytest.mark.parametrize("ask", [revision, Store.open])
async def test_a_database_that_is_starting_is_unavailable(url, ask):
    with pytest.raises(StoreUnavailable, match="is starting up"):
        await ask(url)
