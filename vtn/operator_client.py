# SPDX-License-Identifier: Apache-2.0
"""The command line's side of the operator's API: one request, one answer, or one sentence why not.

The standard library's HTTP client is enough for one request after another, and starts fast.
"""

import getpass
import re
import ssl
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from vtn.config import Settings
from vtn.credential import read_token
from vtn.errors import NoAnswer, RefusedByVtn

T = TypeVar("T")

PREFIX: Final = "/api/v1"
TIMEOUT_S: Final = 60.0
MOST: Final = 1000
"""Of a page, at once."""

Answer = tuple[int, bytes]
"""HTTP status and body."""


class Send(Protocol):
    """Carries one request to the VTN. Raises OSError or HTTPException where it cannot."""

    def __call__(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer: ...


class _Detail(msgspec.Struct):
    """What we read of problem+json."""

    detail: str


class OperatorClient:
    """Speaks to a running `vtn serve`.

    Every call raises NoAnswer where none runs, and RefusedByVtn with the VTN's own sentence.
    """

    def __init__(self, *, where: str, token: str, send: Send, name: str = "") -> None:
        self._where = where
        self._send = send
        self._headers = {
            "Authorization": f"Bearer {token}",
            "X-Operator": name or _who(),
            "Accept": "application/json",
        }

    @classmethod
    def at(cls, settings: Settings) -> "OperatorClient":
        """The VTN of a settings file. Raises Unauthorised where its token cannot be read."""
        operator = settings.operator
        # A server that listens everywhere is reached here.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(operator.host, operator.host)  # noqa: S104
        if not operator.port:
            raise NoAnswer("[operator] port is 0, any free one; give a fixed port to be found at.")
        scheme = "http" if operator.cert is None else "https"
        where = f"{scheme}://{f'[{host}]' if ':' in host else host}:{operator.port}"
        token = read_token(operator.token_file)
        send = (
            _over_http(host, operator.port)
            if operator.cert is None
            else _over_https(host, operator.port, operator.cert)
        )
        return cls(where=where, token=token, send=send)

    def get(self, *path: str, into: type[T], **query: object) -> T:
        """GET; path parts are quoted, queries that are None left out."""
        said = {
            key.removesuffix("_"): str(value) for key, value in query.items() if value is not None
        }
        return self._call("GET", path, into, query=said)

    def every(self, *path: str, into: type[T], key: Callable[[T], str], **query: object) -> list[T]:
        """GET of a whole list, page by page; `key` is what the list is in the order of."""
        found: list[T] = []
        cursor: str | None = None
        while True:
            answered = self.get(*path, into=list[Any], limit=MOST, cursor=cursor, **query)
            page = [msgspec.convert(one, into) for one in answered]
            found += page
            if len(page) < MOST:
                return found
            cursor = key(page[-1])

    def post(self, *path: str, into: type[T], body: object = None) -> T:
        return self._call("POST", path, into, body=body)

    def patch(self, *path: str, into: type[T], body: object, version: int | None = None) -> T:
        """Change something, of which `version` was looked at."""
        return self._call("PATCH", path, into, body=body, version=version)

    def _call(
        self,
        method: str,
        path: tuple[str, ...],
        into: type[T],
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        version: int | None = None,
    ) -> T:
        target = "/".join((PREFIX, *(quote(part, safe="") for part in path)))
        if query:
            target += f"?{urlencode(query)}"
        headers = dict(self._headers)
        if version is not None:
            headers["If-Match"] = f'"{version}"'
        encoded = None
        if body is not None:
            encoded = msgspec.json.encode(body)
            headers["Content-Type"] = "application/json"
        try:
            status, content = self._send(method, target, headers, encoded)
        except (OSError, HTTPException) as error:
            raise NoAnswer(
                f"The VTN does not answer at {self._where}; is `vtn serve` running?"
            ) from error
        try:
            if status >= 400:
                raise RefusedByVtn(msgspec.json.decode(content, type=_Detail).detail, status=status)
            return msgspec.json.decode(content, type=into)
        except msgspec.DecodeError as error:
            raise NoAnswer(
                f"What answers at {self._where} is no VTN of this version; see [operator] in "
                "the settings."
            ) from error


def _over_http(host: str, port: int) -> Send:
    return _over(lambda: HTTPConnection(host, port, timeout=TIMEOUT_S))


def _over_https(host: str, port: int, cert: Path) -> Send:
    tls = _showing(cert)
    return _over(lambda: HTTPSConnection(host, port, timeout=TIMEOUT_S, context=tls))


def _over(connect: Callable[[], HTTPConnection]) -> Send:
    def send(method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        connection = connect()
        try:
            connection.request(method, path, body=body, headers=dict(headers))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    return send


def _showing(cert: Path) -> ssl.SSLContext:
    """TLS with whoever shows the certificate of this file, whatever name it bears."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    try:
        context.load_verify_locations(cert)
    except (OSError, ssl.SSLError) as error:
        raise NoAnswer(f"[operator] cert: {cert} cannot be used: {error}.") from error
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _who() -> str:
    """The acting person for the audit: their login name, as far as it can be told."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # no login name, as in a container
        name = ""
    return re.sub(r"[^\w.@+-]", "", name, flags=re.ASCII)[:64] or "cli"
