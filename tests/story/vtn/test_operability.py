"""What a service manager, a load balancer and Prometheus see of `vtn serve`, a real process."""

import asyncio
import contextlib
import json
import os
import socket
import sqlite3
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench import messages
from bench.conversation import introduce
from bench.load import Connection, post
from bench.servers import Ours
from bench.stage import Stage
from tests.unit.vtn.test_metrics import documented
from vtn.config import load
from vtn.store import Store, measurements

WITHOUT_EVENT_OR_LIST = {"optin_ratio", "crl_next_update_seconds", "oadr_overload_total"}
CONNECTIONS = 30
"""As many as one certificate may have, nearly."""


def now():
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def vtn(tmp_path):
    """Not started yet."""
    found = Ours(Stage(tmp_path / "stage"))
    text = found.config.read_text()
    found.config.write_text(f'{text}metrics_token_file = "metrics.token"\n')
    return found


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """Stands for systemd; gives back what it was told so far, waiting for `wanted`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "900000")
        told = []

        async def heard(wanted):
            async with asyncio.timeout(60):
                while wanted not in told:
                    told.extend(line_ for line_ in await receive() for line_ in line_.split("\n"))
            return told

        async def receive():
            with contextlib.suppress(BlockingIOError):
                return [line.recv(999).decode()]
            await asyncio.sleep(0.02)
            return []

        yield heard


async def get(vtn, path, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"http://127.0.0.1:{vtn.operator_port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, await answer.text()


async def until_ready(vtn):
    """The operator is answered a moment before VENs are listened to."""
    async with asyncio.timeout(60):
        while (found := await get(vtn, "/readyz"))[0] != 200:
            assert '"problems":["VENs are not listened to"]' in found[1]
            await asyncio.sleep(0.02)
    assert '"ready":true,"problems":[],' in found[1]


async def scraped(vtn):
    """Every sample of /metrics, by name and labels."""
    token = (vtn.folder / "metrics.token").read_text().strip()
    status, text = await get(vtn, "/metrics", token)
    assert status == 200, text
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def assert_the_log_names_ven_and_request(vtn, ven_id):
    lines = [json.loads(line) for line in vtn.program.log.read_text().splitlines()]
    rejected = next(line for line in lines if line["event"] == "rejected")
    assert (rejected["ven"], rejected["message"], rejected["code"]) == (
        ven_id,
        "oadrPoll",
        "452",
    )
    refused = next(line for line in lines if line["event"] == "refused")
    assert (refused["ven"], refused["request"]) == (ven_id, rejected["request"] + 1)


async def test_alive_ready_and_metrics_are_told_apart(vtn):
    async with vtn:
        assert await get(vtn, "/healthz") == (200, "ok\n")
        await until_ready(vtn)
        token = (vtn.folder / "metrics.token").read_text().strip()
        assert (await get(vtn, "/metrics"))[0] == 401
        assert (await get(vtn, "/api/v1/vens", token))[0] == 403

        sites = vtn.stage.sites(1)
        start = now() - timedelta(minutes=15)
        asked = await introduce(vtn, sites, now=start, reports=True)
        ven_id = sites[0].ven_id
        connection = await vtn.connect(sites[0])
        update = messages.update(ven_id, asked[ven_id], start, rows=225, request_id="u")
        assert (await connection.ask_patiently(post(messages.REPORT, update))).status == 200
        assert (await connection.ask(post("/nowhere", b"<x/>"))).status == 404

        stranger = messages.poll("another")
        assert b"452" in (await connection.ask(post(messages.POLL, stranger))).body
        assert (await connection.ask(post(messages.POLL, b"<x/>"))).status == 406
        found = await scraped(vtn)
        connection.close()
        worker = ("worker", "0")
        polls = ("oadr_requests_total", ("code", "200"), ("service", "OadrPoll"), worker)
        assert found[polls] >= 2
        nowhere = ("oadr_requests_total", ("code", "404"), ("service", "none"), worker)
        assert found[nowhere] == 1
        assert found["oadr_rejected_total", ("code", "452"), worker] == 1
        assert found["samples_ingested_total", worker] == 225
        assert found["report_lag_seconds_count", worker] == 1
        assert found["connections_open", worker] == 1
        assert found["vens", ("state", "registered")] == 1
        assert found["ven_online",] == 1
        assert 0 <= found["ven_last_seen_seconds", ("ven", ven_id)] < 60
        assert found["cert_expiry_seconds", ("certificate", "vtn-ecc.crt")] > 86_400
        assert found["ven_cert_expiry_seconds",] > 86_400
        assert found["database_up",] == 1
        assert found["samples_missing",] >= 0
        assert found["loop_lag_seconds_count", worker] > 0

        names = {name.removesuffix("_count") for name, *_ in found} | WITHOUT_EVENT_OR_LIST
        assert documented() <= names
        operator = (vtn.folder / "operator.token").read_text().strip()
        assert (await get(vtn, "/metrics", operator))[0] == 200

        assert_the_log_names_ven_and_request(vtn, ven_id)
        with sqlite3.connect(vtn.database) as connection:
            connection.execute("UPDATE alembic_version SET version_num = 'of another program'")
        status, text = await get(vtn, "/readyz")
        assert (status, "another version" in text) == (503, True)
        assert "of another program" not in text
        assert (await get(vtn, "/healthz"))[0] == 200


async def test_what_was_acknowledged_when_it_is_stopped_under_load_is_stored(vtn, manager):
    async with vtn:
        told = await manager("WATCHDOG=1")
        assert told[0] == "READY=1"
        [site] = vtn.stage.sites(1)
        asked = await introduce(vtn, [site], now=now(), reports=True)
        context = site.context()
        acknowledged = []
        begin = now() - timedelta(days=1)

        async def report(number):
            """One reading at a time, each of an instant of its own, until the VTN has gone."""
            connection = connections[number]
            for turn in range(10_000):
                at = begin + timedelta(seconds=4 * (turn * CONNECTIONS + number))
                body = messages.update(site.ven_id, asked[site.ven_id], at, rows=1, request_id="u")
                try:
                    answer = await connection.ask(post(messages.REPORT, body))
                except ConnectionError:
                    return
                assert answer.status in (200, 503), answer
                if answer.status == 200:
                    assert b">200<" in answer.body
                    acknowledged.append(at.timestamp())

        async with asyncio.timeout(120), asyncio.TaskGroup() as reporting:
            connections = [
                await Connection.open("127.0.0.1", vtn.port, context) for _ in range(CONNECTIONS)
            ]
            for number in range(CONNECTIONS):
                reporting.create_task(report(number))
            while len(acknowledged) < 200:  # noqa: ASYNC110 - counted by many tasks
                await asyncio.sleep(0.02)
            os.kill(vtn.pid, 15)
        await manager("STOPPING=1")
        assert await asyncio.to_thread(vtn.program._process.wait, 60) == 0

    store = await Store.open(load(vtn.config).store.url)
    async with store.read() as connection:
        [point] = await measurements.points(connection, site.ven_id)
        found = await measurements.read(
            connection, point, begin.timestamp(), (begin + timedelta(days=2)).timestamp()
        )
    await store.close()
    assert set(acknowledged) <= set(found.starts_at)
