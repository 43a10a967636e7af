# SPDX-License-Identifier: Apache-2.0
"""Statements of the hot path: declared once with SQLAlchemy, run by SQLite's own driver.

    _REQUESTS = Hot(select(RequestRow.document).where(RequestRow.ven_id == bindparam("ven")))
    rows = await _REQUESTS.rows(connection, ven="0042")

SQLAlchemy takes some 30 us to run a statement that SQLite answers in 2 us. So on the writer's
SQLite a statement is compiled once, and then goes straight to the driver, within the transaction
the connection is in. On every other connection it is run by SQLAlchemy as always.
"""

import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable, Select, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.store.sqlite import driver_of
from vtn.store.tables import Table

_DIALECT: Any = sqlite.dialect()
_Convert = Callable[[Any], Any]
_MOST_SHAPES = 64
"""Forms of one statement that are remembered, by how long its lists are."""
_EXPANDED = re.compile(r"(.+?)_(\d+)(?:_(\d+))?")
"""How SQLAlchemy names the parts of an expanding parameter: `ids_2`, for tuples `keys_2_1`."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where the value of one `?` comes from."""

    name: str
    place: int | None = None
    """Of a list, which item."""
    inner: int | None = None
    """Of a list of tuples, which part of the item."""
    convert: _Convert | None = None
    """What makes it a value of SQLite's."""


@dataclass(frozen=True, slots=True)
class _Form:
    """A statement as SQLite's driver takes it."""

    text: str
    slots: Sequence[_Slot]
    fixed: Mapping[str, Any]
    """Values that stand in the statement itself."""


class Hot:
    """One statement; a parameter may be a list where it is an expanding one."""

    def __init__(self, statement: Executable, *, postgresql: Executable | None = None) -> None:
        """`postgresql` where the statement is not the same there."""
        self._statement: Any = statement
        self._on_postgresql: Any = statement if postgresql is None else postgresql
        self._results = _results(statement)
        self._forms: dict[tuple[int, ...], _Form] = {}

    async def rows(self, connection: AsyncConnection, **given: Any) -> Sequence[Sequence[Any]]:
        """The rows of a SELECT."""
        driver = driver_of(connection)
        if driver is None:
            return (await connection.execute(self._of(connection), given)).all()
        found = self._run(driver, given).fetchall()
        if not self._results:
            return found
        rows = [list(row) for row in found]
        for place, convert in self._results:
            for row in rows:
                row[place] = convert(row[place])
        return rows

    async def run(self, connection: AsyncConnection, **given: Any) -> int:
        """Change something; how many rows that was."""
        driver = driver_of(connection)
        if driver is None:
            return (await connection.execute(self._of(connection), given)).rowcount
        return self._run(driver, given).rowcount

    async def each(self, connection: AsyncConnection, many: Iterable[Mapping[str, Any]]) -> None:
        """Do the same for each set of parameters, none of which is a list."""
        driver = driver_of(connection)
        if driver is not None:
            for given in many:
                self._run(driver, given)
        elif sets := list(many):
            await connection.execute(self._of(connection), sets)

    def _of(self, connection: AsyncConnection) -> Any:
        return self._statement if connection.dialect.name == "sqlite" else self._on_postgresql

    def _run(self, driver: sqlite3.Connection, given: Mapping[str, Any]) -> sqlite3.Cursor:
        shape = tuple([len(value) for value in given.values() if type(value) is list])
        form = self._forms.get(shape)
        if form is None:
            form = _form(self._statement, given)
            if len(self._forms) < _MOST_SHAPES:
                self._forms[shape] = form
        values = []
        for slot in form.slots:
            value = given[slot.name] if slot.name in given else form.fixed[slot.name]
            if slot.place is not None:
                value = value[slot.place]
                if slot.inner is not None:
                    value = value[slot.inner]
            values.append(value if slot.convert is None else slot.convert(value))
        return driver.execute(form.text, values)


def upsert(table: type[Table], *, keys: Sequence[str], values: Sequence[str]) -> Hot:
    """Put a row in or, where one has these keys, change its values."""
    statements = []
    for dialect in (sqlite, postgresql):
        put: Any = dialect.insert(table).values(
            {name: bindparam(name) for name in (*keys, *values)}
        )
        statements.append(
            put.on_conflict_do_update(
                index_elements=list(keys), set_={name: put.excluded[name] for name in values}
            )
        )
    return Hot(statements[0], postgresql=statements[1])


def insert_once(table: type[Table], columns: Sequence[str]) -> Hot:
    """Put a row in; where one has the same keys, do nothing."""
    statements = []
    for dialect in (sqlite, postgresql):
        put: Any = dialect.insert(table).values({name: bindparam(name) for name in columns})
        statements.append(put.on_conflict_do_nothing())
    return Hot(statements[0], postgresql=statements[1])


def _results(statement: Executable) -> Sequence[tuple[int, _Convert]]:
    """What makes values of ours out of SQLite's, by column of a SELECT."""
    if not isinstance(statement, Select):
        return ()
    found = []
    for place, column in enumerate(statement.selected_columns):
        convert = column.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None)
        if convert is not None:
            found.append((place, convert))
    return found


def _form(statement: Any, given: Mapping[str, Any]) -> _Form:
    lists = {name: value for name, value in given.items() if type(value) is list}
    filled = statement.params(**given) if lists else statement
    compiled = filled.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    slots = []
    for name in compiled.positiontup:
        expanded = _EXPANDED.fullmatch(name)
        if name not in given and expanded is not None and expanded[1] in lists:
            inner = int(expanded[3]) - 1 if expanded[3] else None
            slots.append(_Slot(expanded[1], int(expanded[2]) - 1, inner))
        else:
            kind = compiled.binds[name].type
            slots.append(_Slot(name, convert=kind.dialect_impl(_DIALECT).bind_processor(_DIALECT)))
    fixed = {name: value for name, value in compiled.params.items() if name not in given}
    return _Form(compiled.string, slots, fixed)
