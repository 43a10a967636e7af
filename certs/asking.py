# SPDX-License-Identifier: Apache-2.0
"""Asks a running VTN, through its operator's API, for a one-time enrolment code."""

from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from certs.errors import CodeRefused
from certs.sheet import MadeCode

PATH = "/api/v1/enrolment-codes"
TIMEOUT_S = 30.0


class _Detail(msgspec.Struct):
    """What we read of problem+json."""

    detail: str


def ask_for_code(url: str, token_file: Path, order: Mapping[str, object]) -> MadeCode:
    """The code that the VTN at `url` made as ordered. Raises CodeRefused."""
    try:
        token = token_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CodeRefused(
            f"{token_file}: the operator's token cannot be read ({error})."
        ) from error
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CodeRefused(f"'{url}' is no address of a VTN; write it like http://127.0.0.1:8444.")
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", PATH, body=msgspec.json.encode(order), headers=headers)
            response = connection.getresponse()
            status, body = response.status, response.read()
        finally:
            connection.close()
    except (OSError, HTTPException, ValueError) as error:
        raise CodeRefused(f"No VTN answers at {url} ({error}); is `vtn serve` running?") from error
    try:
        if status >= 400:
            raise CodeRefused(msgspec.json.decode(body, type=_Detail).detail)
        return msgspec.json.decode(body, type=MadeCode)
    except msgspec.DecodeError as error:
        raise CodeRefused(f"What answers at {url} is no VTN of this version.") from error
