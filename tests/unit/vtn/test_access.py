"""The operator's token, and who comes with wrong ones."""

from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from vtn.errors import TooOften, Unauthorised
from vtn.operations.access import MOST, WITHIN_S, Failures, bearer


def asking(token, host="10.0.0.1"):
    return SimpleNamespace(
        headers={"authorization": f"Bearer {token}"},
        url=SimpleNamespace(path="/api/v1/vens"),
        client=SimpleNamespace(host=host),
    )


@pytest.fixture
def guard(clock):
    checked = bearer("right", failures=Failures(monotonic=clock.monotonic))
    return lambda *who: checked(asking(*who), None)


def test_many_wrong_tokens_are_refused_unheard_and_not_logged_until_a_while_later(guard, clock):
    with capture_logs() as lines:
        for _ in range(MOST):
            with pytest.raises(Unauthorised):
                guard("wrong")
        for _ in range(100):
            with pytest.raises(TooOften):
                guard("wrong")
    assert len(lines) == MOST

    clock.advance(WITHIN_S)
    with pytest.raises(Unauthorised):
        guard("wrong")


def test_the_right_token_is_let_in_whoever_else_guesses_from_there(guard):
    for _ in range(MOST + 1):
        with pytest.raises((Unauthorised, TooOften)):
            guard("wrong")

    guard("right")
    with pytest.raises(Unauthorised):
        guard("wrong", "10.0.0.2")


def test_the_memory_of_failures_is_bounded(clock):
    failures = Failures(monotonic=clock.monotonic)
    for number in range(3000):
        failures.count(f"10.0.{number // 250}.{number % 250}")

    assert len(failures._by_client) <= 1000
