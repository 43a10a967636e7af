"""Logging in at an OpenID Connect provider: a real one on loopback, and what it may not do."""

import urllib.parse
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp
import msgspec
import pytest
from argon2 import PasswordHasher
from litestar.testing import AsyncTestClient

from tests.story.vtn.provider import CLIENT, SECRET, WEAK, providing
from tests.story.vtn.utility import utility
from vtn.accounts import Role
from vtn.accounts.accounts import COOKIE, Accounts
from vtn.accounts.oidc import Oidc
from vtn.accounts.secrets import Hashing
from vtn.accounts.throttle import BY_CLIENT
from vtn.config import OidcSettings
from vtn.console.door import routers, templates
from vtn.credential import create_token
from vtn.errors import Conflict, Forbidden, Invalid, LoginRefused, Unauthorised
from vtn.live import Feed
from vtn.operations import make_app
from vtn.vitals import Vitals

CONSOLE = "http://127.0.0.1:8444"
ROLES = {"grid-ops": "operator", "grid-leads": "approver", "it": "admin"}
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@asynccontextmanager
async def console(folder, clock, provider, **more):
    """A VTN whose operators may log in at `provider`, and a browser of one of them."""
    secret = folder / "oidc.secret"
    secret.write_text(f"{SECRET}\n")
    raw = {
        "issuer": provider.issuer,
        "client_id": CLIENT,
        "console_url": CONSOLE,
        "client_secret_file": secret,
        "name": "Example ID",
        "roles": ROLES,
        **more,
    }
    settings = msgspec.convert(raw, OidcSettings, dec_hook=lambda kind, value: kind(value))
    async with utility(f"sqlite+aiosqlite:///{folder / 'vtn.db'}", folder, clock) as house:
        create_token(house.settings.operator.token_file)
        house.accounts = Accounts(
            house.office,
            secure=False,
            hashing=Hashing(CHEAP),
            provider=Oidc(settings, now=clock.now, monotonic=clock.monotonic),
        )
        app = make_app(
            house.desk,
            house.settings,
            Vitals(house.office, version=""),
            accounts=house.accounts,
            feed=Feed(house.office),
            console=routers(house.desk, clock.now),
            templates=templates(),
            now=clock.now,
        )
        async with AsyncTestClient(app) as client:
            yield SimpleNamespace(
                house=house, accounts=house.accounts, client=client, provider=provider
            )


@pytest.fixture
def provider(clock):
    with providing(clock) as found:
        yield found


@pytest.fixture
async def vtn(tmp_path, clock, provider):
    async with console(tmp_path, clock, provider) as found:
        yield found


async def there(vtn, then="/"):
    """Where the browser is sent back to, once it has been at the provider."""
    query = urllib.parse.urlencode({"next": then})
    sent = await vtn.client.get(f"/login/oidc?{query}", follow_redirects=False)
    assert sent.status_code == 303, sent.text
    assert vtn.provider.issuer in sent.headers["location"]
    async with (
        aiohttp.ClientSession() as browser,
        browser.get(sent.headers["location"], allow_redirects=False) as answer,
    ):
        assert answer.status == 303, await answer.text()
        return answer.headers["location"]


async def back(vtn, url):
    """What the VTN answers to the browser that comes back."""
    assert url.startswith(f"{CONSOLE}/login/oidc/back?")
    return await vtn.client.get(url.removeprefix(CONSOLE), follow_redirects=False)


async def logged_in(vtn, then="/"):
    return await back(vtn, await there(vtn, then))


async def refused(vtn, words):
    """A log-in that begins no session; the page says why, and offers the password."""
    answer = await logged_in(vtn)
    assert answer.status_code == 401, answer.text
    assert words in answer.text
    assert 'name="password"' in answer.text
    assert COOKIE not in answer.cookies
    assert await vtn.accounts.sessions() == []


async def told(vtn, limit=10):
    return [(one.actor, one.act, one.subject) for one in await vtn.house.desk.audit(limit=limit)]


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_somebody_logs_in_at_the_provider_and_goes_on_to_the_page_they_wanted(vtn, algorithm):
    vtn.provider.rotate(algorithm)
    page = await vtn.client.get("/login?next=%2Fevents")
    assert "Log in with Example ID" in page.text
    assert "/login/oidc?next=%2Fevents" in page.text

    answer = await logged_in(vtn, "/events?status=far")

    assert answer.status_code == 200
    assert "You are logged in as anna" in answer.text
    # A strict cookie is not sent along a redirect from elsewhere, so the page itself goes on.
    assert '<meta http-equiv="refresh" content="0; url=/events?status=far">' in answer.text
    person = await vtn.accounts.identify(answer.cookies[COOKIE])
    assert (person.name, person.roles) == ("anna", {Role.OPERATOR})
    assert (await vtn.client.get("/events")).status_code == 200
    (session,) = await vtn.accounts.sessions()
    assert (session.ends_at - session.began_at).total_seconds() == 12 * 3600
    assert (await told(vtn))[:2] == [
        ("operator:anna", "log in", "user:anna"),
        ("operator:anna", "add user", "user:anna"),
    ]


async def test_nothing_of_tokens_codes_or_secrets_is_kept_or_logged(vtn, tmp_path, capfd):
    url = await there(vtn)
    code = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["code"][0]
    await back(vtn, url)
    user = await vtn.accounts.user("anna")
    assert user.oidc_subject == f"{vtn.provider.issuer} s-1"
    assert user.password_hash is None
    vtn.provider.lies = {"nonce": "another"}
    await logged_in(vtn)
    await vtn.house.store.close()
    said = "".join(capfd.readouterr())
    kept = b"".join(one.read_bytes() for one in tmp_path.glob("vtn.db*"))
    for secret in (code, SECRET, "eyJ"):
        assert secret not in said
        assert secret.encode() not in kept
    await vtn.house.start()


LIES = [
    ({"nonce": "another"}, "belongs to another log-in"),
    ({"nonce": None}, "belongs to another log-in"),
    ({"iss": "https://evil.example"}, "of another issuer"),
    ({"aud": "another"}, "for another program"),
    ({"aud": [CLIENT, "another"]}, "for several programs"),
    ({"aud": [CLIENT, "another"], "azp": "another"}, "for another program"),
    ({"sub": None}, "whom it is about"),
    ({"sub": "x" * 256}, "whom it is about"),
    ({"exp": None}, "how long it is good for"),
    ({"exp": True}, "how long it is good for"),
    ({"exp": 10**400}, "how long it is good for"),
    ({"iat": None}, "how long it is good for"),
    ({"exp": 1}, "has expired"),
    ({"iat": 2**40}, "of the future"),
    ({"nbf": 2**40}, "of the future"),
    ({"groups": ["none of ours"]}, "None of your groups"),
    ({"groups": None}, "None of your groups"),
    ({"groups": {"grid-ops": True}}, "None of your groups"),
    ({"preferred_username": "../etc"}, "nothing that is a name here"),
    ({"preferred_username": None}, "nothing that is a name here"),
]


async def test_a_token_that_says_something_else_lets_nobody_in(vtn, clock):
    for vtn.provider.lies, words in LIES:
        await refused(vtn, words)
        clock.advance(10)  # or it would be too often
    assert await vtn.accounts.users() == []


async def test_clocks_may_be_a_minute_apart_and_no_more(vtn, clock):
    at = int(clock.now().timestamp())
    vtn.provider.lies = {"exp": at - 59, "iat": at - 400}
    assert (await logged_in(vtn)).status_code == 200
    vtn.provider.lies = {"exp": at - 61, "iat": at - 400}
    assert "has expired" in (await logged_in(vtn)).text
    vtn.provider.lies = {"iat": at + 61}
    assert "of the future" in (await logged_in(vtn)).text


async def test_another_algorithm_is_never_taken(vtn, recwarn):
    for algorithm in ("none", "HS256", "PS256"):
        vtn.provider.header = {"alg": algorithm}
        await refused(vtn, "an algorithm that is not taken")


async def test_a_signature_of_another_key_or_a_weak_one_is_never_taken(vtn):
    known = vtn.provider.published
    vtn.provider.rotate("ES256")
    vtn.provider.rotate(WEAK)
    with pytest.warns(match="RSA key"):
        await refused(vtn, "less than 2048 bits")
    vtn.provider.rotate("ES256")
    published, vtn.provider.published = vtn.provider.published, known
    await refused(vtn, "does not publish")
    vtn.provider.published = published


async def test_a_signature_that_does_not_fit_is_never_taken(vtn):
    vtn.provider.rotate("ES256")
    other = vtn.provider.private
    vtn.provider.rotate("ES256")
    vtn.provider.private = other
    await refused(vtn, "not signed as it should be")


async def test_a_key_of_another_kind_does_not_verify_whatever_the_token_says(vtn):
    vtn.provider.header = {"kid": "key-0"}
    await refused(vtn, "does not publish")


async def test_a_provider_may_change_its_keys_and_is_not_asked_again_and_again(vtn, clock):
    await logged_in(vtn)
    vtn.provider.rotate("ES256")
    clock.advance(31)
    assert (await logged_in(vtn)).status_code == 200
    assert vtn.provider.asked.count("jwks") == 2

    vtn.provider.header = {"kid": "unknown"}
    for _ in range(5):
        assert (await logged_in(vtn)).status_code == 401
    assert vtn.provider.asked.count("jwks") == 2
    clock.advance(31)
    await logged_in(vtn)
    assert vtn.provider.asked.count("jwks") == 3
    assert vtn.provider.asked.count("discovery") == 1


async def test_coming_back_twice_or_with_the_state_of_another_browser_begins_nothing(vtn):
    url = await there(vtn)
    flow = vtn.client.cookies["vtn_oidc"]
    assert (await back(vtn, url)).status_code == 200
    assert "vtn_oidc" not in vtn.client.cookies
    asked = vtn.provider.asked.count("token")

    again = await back(vtn, url)
    assert (again.status_code, "begin again" in again.text) == (401, True)
    assert vtn.provider.asked.count("token") == asked
    vtn.client.cookies.set("vtn_oidc", flow)  # somebody has kept it: the code is used up
    assert (await back(vtn, url)).status_code == 401
    assert vtn.provider.asked.count("token") == asked + 1

    theirs = await there(vtn)
    await there(vtn)  # another browser's cookie
    assert (await back(vtn, theirs)).status_code == 401
    for nonsense in ("x", "W10=", "bnVsbA=="):
        vtn.client.cookies.clear()
        vtn.client.cookies.set("vtn_oidc", nonsense)
        assert (await back(vtn, theirs)).status_code == 401
    assert len(await vtn.accounts.sessions()) == 1


async def test_a_code_for_another_log_in_is_refused_by_its_challenge(vtn):
    code = urllib.parse.parse_qs(urllib.parse.urlsplit(await there(vtn)).query)["code"][0]
    state = urllib.parse.parse_qs(urllib.parse.urlsplit(await there(vtn)).query)["state"][0]
    query = urllib.parse.urlencode({"code": code, "state": state})
    answer = await back(vtn, f"{CONSOLE}/login/oidc/back?{query}")
    assert answer.status_code == 401
    assert "begin again" in answer.text


async def test_coming_back_wrong_again_and_again_is_refused_unheard(vtn, clock):
    vtn.provider.lies = {"nonce": "another"}
    for _ in range(BY_CLIENT[0]):
        assert (await logged_in(vtn)).status_code == 401
    asked = vtn.provider.asked.count("token")
    assert (await logged_in(vtn)).status_code == 429
    assert vtn.provider.asked.count("token") == asked
    clock.advance(BY_CLIENT[1].total_seconds())
    vtn.provider.lies = {}
    assert (await logged_in(vtn)).status_code == 200


async def test_what_another_provider_answers_or_a_refusal_is_no_log_in(vtn):
    url = await there(vtn)
    other = f"{url.partition('&iss=')[0]}&iss=https%3A%2F%2Fevil.example"
    assert "Another provider" in (await back(vtn, other)).text

    state = urllib.parse.parse_qs(urllib.parse.urlsplit(await there(vtn)).query)["state"][0]
    query = urllib.parse.urlencode({"error": "access_denied", "state": state})
    answer = await back(vtn, f"{CONSOLE}/login/oidc/back?{query}")
    assert "did not let you in" in answer.text


async def test_nobody_is_sent_on_to_another_site(vtn):
    for then in ("//evil.example", "https://evil.example/", "/\\evil.example"):
        answer = await logged_in(vtn, then)
        assert 'content="0; url=/">' in answer.text
        assert "evil" not in answer.text


async def test_the_redirect_goes_to_the_console_of_the_settings_whatever_host_was_asked(vtn):
    sent = await vtn.client.get(
        "/login/oidc", headers={"Host": "evil.example"}, follow_redirects=False
    )
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(sent.headers["location"]).query)
    assert query["redirect_uri"] == [f"{CONSOLE}/login/oidc/back"]
    header = sent.headers["set-cookie"]
    assert "HttpOnly" in header
    assert "samesite=lax" in header.lower()


async def test_roles_are_those_of_the_groups_at_each_log_in(vtn):
    for groups, roles in (
        (["grid-ops"], {Role.OPERATOR}),
        (["grid-ops", "grid-leads", "others"], {Role.OPERATOR, Role.APPROVER}),
        ("it", {Role.ADMIN}),
    ):
        vtn.provider.claims["groups"] = groups
        answer = await logged_in(vtn)
        assert (await vtn.accounts.identify(answer.cookies[COOKIE])).roles == roles


async def test_who_has_left_every_group_is_out_everywhere(vtn):
    token = (await logged_in(vtn)).cookies[COOKIE]
    vtn.provider.claims["groups"] = []
    await refused(vtn, "any more")
    with pytest.raises(Unauthorised):
        await vtn.accounts.identify(token)
    assert (await vtn.accounts.user("anna")).roles == set()
    assert (await told(vtn))[0] == ("operator:anna", "change user", "user:anna")


async def test_who_is_disabled_here_stays_out_whatever_the_provider_says(vtn):
    await vtn.accounts.add_user("root", [Role.ADMIN], by="admin")
    await logged_in(vtn)
    await vtn.accounts.change_user("anna", disabled=True, by="root")
    await refused(vtn, "disabled")


async def test_a_user_with_a_password_is_never_taken_over_by_their_name(vtn):
    await vtn.accounts.add_user("anna", [Role.ADMIN], by="admin")
    await refused(vtn, "another user &#39;anna&#39;")
    assert (await vtn.accounts.user("anna")).oidc_subject is None


async def test_who_was_renamed_at_the_provider_is_who_they_were(vtn):
    await logged_in(vtn)
    vtn.provider.claims["preferred_username"] = "berta"
    answer = await logged_in(vtn)
    assert (await vtn.accounts.identify(answer.cookies[COOKIE])).name == "anna"


async def test_without_roles_in_the_settings_only_who_was_added_comes_in(tmp_path, clock, provider):
    async with console(tmp_path, clock, provider, roles={}) as vtn:
        await refused(vtn, "with the subject s-1")
        _, password = await vtn.accounts.add_user(
            "berta", [Role.INSTALLER], subject="s-1", by="admin"
        )
        assert password == ""
        with pytest.raises(Conflict, match="subject"):
            await vtn.accounts.add_user("carl", [Role.VIEWER], subject="s-1", by="admin")
        answer = await logged_in(vtn)
        person = await vtn.accounts.identify(answer.cookies[COOKIE])
        assert (person.name, person.roles) == ("berta", {Role.INSTALLER})


async def test_an_admin_adds_users_of_the_provider_in_the_console(tmp_path, clock, provider):
    async with console(tmp_path, clock, provider, roles={}) as vtn:
        _, once = await vtn.accounts.add_user("root", [Role.ADMIN], by="first start")
        root = (await vtn.accounts.log_in("root", once)).person
        await vtn.accounts.change_password(root, once, "four words that are mine")
        token = (await vtn.accounts.log_in("root", "four words that are mine")).token
        vtn.client.cookies.set(COOKIE, token)
        page = await vtn.client.get("/users")
        assert "Subject at Example ID" in page.text
        csrf = vtn.client.cookies["vtn_csrf"]
        form = {"name": "anna", "subject": "s-1", "roles": "operator", "_csrf_token": csrf}
        added = await vtn.client.post("/users", data=form, follow_redirects=False)
        assert added.headers["location"] == "/users"
        again = await vtn.client.post("/users", data=form | {"name": "berta"})
        assert (again.status_code, "that of another user" in again.text) == (409, True)
        shown = (await vtn.client.get("/users/anna")).text
        assert f"{provider.issuer} as s-1" in shown
        assert "one-time password" not in shown
        vtn.client.cookies.clear()
        assert "logged in as anna" in (await logged_in(vtn)).text


async def test_who_comes_by_the_provider_has_no_password_here_and_gets_none(vtn):
    token = (await logged_in(vtn)).cookies[COOKIE]
    person = await vtn.accounts.identify(token)
    with pytest.raises(LoginRefused):
        await vtn.accounts.log_in("anna", "")
    with pytest.raises(LoginRefused, match="no password here"):
        await vtn.accounts.change_password(person, "", "four words that are mine")
    with pytest.raises(Forbidden):
        await vtn.accounts.begin_totp(person)
    with pytest.raises(Conflict, match="no password here"):
        await vtn.accounts.reset_user("anna", by="admin")
    page = await vtn.client.get("/account")
    assert "Change password" not in page.text


async def test_roles_may_stand_deeper_in_the_token_and_the_secret_may_go_in_the_form(
    tmp_path, clock, provider
):
    provider.methods = ["client_secret_post"]
    provider.claims = {"sub": "s", "email": "anna@utility.example"}
    provider.claims["realm_access"] = {"roles": ["it"]}
    more = {"roles_claim": "realm_access.roles", "name_claim": "email"}
    async with console(tmp_path, clock, provider, **more) as vtn:
        answer = await logged_in(vtn)
        person = await vtn.accounts.identify(answer.cookies[COOKIE])
    assert (person.name, person.roles) == ("anna@utility.example", {Role.ADMIN})


async def test_logging_out_shows_the_way_out_of_the_provider_too(vtn):
    await logged_in(vtn)
    csrf = vtn.client.cookies["vtn_csrf"]
    gone = await vtn.client.post("/logout", headers={"x-csrftoken": csrf}, follow_redirects=False)
    page = await vtn.client.get(gone.headers["location"])
    assert "logged in at Example ID still" in page.text
    assert await vtn.accounts.sessions() == []
    out = await vtn.client.get("/login/oidc/out", follow_redirects=False)
    where, _, query = out.headers["location"].partition("?")
    assert where == f"{vtn.provider.issuer}/out"
    assert urllib.parse.parse_qs(query)["post_logout_redirect_uri"] == [f"{CONSOLE}/login"]

    vtn.provider.discovery = {"end_session_endpoint": ""}
    vtn.accounts.provider._said = None
    assert "no way out" in (await vtn.client.get("/login/oidc/out")).text


async def test_while_the_provider_is_away_the_page_says_so_and_passwords_are_good(vtn):
    _, once = await vtn.accounts.add_user("admin", [Role.ADMIN], by="first start")
    vtn.provider.down = True
    answer = await vtn.client.get("/login/oidc", follow_redirects=False)
    assert answer.status_code == 503
    assert "Example ID does not answer as it should: log in with a password" in answer.text
    csrf = vtn.client.cookies["vtn_csrf"]
    form = {"name": "admin", "password": once, "_csrf_token": csrf}
    assert (await vtn.client.post("/login", data=form, follow_redirects=False)).status_code == 303

    vtn.provider.down = False
    assert (await logged_in(vtn)).status_code == 200


async def test_a_provider_that_says_odd_things_of_itself_is_not_used(vtn):
    for vtn.provider.discovery in (
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://idp.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": None},
    ):
        answer = await vtn.client.get("/login/oidc", follow_redirects=False)
        assert answer.status_code == 503, vtn.provider.discovery


async def test_a_secret_that_the_provider_does_not_know_is_told_in_the_log_alone(
    vtn, tmp_path, capfd
):
    (tmp_path / "oidc.secret").write_text("another")
    answer = await logged_in(vtn)
    assert answer.status_code == 503
    assert "secret" not in answer.text
    assert "client_secret_file" in "".join(capfd.readouterr())


async def test_without_a_provider_there_is_nothing_of_it(tmp_path, clock, provider):
    async with console(tmp_path, clock, provider) as vtn:
        vtn.accounts.provider = None
        assert "Example ID" not in (await vtn.client.get("/login?gone=true")).text
        for path in ("/login/oidc", "/login/oidc/back", "/login/oidc/out"):
            assert (await vtn.client.get(path)).status_code == 404
        with pytest.raises(Invalid, match="no provider"):
            await vtn.accounts.add_user("anna", [Role.VIEWER], subject="s", by="admin")
