# SPDX-License-Identifier: Apache-2.0
"""The register of message checks, and what they share."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeAlias

from conformance.knowledge import Look
from conformance.outcome import Finding
from oadr import Message, wire_name
from oadr.codec import Element, clark

Says = Iterator[str]
_Body: TypeAlias = Callable[[Any, Look, Element], Says]

ZERO: Final = timedelta(0)
DRIFT: Final = timedelta(minutes=5)
"""How far a createdDateTime may be from now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at in every message of its kinds."""

    name: str
    rule: int
    wanted: str
    kinds: tuple[type, ...]
    """Empty: every message."""
    body: _Body


CHECKS: Final[list[Check]] = []


def check(rule: int, wanted: str, *kinds: type) -> Callable[[_Body], _Body]:
    """Enter a check of `rule` for messages of these kinds (none named: all)."""

    def enter(body: _Body) -> _Body:
        CHECKS.append(
            Check(
                name=body.__name__,
                rule=rule,
                wanted=wanted,
                kinds=kinds,
                body=body,
            )
        )
        return body

    return enter


def examine(message: Message, look: Look, root: Element) -> tuple[Finding, ...]:
    """Every finding in one message; `root` is its oadrPayload as it came."""
    name = wire_name(type(message))
    return tuple(
        Finding(rule=one.rule, seen=seen, wanted=one.wanted, message=name)
        for one in CHECKS
        if not one.kinds or isinstance(message, one.kinds)
        for seen in one.body(message, look, root)
    )


def uids_count(uids: list[str | None], where: str) -> Says:
    if [uid.strip() if uid is not None else None for uid in uids] != [
        str(number) for number in range(len(uids))
    ]:
        yield f"{where}: uids {', '.join(str(uid) for uid in uids[:5])}"


def doubles(ids: list[str], what: str) -> Says:
    for one in sorted({one for one in ids if ids.count(one) > 1}):
        yield f"{what} {one!r} {ids.count(one)} times"


def only_devices(root: Element, holder: str, target: str) -> Says:
    for element in root.iter(clark(holder)):
        for aimed in element.findall(clark(target)):
            for child in aimed:
                if child.tag != clark("power:endDeviceAsset"):
                    yield f"{local(child)} in {local(element)}"


def local(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]
