# SPDX-License-Identifier: Apache-2.0
"""A connection to PostgreSQL of a process's own: it hears the others, and holds what one may hold.

Behind a pooler that hands connections round by the transaction (PgBouncer's transaction mode) it
hears nothing: the VTN needs connections of its own.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.errors import StoreUnavailable

CHANNEL = "demandflex_vtn"
TIMEOUT_S = 3.0
"""For each statement: a database that takes longer to say 1 is not there."""
DUTIES = (3569, 1)
"""The advisory lock of the process that is on duty."""
ONE_AT_A_TIME = 3570
"""Of the advisory locks of `one_at_a_time`; beside it stands the subject."""

_TELL = f"SELECT pg_notify('{CHANNEL}', payload) FROM unnest(CAST($1 AS text[])) AS payload"  # noqa: S608 - constants
_ANNOUNCE = text(
    f"SELECT pg_notify('{CHANNEL}', payload) FROM unnest(CAST(:payloads AS text[])) AS payload"  # noqa: S608 - constants
)
_ALONE = text("SELECT pg_advisory_xact_lock(:room, hashtext(:subject))")


def is_shared(url: str) -> bool:
    """Whether several processes can serve this database together."""
    return make_url(url).get_backend_name() == "postgresql"


async def announce(connection: AsyncConnection, payloads: Iterable[str]) -> None:
    """Tell the other processes when, and only if, this transaction commits. PostgreSQL only.

    Commits that announce something wait for each other, in the whole database: what comes often
    (polls, reports) announces nothing.
    """
    await connection.execute(_ANNOUNCE, {"payloads": list(payloads)})


async def one_at_a_time(connection: AsyncConnection, subject: str) -> None:
    """Until this transaction ends nobody else gets past here for the same subject: a venID ...

    SQLite has one writer anyway. On PostgreSQL it is a lock in memory: a row lock would cost a
    write to the disk even where nothing is changed. Two subjects may, rarely, share a lock.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(_ALONE, {"room": ONE_AT_A_TIME, "subject": subject})


class Line:
    """An open connection that hears notices until it is lost or closed."""

    def __init__(self, connection: Any) -> None:  # asyncpg ships no types
        self._connection = connection
        self._turn = asyncio.Lock()
        self._closed = False
        self.lost = asyncio.Event()

    @classmethod
    async def open(
        cls, url: str, *, on_notice: Callable[[str], None], on_lost: Callable[[], object]
    ) -> Self:
        """Listen. `on_lost` is called at once when the connection goes. Raises StoreUnavailable."""
        # A VTN on SQLite does without; 4 MB.
        import asyncpg  # noqa: PLC0415

        parsed = make_url(url)
        _, options = parsed.get_dialect()().create_connect_args(parsed)
        with _named_faults():
            connection = await asyncpg.connect(
                **options,
                timeout=TIMEOUT_S,
                command_timeout=TIMEOUT_S,
                server_settings={
                    "application_name": "demandflex line",
                    # a process whose machine is gone lets go of its duties within these seconds
                    "tcp_keepalives_idle": "5",
                    "tcp_keepalives_interval": "2",
                    "tcp_keepalives_count": "3",
                },
            )
            line = cls(connection)

            def lost(_connection: object) -> None:
                line.lost.set()
                if not line._closed:
                    on_lost()

            connection.add_termination_listener(lost)
            await connection.add_listener(CHANNEL, lambda *heard: on_notice(heard[3]))
        return line

    async def check(self) -> None:
        """Raises StoreUnavailable where nobody is at the other end any more."""
        await self._say("SELECT 1")

    async def try_duty(self) -> bool:
        """Be the one process on duty, if no other is; until `leave_duty`, or the line is lost."""
        got: bool = await self._say("SELECT pg_try_advisory_lock($1, $2)", *DUTIES)
        return got

    async def leave_duty(self) -> None:
        await self._say("SELECT pg_advisory_unlock($1, $2)", *DUTIES)

    async def tell(self, payloads: Iterable[str]) -> None:
        """Tell the other processes now."""
        await self._say(_TELL, list(payloads))

    async def _say(self, statement: str, *values: object) -> Any:
        """The first value of the first row; one statement at a time."""
        with _named_faults():
            async with self._turn:
                return await self._connection.fetchval(statement, *values)

    def close(self) -> None:
        """At once; the database lets go of what the line held."""
        self._closed = True
        self._connection.terminate()


@contextmanager
def _named_faults() -> Iterator[None]:
    import asyncpg  # noqa: PLC0415 - as in Line.open

    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        reason = str(error) or type(error).__name__
        raise StoreUnavailable(
            f"The line to the database is lost ({reason}); see that it runs and can be reached."
        ) from error
