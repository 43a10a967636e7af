"""The operator's token, who comes with wrong ones, and what a route must say of itself."""

from types import SimpleNamespace

import pytest
from litestar.handlers.http_handlers.base import HTTPRouteHandler
from structlog.testing import capture_logs

from vtn.accounts import PERMISSIONS, Act, Role
from vtn.errors import Forbidden, Invalid, TooOften, Unauthorised
from vtn.operations.access import MOST, WITHIN_S, Access, Failures


def asking(token, host="10.0.0.1", **headers):
    return SimpleNamespace(
        headers={"authorization": f"Bearer {token}", **headers},
        cookies={},
        url=SimpleNamespace(path="/api/v1/vens"),
        client=SimpleNamespace(host=host),
        scope={},
    )


def route(**opt):
    return SimpleNamespace(opt=opt, http_methods={"GET"}, spec=HTTPRouteHandler)


@pytest.fixture
def guard(clock):
    access = Access("right", metrics_token="scrapes", failures=Failures(monotonic=clock.monotonic))

    async def admit(*who, act=Act.VIEW, **headers):
        connection = asking(*who, **headers)
        await access.admit(connection, route(act=act))
        return connection.scope["user"]

    return admit


async def test_many_wrong_tokens_are_refused_unheard_and_not_logged_until_later(guard, clock):
    with capture_logs() as lines:
        for _ in range(MOST):
            with pytest.raises(Unauthorised):
                await guard("wrong")
        for _ in range(100):
            with pytest.raises(TooOften):
                await guard("wrong")
    assert len(lines) == MOST

    clock.advance(WITHIN_S)
    with pytest.raises(Unauthorised):
        await guard("wrong")


async def test_the_right_token_is_let_in_whoever_else_guesses_from_there(guard):
    for _ in range(MOST + 1):
        with pytest.raises((Unauthorised, TooOften)):
            await guard("wrong")

    await guard("right")
    with pytest.raises(Unauthorised):
        await guard("wrong", "10.0.0.2")


def test_the_memory_of_failures_is_bounded(clock):
    failures = Failures(monotonic=clock.monotonic)
    for number in range(3000):
        failures.count(f"10.0.{number // 250}.{number % 250}")

    assert len(failures._by_client) <= 1000


async def test_the_token_acts_under_the_name_it_gives(guard):
    assert (await guard("right")).name == "api"
    assert (await guard("right", **{"X-Operator": "anna"})).name == "anna"
    with pytest.raises(Invalid):
        await guard("right", **{"X-Operator": "anna\nroot"})


@pytest.mark.parametrize("act", [act for act in Act if act not in (Act.SCRAPE, Act.OPEN)])
async def test_the_token_of_the_metrics_opens_nothing_else(guard, act):
    assert (await guard("scrapes", act=Act.SCRAPE)).name == "metrics"
    with pytest.raises(Forbidden):
        await guard("scrapes", act=act)


async def test_a_route_that_does_not_say_what_it_does_is_refused_to_everybody(guard):
    with pytest.raises(Forbidden, match="does not say"):
        await guard("right", act=None)


def test_every_act_is_somebodys_and_an_admin_may_do_all_of_them():
    assert set(PERMISSIONS) == set(Act)
    assert all(Role.ADMIN in roles for roles in PERMISSIONS.values())


def test_a_viewer_can_look_and_change_nothing_but_their_own_account():
    allowed = {act for act, roles in PERMISSIONS.items() if Role.VIEWER in roles}
    assert allowed == {Act.OPEN, Act.OWN, Act.VIEW}


def test_who_publishes_is_not_by_that_allowed_to_approve():
    assert Role.OPERATOR not in PERMISSIONS[Act.APPROVE]
    assert Role.APPROVER not in PERMISSIONS[Act.EVENTS]
