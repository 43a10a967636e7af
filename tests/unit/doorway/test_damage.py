import sqlite3
from contextlib import closing

import pytest

from doorway.damage import check, is_damaged, or_anew, set_aside, was_left_open


def opened(path):
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE IF NOT EXISTS it (n)")
        check(database)
    except BaseException:
        database.close()
        raise
    return database


def test_a_file_that_has_lost_its_first_page_is_set_aside_and_a_new_one_begun(tmp_path):
    path = tmp_path / "a.db"
    path.write_bytes(bytes(512) + b"what is left of it" * 100)

    database, aside = or_anew(path, lambda: opened(path))

    with closing(database):
        assert database.execute("SELECT count(*) FROM it").fetchone() == (0,)
    assert aside.read_bytes().endswith(b"left of it")
    assert aside.name.startswith("a.db.damaged-")


def test_a_file_whose_pages_are_gone_is_damaged(tmp_path):
    path = tmp_path / "a.db"
    with closing(opened(path)) as database:
        database.executemany("INSERT INTO it VALUES (?)", [("x" * 500,)] * 100)
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(bytes(8192))

    with pytest.raises(sqlite3.DatabaseError) as refused:
        opened(path)
    assert is_damaged(refused.value)


def test_a_good_file_and_other_faults_are_left_alone(tmp_path):
    path = tmp_path / "a.db"
    opened(path).close()

    database, aside = or_anew(path, lambda: opened(path))
    database.close()
    assert aside is None

    path.write_text("-----BEGIN CERTIFICATE-----" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        or_anew(path, lambda: opened(path))

    def locked():
        raise sqlite3.OperationalError("database is locked")

    with pytest.raises(sqlite3.OperationalError):
        or_anew(path, locked)
    assert path.exists()


def test_what_was_not_closed_has_a_log(tmp_path):
    path = tmp_path / "a.db"
    with closing(opened(path)):
        assert was_left_open(path)
    assert not was_left_open(path)


def test_the_log_goes_with_the_file(tmp_path):
    path = tmp_path / "a.db"
    with closing(opened(path)):
        aside = set_aside(path)
        assert aside.with_name(aside.name + "-wal").exists()
    assert not path.exists()
