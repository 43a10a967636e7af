# SPDX-License-Identifier: Apache-2.0
"""OpenADR values as JSON in a column, and statements both databases understand."""

from typing import Any, TypeVar

import msgspec
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.store.tables import Table

T = TypeVar("T")


def encode(value: object) -> str:
    """A value (oadr dataclass, list ...) as JSON text."""
    return msgspec.json.encode(value).decode()


def decode(text: str, kind: type[T]) -> T:
    """The JSON of `encode` back as `kind`."""
    return msgspec.json.decode(text, type=kind)


def insert_into(connection: AsyncConnection, table: type[Table]) -> Any:
    """An INSERT that knows ON CONFLICT (Any: the two dialects share no such class)."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)
