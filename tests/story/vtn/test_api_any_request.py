"""Whatever is sent to the operators' API: it never breaks, and does what its description says."""

import asyncio
import contextlib
import json
import socket
import sys
from pathlib import Path

import uvicorn

from tests.story.vtn.utility import utility
from vtn.accounts.accounts import Accounts, first_admin
from vtn.credential import create_token, read_token
from vtn.operations import make_app
from vtn.operations.described import described
from vtn.operations.readable import page
from vtn.vitals import Vitals

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
WRITTEN = Path(__file__).parents[3] / "docs" / "openapi.json"
BUDGET_S = 20


@contextlib.asynccontextmanager
async def serving(app):
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    await task


async def test_no_request_breaks_the_api(tmp_path, clock):
    async with utility(f"sqlite+aiosqlite:///{tmp_path / 'vtn.db'}", tmp_path, clock) as house:
        ven = await house.registered()
        await ven.offer()
        await house.publish()
        await first_admin(house.store, now=clock.now)
        create_token(house.settings.operator.token_file)
        token = read_token(house.settings.operator.token_file)
        accounts = Accounts(house.office, secure=False)
        vitals = Vitals(house.office, version="")
        app = make_app(house.desk, house.settings, vitals, accounts=accounts, now=clock.now)
        async with serving(app) as url:
            asking = await asyncio.create_subprocess_exec(
                *(SCHEMATHESIS, "run", f"{url}/openapi.json"),
                *("--header", f"Authorization: Bearer {token}"),
                *("--checks", "not_a_server_error,response_schema_conformance"),
                *("--phases", "examples,coverage,fuzzing", "--max-examples", "10"),
                *("--seed", "6", "--no-shrink", "--no-color", "--continue-on-failure"),
                *("--max-time", str(BUDGET_S), "--warnings", "off", "--request-timeout", "60"),
                *("--generation-database", "none"),
                cwd=tmp_path,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            said, _ = await asking.communicate()
    assert asking.returncode == 0, said.decode()[-6000:]
    assert b"No issues found" in said


async def test_the_description_in_the_documents_is_that_of_the_api():
    assert json.loads(WRITTEN.read_text()) == described(), (
        "run: python -m vtn.operations.described docs/openapi.json"
    )


def test_the_page_for_people_names_every_operation_and_every_value():
    schema = described()
    shown = "\n".join(page(schema))
    assert all(f"<code>{path}</code>" in shown for path in schema["paths"])
    assert all(f'id="{name}"' in shown for name in schema["components"]["schemas"])
    assert "<script" not in shown
    assert "style=" not in shown
