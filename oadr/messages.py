# SPDX-License-Identifier: Apache-2.0
"""The register of root messages: wire name <-> class."""

from collections.abc import Callable
from typing import TypeVar

from oadr.codec import clark

T = TypeVar("T")

NAME_OF: dict[type, str] = {}
"""Class -> "oadr:oadrPoll"."""
CLASS_OF: dict[str, type] = {}
"""Clark name of the element -> class."""


def message(name: str) -> Callable[[type[T]], type[T]]:
    """Enter a class as the root message `name`."""

    def enter(kind: type[T]) -> type[T]:
        NAME_OF[kind] = name
        CLASS_OF[clark(name)] = kind
        return kind

    return enter


def wire_name(kind: type) -> str:
    """`oadrPoll` for the class Poll; for logs and audit."""
    return NAME_OF[kind].partition(":")[2]
