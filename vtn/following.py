# SPDX-License-Identifier: Apache-2.0
"""Keeping in step: this process hears what others change, and takes its turn at the duties.

    line open, directory read anew          in step: idle polls are answered from memory
      │         ▲
      ▼         │ 0.2 s, 0.4 s ... 1 s
    line lost: in doubt, off duty           every request looks at the database

With SQLite there is no other process and no line: on duty from the beginning, and in doubt only
when the database failed right after a change, until it has been read anew.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Self

import msgspec

from doorway import Fault, get_logger
from vtn import news
from vtn.duties import Duties, Duty
from vtn.errors import StoreUnavailable
from vtn.services.office import Office
from vtn.store.line import Line, is_shared

log = get_logger()

BEAT_S = 1.0
"""How often the line is tried, others are told of contacts, and the duties are asked for."""
RETELL_S = 10.0
"""How often the process that pushes says which VENs cannot be reached: others may be new."""
FIRST_S, LONGEST_S = 0.2, 1.0
"""Pauses between attempts to open the line."""


class Following:
    """An async context manager: in step when it is entered, and kept so until it is left."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._shared = is_shared(office.settings.store.url)
        self._line: Line | None = None
        self._duties: Duties | None = None
        self._to_read: set[str] = set()
        self._bell = asyncio.Event()
        self._told_s = 0.0

    async def __aenter__(self) -> Self:
        """Raises StoreUnavailable."""
        self._office.directory.doubt()
        await self._open()
        self._tasks = [asyncio.create_task(self._keep()), asyncio.create_task(self._read())]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self.relieve()
        if self._line is not None:
            self._line.close()

    async def take_turns(self, duties: Sequence[Duty]) -> None:
        """From now on be on duty whenever no other process is."""
        self._duties = Duties(duties)
        if self._line is None:
            self._duties.begin()

    async def relieve(self) -> None:
        """Off duty for good; another process may begin."""
        duties, self._duties = self._duties, None
        if duties is None:
            return
        on = duties.on
        await duties.end()
        if on and self._line is not None:
            try:
                await self._line.leave_duty()
            except StoreUnavailable as error:
                log.info("duty is left with the line", reason=str(error))

    # --- inside ----------------------------------------------------------------------------------

    async def _open(self) -> None:
        if self._shared:
            directory = self._office.directory
            self._line = await Line.open(
                self._office.settings.store.url, on_notice=self._heard, on_lost=directory.doubt
            )
        await self._office.resynchronise()

    async def _keep(self) -> None:
        """Beat after beat, and a new line whenever the old one is lost."""
        while True:
            try:
                await self._stay()
            except Fault as fault:
                log.warning("out of step: every request asks the database", reason=str(fault))
            except Exception:
                log.exception("out of step: every request asks the database")
            await self._lose()
            await self._find()

    async def _stay(self) -> None:
        """For as long as the line is not lost. Raises Fault."""
        while True:
            await self._beat()
            await self._wait(BEAT_S)
            if self._line is not None and self._line.lost.is_set():
                raise StoreUnavailable("The line to the database was cut.")

    async def _beat(self) -> None:
        line, duties = self._line, self._duties
        if self._office.directory.in_doubt:
            await self._office.resynchronise()
        if line is None:
            return
        if duties is None or duties.on:
            await line.check()
        elif await line.try_duty():
            if self._duties is not duties:  # relieved meanwhile
                await line.leave_duty()
                return
            duties.begin()
            log.info("on duty")
        await self._tell(line)

    async def _tell(self, line: Line) -> None:
        office = self._office
        heard, reached = office.directory.untold()
        now_s = asyncio.get_running_loop().time()
        if self._duties is not None and self._duties.on and now_s - self._told_s >= RETELL_S:
            self._told_s = now_s
            away = [one.ven.ven_id for one in office.directory.entries() if one.unreachable]
            reached = dict.fromkeys(away, False) | reached
        payloads = news.notices(office.process_id, heard=heard, reached=reached)
        if payloads:
            await line.tell(payloads)

    async def _wait(self, seconds: float) -> None:
        """Or until the line is lost."""
        if self._line is None:
            await asyncio.sleep(seconds)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._line.lost.wait()
        except TimeoutError:
            return

    async def _lose(self) -> None:
        """In doubt, off duty, and without a line."""
        self._office.directory.doubt()
        if self._line is None:
            return
        self._line.close()
        if self._duties is not None:
            await self._duties.end()

    async def _find(self) -> None:
        """Try until there is a line and the directory is certain again."""
        pause_s = FIRST_S
        while True:
            try:
                await self._open()
            except Fault as fault:
                log.info("still out of step", reason=str(fault))
            except Exception:
                log.exception("still out of step")
            else:
                log.info("in step again")
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_S)

    def _heard(self, payload: str) -> None:
        """A notice of another process, or one of ours."""
        try:
            notice = news.read(payload)
        except msgspec.DecodeError:
            log.warning("a notice makes no sense", payload=payload[:200])
            return
        if notice.by == self._office.process_id:
            return
        directory = self._office.directory
        directory.wake(notice.woken)
        if notice.everybody:
            directory.wake_all()
        for ven_id, at_s in notice.heard.items():
            directory.heard(ven_id, datetime.fromtimestamp(at_s, UTC))
        for ven_id, arrived in notice.reached.items():
            directory.reached(ven_id, arrived=arrived)
        if notice.changed:
            self._to_read.update(notice.changed)
            self._bell.set()

    async def _read(self) -> None:
        """Read again which VENs others have changed; a failure leaves the directory in doubt."""
        while True:
            await self._bell.wait()
            self._bell.clear()
            ven_ids, self._to_read = self._to_read, set()
            try:
                await self._office.refresh(ven_ids)
            except Fault as fault:
                log.warning("a change was not read", reason=str(fault))
            except Exception:
                log.exception("a change was not read")
