"""A VTN is replaced by its next version, and put back from a backup, while its VEN goes on."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine

from chaos.house import House
from vtn import records
from vtn.store import engine
from vtn.store.engine import head


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path, "sqlite:///vtn.db")
    try:
        house.open()
        yield house
    finally:
        house.close()


def acts(house: House, act: str) -> int:
    lines = house.ask(list[records.AuditLine], "audit", limit=1000) or []
    return sum(line.act == act for line in lines)


def as_the_version_before_left_it(house: House) -> str:
    """Take back the last migration; the version the database is at then."""
    config = engine._config()
    database = create_engine(f"sqlite:///{house.folder / 'vtn.db'}")
    with database.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "-1")
    database.dispose()
    return f"{int(head()) - 1:04}"


def test_a_vtn_is_replaced_by_its_next_version_in_the_middle_of_an_event(house: House) -> None:
    registered = house.registered()
    event = house.publish(kw=-60, starts_in_s=3, duration_s=16)
    opted = house.wait("the VEN opts in", lambda: house.event(event.event_id).vens[0].answered_at)
    house.sleep_until(event.starts_at + timedelta(seconds=4))

    assert house.vtn.stop() == 0
    version = as_the_version_before_left_it(house)
    said = house.cli("vtn", "upgrade")
    house.vtn.start()
    house.wait("the VTN is back", house.registered)

    assert f"from version {version} to {head()}" in said
    assert len(list(house.folder.glob(f"vtn.db.version-{version}-*"))) == 2, "with its checksum"
    house.sleep_until(event.ends_at)
    verdict = house.settled(event)
    assert 16 == verdict.samples_expected == verdict.samples_received
    house.assert_each_reading_is_held_once(event.starts_at, event.ends_at)
    again = house.registered()
    assert (again.registration_id, again.registered_at) == (
        registered.registration_id,
        registered.registered_at,
    )
    assert house.event(event.event_id).vens[0].answered_at == opted
    assert (acts(house, "register"), acts(house, "optIn")) == (1, 1)
    house.assert_set_points_are_in_order()


def test_what_was_acknowledged_after_a_backup_comes_again(house: House) -> None:
    """The VEN's cursor is far ahead of the VTN that was put back: it is asked again."""
    started_at = datetime.fromtimestamp(house.readings().starts_at[0], UTC)
    house.cli("vtn", "backup", house.folder / "vtn.backup", "--verify")
    held = len(house.readings().starts_at)
    house.wait("more is acknowledged", lambda: len(house.readings().starts_at) > held + 8)
    lost = set(house.readings().starts_at)

    assert house.vtn.stop() == 0
    said = house.cli("vtn", "restore", house.folder / "vtn.backup", "--force")
    house.vtn.start()
    house.wait("the VTN is back", house.registered)

    assert "VENs will be asked again" in said
    house.wait("it comes again", lambda: lost <= set(house.readings().starts_at), within_s=20)
    time.sleep(4)
    house.assert_each_reading_is_held_once(started_at, datetime.now(UTC) - timedelta(seconds=8))
    assert acts(house, "register") == 1
