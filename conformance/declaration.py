# SPDX-License-Identifier: Apache-2.0
"""How a test is declared: its certification name, its rules, what it needs, and its steps.

    @vtn_test(pull="N1_0010", push="N0_5010", title="...", rules=(404,), start=Start.UNREGISTERED)
    async def query_before_registration(bench: VtnBench) -> None:
        ...

One body serves both transports: the bench knows whether messages come by poll or by push.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from conformance.errors import ConformanceFault
from conformance.rules import RULES

if TYPE_CHECKING:  # the benches import this module
    from conformance.ven_bench import VenBench
    from conformance.vtn_bench import VtnBench


class Transport(StrEnum):
    PULL = "pull"
    PUSH = "push"


class Start(StrEnum):
    """The state a test finds the two parties in; the bench brings it about."""

    REGISTERED = "registered, metadata exchanged, nothing outstanding"
    UNREGISTERED = "not registered"
    FRESH = "as it was at its first start: all state forgotten"
    ANY = "whatever"


class Ability(StrEnum):
    """What a test may need of the device under test, of whoever prepares it, or of the set-up."""

    EVENTS = "publish, modify and cancel events"
    NEVER = "publish events without responseRequired"
    RAMP_UP = "publish events with ramp-up"
    START_AFTER = "publish events with a randomised start"
    PRIORITY = "publish events with a priority"
    TARGETS = "publish events for resources"
    INTERVALS = "publish events of several intervals"
    BASELINE = "publish events with a baseline"
    MODIFY = "modify a published event"
    CONTEXTS = "use two market contexts"
    ANSWERS = "look up the opt that was recorded"
    REPORTS = "request and cancel reports"
    METADATA = "request metadata reports"
    REREGISTER = "ask the VEN to register again"
    UNREGISTER = "cancel the VEN's registration"
    RESTART = "restart the device under test"
    FRESH = "start the device under test with its state forgotten"
    OPT = "let the VEN opt out of an event"
    OPT_SCHEDULE = "let the VEN send opt schedules"
    OPT_RESOURCE = "let the VEN opt out of an event for one resource"
    TOLD = "look up when the site was told to act"
    SIGNATURES = "sign messages (--sign)"
    EXPIRED = "show an expired certificate (--expired-cert, --expired-key)"
    STRANGER = "show a certificate that no VEN has (--stranger-cert, --stranger-key)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One test as the PICS and the reports name it."""

    name: str
    """`N1_0010_TH_VEN`: TH_VEN where the harness is the VEN, TH_VTN where it is the VTN."""
    title: str
    rules: tuple[int, ...]
    transport: Transport
    start: Start
    needs: frozenset[Ability]
    longest_s: float
    """At scale 1; a test that takes longer has failed."""
    run: "Callable[[VtnBench], Awaitable[None]] | Callable[[VenBench], Awaitable[None]]"


VTN_TESTS: Final[dict[str, Test]] = {}
"""Tests of a VTN, in the order they are run."""
VEN_TESTS: Final[dict[str, Test]] = {}
"""Tests of a VEN."""


def vtn_test(
    *,
    pull: str = "",
    push: str = "",
    title: str,
    rules: tuple[int, ...],
    start: Start = Start.REGISTERED,
    needs: tuple[Ability, ...] = (),
    longest_s: float = 120,
) -> "Callable[[Callable[[VtnBench], Awaitable[None]]], Callable[[VtnBench], Awaitable[None]]]":
    """Declare a test of a VTN under its name with pull, with push, or both."""

    def enter(
        run: "Callable[[VtnBench], Awaitable[None]]",
    ) -> "Callable[[VtnBench], Awaitable[None]]":
        for name, transport in ((pull, Transport.PULL), (push, Transport.PUSH)):
            if name:
                test = Test(
                    name=f"{name}_TH_VEN",
                    title=title,
                    rules=rules,
                    transport=transport,
                    start=start,
                    needs=frozenset(needs),
                    longest_s=longest_s,
                    run=run,
                )
                _enter(VTN_TESTS, test)
        return run

    return enter


def ven_test(
    *,
    pull: str = "",
    push: str = "",
    title: str,
    rules: tuple[int, ...],
    start: Start = Start.REGISTERED,
    needs: tuple[Ability, ...] = (),
    longest_s: float = 120,
) -> "Callable[[Callable[[VenBench], Awaitable[None]]], Callable[[VenBench], Awaitable[None]]]":
    """Declare a test of a VEN under its name with pull, with push, or both."""

    def enter(
        run: "Callable[[VenBench], Awaitable[None]]",
    ) -> "Callable[[VenBench], Awaitable[None]]":
        for name, transport in ((pull, Transport.PULL), (push, Transport.PUSH)):
            if name:
                test = Test(
                    name=f"{name}_TH_VTN",
                    title=title,
                    rules=rules,
                    transport=transport,
                    start=start,
                    needs=frozenset(needs),
                    longest_s=longest_s,
                    run=run,
                )
                _enter(VEN_TESTS, test)
        return run

    return enter


def _enter(tests: dict[str, Test], test: Test) -> None:
    if test.name in tests:
        raise ConformanceFault(f"There are two tests named {test.name}.")
    if unknown := [rule for rule in test.rules if rule not in RULES]:
        raise ConformanceFault(f"{test.name} names rules that do not exist: {unknown}.")
    tests[test.name] = test
