# SPDX-License-Identifier: Apache-2.0
"""Users log in and out, look after their own account, and are looked after by admins.

What is changed is changed in one transaction with its audit line; a refusal changes nothing.
Failed logins are logged, not audited.
"""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

from litestar.datastructures import Cookie
from sqlalchemy.ext.asyncio import AsyncConnection

from doorway import get_logger
from vtn.accounts import secrets
from vtn.accounts.id_token import Identity
from vtn.accounts.oidc import Oidc
from vtn.accounts.permissions import Role
from vtn.accounts.records import NAME, Login, Person, Session, TotpOffer, User
from vtn.accounts.secrets import Hashing
from vtn.accounts.throttle import Throttle
from vtn.accounts.vouched import admitted
from vtn.errors import (
    CodeWanted,
    Conflict,
    Forbidden,
    Invalid,
    LoginRefused,
    Stale,
    Unauthorised,
    Unknown,
)
from vtn.qr import qr_svg
from vtn.services.office import Office
from vtn.store import Store, audit, users

log = get_logger()

COOKIE: Final = "vtn_session"
LONGEST: Final = timedelta(hours=12)
"""Of a session; then one logs in again."""
IDLE: Final = timedelta(hours=1)
SEEN_EVERY: Final = timedelta(minutes=1)
"""How nearly it is written down when a session was last used."""
FIRST: Final = "admin"
FIRST_WORDS: Final = (
    f"made the user {FIRST}; its one-time password, shown only now: {{}} (lost: vtn user reset "
    f"{FIRST})"
)
_WRONG = "The name, the password or the code is wrong."


async def first_admin(store: Store, *, now: Callable[[], datetime]) -> str | None:
    """Where there are no users yet, make `admin`; the one-time password, told only now."""
    async with store.read() as connection:
        if await users.count(connection):
            return None
    password = secrets.one_time_password()
    hashed = await Hashing().hash(password)
    at = now()
    try:
        async with store.write() as connection:
            if await users.count(connection):
                return None
            user = User(
                name=FIRST,
                roles=frozenset({Role.ADMIN}),
                version=0,
                added_at=at,
                added_by="first start",
                password_hash=hashed,
                must_change=True,
            )
            await users.add(connection, user)
            await audit.note(
                connection, at=at, actor="system", act="add user", subject=f"user:{FIRST}"
            )
    except Conflict:  # another worker was first
        return None
    return password


class Accounts:
    """The users of the operators' listener."""

    def __init__(
        self,
        office: Office,
        *,
        secure: bool,
        hashing: Hashing | None = None,
        provider: Oidc | None = None,
    ) -> None:
        """`secure` where the listener speaks TLS: then the cookie goes over nothing else.

        `provider` where operators may log in at one, too.
        """
        self.provider = provider
        self._office = office
        self._store = office.store
        self._secure = secure
        self._hashing = hashing or Hashing()
        self._throttle = Throttle(office.store, office.now)

    # --- logging in and out ----------------------------------------------------------------------

    async def log_in(self, name: str, password: str, *, code: str = "", client: str = "") -> Login:
        """Begin a session.

        Raises LoginRefused, CodeWanted where the second factor is missing, TooOften.
        """
        name, code = name.strip().lower(), secrets.tidy_code(code)
        with self._hashing.place():
            return await self._log_in(name, password, code, client)

    async def _log_in(self, name: str, password: str, code: str, client: str) -> Login:
        address = client.partition(" ")[0]
        async with self._throttle.one_try(name=name, client=address):
            known = await self._password_of(name, password, code=code)
            if known is None:
                raise _failed(name, address)
            at, token = self._office.now(), secrets.new_token()
            async with self._store.write() as connection:
                user = await users.find(connection, name, lock=True)
                if user is None or user.disabled_at is not None or user.password_hash != known:
                    raise _failed(name, address)
                step = None
                if user.totp_secret is not None:
                    step = secrets.totp_step(user.totp_secret, code, at, after=user.totp_step)
                    if step is None and not await users.use_recovery_code(
                        connection, name, secrets.sha256(code)
                    ):
                        raise _failed(name, address)
                await users.note_login(connection, name, at=at, totp_step=step)
                session_id = await self._begin(connection, user, token, client, at)
                await self._note(connection, name, "log in", name, at, detail=address)
        return Login(token=token, person=_person(user, session_id))

    async def _password_of(self, name: str, password: str, *, code: str) -> str | None:
        """The hash of the user's password where this is it, and they may log in.

        Raises CodeWanted where it is, and there is no code.
        """
        async with self._store.read() as connection:
            user = await users.find(connection, name)
        good = user is not None and user.disabled_at is None
        known = user.password_hash if user is not None and good else None
        if not await self._hashing.verify(known, password) or user is None:
            return None
        if user.totp_secret is not None and not code:
            raise CodeWanted("Type the code that your authenticator shows, or a recovery code.")
        return known

    async def come_back(
        self, provider: Oidc, kept: str, answer: Mapping[str, str], *, client: str = ""
    ) -> tuple[Login, str]:
        """Begin a session of whom the provider sent back, and the page to go on to.

        Raises LoginRefused, also where vtn.accounts.vouched does not let them in; ProviderFault,
        TooOften.
        """
        with self._hashing.place():
            async with self._throttle.one_try(client=client.partition(" ")[0]):
                identity, then = await provider.finish(kept, answer)
                return await self._log_in_as(provider, identity, client), then

    async def _log_in_as(self, provider: Oidc, identity: Identity, client: str) -> Login:
        address, at, token = client.partition(" ")[0], self._office.now(), secrets.new_token()
        async with self._store.write() as connection:
            found = await admitted(connection, identity, provider.settings, at=at)
            if isinstance(found, User):
                await users.note_login(connection, found.name, at=at, totp_step=None)
                session_id = await self._begin(connection, found, token, client, at)
                await self._note(connection, found.name, "log in", found.name, at, detail=address)
                return Login(token=token, person=_person(found, session_id))
        log.warning("login refused", subject=identity.subject, client=address, reason=found)
        raise LoginRefused(found)

    async def identify(self, token: str, *, used: bool = True) -> Person:
        """Whose session this is; `used` where somebody does something with it.

        Raises Unauthorised where it has ended.
        """
        now = self._office.now()
        session_id = secrets.sha256(token)
        async with self._store.read() as connection:
            found = await users.find_session(connection, session_id)
        if found is None:
            raise Unauthorised("You are not logged in, or have been logged out; log in.")
        session, user = found
        if session.ends_at <= now or session.seen_at + IDLE <= now:
            raise Unauthorised("Your session has ended; log in again.")
        if user.disabled_at is not None:
            raise Unauthorised("This user is disabled; ask an admin.")
        if used and session.seen_at + SEEN_EVERY <= now:
            async with self._store.write() as connection:
                await users.touch_session(connection, session_id, now)
        return _person(user, session_id)

    async def log_out(self, person: Person) -> bool:
        """Whether they had come by the provider, where they are logged in still."""
        if person.session_id is None:
            return False
        async with self._store.write() as connection:
            await users.end_sessions(connection, session_id=person.session_id)
            await self._note(connection, person.name, "log out", person.name)
            user = await users.find(connection, person.name)
        return user is not None and user.oidc_subject is not None

    def cookie(self, token: str) -> Cookie:
        """What a browser keeps of a session."""
        return Cookie(
            key=COOKIE,
            value=token,
            max_age=int(LONGEST.total_seconds()),
            httponly=True,
            samesite="strict",
            secure=self._secure,
        )

    def no_cookie(self) -> Cookie:
        """As `cookie`, when somebody logs out."""
        return Cookie(
            key=COOKIE, value="", max_age=0, httponly=True, samesite="strict", secure=self._secure
        )

    # --- one's own account -----------------------------------------------------------------------

    async def user(self, name: str) -> User:
        """Raises Unknown."""
        async with self._store.read() as connection:
            return await _known(connection, name)

    async def change_password(self, person: Person, old: str, new: str) -> None:
        """All other sessions of this user end. Raises LoginRefused, Invalid, TooOften."""
        user = await self._proven(person, old)
        secrets.check_new_password(user.name, new)
        if new == old:
            raise Invalid("This is the password you have; choose another.")
        hashed = await self._hashing.hash(new)
        async with self._store.write() as connection:
            await users.change(connection, user.name, password_hash=hashed, must_change=False)
            await users.end_sessions(connection, user=user.name, but=person.session_id)
            await self._note(connection, person.name, "change password", user.name)

    async def begin_totp(self, person: Person) -> TotpOffer:
        """Something to scan; nothing is kept before confirm_totp.

        Raises Forbidden for who comes by the provider, which asks for its own second factor.
        """
        if (await self.user(person.name)).password_hash is None:
            raise Forbidden("Your second factor is the business of where you log in.")
        secret = secrets.new_totp_secret()
        issuer = f"demandflex {self._office.vtn_id}"
        uri = secrets.totp_uri(secret, name=person.name, issuer=issuer)
        return TotpOffer(secret=secret, uri=uri, svg=qr_svg(uri))

    async def confirm_totp(self, person: Person, secret: str, code: str) -> list[str]:
        """From now on a code is wanted; the recovery codes, told only now. Raises Invalid."""
        at = self._office.now()
        if not re.fullmatch("[A-Z2-7]{32}", secret):
            raise Invalid("secret: this is not the one that was offered; begin again.")
        step = secrets.totp_step(secret, secrets.tidy_code(code), at)
        if step is None:
            raise Invalid(
                "code: this is not the code of now; type the one that is shown, and see that the "
                "clock of your telephone is right."
            )
        codes = secrets.recovery_codes()
        async with self._store.write() as connection:
            await users.change(connection, person.name, totp_secret=secret, totp_step=step)
            await users.replace_recovery_codes(
                connection, person.name, [secrets.sha256(one) for one in codes]
            )
            await self._note(connection, person.name, "take second factor", person.name, at)
        return codes

    async def drop_totp(self, person: Person, password: str) -> None:
        """Raises LoginRefused, TooOften."""
        user = await self._proven(person, password)
        async with self._store.write() as connection:
            await users.change(connection, user.name, totp_secret=None, totp_step=0)
            await users.replace_recovery_codes(connection, user.name, ())
            await self._note(connection, person.name, "drop second factor", user.name)

    async def _proven(self, person: Person, password: str) -> User:
        """The user, who has shown their password once more."""
        if person.session_id is None:
            raise Forbidden("The operator's token is no user; log in as one.")
        user = await self.user(person.name)
        if user.password_hash is None:
            raise LoginRefused("You have no password here; it is where you log in.")
        async with self._throttle.one_try(name=person.name):
            if not await self._hashing.verify(user.password_hash, password):
                raise LoginRefused("This is not your password.")
        return user

    # --- looking after users ---------------------------------------------------------------------

    async def users(self, *, after: str = "", limit: int | None = None) -> list[User]:
        """By name: all, or so many `after` one."""
        async with self._store.read() as connection:
            return await users.every(connection, after=after, limit=limit)

    async def add_user(
        self, name: str, roles: Collection[Role], *, subject: str = "", by: str
    ) -> tuple[User, str]:
        """The user and their one-time password, told only now.

        With the `subject` that the provider knows them by they log in there, and have none ("").
        Raises Invalid, Conflict.
        """
        name = name.strip().lower()
        if not NAME.fullmatch(name):
            raise Invalid("name: up to 64 letters, digits or any of . @ + - _, a letter first.")
        _some(roles)
        whole = self._whole(subject)
        password = "" if whole else secrets.one_time_password()
        hashed = await self._hashing.hash(password) if password else None
        at = self._office.now()
        user = User(
            name=name,
            roles=frozenset(roles),
            version=0,
            added_at=at,
            added_by=by,
            password_hash=hashed,
            must_change=hashed is not None,
            oidc_subject=whole,
        )
        async with self._store.write() as connection:
            if await users.find(connection, name) is not None:
                raise Conflict(f"There is a user '{name}' already; choose another name.")
            if user.oidc_subject and await users.find_by_subject(connection, user.oidc_subject):
                raise Conflict("subject: it is that of another user already; see `vtn user list`.")
            await users.add(connection, user)
            await self._note(connection, by, "add user", name, at, detail=", ".join(sorted(roles)))
        return user, password

    def _whole(self, subject: str) -> str | None:
        """`ISSUER SUBJECT`. Raises Invalid."""
        if not subject:
            return None
        if self.provider is None:
            raise Invalid("subject: no provider is set up; see [operator.oidc] in vtn.toml.")
        return f"{self.provider.settings.issuer} {subject}"

    async def change_user(
        self,
        name: str,
        *,
        roles: Collection[Role] | None = None,
        disabled: bool | None = None,
        expected: int | None = None,
        by: str,
    ) -> User:
        """Give other roles, disable or enable. Who is disabled is logged out at once.

        Raises Unknown, Stale where the version is not `expected`, Conflict where no admin would
        be left.
        """
        at = self._office.now()
        async with self._store.write() as connection:
            user = await _known(connection, name, lock=True)
            _refuse_stale(user, expected)
            values: dict[str, object] = {}
            if roles is not None:
                _some(roles)
                values["roles"] = frozenset(roles)
            if disabled is not None:
                values["disabled_at"] = at if disabled else None
            await users.change(connection, name, **values)
            if disabled:
                await users.end_sessions(connection, user=name)
            if Role.ADMIN in user.roles and user.disabled_at is None:
                await _refuse_no_admin(connection)
            said = [f"roles {', '.join(sorted(roles))}"] if roles is not None else []
            said += [] if disabled is None else ["disabled" if disabled else "enabled"]
            await self._note(connection, by, "change user", name, at, detail="; ".join(said))
            return await _known(connection, name)

    async def reset_user(self, name: str, *, expected: int | None = None, by: str) -> str:
        """A new one-time password, told only now; no second factor, no session.

        Raises Unknown, and Conflict for who comes by the provider.
        """
        password = secrets.one_time_password()
        hashed = await self._hashing.hash(password)
        async with self._store.write() as connection:
            user = await _known(connection, name, lock=True)
            _refuse_stale(user, expected)
            if user.oidc_subject is not None:
                raise Conflict(f"{name} has no password here; it is where they log in.")
            await users.change(
                connection,
                name,
                password_hash=hashed,
                must_change=True,
                totp_secret=None,
                totp_step=0,
            )
            await users.replace_recovery_codes(connection, name, ())
            await users.end_sessions(connection, user=name)
            await self._note(connection, by, "reset user", name)
        return password

    async def sessions(self, user: str | None = None, *, limit: int | None = None) -> list[Session]:
        """Those that are good, the latest first; of one user, or all, or so many."""
        now = self._office.now()
        async with self._store.read() as connection:
            return await users.sessions(
                connection, now=now, seen_since=now - IDLE, user=user, limit=limit
            )

    async def end_session(self, session_id: str, *, of: str | None = None, by: str) -> None:
        """`of` one user alone, or anybody's. Raises Unknown."""
        async with self._store.write() as connection:
            if not await users.end_sessions(connection, session_id=session_id, user=of):
                raise Unknown("There is no such session, or it has ended.")
            await self._note(connection, by, "end session", of or "anybody")

    # --- inside ----------------------------------------------------------------------------------

    async def _begin(
        self, connection: AsyncConnection, user: User, token: str, client: str, at: datetime
    ) -> str:
        session_id = secrets.sha256(token)
        await users.forget_sessions(connection, ended_before=at)
        await users.begin_session(
            connection,
            Session(
                session_id=session_id,
                user=user.name,
                began_at=at,
                seen_at=at,
                ends_at=at + LONGEST,
                client=client[:200],
            ),
        )
        return session_id

    async def _note(
        self,
        connection: AsyncConnection,
        by: str,
        act: str,
        name: str,
        at: datetime | None = None,
        *,
        detail: str = "",
    ) -> None:
        await audit.note(
            connection,
            at=at or self._office.now(),
            actor=f"operator:{by}",
            act=act,
            subject=f"user:{name}",
            detail=detail,
        )


def _failed(name: str, address: str) -> LoginRefused:
    log.warning("login refused", name=name[:64], client=address)
    return LoginRefused(_WRONG)


def _person(user: User, session_id: str) -> Person:
    return Person(
        name=user.name, roles=user.roles, session_id=session_id, must_change=user.must_change
    )


def _some(roles: Collection[Role]) -> None:
    if not roles:
        raise Invalid(f"roles: give at least one of {', '.join(Role)}.")


def _refuse_stale(user: User, expected: int | None) -> None:
    if expected is not None and expected != user.version:
        raise Stale(f"Somebody else has changed the user '{user.name}'; look again.")


async def _known(connection: AsyncConnection, name: str, *, lock: bool = False) -> User:
    user = await users.find(connection, name, lock=lock)
    if user is None:
        raise Unknown(f"There is no user '{name}'; see `vtn user list`.")
    return user


async def _refuse_no_admin(connection: AsyncConnection) -> None:
    everybody = await users.every(connection)
    if not any(Role.ADMIN in one.roles and one.disabled_at is None for one in everybody):
        raise Conflict("Nobody would be an admin any more; make somebody else one first.")
