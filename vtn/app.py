# SPDX-License-Identifier: Apache-2.0
"""The whole VTN in one process: the store, the listener of the VENs, the listener of operators."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import structlog
import uvicorn
import uvloop

from doorway import Fault
from vtn.config import Settings
from vtn.desk import Desk
from vtn.directory import Directory
from vtn.errors import StoreUnavailable
from vtn.gateway import Gateway
from vtn.listener import Listener, bind
from vtn.operations import make_app
from vtn.proof import Proof
from vtn.push import pushing
from vtn.services.office import Office
from vtn.store import Store, vens
from vtn.store.nonces import Nonces

log = structlog.get_logger()

CONTACTS_S = 30.0
"""How often it is written down when each VEN was last heard of."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class App:
    """`async with App(settings)` listens; `run` also waits for SIGTERM or SIGINT."""

    def __init__(self, settings: Settings, *, now: Callable[[], datetime] = _utc_now) -> None:
        self._settings = settings
        self._now = now

    @property
    def openadr_port(self) -> int:
        """The port of the VENs' listener in fact, where the settings said 0."""
        return self._openadr_port

    @property
    def operator_port(self) -> int:
        """The port of the operators' listener in fact."""
        return self._operator_port

    async def run(self, *, ready: Callable[["App"], None] = lambda _app: None) -> None:
        """Serve until SIGTERM or SIGINT; `ready` is called once both listeners listen.

        Raises NotAtHead, StoreUnavailable, ListenerFault or SettingsFault where it cannot start.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            async with self:
                ready(self)
                await stop.wait()
                log.info("stopping")
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def __aenter__(self) -> Self:
        try:
            async with contextlib.AsyncExitStack() as exits:
                await self._start(exits)
                self._exits = exits.pop_all()
        except ExceptionGroup as group:  # a TaskGroup wraps whatever happens inside it
            fault = next((one for one in group.exceptions if isinstance(one, Fault)), None)
            raise fault or group from group
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._exits.__aexit__(kind, error, trace)

    async def _start(self, exits: contextlib.AsyncExitStack) -> None:
        settings = self._settings
        store = await Store.open(settings.store.url)
        exits.push_async_callback(store.close)
        async with store.read() as connection:
            directory = Directory(await vens.every(connection))
        office = Office(settings=settings, store=store, directory=directory, now=self._now)
        tasks = await exits.enter_async_context(asyncio.TaskGroup())
        await exits.enter_async_context(_contacts(tasks, office))
        desk = Desk(office)
        self._operator_port = await exits.enter_async_context(_operators(tasks, desk, settings))
        signs = settings.openadr.signatures != "off"
        gateway = Gateway(office, Proof(settings.openadr, Nonces(store)) if signs else None)
        listener = await exits.enter_async_context(Listener(settings.openadr, gateway))
        self._openadr_port = listener.port
        await exits.enter_async_context(pushing(tasks, office, gateway))
        log.info(
            "listening",
            vtn_id=settings.vtn.id,
            openadr=f"{settings.openadr.host}:{self._openadr_port}",
            operator=f"{settings.operator.host}:{self._operator_port}",
            vens=len(directory),
        )


def serve(settings: Settings) -> None:
    """Run the VTN in this process until SIGTERM or SIGINT; see App.run for what it raises."""
    uvloop.run(App(settings).run())


class _Operators(uvicorn.Server):
    """Uvicorn without hands on the process's signals: they are the App's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def _operators(
    tasks: asyncio.TaskGroup, desk: Desk, settings: Settings
) -> AsyncIterator[int]:
    """The operators' listener while the block runs; yields its port."""
    listening = bind(
        settings.operator.host, settings.operator.port, whose="The listener for operators"
    )
    try:
        config = uvicorn.Config(
            make_app(desk, settings),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        server = _Operators(config)
        serving = tasks.create_task(server.serve(sockets=[listening]))
        while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0.005)
        port: int = listening.getsockname()[1]
        try:
            yield port
        finally:
            server.should_exit = True
            await asyncio.wait([serving])
    finally:
        listening.close()


@contextlib.asynccontextmanager
async def _contacts(tasks: asyncio.TaskGroup, office: Office) -> AsyncIterator[None]:
    """Write down every CONTACTS_S, and at the end, when VENs were last heard of."""

    async def write() -> None:
        contacts = office.directory.new_contacts()
        if not contacts:
            return
        try:
            async with office.store.write() as connection:
                await vens.touch(connection, contacts)
        except StoreUnavailable as error:
            log.warning("contacts are not written down", reason=str(error))

    async def every() -> None:
        while True:
            await asyncio.sleep(CONTACTS_S)
            await write()

    writing = tasks.create_task(every())
    try:
        yield
    finally:
        writing.cancel()
        await asyncio.wait([writing])
        await write()
