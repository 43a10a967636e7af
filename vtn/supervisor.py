# SPDX-License-Identifier: Apache-2.0
"""`vtn serve --workers N`: one process that serves nothing, and N that do.

The supervisor reads the settings, binds the sockets and loads all code, then forks: the workers
share that memory. It begins no thread and no event loop, which do not survive a fork. Over a
socket pair each worker says that it listens, and then every second that it lives; the end of
the pair tells either side that the other is dead.

    worker dies        another at once; if that goes on, after 1 s, 2 s ... 30 s, its doors shut
    worker is silent   killed after HUNG_S, then as above
    SIGTERM, SIGINT    handed on; each worker finishes what it has taken
    supervisor dies    the workers stop by themselves, as at SIGTERM
"""

import asyncio
import contextlib
import gc
import os
import selectors
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import uvloop
from structlog.contextvars import bind_contextvars

import oadr
from doorway import Fault, get_logger
from doorway.sd_notify import notify, period_s
from oadr.poll import Poll
from vtn.app import App
from vtn.config import Settings
from vtn.doors import Doors, open_beside, open_for
from vtn.errors import VtnError, WorkersFault
from vtn.heap import one_heap
from vtn.store.line import is_shared

log = get_logger()

SIGN_S = 1.0
"""How often a worker says that it lives."""
HUNG_S = 30.0
"""A worker whose event loop stood still for so long is killed."""
PATIENCE_S = 60.0
"""As HUNG_S, for a worker that does not listen yet: it reads every VEN first."""
STOP_S = 20.0
"""For what is under way when the VTN stops; who takes longer is killed."""
LONGEST_S = 30.0
"""The longest pause before a worker that dies again and again is begun anew."""
REFUSED_S = 2.0
"""As LONGEST_S, where it says what it lacks (the database is away): then it costs little."""
CALM_S = 60.0
"""Deaths longer ago count no more."""

_READY, _ALIVE, _FAULT = b"R", b".", b"!"


class Deaths:
    """How long to wait before a worker is begun anew, by how often it has died of late.

    >>> deaths = Deaths()
    >>> [deaths.pause_s(now_s) for now_s in (0, 1, 2, 3, 100)]
    [0.0, 1.0, 2.0, 4.0, 0.0]
    """

    def __init__(self) -> None:
        self._at_s: list[float] = []

    def pause_s(self, now_s: float) -> float:
        """It has died now."""
        self._at_s = [one for one in self._at_s if now_s - one < CALM_S] + [now_s]
        again = len(self._at_s) - 1
        return 0.0 if again == 0 else float(min(2.0 ** min(again - 1, 10), LONGEST_S))


class _Worker:
    """One worker as the supervisor sees it."""

    def __init__(self, number: int, doors: Doors) -> None:
        self.number = number
        self.doors = doors
        self.shut = False
        """Whether its doors are closed: it is not begun anew at once."""
        self.deaths = Deaths()
        self.pid: int | None = None
        self.line: socket.socket | None = None
        self.ready = False
        self.heard_s = 0.0
        self.not_before_s = 0.0
        self.fault = ""


def supervise(settings: Settings, workers: int) -> None:
    """Run `workers` processes until SIGTERM or SIGINT.

    Raises WorkersFault for a database that cannot be shared, ListenerFault for an address, and
    what a worker says that cannot begin while none has served yet.
    """
    if not is_shared(settings.store.url):
        raise WorkersFault(
            f"SQLite serves one process, not {workers}; set [store] url to a PostgreSQL database, "
            "or serve with --workers 1."
        )
    one_heap()
    _warm_up(settings)
    doors = open_for(settings, workers)
    run_dir = Path(tempfile.mkdtemp(prefix="vtn-"))
    try:
        _Supervisor(settings, doors, run_dir).run()
    finally:
        for one in doors:
            one.close()
        shutil.rmtree(run_dir, ignore_errors=True)


def _warm_up(settings: Settings) -> None:
    """What every worker would else make for itself: the schema, the codecs, the message classes."""
    oadr.parse(oadr.build(Poll(ven_id=settings.vtn.id)))
    gc.collect()
    gc.freeze()  # or the collector would write to, and so copy, every shared page


class _Supervisor:
    def __init__(self, settings: Settings, doors: Sequence[Doors], run_dir: Path) -> None:
        self._settings = settings
        self._run_dir = run_dir
        self._workers = [_Worker(number, one) for number, one in enumerate(doors, start=1)]
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._announced = False
        self._sign_due_s = 0.0
        self._fault: VtnError | None = None

    def run(self) -> None:
        with self._signals():
            self._serve()
        if self._fault is not None:
            raise self._fault

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT wake the selector; before a fork nothing else happens in a handler."""
        hears, rings = socket.socketpair()
        for end in (hears, rings):
            end.setblocking(False)
        self._bell = (hears, rings)
        self._selector.register(hears, selectors.EVENT_READ, None)
        before = signal.set_wakeup_fd(rings.fileno(), warn_on_full_buffer=False)
        handlers = {
            number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)
            self._selector.close()
            hears.close()
            rings.close()

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _serve(self) -> None:
        while not self._stopping:
            now_s = time.monotonic()
            for worker in self._workers:
                if worker.pid is None and worker.not_before_s <= now_s:
                    self._begin(worker)
                elif worker.pid is not None:
                    self._judge(worker, now_s)
            self._sign_of_life(now_s)
            self._listen(self._wait_s(time.monotonic()))
        self._end()

    def _wait_s(self, now_s: float) -> float:
        dues = [one.not_before_s - now_s for one in self._workers if one.pid is None]
        return max(0.0, min([SIGN_S, *dues]))

    # --- workers ---------------------------------------------------------------------------------

    def _shut(self, worker: _Worker) -> None:
        """Let nobody wait for a worker that is not begun at once, while others could answer."""
        if any(one.pid is not None and not one.shut for one in self._workers):
            worker.doors.shut()
            worker.shut = True

    def _is_open(self, worker: _Worker) -> bool:
        """Open its doors again; False, and another try later, where that cannot be done."""
        if not worker.shut:
            return True
        try:  # there is one whose doors are open: the last one's are never shut
            worker.doors = open_beside(next(one.doors for one in self._workers if not one.shut))
        except VtnError as fault:
            log.error("a worker has no doors", number=worker.number, reason=str(fault))  # noqa: TRY400 - the sentence says it all
            worker.not_before_s = time.monotonic() + SIGN_S
            return False
        worker.shut = False
        return True

    def _begin(self, worker: _Worker) -> None:
        if not self._is_open(worker):
            return
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become(worker, theirs)  # never returns
        theirs.close()
        ours.setblocking(False)
        worker.pid, worker.line = pid, ours
        worker.ready, worker.fault = False, ""
        worker.heard_s = time.monotonic()
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _become(self, worker: _Worker, line: socket.socket) -> None:
        """The child: nothing of the supervisor's stays open but this worker's own sockets."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self._selector.close()
            for end in self._bell:
                end.close()
            for other in self._workers:
                if other.line is not None:
                    other.line.close()
                if other is not worker:
                    for one in set(other.doors.every()) - set(worker.doors.every()):
                        one.close()
            bind_contextvars(worker=worker.number)
            status = _work(
                App(
                    self._settings,
                    doors=worker.doors,
                    worker=worker.number,
                    run_dir=self._run_dir,
                ),
                line,
            )
        except BaseException:
            log.exception("a worker failed")
        finally:
            os._exit(status)

    def _judge(self, worker: _Worker, now_s: float) -> None:
        """Kill a worker that says nothing any more."""
        if now_s - worker.heard_s > (HUNG_S if worker.ready else PATIENCE_S):
            log.error("a worker hangs", number=worker.number, pid=worker.pid)
            worker.heard_s = now_s
            _kill(worker, signal.SIGKILL)

    def _listen(self, wait_s: float) -> None:
        for key, _ in self._selector.select(wait_s):
            worker = key.data
            if worker is None:
                with contextlib.suppress(BlockingIOError):
                    self._bell[0].recv(64)
                continue
            try:
                said = worker.line.recv(4096)
            except BlockingIOError:
                continue
            except ConnectionError:
                said = b""
            if said:
                self._hear(worker, said)
            else:
                self._bury(worker)

    def _hear(self, worker: _Worker, said: bytes) -> None:
        worker.heard_s = time.monotonic()
        if _FAULT in said:
            worker.fault = said.partition(_FAULT)[2].decode(errors="replace")
        if said.startswith(_READY):
            worker.ready = True
            if not self._announced and all(one.ready for one in self._workers):
                self._announced = True
                log.info("all workers listen", workers=len(self._workers))
                notify("READY=1", f"STATUS={len(self._workers)} workers serve")

    def _bury(self, worker: _Worker) -> None:
        """It has died; whether another is begun, and when."""
        assert worker.pid is not None
        assert worker.line is not None
        self._selector.unregister(worker.line)
        worker.line.close()
        _, status = os.waitpid(worker.pid, 0)
        pid, worker.pid, worker.line = worker.pid, None, None
        if self._stopping:
            return
        if not self._announced and not worker.ready:
            self._fault = WorkersFault(worker.fault or "A worker could not begin; see the log.")
            self._stopping = True
            return
        now_s = time.monotonic()
        pause_s = worker.deaths.pause_s(now_s)
        if worker.fault:
            pause_s = min(pause_s, REFUSED_S)
        worker.not_before_s = now_s + pause_s
        if pause_s:
            self._shut(worker)
        log.error(
            "a worker died",
            number=worker.number,
            pid=pid,
            status=os.waitstatus_to_exitcode(status),
            reason=worker.fault,
            again_in_s=pause_s,
        )

    def _sign_of_life(self, now_s: float) -> None:
        """To systemd, while every worker is alive or being begun anew."""
        period = period_s()
        if period is None or not self._announced or now_s < self._sign_due_s:
            return
        if all(now_s - one.heard_s < HUNG_S for one in self._workers if one.pid is not None):
            self._sign_due_s = now_s + period / 3
            notify("WATCHDOG=1")

    def _end(self) -> None:
        notify("STOPPING=1")
        for worker in self._workers:
            _kill(worker, signal.SIGTERM)
        until_s = time.monotonic() + STOP_S
        while any(one.pid is not None for one in self._workers):
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                for worker in self._workers:
                    _kill(worker, signal.SIGKILL)
            self._listen(max(left_s, SIGN_S))


def _kill(worker: _Worker, number: int) -> None:
    if worker.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, number)


# --- in the worker -------------------------------------------------------------------------------


def _work(app: App, line: socket.socket) -> int:
    """Serve until SIGTERM, SIGINT or the supervisor's end; the exit status."""
    try:
        uvloop.run(_in_touch(app, line))
    except Fault as fault:
        with contextlib.suppress(OSError):
            line.sendall(_FAULT + str(fault).encode()[:4000])
        return 1
    return 0


async def _in_touch(app: App, line: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    line.setblocking(False)
    loop.add_reader(line.fileno(), _orphaned(line, app.stop))
    signing: asyncio.Task[None] | None = None

    def ready(_app: App) -> None:
        nonlocal signing
        signing = asyncio.create_task(_sign(line))

    try:
        await app.run(ready=ready)
    finally:
        loop.remove_reader(line.fileno())
        line.setblocking(True)
        if signing is not None:
            signing.cancel()


def _orphaned(line: socket.socket, stop: Callable[[], None]) -> Callable[[], None]:
    def ended() -> None:
        asyncio.get_running_loop().remove_reader(line.fileno())
        log.warning("the supervisor is gone")
        stop()

    return ended


async def _sign(line: socket.socket) -> None:
    """Say first that it listens, then that its event loop goes on.

    A database that does not answer is no reason to be killed: VENs would lose their connections,
    and nothing would be better.
    """
    sign = _READY
    while True:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            line.send(sign)
        sign = _ALIVE
        await asyncio.sleep(SIGN_S)
