# SPDX-License-Identifier: Apache-2.0
"""What the address of a page asks for, and the same address with something else in it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlencode

from vtn.console.shell import AnyRequest

_LONGEST = 200
_MOST_PAGES = 1_000_000

E = TypeVar("E", bound=StrEnum)


class Asked:
    """The query of one request; what nobody understands counts as not asked."""

    def __init__(self, request: AnyRequest) -> None:
        self._path = request.url.path
        self._values: dict[str, str] = {
            name: str(value)[:_LONGEST] for name, value in request.query_params.items()
        }

    def text(self, name: str) -> str:
        return self._values.get(name, "").strip()

    def number(self, name: str, otherwise: int) -> int:
        text = self.text(name)
        if not text.isascii() or not text.isdigit() or int(text) > 2**53:
            return otherwise
        return int(text)

    def page(self) -> int:
        return min(max(1, self.number("page", 1)), _MOST_PAGES)

    def one_of(self, name: str, kind: type[E], otherwise: E | None = None) -> E | None:
        text = self.text(name)
        return next((one for one in kind if one.value == text), otherwise)

    def values(self) -> Mapping[str, list[str]]:
        """As a form begins with them."""
        return {name: [value] for name, value in self._values.items()}

    def address(self, path: str = "", **changes: str | int) -> str:
        """This address with something else in it; "" takes a value out."""
        values = {**self._values, **{name: str(value) for name, value in changes.items()}}
        query = urlencode({name: value for name, value in values.items() if value})
        return (path or self._path) + (f"?{query}" if query else "")
