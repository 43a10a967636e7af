# SPDX-License-Identifier: Apache-2.0
"""Logging in at an OpenID Connect provider: authorization code flow with PKCE, state and nonce.

What has to be remembered between going there and coming back is in a cookie of that browser alone:
any worker can finish what another began, and strangers fill no table. Tokens are looked at once
and kept nowhere.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import msgspec

from doorway import get_logger
from vtn.accounts.id_token import Identity, UnknownKey, verified
from vtn.config import OidcSettings, is_loopback
from vtn.errors import LoginRefused, ProviderFault

log = get_logger()

BACK: Final = "/login/oidc/back"
WITHIN_S: Final = 600
"""To come back from the provider."""
_FRESH_S: Final = 3600.0
"""How long it is believed what the provider has said of itself, and its keys."""
_AGAIN_S: Final = 30.0
"""Keys are asked for anew at most so often, however many tokens name an unknown one."""
_ANSWER_S: Final = 10.0
_MOST_BYTES: Final = 1_000_000
_BEGIN_AGAIN: Final = "This log-in was not begun here, or too long ago; begin again."


class Flow(msgspec.Struct, frozen=True, array_like=True):
    """What a browser keeps while it is at the provider; worth nothing to anybody else."""

    state: str
    nonce: str
    verifier: str
    then: str
    """The page to go on to."""


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider says of itself (OpenID Connect Discovery 1.0)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class _Keys(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str


class _Refusal(msgspec.Struct, frozen=True):
    error: str = ""


class Oidc:
    """The provider that operators may log in at."""

    def __init__(
        self,
        settings: OidcSettings,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._now = now
        self._monotonic = monotonic
        self._turn = asyncio.Lock()
        self._said: tuple[float, Provider] | None = None
        self._published: tuple[float, Sequence[Mapping[str, Any]]] | None = None
        self._tls: ssl.SSLContext | None = None

    @property
    def name(self) -> str:
        """As people call it."""
        return self.settings.name

    async def begin(self, then: str) -> tuple[str, str]:
        """Where to send the browser, and the cookie it is to keep. Raises ProviderFault."""
        provider = await self._provider()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        digest = hashlib.sha256(verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self._back,
            "scope": " ".join(self.settings.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        flow = msgspec.json.encode(Flow(state, nonce, verifier, then))
        kept = base64.urlsafe_b64encode(flow).decode()
        return _with_query(provider.authorization_endpoint, asked), kept

    async def finish(self, kept: str, answer: Mapping[str, str]) -> tuple[Identity, str]:
        """Who has come back, and the page to go on to.

        `kept` is the cookie, `answer` the query that the provider sent the browser back with.
        Raises LoginRefused, ProviderFault.
        """
        flow = _flow(kept)
        if not hmac.compare_digest(answer.get("state", "").encode(), flow.state.encode()):
            raise LoginRefused(_BEGIN_AGAIN)
        if answer.get("iss", self.settings.issuer) != self.settings.issuer:  # RFC 9207
            raise LoginRefused("Another provider has answered; begin again.")
        if "error" in answer:
            log.warning("log-in refused by the provider", error=_plain(answer["error"]))
            raise LoginRefused("The provider did not let you in; begin again, or ask an admin.")
        if not answer.get("code"):
            raise LoginRefused(_BEGIN_AGAIN)
        provider = await self._provider()
        token = await self._exchange(provider, answer["code"], flow.verifier)
        try:
            return self._verified(token, await self._keys(provider), flow), flow.then
        except UnknownKey:
            return self._verified(token, await self._keys(provider, anew=True), flow), flow.then

    async def end_url(self) -> str:
        """Where somebody is logged out of the provider, too; "" where it offers none.

        Raises ProviderFault.
        """
        provider = await self._provider()
        if not provider.end_session_endpoint:
            return ""
        asked = {
            "client_id": self.settings.client_id,
            "post_logout_redirect_uri": f"{self.settings.console_url.rstrip('/')}/login",
        }
        return _with_query(provider.end_session_endpoint, asked)

    # --- inside ----------------------------------------------------------------------------------

    @property
    def _back(self) -> str:
        return f"{self.settings.console_url.rstrip('/')}{BACK}"

    def _verified(self, token: str, keys: Sequence[Mapping[str, Any]], flow: Flow) -> Identity:
        return verified(token, keys, settings=self.settings, nonce=flow.nonce, now=self._now())

    async def _provider(self) -> Provider:
        async with self._turn:
            if self._said is None or self._said[0] + _FRESH_S <= self._monotonic():
                url = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
                said = await self._get(url, Provider)
                self._refuse_wrong(said)
                self._said = self._monotonic(), said
            return self._said[1]

    def _refuse_wrong(self, said: Provider) -> None:
        """Raises ProviderFault."""
        if said.issuer != self.settings.issuer:
            raise self._fault(f"it calls itself {_plain(said.issuer)}, not {self.settings.issuer}")
        places = (said.authorization_endpoint, said.token_endpoint, said.jwks_uri)
        for url in (*places, *filter(None, [said.end_session_endpoint])):
            parts = urlsplit(url)
            if parts.scheme == "https":
                continue
            if not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
                raise self._fault(f"{_plain(url)} is not reached by https")

    async def _keys(self, provider: Provider, *, anew: bool = False) -> Sequence[Mapping[str, Any]]:
        """The keys it signs with; `anew` where one was missing, if that was not just tried."""
        async with self._turn:
            good_s = _AGAIN_S if anew else _FRESH_S
            if self._published is None or self._published[0] + good_s <= self._monotonic():
                found = await self._get(provider.jwks_uri, _Keys)
                self._published = self._monotonic(), found.keys
            return self._published[1]

    async def _exchange(self, provider: Provider, code: str, verifier: str) -> str:
        """The ID token for a code, which is good once. Raises LoginRefused, ProviderFault."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._back,
            "client_id": self.settings.client_id,
            "code_verifier": verifier,
        }
        headers = {}
        if (secret := self._secret()) is not None:
            if "client_secret_basic" in provider.token_endpoint_auth_methods_supported:
                pair = f"{quote(self.settings.client_id, safe='')}:{quote(secret, safe='')}"
                headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
            else:
                form["client_secret"] = secret
        status, body = await self._ask("POST", provider.token_endpoint, data=form, headers=headers)
        if status == 200:
            tokens: _Tokens = self._decoded(body, _Tokens)
            return tokens.id_token
        try:
            error = msgspec.json.decode(body, type=_Refusal).error
        except msgspec.DecodeError:
            error = ""
        if error == "invalid_grant":
            raise LoginRefused(_BEGIN_AGAIN)
        raise self._fault(
            f"it answered {status} {_plain(error)}; see client_id and client_secret_file"
        )

    def _secret(self) -> str | None:
        """Read each time, so that another one holds at once. Raises ProviderFault."""
        file = self.settings.client_secret_file
        if file is None:
            return None
        try:
            return file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise self._fault(f"{file} cannot be read") from error

    async def _get(self, url: str, into: type[msgspec.Struct]) -> Any:
        status, body = await self._ask("GET", url)
        if status != 200:
            raise self._fault(f"{url} answered {status}")
        return self._decoded(body, into)

    def _decoded(self, body: bytes, into: type[msgspec.Struct]) -> Any:
        try:
            return msgspec.json.decode(body, type=into)
        except msgspec.DecodeError as error:
            raise self._fault("it answered something that is not OpenID Connect") from error

    async def _ask(
        self,
        method: str,
        url: str,
        *,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Status and body; no redirect is followed. Raises ProviderFault."""
        if self._tls is None:
            ca = self.settings.ca
            try:
                self._tls = await asyncio.to_thread(ssl.create_default_context, cafile=ca)
            except OSError as error:
                raise self._fault(f"{ca} cannot be used") from error
        timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
        body = bytearray()
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(
                    method, url, data=data, headers=headers, allow_redirects=False, ssl=self._tls
                ) as answer,
            ):
                async for chunk in answer.content.iter_chunked(65536):
                    body += chunk
                    if len(body) > _MOST_BYTES:
                        raise self._fault(f"{url} answered more than {_MOST_BYTES} bytes")
                return answer.status, bytes(body)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise self._fault(f"{url}: {type(error).__name__}") from error

    def _fault(self, reason: str) -> ProviderFault:
        """What exactly is wrong is for the log; who wants to log in is told what they can do."""
        log.warning("identity provider cannot be used", issuer=self.settings.issuer, reason=reason)
        return ProviderFault(
            f"{self.name} does not answer as it should: log in with a password, or try again."
        )


def _flow(kept: str) -> Flow:
    """Raises LoginRefused."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(kept), type=Flow)
    except (ValueError, msgspec.DecodeError) as error:
        raise LoginRefused(_BEGIN_AGAIN) from error


def _with_query(url: str, more: Mapping[str, str]) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(more)}"


def _plain(text: str) -> str:
    """A stranger's word, as the log may bear it."""
    return "".join(filter(str.isprintable, text))[:100]
