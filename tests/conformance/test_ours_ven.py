"""How our own VEN is prepared: what its site was told is read from the light node's plan."""

import json
import sqlite3
from datetime import UTC, datetime

import pytest

from conformance.adapter import Told
from conformance.adapters.ours_ven import OursVen
from conformance.declaration import Ability
from oadr.moments import write_instant

START, MIDDLE, END = (datetime(2030, 1, 9, 14, minute, tzinfo=UTC) for minute in (0, 5, 10))


def step(event_id, starts_at, ends_at, **more):
    return {
        "event_id": event_id,
        "starts_at": write_instant(starts_at),
        "ends_at": write_instant(ends_at) if ends_at else None,
        "value": 2.0,
        **more,
    }


@pytest.fixture
def ven(tmp_path):
    site = tmp_path / "site.toml"
    return OursVen({"config": "ven.toml", "state": "ven.db", "site": str(site)})


def plan(tmp_path, *steps):
    with sqlite3.connect(tmp_path / "plan.db") as kept:
        kept.execute("CREATE TABLE kept (name TEXT PRIMARY KEY, value BLOB NOT NULL)")
        if steps:
            kept.execute("INSERT INTO kept VALUES ('plan', ?)", (json.dumps({"steps": steps}),))
    kept.close()


async def test_the_steps_of_one_event_come_oldest_first(ven, tmp_path):
    plan(
        tmp_path,
        step("one", MIDDLE, None),
        step("other", START, END),
        step("one", START, MIDDLE, part="ramp_up"),
    )

    assert await ven.told("one") == [
        Told(starts_at=START, ends_at=MIDDLE, value=2.0, part="ramp_up"),
        Told(starts_at=MIDDLE, ends_at=None, value=2.0),
    ]


async def test_without_a_plan_nothing_was_told(ven, tmp_path):
    plan(tmp_path)

    assert await ven.told("one") == []


def test_without_a_site_nothing_can_be_looked_up():
    ven = OursVen({"config": "ven.toml", "state": "ven.db"})

    assert Ability.TOLD not in ven.abilities
    assert Ability.OPT in ven.abilities
