# SPDX-License-Identifier: Apache-2.0
"""All or nothing, on a SQLite connection that begins no transaction by itself."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """The write lock is taken at once; what fails inside, or at the commit, leaves nothing behind.

    Raises what was raised inside, and sqlite3.Error.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk may have ended it already
            connection.execute("ROLLBACK")
        raise
