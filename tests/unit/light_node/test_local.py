import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from light_node.errors import LightNodeFault, NodeRefused, NodeUnreachable, UnknownEvent
from light_node.local import (
    Answer,
    AnyRequest,
    Curtailment,
    Delta,
    EmsState,
    GetCurtailment,
    GetReadings,
    GetStatus,
    Limit,
    LocalClient,
    LocalServer,
    Notice,
    OverrideState,
    PutPlan,
    Readings,
    SetOverride,
    Status,
    Step,
)

T0 = datetime(2030, 1, 9, 14, 0, tzinfo=UTC)
STEP = Step(
    event_id="0042",
    modification_number=0,
    priority=1,
    starts_at=T0,
    ends_at=None,
    target=Delta(watts=-1.5),
    signal_name="LOAD_DISPATCH",
    signal_type="delta",
    value=-1.5,
)
STATUS = Status(
    n=0,
    at=T0,
    boot="b",
    version="v",
    meters=(),
    ems=EmsState(broker_connected=False, online=None, last_seen_at=None),
    lease=None,
    override=OverrideState(active=False),
    plan_version=0,
    plan_steps=0,
    ring_rows=0,
    guard="normal",
)


class Desk:
    """A node that says what it is told to."""

    def __init__(self):
        self.asked = []
        self.held_back = asyncio.Event()
        self.asked_for_readings = asyncio.Event()
        self.statuses = asyncio.Queue()
        self.watching = 0

    async def answer(self, request):
        self.asked.append(request)
        match request:
            case GetStatus():
                return msgspec.structs.replace(STATUS, n=request.n)
            case GetReadings(wait_s=wait_s):
                self.asked_for_readings.set()
                if wait_s:
                    await self.held_back.wait()
                return Readings(
                    n=request.n,
                    cursor=7,
                    ids=[7],
                    starts_at=[1.0],
                    watts=[None],
                    energy_wh=[2.0],
                    quality=["comm"],
                )
            case GetCurtailment():
                raise UnknownEvent("nothing was ever ordered for it.")
        return Answer(n=request.n)

    async def watch(self):
        self.watching += 1
        try:
            while True:
                yield await self.statuses.get()
        finally:
            self.watching -= 1


@pytest.fixture
async def desk(tmp_path):
    desk = Desk()
    async with LocalServer(tmp_path / "node.sock", desk):
        yield desk


@pytest.fixture
async def client(desk, tmp_path):
    async with LocalClient(tmp_path / "node.sock") as client:
        yield client


async def test_a_plan_arrives_as_it_was_sent(desk, client):
    notice = Notice(
        event_id="0042",
        modification_number=0,
        status="far",
        starts_at=T0,
        ends_at=None,
        signal_name="s",
        signal_type="t",
    )
    await client.put_plan(3, (STEP,), (notice,))

    (put,) = desk.asked
    assert (put.version, put.steps, put.notices) == (3, (STEP,), (notice,))


async def test_readings_come_as_columns(desk, client):
    readings = await client.readings(after=5, limit=10, meter="main")

    assert (readings.ids, readings.watts, readings.quality) == ([7], [None], ["comm"])
    (asked,) = desk.asked
    assert (asked.after, asked.limit, asked.meter) == (5, 10, "main")


async def test_a_refusal_is_raised_with_the_nodes_own_sentence(client):
    with pytest.raises(NodeRefused, match="nothing was ever ordered"):
        await client.curtailment("x")


async def test_a_request_that_waits_holds_up_no_other(desk, client):
    waiting = asyncio.create_task(client.readings(wait_s=60))
    assert (await client.status()).version == "v"
    assert not waiting.done()

    desk.held_back.set()

    assert (await waiting).cursor == 7


async def test_an_override_carries_its_reason_and_end(desk, client):
    await client.set_override(active=True, reason="boiler", until=T0)

    (asked,) = desk.asked
    assert isinstance(asked, SetOverride)
    assert (asked.active, asked.reason, asked.until) == (True, "boiler", T0)


async def test_a_watch_is_told_of_each_change(desk, client):
    watch = client.watch()
    for version in (1, 2):
        desk.statuses.put_nowait(msgspec.structs.replace(STATUS, plan_version=version))
        assert (await anext(watch)).plan_version == version
    await watch.aclose()


async def test_a_node_that_goes_away_is_noticed_by_all_who_wait(tmp_path):
    desk = Desk()
    server = LocalServer(tmp_path / "node.sock", desk)
    await server.__aenter__()
    async with LocalClient(tmp_path / "node.sock") as client:
        watch = client.watch()
        desk.statuses.put_nowait(STATUS)
        await anext(watch)
        waiting = asyncio.create_task(client.readings(wait_s=60))
        await desk.asked_for_readings.wait()

        await server.__aexit__(None, None, None)

        with pytest.raises(NodeUnreachable):
            await waiting
        with pytest.raises(NodeUnreachable):
            await anext(watch)
        with pytest.raises(NodeUnreachable):
            await client.status()
    assert desk.watching == 0


async def test_where_nobody_listens_there_is_advice(tmp_path):
    with pytest.raises(NodeUnreachable, match="start it with 'light-node run'"):
        async with LocalClient(tmp_path / "nobody.sock"):
            pass


async def raw(path, line):
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(line)
    await writer.drain()
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return msgspec.json.decode(answer)


@pytest.mark.parametrize(
    ("line", "n"),
    [
        (b"hello\n", 0),
        (b'{"type":"GetStatus"}\n', 0),
        (b'{"type":"Explode","n":5}\n', 5),
        (b'{"type":"GetStatus","n":6,"more":1}\n', 6),
        (b'{"type":"GetReadings","n":7,"limit":0}\n', 7),
        (b'{"type":"GetReadings","n":8,"after":-1}\n', 8),
    ],
)
async def test_what_is_no_request_is_refused_under_its_number(desk, tmp_path, line, n):
    answer = await raw(tmp_path / "node.sock", line)

    assert answer["type"] == "Refusal"
    assert answer["n"] == n
    assert answer["sentence"].startswith("This is no request: ")
    assert desk.asked == []


async def test_a_second_node_on_the_same_socket_is_refused_and_the_first_goes_on(
    desk, client, tmp_path
):
    with pytest.raises(LightNodeFault, match="another light node is running there"):
        await LocalServer(tmp_path / "node.sock", Desk()).__aenter__()

    assert (await client.status()).version == "v"


async def test_the_socket_of_a_killed_node_is_taken_over(tmp_path):
    path = tmp_path / "node.sock"
    orphan = await asyncio.start_unix_server(lambda _r, _w: None, path)
    orphan.close()
    await orphan.wait_closed()
    assert path.exists()

    async with LocalServer(path, Desk()):
        assert path.stat().st_mode & 0o777 == 0o660
    assert not path.exists()


async def test_a_path_too_long_for_a_socket_is_one_sentence(tmp_path):
    with pytest.raises(LightNodeFault, match="cannot be opened"):
        await LocalServer(tmp_path / ("x" * 120), Desk()).__aenter__()


def test_a_limit_limits_something():
    with pytest.raises(ValueError, match="needs max_watts or min_watts"):
        Limit()
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"type":"limit"}', type=Limit)


def test_an_event_id_of_digits_stays_text():
    put = PutPlan(n=1, version=0, steps=(STEP,))

    assert msgspec.json.decode(msgspec.json.encode(put), type=AnyRequest) == put


def test_a_curtailment_survives_the_wire():
    curtailment = Curtailment(
        n=1,
        event_id="e",
        modification_number=0,
        baseline_method="m",
        fallback=False,
        starts_at=T0,
        ends_at=None,
        ordered_w=1.0,
        delivered_w=None,
        fraction=None,
        samples_expected=1,
        samples_received=0,
        baseline=[(1.0, 2.0)],
        delivered=[(1.0, None)],
        setpoint_acknowledged=False,
        final=False,
    )

    assert msgspec.json.decode(msgspec.json.encode(curtailment), type=Curtailment) == curtailment


async def test_a_file_at_the_sockets_path_is_not_removed(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text("precious")

    with pytest.raises(LightNodeFault, match="not a socket of ours"):
        await LocalServer(path, Desk()).__aenter__()

    assert path.read_text() == "precious"
