# SPDX-License-Identifier: Apache-2.0
"""OpenADR values as JSON in a column, and statements both databases understand."""

from typing import Any, TypeVar

import msgspec
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.store.tables import Table

T = TypeVar("T")

_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}
"""Made once for each kind: making one costs more than decoding."""


def encode(value: object) -> str:
    """A value (oadr dataclass, list ...) as JSON text."""
    return msgspec.json.encode(value).decode()


def decode(text: str, kind: type[T]) -> T:
    """The JSON of `encode` back as `kind`."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        decoder = _DECODERS[kind] = msgspec.json.Decoder(kind)
    found: T = decoder.decode(text)
    return found


def insert_into(connection: AsyncConnection, table: type[Table]) -> Any:
    """An INSERT that knows ON CONFLICT (Any: the two dialects share no such class)."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)
