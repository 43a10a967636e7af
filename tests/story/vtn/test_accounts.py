"""Users of the operators' listener: logging in, the second factor, roles, sessions."""

import asyncio
import re
from types import SimpleNamespace

import pyotp
import pytest
from argon2 import PasswordHasher
from litestar.testing import AsyncTestClient

from tests.story.vtn.utility import utility
from vtn.accounts import PERMISSIONS, Act, Role
from vtn.accounts.accounts import COOKIE, IDLE, LONGEST, Accounts, first_admin
from vtn.accounts.secrets import MOST_WAITING, Hashing
from vtn.accounts.throttle import BY_CLIENT, BY_NAME
from vtn.console.door import routers, templates
from vtn.credential import create_token, read_token
from vtn.errors import (
    CodeWanted,
    Conflict,
    Invalid,
    LoginRefused,
    Stale,
    TooOften,
    Unauthorised,
)
from vtn.live import Feed
from vtn.operations import make_app
from vtn.vitals import Vitals

OWN = "four words that are mine"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
async def house(database, tmp_path, clock):
    async with utility(database, tmp_path, clock) as found:
        found.accounts = accounts_of(found, clock)
        yield found


def accounts_of(house, clock):
    return Accounts(
        house.office,
        secure=False,
        hashing=Hashing(CHEAP),
    )


async def added(house, name="anna", *roles):
    """(their session's token, who they are) once they have a password of their own."""
    accounts = house.accounts
    _, once = await accounts.add_user(name, roles or [Role.OPERATOR], by="admin")
    person = (await accounts.log_in(name, once)).person
    await accounts.change_password(person, once, OWN)
    login = await accounts.log_in(name, OWN, client="10.0.0.1 browser")
    return login.token, login.person


async def acts(house):
    return [(one.actor, one.act, one.subject) for one in await house.desk.audit(limit=3)]


async def test_the_first_start_makes_one_admin_and_later_ones_make_none(house, clock):
    password = await first_admin(house.store, now=clock.now)
    assert await first_admin(house.store, now=clock.now) is None

    person = (await house.accounts.log_in("admin", password)).person
    assert person.roles == {Role.ADMIN}
    assert person.must_change


async def test_a_session_is_good_until_it_is_idle_or_old_or_ended(house, clock):
    token, person = await added(house)
    assert (await house.accounts.identify(token)) == person
    for _ in range(int(LONGEST / (IDLE / 2)) - 1):
        clock.advance(IDLE.total_seconds() / 2)
        await house.accounts.identify(token)
    clock.advance(IDLE.total_seconds() / 2)
    with pytest.raises(Unauthorised, match="ended"):
        await house.accounts.identify(token)

    token = (await house.accounts.log_in("anna", OWN)).token
    clock.advance(IDLE.total_seconds())
    with pytest.raises(Unauthorised, match="ended"):
        await house.accounts.identify(token)

    login = await house.accounts.log_in("anna", OWN)
    await house.accounts.log_out(login.person)
    with pytest.raises(Unauthorised):
        await house.accounts.identify(login.token)


async def test_wrong_names_passwords_and_disabled_users_get_the_same_answer(house):
    await added(house)
    await added(house, "berta")
    await house.accounts.change_user("berta", disabled=True, by="admin")
    said = set()
    for name, password in (("anna", "wrong"), ("nobody", OWN), ("berta", OWN), ("anna", "")):
        with pytest.raises(LoginRefused) as refused:
            await house.accounts.log_in(name, password)
        said.add(str(refused.value))
    assert len(said) == 1


async def test_after_too_many_wrong_passwords_the_right_one_waits_too(house, clock):
    await added(house)
    most, within = BY_CLIENT
    for _ in range(most):
        with pytest.raises(LoginRefused):
            await house.accounts.log_in("anna", "wrong", client="10.9.9.9 x")
    with pytest.raises(TooOften):
        await house.accounts.log_in("anna", OWN, client="10.9.9.9 x")
    await house.accounts.log_in("anna", OWN, client="10.0.0.1 y")
    clock.advance(within.total_seconds())
    await house.accounts.log_in("anna", OWN, client="10.9.9.9 x")


async def test_wrong_passwords_count_in_every_worker_and_many_at_once_get_no_further(house, clock):
    await added(house)
    most, _ = BY_CLIENT
    workers = house.accounts, accounts_of(house, clock)  # nothing of them but the database
    tries = [
        workers[number % 2].log_in("anna", f"wrong {number}", client="10.9.9.9 x")
        for number in range(most + 5)
    ]
    said = [type(one) for one in await asyncio.gather(*tries, return_exceptions=True)]
    assert (said.count(LoginRefused), said.count(TooOften)) == (most, 5)
    for one in workers:
        with pytest.raises(TooOften):
            await one.log_in("anna", OWN, client="10.9.9.9 x")


async def test_right_passwords_do_not_count_and_names_are_counted_whoever_tries(house, clock):
    _, person = await added(house)
    for _ in range(BY_CLIENT[0] + 1):
        await house.accounts.log_in("anna", OWN, client="10.9.9.9 x")
    offer = await house.accounts.begin_totp(person)
    code = pyotp.TOTP(offer.secret).at(clock.now())
    await house.accounts.confirm_totp(person, offer.secret, code)
    for _ in range(BY_CLIENT[0] + 1):
        with pytest.raises(CodeWanted):
            await house.accounts.log_in("anna", OWN, client="10.9.9.9 x")
    for number in range(BY_NAME[0]):
        with pytest.raises(LoginRefused):
            await house.accounts.log_in("anna", "wrong", client=f"10.9.8.{number} x")
    with pytest.raises(TooOften):
        await house.accounts.log_in("anna", OWN, client="10.0.0.1 y")
    clock.advance(-60)  # a clock that was set back makes nobody wait for ever
    with pytest.raises(CodeWanted):
        await house.accounts.log_in("anna", OWN, client="10.0.0.1 y")


async def test_who_waits_to_log_in_is_bounded_and_who_is_sent_away_has_not_tried(house):
    await added(house)
    tries = [
        house.accounts.log_in(f"nobody{number}", "wrong", client=f"10.1.1.{number} x")
        for number in range(MOST_WAITING + 3)
    ]
    said = await asyncio.gather(*tries, return_exceptions=True)
    away = [str(one) for one in said if isinstance(one, TooOften)]
    assert ["at once" in one for one in away] == [True] * 3
    await house.accounts.log_in("anna", OWN)


async def test_the_loop_goes_on_while_a_password_is_looked_at():
    turns = 0
    for _ in range(5):  # it may be looked at while this process is held up
        looking = asyncio.create_task(Hashing().verify(None, "a password"))
        while not looking.done():
            await asyncio.sleep(0)
            turns += 1
    assert turns > 100


async def test_a_second_factor_is_wanted_once_it_is_confirmed_and_each_code_is_good_once(
    house, clock
):
    _, person = await added(house)
    offer = await house.accounts.begin_totp(person)
    assert "<svg" in offer.svg
    generator = pyotp.TOTP(offer.secret)
    with pytest.raises(Invalid, match="code"):
        await house.accounts.confirm_totp(person, offer.secret, "000000x")
    recovery = await house.accounts.confirm_totp(person, offer.secret, generator.at(clock.now()))

    with pytest.raises(CodeWanted):
        await house.accounts.log_in("anna", OWN)
    with pytest.raises(LoginRefused):  # the code it was confirmed with
        await house.accounts.log_in("anna", OWN, code=generator.at(clock.now()))
    clock.advance(30)
    code = generator.at(clock.now())
    await house.accounts.log_in("anna", OWN, code=f"{code[:3]} {code[3:]}")
    with pytest.raises(LoginRefused):
        await house.accounts.log_in("anna", OWN, code=code)

    await house.accounts.log_in("anna", OWN, code=recovery[0].upper())
    with pytest.raises(LoginRefused):
        await house.accounts.log_in("anna", OWN, code=recovery[0])

    await house.accounts.reset_user("anna", by="admin")
    assert (await house.accounts.user("anna")).totp_secret is None


async def test_a_new_password_ends_all_other_sessions_and_is_refused_where_it_is_weak(house):
    token, person = await added(house)
    other = (await house.accounts.log_in("anna", OWN)).token
    for weak in ("short", "aaaaaaaaaaaaaaaa", OWN):
        with pytest.raises(Invalid):
            await house.accounts.change_password(person, OWN, weak)
    with pytest.raises(LoginRefused):
        await house.accounts.change_password(person, "wrong", "something quite new")
    await house.accounts.identify(other)

    await house.accounts.change_password(person, OWN, "something quite new")
    await house.accounts.identify(token)
    with pytest.raises(Unauthorised):
        await house.accounts.identify(other)


async def test_who_is_disabled_is_out_at_once_and_the_last_admin_stays(house):
    token, _ = await added(house, "anna", Role.ADMIN)
    with pytest.raises(Conflict, match="admin"):
        await house.accounts.change_user("anna", disabled=True, by="anna")
    with pytest.raises(Conflict, match="admin"):
        await house.accounts.change_user("anna", roles=[Role.VIEWER], by="anna")
    await house.accounts.identify(token)

    await added(house, "berta", Role.ADMIN)
    await house.accounts.change_user("anna", disabled=True, by="berta")
    with pytest.raises(Unauthorised):
        await house.accounts.identify(token)
    assert await house.accounts.sessions("anna") == []
    assert (await acts(house))[0] == ("operator:berta", "change user", "user:anna")


async def test_two_admins_cannot_overwrite_each_other(house):
    await added(house, "admin", Role.ADMIN)
    await added(house)
    seen = (await house.accounts.user("anna")).version
    await house.accounts.change_user("anna", roles=[Role.VIEWER], expected=seen, by="admin")
    with pytest.raises(Stale):
        await house.accounts.change_user("anna", roles=[Role.ADMIN], expected=seen, by="berta")
    assert (await house.accounts.user("anna")).roles == {Role.VIEWER}


async def test_nothing_that_opens_a_door_is_stored_as_it_is(house):
    token, person = await added(house)
    found = await house.accounts.sessions()
    assert [one.user for one in found[:1]] == ["anna"]
    assert token not in {one.session_id for one in found}
    assert (await house.accounts.user("anna")).password_hash.startswith("$argon2id$")
    await house.accounts.end_session(person.session_id, of="anna", by="anna")
    with pytest.raises(Unauthorised):
        await house.accounts.identify(token)


# --- the listener ---------------------------------------------------------------------------------


@pytest.fixture
async def listener(tmp_path, clock):
    """(the VTN, a client of its operators' listener, by default nobody)."""
    async with utility(f"sqlite+aiosqlite:///{tmp_path / 'vtn.db'}", tmp_path, clock) as house:
        create_token(house.settings.operator.token_file)
        house.accounts = accounts_of(house, clock)
        vitals = Vitals(house.office, version="")
        app = make_app(
            house.desk,
            house.settings,
            vitals,
            accounts=house.accounts,
            feed=Feed(house.office),
            console=routers(house.desk, clock.now),
            templates=templates(),
            now=clock.now,
        )
        async with AsyncTestClient(app) as client:
            yield house, client


async def test_every_route_is_open_to_the_roles_of_its_act_and_to_nobody_else(listener, clock):
    house, client = listener
    await added(house, "admin", Role.ADMIN)
    nobody, pages = await from_a_page(client), {}
    for role in Role:
        pages[role] = await from_a_page(client, (await added(house, f"one-{role}", role))[0])
    tried = set()
    for route in client.app.routes:
        if route.path in ("/logout", "/live") or route.path.startswith("/api/schema"):
            continue  # the first ends the session, the second never ends
        for handler in getattr(route, "route_handlers", ()):
            methods = handler.http_methods - {"OPTIONS", "HEAD"}
            for method in methods:
                act = handler.opt.get("act")
                assert isinstance(act, Act), f"{method} {route.path} does not say what it does"
                if act is Act.SCRAPE:
                    continue  # wants whole vitals; the guard is the same
                tried.add(act)
                path = re.sub(r"\{[^}]+\}", "1", route.path_format)
                for role, headers in pages.items():
                    answer = await client.request(
                        method, path, headers=headers, content=b"\x00", follow_redirects=False
                    )
                    assert (answer.status_code == 403) is (role not in PERMISSIONS[act]), (
                        method,
                        path,
                        role,
                        answer.text,
                    )
                if act is not Act.OPEN:
                    answer = await client.request(
                        method, path, headers=nobody, follow_redirects=False
                    )
                    assert answer.status_code in (401, 429, 302, 303), (method, path, answer.text)
    assert tried >= {Act.OPEN, Act.OWN, Act.VIEW, Act.EVENTS, Act.NODES, Act.AUDIT, Act.USERS}


async def from_a_page(client, token=None):
    """The headers that a page of ours would send along."""
    client.cookies.clear()
    await client.get("/openapi.json")
    csrf = client.cookies["vtn_csrf"]
    client.cookies.clear()
    session = "" if token is None else f"; {COOKIE}={token}"
    return {"Cookie": f"vtn_csrf={csrf}{session}", "x-csrftoken": csrf}


async def test_another_site_can_send_no_form_in_somebodys_name(listener):
    house, client = listener
    token, _ = await added(house, "admin", Role.ADMIN)
    body = {"name": "eve", "roles": ["admin"]}
    cookies = {"Cookie": f"{COOKIE}={token}"}
    answer = await client.post("/api/v1/users", json=body, headers=cookies)
    assert answer.status_code == 403
    assert "eve" not in {one.name for one in await house.accounts.users()}

    said = await from_a_page(client, token)
    assert (await client.post("/api/v1/users", json=body, headers=said)).status_code == 201


async def test_a_one_time_password_opens_nothing_but_the_way_to_ones_own(listener):
    house, client = listener
    _, once = await house.accounts.add_user("anna", [Role.ADMIN], by="admin")
    token = (await house.accounts.log_in("anna", once)).token
    cookies = {"Cookie": f"{COOKIE}={token}"}
    assert (await client.get("/api/v1/vens", headers=cookies)).status_code == 403
    me = (await client.get("/api/v1/me", headers=cookies)).json()
    assert me["must_change"]
    said = await from_a_page(client, token)
    passwords = {"old": once, "new": OWN}
    answer = await client.post("/api/v1/me/password", json=passwords, headers=said)
    assert answer.status_code == 200, answer.text
    assert (await client.get("/api/v1/vens", headers=cookies)).status_code == 200


async def test_a_change_wants_the_version_that_was_looked_at(listener):
    house, client = listener
    await added(house, "admin", Role.ADMIN)
    await added(house)
    token = read_token(house.settings.operator.token_file)
    headers = {"Authorization": f"Bearer {token}"}
    shown = await client.get("/api/v1/users/anna", headers=headers)
    body = {"roles": ["viewer"]}
    place = "/api/v1/users/anna"
    assert (await client.patch(place, json=body, headers=headers)).status_code == 428
    seen = headers | {"If-Match": shown.headers["etag"]}
    assert (await client.patch(place, json=body, headers=seen)).status_code == 200
    answer = await client.patch(place, json=body, headers=seen)
    assert (answer.status_code, answer.headers["content-type"]) == (
        412,
        "application/problem+json",
    )
    wrong = headers | {"If-Match": "three"}
    assert (await client.patch(place, json=body, headers=wrong)).status_code == 422


def test_the_cookie_is_for_us_alone_and_over_tls_only_where_there_is_tls():
    office = SimpleNamespace(store=None, now=None)
    for secure in (True, False):
        header = Accounts(office, secure=secure).cookie("token").to_header(header="")
        assert "HttpOnly" in header
        assert "samesite=strict" in header.lower()
        assert ("Secure" in header) is secure
