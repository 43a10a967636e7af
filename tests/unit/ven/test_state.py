import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest

import oadr
from oadr.event import CreatedEvent
from oadr.response import EiResponse
from oadr.vocabulary import OptType, ServiceName
from tests.unit.ven.makers import START, distribute, event, known, price, signal
from tests.unit.ven.requests import curtailment_request, usage_request
from ven.errors import StateFault
from ven.spool import Spool
from ven.state import _SCHEMA, PROGRESS_S, RESERVE_BYTES, InForce, Registration, State

REGISTRATION = Registration(
    registration_id="0042",
    ven_id="ven",
    vtn_id="vtn",
    poll_interval_s=10.0,
    metadata_sent=True,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ven.db"


@pytest.fixture
def state(path):
    opened = State.open(path)
    yield opened
    opened.close()


def reopened(state, path):
    state.close()
    again = State.open(path)
    try:
        return again.registration(), again.events(), again.answers(), again.requests()
    finally:
        again.close()


def answer():
    return CreatedEvent(response=EiResponse(), ven_id="ven")


def test_everything_is_there_after_a_restart(state, path):
    asked = known(
        event(
            "0042",
            start_after=timedelta(minutes=5),
            signals=(signal(-40), price(0.25)),
            priority=1,
            vtn_comment="<hot>",
        ),
        offset_s=77,
        opt=OptType.OPT_OUT,
        decided_by="person",
        ends_early_at=START,
        answered=3,
        reported=True,
    )
    in_force = InForce(
        request=usage_request(),
        taken_at=START,
        spool=Spool(after=9, spans=((1, 3), (5, 7))),
        last_row_at=12.0,
        sent=2,
        ending=True,
    )
    state.set_registration(REGISTRATION)
    state.put_event(asked)
    state.put_answer(ServiceName.EVENT, answer())
    state.put_request(in_force)
    registration, events, answers, requests = reopened(state, path)

    assert registration == REGISTRATION
    assert {"0042": asked} == events
    assert [(ServiceName.EVENT, answer())] == [(a.service, a.message) for a in answers]
    assert {"u": in_force} == requests


def test_what_is_read_from_memory_is_what_is_on_disk(state, path):
    state.events()
    state.requests()
    state.put_event(known())
    state.put_event(known(event("x")))
    state.drop_event("x")
    state.put_request(InForce(request=usage_request(), taken_at=START))
    state.drop_request("u")
    in_memory = state.events(), state.requests()

    assert in_memory == tuple(reopened(state, path)[index] for index in (1, 3))


def on_disk(path):
    peeked = State.peek(path)
    try:
        return peeked.requests()
    finally:
        peeked.close()


def test_progress_may_wait_for_the_disk_a_quarter_of_an_hour_and_no_longer(path, clock):
    state = State.open(path, monotonic=clock.monotonic)
    taken = InForce(request=usage_request(), taken_at=START, spool=Spool(after=1))
    other = InForce(request=usage_request("other"), taken_at=START, sent=1)
    state.put_request(taken)
    state.put_request(other)
    state.put_request(replace(taken, sent=1), may_wait=True)  # the first for long
    assert on_disk(path)["u"].sent == 1

    far = replace(taken, spool=Spool(after=9), last_row_at=36.0, sent=2)
    state.put_request(far, may_wait=True)
    state.put_request(replace(other, sent=3), may_wait=True)
    assert state.requests()["u"] == far
    assert on_disk(path)["u"].sent == 1
    clock.advance(PROGRESS_S)
    state.put_request(replace(far, sent=3), may_wait=True)

    assert on_disk(path) == state.requests()
    assert on_disk(path)["other"].sent == 3
    state.put_request(replace(far, sent=4), may_wait=True)
    state.close()
    assert on_disk(path)["u"].sent == 4


def test_what_is_more_than_progress_or_may_not_wait_is_on_the_disk_at_once(state, path):
    taken = InForce(request=usage_request(), taken_at=START)
    state.put_request(taken, may_wait=True)
    assert on_disk(path)["u"] == taken
    state.put_request(replace(taken, sent=1), may_wait=True)
    state.put_request(replace(taken, sent=2), may_wait=True)

    state.put_request(replace(taken, sent=3))
    assert on_disk(path)["u"].sent == 3
    state.put_request(replace(taken, sent=4), may_wait=True)
    state.put_request(replace(taken, sent=4, ending=True), may_wait=True)
    assert on_disk(path)["u"].ending
    state.put_request(replace(taken, sent=5, ending=True), may_wait=True)
    state.drop_request("u")
    assert on_disk(path) == {}


def fail_half_way(state):
    with state.transaction():
        state.put_event(known(event("x")))
        with state.transaction():
            state.put_answer(ServiceName.EVENT, answer())
        raise ZeroDivisionError


def test_a_transaction_is_all_or_nothing(state):
    state.put_event(known())
    with pytest.raises(ZeroDivisionError):
        fail_half_way(state)

    assert list(state.events()) == ["e"]
    assert state.answers() == ()


def test_answers_are_kept_in_order_until_dropped(state):
    for name in ("a", "b"):
        state.put_answer(ServiceName.EVENT, replace(answer(), ven_id=name))
    first, second = state.answers()
    state.drop_answer(first.n)

    assert (second,) == state.answers()


def test_forgetting_the_registration_keeps_the_timeline_and_what_is_owed(state):
    state.set_registration(REGISTRATION)
    state.put_event(known())
    state.put_answer(ServiceName.EVENT, answer())
    owed = Spool(after=9, spans=((1, 3),))
    state.put_request(InForce(request=usage_request("old"), taken_at=START, spool=owed))
    state.forget_registration()

    assert state.registration() is None
    assert list(state.events()) == ["e"]
    assert (state.answers(), state.requests()) == ((), {})
    state.put_request(InForce(request=usage_request("new"), taken_at=START))
    assert owed == state.requests()["new"].spool
    state.put_request(InForce(request=usage_request("newer"), taken_at=START))
    assert state.requests()["newer"].spool is None


def test_forgetting_everything_leaves_nothing(state):  # rule 407
    state.set_registration(REGISTRATION)
    state.put_event(known())
    state.put_request(InForce(request=usage_request("old"), taken_at=START, spool=Spool(after=9)))
    state.forget_everything()
    state.put_request(InForce(request=usage_request("new"), taken_at=START))

    assert (state.registration(), state.events()) == (None, {})
    assert state.requests()["new"].spool is None


def test_replacing_requests_keeps_those_named(state):  # rule 306
    for request in (usage_request(), curtailment_request()):
        state.put_request(InForce(request=request, taken_at=START))
    state.replace_requests(("c",))

    assert list(state.requests()) == ["c"]


def test_a_withdrawal_outlasts_a_restart(state, path):
    state.withdraw(withdrawn=True)
    state.close()
    again = State.open(path)

    assert again.is_withdrawn
    again.withdraw(withdrawn=False)
    assert not again.is_withdrawn
    again.close()


def test_plan_versions_count_on(state):
    assert [state.next_plan_version() for _ in range(3)] == [1, 2, 3]


def test_two_vens_on_one_state_are_refused(state, path):
    with pytest.raises(StateFault, match="another VEN runs on this state"):
        State.open(path)


def test_one_may_look_while_another_runs(state, path):
    state.put_event(known())
    peek = State.peek(path)

    assert list(peek.events()) == ["e"]
    peek.close()


def test_there_must_be_something_to_look_at(path):
    with pytest.raises(StateFault, match="there is no VEN state yet"):
        State.peek(path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StateFault, match="cannot be kept there"):
        State.open(tmp_path / "nowhere" / "ven.db")


def test_a_file_that_is_no_database_is_refused(path):
    path.write_text("This is no database, but long enough to be looked at as one." * 50)
    with pytest.raises(StateFault, match="cannot be opened"):
        State.open(path)


def test_the_state_of_a_later_program_is_refused(path):
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StateFault, match="of version 99"):
        State.open(path)


def test_a_state_of_the_first_version_is_brought_up_to_date(tmp_path):
    path = tmp_path / "ven.db"
    connection = sqlite3.connect(path)
    connection.executescript(f"{_SCHEMA} PRAGMA user_version=1;")
    wire = oadr.build(distribute(event()))
    connection.execute(
        "INSERT INTO event VALUES ('e', ?, 7, 'optIn', 'policy', 'why', '200', 'd', ?, NULL, 0, 0)",
        (wire, START.isoformat()),
    )
    ids = '"registration_id": "r", "ven_id": "v", "vtn_id": "t", "poll_interval_s": 5.0'
    connection.execute(
        "INSERT INTO fact VALUES ('registration', ?)", (f'{{{ids}, "metadata_sent": true}}',)
    )
    connection.commit()
    connection.close()
    with pytest.raises(StateFault, match="start the VEN once"):
        State.peek(path)
    state = State.open(path)

    assert state.events()["e"].out_resources == ()
    assert state.registration().terms == "pull"
    assert state.schedules() == ()
    state.close()
    State.open(path).close()


def full(state):
    (pages,) = state._connection.execute("PRAGMA page_count").fetchone()
    state._connection.execute(f"PRAGMA max_page_count={pages}")


def test_a_full_disk_is_a_fault_and_changes_nothing_in_memory_either(path):
    state = State.open(path)
    state.put_event(known(event("kept")))
    full(state)

    def put_many():
        with state.transaction():
            state.drop_event("kept")
            for n in range(200):
                state.put_event(known(event(f"new-{n}")))

    with pytest.raises(StateFault, match="full"):
        put_many()
    assert list(state.events()) == ["kept"]
    state._connection.execute("PRAGMA max_page_count=10000")
    put_many()
    assert len(state.events()) == 200
    state.close()


def test_on_a_full_disk_what_was_acknowledged_stays_so_in_memory(path, clock):
    state = State.open(path, monotonic=clock.monotonic)
    taken = InForce(request=usage_request(), taken_at=START, spool=Spool(after=1))
    state.put_request(taken)
    full(state)
    far = replace(taken, spool=Spool(after=9000, spans=tuple((n, n + 1) for n in range(2000))))

    state.put_request(far, may_wait=True)

    assert state.requests()["u"] == far
    assert on_disk(path)["u"] == taken
    state._connection.execute("PRAGMA max_page_count=10000")
    clock.advance(60)
    state.put_request(replace(far, sent=1), may_wait=True)
    assert on_disk(path)["u"].sent == 1
    state.close()


def test_on_a_full_disk_the_next_try_has_the_reserve(path):
    reserve = path.with_name("ven.db.reserve")
    state = State.open(path)
    assert reserve.stat().st_size == RESERVE_BYTES
    full(state)

    def put_many():
        for n in range(200):
            state.put_answer(ServiceName.EVENT, CreatedEvent(response=EiResponse(), ven_id=f"{n}"))

    with pytest.raises(StateFault):
        put_many()
    assert not reserve.exists()
    state.close()
    assert reserve.exists()


def test_a_damaged_state_is_set_aside_and_the_ven_begins_anew(path):
    path.write_bytes(bytes(512) + b"lost" * 500)

    state = State.open(path)

    assert state.registration() is None
    assert len([*path.parent.glob("ven.db.damaged-*")]) == 1
    state.close()
