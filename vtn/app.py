# SPDX-License-Identifier: Apache-2.0
"""The whole VTN in one process: the store, the listener of the VENs, the listener of operators.

`vtn serve` is one such process, or several workers with one database (vtn.supervisor).
"""

import asyncio
import contextlib
import gc
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn
import uvloop
from litestar import Litestar

from doorway import Fault, get_logger, sd_notify, show
from vtn.accounts.accounts import FIRST_WORDS, Accounts, first_admin
from vtn.accounts.oidc import Oidc
from vtn.config import Settings, is_loopback
from vtn.console.board import Board
from vtn.console.door import routers, templates
from vtn.console.shell import refusals
from vtn.desk import Desk
from vtn.directory import Directory
from vtn.doors import Doors, open_doors
from vtn.enrolment.listener import EnrolmentListener
from vtn.enrolment.room import Enrolment
from vtn.errors import ListenerFault, StoreUnavailable
from vtn.following import Following
from vtn.gateway import Gateway
from vtn.heap import give_back, one_heap
from vtn.listener import Listener
from vtn.live import Feed
from vtn.operations import make_app
from vtn.proof import Proof
from vtn.push import push
from vtn.services.office import Office
from vtn.shelving import Shelving
from vtn.store import Store, vens
from vtn.store.engine import head
from vtn.store.nonces import Nonces
from vtn.upkeep import Upkeep
from vtn.vitals import Vitals

log = get_logger()

CONTACTS_S = 30.0
"""How often it is written down when each VEN was last heard of, and how much came of each."""
AT_ONCE = 500
"""Contacts written in one transaction."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class App:
    """`async with App(settings)` listens; `run` also waits for SIGTERM or SIGINT."""

    def __init__(
        self,
        settings: Settings,
        *,
        now: Callable[[], datetime] = _utc_now,
        doors: Doors | None = None,
        worker: int = 0,
        run_dir: Path | None = None,
    ) -> None:
        """Under a supervisor a `worker` has a number from 1 and is given its `doors`.

        `run_dir` is then a folder that all workers share while they run.
        """
        self._settings = settings
        self._now = now
        self._doors = doors
        self._worker = worker
        self._run_dir = run_dir
        self._stop = asyncio.Event()

    @property
    def openadr_port(self) -> int:
        """The port of the VENs' listener in fact, where the settings said 0."""
        return self._openadr_port

    @property
    def operator_port(self) -> int:
        """The port of the operators' listener in fact."""
        return self._operator_port

    @property
    def enrolment_port(self) -> int:
        """The port of the devices' listener in fact; where [enrolment] is set."""
        return self._enrolment_port

    async def run(
        self,
        *,
        ready: Callable[["App"], None] = lambda _app: None,
        stopping: Callable[[], object] = lambda: None,
    ) -> None:
        """Serve until SIGTERM or SIGINT; `ready` is called once both listeners listen.

        `stopping` is called when the end begins.

        Raises NotAtHead, StoreUnavailable, ListenerFault or SettingsFault where it cannot start.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        try:
            async with self:
                _settle()
                ready(self)
                await self._stop.wait()
                log.info("stopping")
                stopping()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def is_alive(self) -> bool:
        """Whether there is progress; hangs where there is none (vtn.vitals)."""
        return await self._vitals.is_alive()

    def stop(self) -> None:
        """End `run`: take nothing more, and finish what was taken."""
        self._stop.set()

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
        directory = Directory()
        office = Office(settings=settings, store=store, directory=directory, now=self._now)
        following = await exits.enter_async_context(Following(office))
        doors = self._doors or open_doors(settings)
        exits.callback(doors.close)
        tasks = await exits.enter_async_context(asyncio.TaskGroup())
        await exits.enter_async_context(_contacts(tasks, office))
        await exits.enter_async_context(_meanwhile(tasks, office.pressure.run()))
        await exits.enter_async_context(
            _meanwhile(tasks, office.conversation.run(store, self._now))
        )
        await exits.enter_async_context(_meanwhile(tasks, office.handouts.run(store)))
        await exits.enter_async_context(_meanwhile(tasks, Shelving(office).run()))
        vitals = Vitals(office, version=head(), worker=self._worker, run_dir=self._run_dir)
        exits.push_async_callback(vitals.figures.close)
        await exits.enter_async_context(_meanwhile(tasks, vitals.share()))
        self._vitals = vitals
        desk = self._desk = Desk(office)
        oidc = settings.operator.oidc
        accounts = Accounts(
            office,
            secure=settings.operator.cert is not None,
            provider=None if oidc is None else Oidc(oidc, now=self._now),
        )
        password = await first_admin(store, now=self._now)
        if password is not None:
            show(FIRST_WORDS.format(password))
        feed = Feed(office)
        await exits.enter_async_context(_meanwhile(tasks, feed.run()))
        board = Board(desk, self._now)
        exits.push_async_callback(board.close)
        operators = make_app(
            desk,
            settings,
            vitals,
            accounts=accounts,
            feed=feed,
            console=routers(desk, self._now, board),
            templates=templates(),
            pages=refusals(self._now),
            now=self._now,
        )
        self._operator_port = await exits.enter_async_context(
            _operators(tasks, operators, doors.operator, settings)
        )
        exits.callback(feed.close)
        signs = settings.openadr.signatures != "off"
        gateway = Gateway(office, Proof(settings.openadr, Nonces(store)) if signs else None)
        listener = await exits.enter_async_context(
            Listener(
                settings.openadr,
                gateway,
                sockets=doors.openadr,
                counts=office.counts,
                pressure=office.pressure,
            )
        )
        self._openadr_port = listener.port
        exits.enter_context(vitals.listening(listener))
        directory.on_shut_out = listener.close_connections
        for enrolling in doors.enrolment:
            enrolment = EnrolmentListener(
                settings, Enrolment(office), enrolling, listener.revocation
            )
            self._enrolment_port = (await exits.enter_async_context(enrolment)).port
        exits.push_async_callback(following.relieve)
        upkeep = Upkeep(store, settings.retention, now=self._now)
        pushing = partial(push, office, gateway, listener.revocation)
        await following.take_turns([pushing, upkeep.run])
        log.info(
            "listening",
            vtn_id=settings.vtn.id,
            openadr=f"{settings.openadr.host}:{self._openadr_port}",
            operator=f"{settings.operator.host}:{self._operator_port}",
            vens=len(directory),
        )


def _settle() -> None:
    """What was made until now is there to stay: garbage is looked for in what comes after it only.

    Else the collector walks through all modules and all VENs again and again, which held up
    whatever was under way for 0.1 s and more each time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def serve(settings: Settings) -> None:
    """Run the VTN in this process until SIGTERM or SIGINT; see App.run for what it raises."""
    one_heap()
    uvloop.run(_serve(App(settings)))


async def _serve(app: App) -> None:
    """Run it, and keep the service manager informed."""
    alive: list[asyncio.Task[None]] = []

    def ready(_app: App) -> None:
        sd_notify.notify("READY=1", f"STATUS=serves VENs at port {app.openadr_port}")
        alive.append(asyncio.create_task(sd_notify.keep_alive(app.is_alive)))

    try:
        await app.run(ready=ready, stopping=lambda: sd_notify.notify("STOPPING=1"))
    finally:
        for task in alive:
            task.cancel()


class _Operators(uvicorn.Server):
    """Uvicorn without hands on the process's signals: they are the App's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def _operators(
    tasks: asyncio.TaskGroup, app: Litestar, listening: socket.socket, settings: Settings
) -> AsyncIterator[int]:
    """The operators' listener while the block runs; yields its port. Raises ListenerFault."""
    operator = settings.operator
    if operator.cert is None and not is_loopback(operator.host):
        log.warning("operators' passwords go in the clear: set [operator] cert and key")
    config = uvicorn.Config(
        app,
        ssl_certfile=operator.cert,
        ssl_keyfile=operator.key,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise ListenerFault(f"[operator] cert, key: they cannot be used: {error}.") from error
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


@contextlib.asynccontextmanager
async def _meanwhile(
    tasks: asyncio.TaskGroup, going_on: Coroutine[None, None, None]
) -> AsyncIterator[None]:
    """Let something run for as long as the block does."""
    task = tasks.create_task(going_on)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@contextlib.asynccontextmanager
async def _contacts(tasks: asyncio.TaskGroup, office: Office) -> AsyncIterator[None]:
    """Write down every CONTACTS_S, and at the end, who was heard of and how much came."""

    async def write() -> None:
        contacts = list(office.directory.new_contacts().items())
        try:
            for start in range(0, len(contacts), AT_ONCE):  # so that no poll waits for them all
                async with office.store.write() as connection:
                    await vens.touch(connection, dict(contacts[start : start + AT_ONCE]))
            await office.intake.write(office.store)
        except StoreUnavailable as error:
            log.warning("contacts are not written down", reason=str(error))

    async def every() -> None:
        while True:
            await asyncio.sleep(CONTACTS_S)
            await write()
            await asyncio.to_thread(give_back)

    try:
        async with _meanwhile(tasks, every()):
            yield
    finally:
        await write()
