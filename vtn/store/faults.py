# SPDX-License-Identifier: Apache-2.0
"""What a database says in its own words, as faults of ours."""

import sqlite3

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vtn.errors import Conflict, Invalid, StoreUnavailable, VtnError


def named(error: BaseException | None) -> VtnError | None:
    """The fault of ours that an error of a database is; None for anything else."""
    if isinstance(error, IntegrityError | sqlite3.IntegrityError):
        return Conflict("Somebody else did the same at the same moment; look at it again.")
    if isinstance(error, DataError | sqlite3.DataError):
        return Invalid(
            "A value cannot be stored: it is longer, larger or stranger than the database takes."
        )
    if isinstance(error, DBAPIError | sqlite3.Error | PoolTimeout | OSError) or _is_asyncpg(error):
        lines = str(getattr(error, "orig", None) or error).splitlines() or ["no reason given"]
        return StoreUnavailable(
            f"The database does not do what it should ({lines[0]}); see that it runs and has room."
        )
    return None


def _is_asyncpg(error: BaseException | None) -> bool:
    """Whether asyncpg speaks for itself, as it does to SQLAlchemy while it connects.

    "The database system is starting up", "too many connections", "password authentication failed".
    """
    return type(error).__module__.startswith("asyncpg.exceptions")
