import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from ems_bridge.messages import Acknowledgement, AckStatus, Reason, SetPoint
from light_node.errors import PlanFault
from light_node.local import Delta, Notice, OverrideState, Step
from light_node.plan import Order, Plan
from light_node.setpoint import GuardState, Held
from light_node.store import KEPT, RESERVE_BYTES, Store

T0 = datetime(2030, 1, 9, 14, 0, tzinfo=UTC)
STEP = Step(
    event_id="e",
    modification_number=2,
    priority=1,
    starts_at=T0,
    ends_at=None,
    target=Delta(watts=-1.5),
    signal_name="s",
    signal_type="t",
    value=-1.5,
)
NOTICE = Notice(
    event_id="e",
    modification_number=2,
    status="near",
    starts_at=T0,
    ends_at=None,
    signal_name="s",
    signal_type="t",
)
ORDER = Order(event_id="e", modification_number=2, steps=(STEP,))


def lease(seq, *, event="e", release=False):
    return SetPoint(
        id=f"{event}:1",
        seq=seq,
        issued_at=T0,
        not_before=T0,
        not_after=T0 + timedelta(seconds=120),
        ttl_s=120,
        delta_w=None if release else -1.5,
        reason=Reason(event_id=event, modification_number=2, signal_name="s", signal_type="t"),
        release=release,
    )


def ack(seq, status=AckStatus.ACCEPTED):
    return Acknowledgement(id="e:1", seq=seq, status=status, at=T0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "plan.db"


@pytest.fixture
def store(path):
    store = Store(path)
    yield store
    store.close()


def test_a_new_store_holds_nothing(store):
    assert store.plan() == Plan()
    assert store.orders() == {}
    assert store.held() == Held()
    assert store.last_acknowledgement() is None
    assert store.override("ems") == OverrideState(active=False)


def test_all_of_it_is_there_after_a_restart(path, store):
    plan = Plan(version=7, steps=(STEP,), notices=(NOTICE,))
    held = Held(seq=5, lease=lease(5), first_issued_at=T0, state=GuardState.FAILSAFE)
    override = OverrideState(active=True, reason="no", until=T0, source="ems")
    store.save_plan(plan, {"e": ORDER}, now=T0)
    store.save_held(held, held.lease)
    store.save_acknowledgement(ack(5), now=T0)
    store.save_override("ems", override)
    store.close()

    again = Store(path)

    assert again.plan() == plan
    assert again.orders() == {"e": ORDER}
    assert again.held() == held
    assert again.last_acknowledgement() == ack(5)
    assert again.override("ems") == override
    assert again.override("local") == OverrideState(active=False)
    again.close()


def test_an_event_is_acknowledged_by_an_accepted_lease_and_not_by_a_release(store):
    store.save_held(Held(seq=1), lease(1))
    assert not store.is_acknowledged("e")
    store.save_acknowledgement(ack(1, AckStatus.REJECTED), now=T0)
    assert not store.is_acknowledged("e")
    store.save_held(Held(seq=2), lease(2, release=True))
    store.save_acknowledgement(ack(2), now=T0)
    assert not store.is_acknowledged("e")
    store.save_held(Held(seq=3), lease(3))
    store.save_acknowledgement(ack(3, AckStatus.STARTED), now=T0)

    assert store.is_acknowledged("e")
    assert not store.is_acknowledged("f")


def test_a_number_is_never_given_to_two_set_points(store):
    store.save_held(Held(seq=1), lease(1))

    with pytest.raises(PlanFault, match="cannot be written"):
        store.save_held(Held(seq=1, state=GuardState.LIMITED), lease(1))

    assert store.held() == Held(seq=1)


def test_what_is_older_than_a_season_goes(store):
    store.save_plan(Plan(), {"e": ORDER}, now=T0)
    store.save_held(Held(seq=1), lease(1))
    store.save_acknowledgement(ack(1), now=T0)

    store.save_plan(Plan(), {}, now=T0 + KEPT + timedelta(seconds=1))

    assert store.orders() == {}
    assert not store.is_acknowledged("e")


def test_a_file_of_a_newer_program_is_refused(path):
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()

    with pytest.raises(PlanFault, match="newer light node"):
        Store(path)


def test_a_path_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(PlanFault, match="cannot be kept there"):
        Store(tmp_path / "file" / "plan.db")


def test_on_a_full_disk_the_next_try_has_the_reserve(tmp_path):
    store = Store(tmp_path / "plan.db")
    reserve = tmp_path / "plan.db.reserve"
    assert reserve.stat().st_size == RESERVE_BYTES
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count={pages}")
    plan = Plan(version=1, steps=(STEP,) * 200)

    with pytest.raises(PlanFault, match="full"):
        store.save_plan(plan, {}, now=T0)
    assert not reserve.exists()
    store._db.execute("PRAGMA max_page_count=10000")
    store.save_plan(plan, {}, now=T0)

    assert store.plan() == plan
    assert reserve.exists()
    store.close()


def test_a_damaged_plan_is_set_aside(tmp_path):
    (tmp_path / "plan.db").write_bytes(bytes(512) + b"lost" * 500)

    store = Store(tmp_path / "plan.db")

    assert store.set_aside.exists()
    assert store.plan() == Plan()
    store.close()
