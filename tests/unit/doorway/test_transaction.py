import sqlite3

import pytest

from doorway.transaction import transaction


@pytest.fixture
def rows():
    with sqlite3.connect(":memory:", isolation_level=None) as connection:
        connection.execute("CREATE TABLE row (n INTEGER PRIMARY KEY)")
        yield connection
    connection.close()


def count(rows):
    return rows.execute("SELECT count(*) FROM row").fetchone()[0]


def put_in_one(rows, *statements):
    with transaction(rows):
        for statement in statements:
            rows.execute(statement)


def test_what_ends_well_is_there_and_what_fails_leaves_nothing(rows):
    put_in_one(rows, "INSERT INTO row VALUES (1)")
    with pytest.raises(sqlite3.OperationalError):
        put_in_one(rows, "INSERT INTO row VALUES (2)", "nonsense")

    assert count(rows) == 1
    assert not rows.in_transaction


def test_a_transaction_that_sqlite_has_ended_by_itself_fails_as_it_failed(rows):
    again = "INSERT OR ROLLBACK INTO row VALUES (1)"
    with pytest.raises(sqlite3.IntegrityError):
        put_in_one(rows, again, again)

    assert count(rows) == 0
