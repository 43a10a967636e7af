import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oadr import errors
from oadr.replay import WINDOW, Nonce, NonceWindow

NOW = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)


def nonce(value: str = "n", *, sender: str = "ven", offset_s: float = 0) -> Nonce:
    return Nonce(sender=sender, value=value, sent_at=NOW + timedelta(seconds=offset_s))


class Kept:
    """A store in memory, which can be told to fail."""

    def __init__(self, *nonces: Nonce) -> None:
        self.nonces = {(kept.sender, kept.value): kept for kept in nonces}
        self.fault: Exception | None = None
        self.forgets: list[datetime] = []

    async def recall(self, since: datetime) -> list[Nonce]:
        return [kept for kept in self.nonces.values() if kept.sent_at >= since]

    async def keep(self, nonce: Nonce) -> bool:
        if self.fault is not None:
            raise self.fault
        return self.nonces.setdefault((nonce.sender, nonce.value), nonce) is nonce

    async def forget(self, before: datetime) -> None:
        self.forgets.append(before)
        self.nonces = {k: kept for k, kept in self.nonces.items() if kept.sent_at >= before}


@pytest.mark.parametrize("offset_s", [-60, -59.9, 0, 59.9, 60])
def test_a_message_from_within_the_window_is_admitted_once(offset_s) -> None:
    window = NonceWindow()

    window.enter(nonce(offset_s=offset_s), now=NOW)
    with pytest.raises(errors.ReplayedMessage):
        window.enter(nonce(offset_s=offset_s), now=NOW)
    with pytest.raises(errors.ReplayedMessage):
        window.enter(nonce(), now=NOW)


@pytest.mark.parametrize(("offset_s", "says"), [(-61, "61 s ago"), (61, "61 s ahead")])
def test_a_message_from_outside_the_window_is_refused_either_way(offset_s, says) -> None:
    window = NonceWindow()

    with pytest.raises(errors.StaleMessage, match=says):
        window.enter(nonce(offset_s=offset_s), now=NOW)

    assert len(window) == 0


def test_the_window_is_as_wide_as_it_was_asked_to_be() -> None:
    window = NonceWindow(window=timedelta(minutes=5))

    window.enter(nonce(offset_s=-300), now=NOW)
    with pytest.raises(errors.StaleMessage, match="300 s are allowed"):
        window.enter(nonce("m", offset_s=-301), now=NOW)


def test_equal_nonces_of_two_senders_are_two() -> None:
    window = NonceWindow()

    window.enter(nonce("bc", sender="a"), now=NOW)
    window.enter(nonce("c", sender="ab"), now=NOW)
    window.enter(nonce("bc", sender="b"), now=NOW)


def test_a_nonce_is_forgotten_only_when_its_message_is_stale() -> None:
    window = NonceWindow()
    window.enter(nonce(offset_s=60), now=NOW)

    for later_s in range(1, 121):
        with pytest.raises(errors.ReplayedMessage):
            window.enter(nonce(offset_s=60), now=NOW + timedelta(seconds=later_s))
    with pytest.raises(errors.StaleMessage):
        window.enter(nonce(offset_s=60), now=NOW + timedelta(seconds=122))

    assert len(window) == 0


def test_what_was_forgotten_while_the_clock_was_wrong_is_not_admitted_when_it_is_right_again() -> (
    None
):
    window = NonceWindow()
    window.enter(nonce(), now=NOW)
    window.enter(nonce("other", offset_s=3600), now=NOW + timedelta(hours=1))
    assert len(window) == 1

    with pytest.raises(errors.StaleMessage, match="set back"):
        window.enter(nonce(), now=NOW)
    window.enter(nonce("next", offset_s=1), now=NOW + timedelta(seconds=1))


def test_a_full_memory_refuses_rather_than_forgets() -> None:
    window = NonceWindow(max_nonces=2)
    window.enter(nonce("1"), now=NOW)
    window.enter(nonce("2"), now=NOW)

    with pytest.raises(errors.NonceMemoryFull) as full:
        window.enter(nonce("3"), now=NOW)
    assert full.value.http_status == 503
    with pytest.raises(errors.ReplayedMessage):
        window.enter(nonce("1"), now=NOW)
    window.enter(nonce("3", offset_s=62), now=NOW + timedelta(seconds=62))


@given(
    st.lists(
        st.tuples(
            st.integers(-200, 200),  # how the clock is set, or goes on
            st.sampled_from("abc"),
            st.integers(-130, 130),
        ),
        max_size=40,
    )
)
def test_nothing_is_ever_admitted_twice_however_the_clock_is_set(steps) -> None:
    window = NonceWindow()
    now = NOW
    admitted: set[Nonce] = set()
    for step_s, value, offset_s in steps:
        now += timedelta(seconds=step_s)
        message = Nonce(sender="ven", value=value, sent_at=now + timedelta(seconds=offset_s))
        try:
            window.enter(message, now=now)
        except errors.ReplayedMessage:
            assert any(value == seen.value for seen in admitted)
        except errors.StaleMessage:
            assert admitted or abs(offset_s) > 60
        else:
            assert abs(offset_s) <= 60
            assert message not in admitted
            admitted.add(message)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(-60, 60)), min_size=1, max_size=60))
def test_an_honest_sender_is_always_admitted_and_costs_no_lasting_memory(steps) -> None:
    window = NonceWindow()
    now = NOW
    recent: list[tuple[datetime, datetime]] = []
    for number, (step_s, skew_s) in enumerate(steps):
        now += timedelta(seconds=step_s)
        sent_at = now + timedelta(seconds=skew_s)

        window.enter(Nonce(sender="ven", value=str(number), sent_at=sent_at), now=now)

        recent.append((now, sent_at))
        assert len(window) <= sum(sent >= now - WINDOW - timedelta(seconds=1) for _, sent in recent)


async def test_nonces_are_remembered_over_a_restart() -> None:
    store = Kept()
    before = NonceWindow(store=store)
    await before.recall(now=NOW)
    await before.admit(nonce(), now=NOW)

    after = NonceWindow(store=store)
    await after.recall(now=NOW + timedelta(seconds=5))

    with pytest.raises(errors.ReplayedMessage):
        await after.admit(nonce(), now=NOW + timedelta(seconds=5))
    await after.admit(nonce("m"), now=NOW + timedelta(seconds=5))


async def test_two_processes_on_one_store_admit_a_message_once() -> None:
    store = Kept()
    one, other = NonceWindow(store=store), NonceWindow(store=store)
    await one.admit(nonce(), now=NOW)

    for _ in range(2):
        with pytest.raises(errors.ReplayedMessage):
            await other.admit(nonce(), now=NOW)


async def test_what_the_store_could_not_keep_may_be_tried_again() -> None:
    store = Kept()
    window = NonceWindow(store=store)
    store.fault = OSError("disk full")
    with pytest.raises(OSError, match="disk full"):
        await window.admit(nonce(), now=NOW)
    assert len(window) == 0

    store.fault = None
    await window.admit(nonce(), now=NOW)

    with pytest.raises(errors.ReplayedMessage):
        await window.admit(nonce(), now=NOW)


async def test_a_replay_that_comes_while_the_first_is_being_kept_is_refused() -> None:
    class Slow(Kept):
        async def keep(self, nonce: Nonce) -> bool:
            await asyncio.sleep(0)
            return await super().keep(nonce)

    window = NonceWindow(store=Slow())

    outcomes = await asyncio.gather(
        *(window.admit(nonce(), now=NOW) for _ in range(3)), return_exceptions=True
    )

    assert [None, errors.ReplayedMessage, errors.ReplayedMessage] == [
        outcome and type(outcome) for outcome in outcomes
    ]


async def test_the_store_is_tidied_once_a_second_at_most() -> None:
    store = Kept()
    window = NonceWindow(store=store)
    for tenths in range(0, 31, 4):
        now = NOW + timedelta(seconds=tenths / 10)
        await window.admit(nonce(str(tenths)), now=now)

    assert store.forgets == [NOW + timedelta(seconds=s) - WINDOW for s in (0, 1.2, 2.4)]


async def test_the_store_keeps_what_could_still_be_replayed() -> None:
    store = Kept()
    window = NonceWindow(store=store)
    for later_s in range(0, 181, 10):
        now = NOW + timedelta(seconds=later_s)
        await window.admit(nonce(str(later_s), offset_s=later_s), now=now)

    assert len(store.nonces) == 7


async def test_a_window_without_a_store_admits_all_the_same() -> None:
    window = NonceWindow()
    await window.recall(now=NOW)

    await window.admit(nonce(), now=NOW)

    assert len(window) == 1
