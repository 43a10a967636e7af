# SPDX-License-Identifier: Apache-2.0
"""python -m chaos.vtn_writer FOLDER ACKS ROUNDS SEED: what a VTN puts on its disk.

The real gateway, services and store on SQLite, without TLS; light VENs report side by side, and
every report that is acknowledged is noted in the file ACKS at once, a JSON line each.
"""

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from chaos.scripted_ven import Post, ScriptedVen
from oadr.vocabulary import ServiceName
from vtn.config import Settings
from vtn.desk import Desk
from vtn.directory import Directory
from vtn.gateway import Gateway
from vtn.services.office import Office
from vtn.store import Store, migrate

VENS = 4
ROWS = 20


class Acknowledged(msgspec.Struct, frozen=True, kw_only=True):
    """A report of a VEN: so many samples, a second apart."""

    ven_id: str
    first: int
    rows: int = ROWS


async def write(folder: Path, acks: Path, *, rounds: int, seed: int) -> None:
    """Let every VEN report `rounds` times."""
    settings = _settings(folder)
    await migrate(settings.store.url)
    store = await Store.open(settings.store.url)
    office = Office(
        settings=settings, store=store, directory=Directory(()), now=lambda: datetime.now(UTC)
    )
    desk, gateway = Desk(office), Gateway(office)
    noted = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def live(number: int) -> None:
        sha256 = f"{number:064x}"
        ven_id = f"ven-{number}"
        await desk.add_ven(
            ven_id=ven_id, name=ven_id, certificate_sha256=sha256, resources=(), by="chaos"
        )
        ven = ScriptedVen(ven_id, _inside(gateway, sha256, number), seed=seed)
        await ven.introduce()
        for _ in range(rounds):
            await ven.report(ROWS)
            first = int(max(ven.ledger.acknowledged)) - ROWS + 1
            line = Acknowledged(ven_id=ven_id, first=first)
            os.write(noted, msgspec.json.encode(line) + b"\n")

    await asyncio.gather(*(live(number) for number in range(VENS)))
    await store.close()


def _inside(gateway: Gateway, sha256: str, connection: int) -> Post:
    async def post(service: ServiceName, body: bytes) -> tuple[int, bytes]:
        answer = await gateway.answer(service, body, certificate=sha256, connection=connection)
        return answer.status, answer.body

    return post


def _settings(folder: Path) -> Settings:
    nowhere = {"cert": "none.crt", "key": "none.key"}
    raw = {
        "vtn": {"id": "VTN-1"},
        "openadr": {"certificates": [nowhere], "client_ca": "none.crt", "signatures": "off"},
        "operator": {"token_file": "none"},
        "store": {"url": f"sqlite+aiosqlite:///{folder / 'vtn.db'}"},
    }
    return msgspec.convert(raw, Settings, dec_hook=lambda kind, value: kind(value))


if __name__ == "__main__":
    _folder, _acks, _rounds, _seed = sys.argv[1:]
    asyncio.run(write(Path(_folder), Path(_acks), rounds=int(_rounds), seed=int(_seed)))
