# SPDX-License-Identifier: Apache-2.0
"""Runs tests one after the other and says what came of each."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, Protocol

from conformance import ven_bench, ven_tests, vtn_bench, vtn_tests
from conformance.declaration import VEN_TESTS, VTN_TESTS, Ability, Test, Transport
from conformance.errors import AdapterFault, Failed, NotRun, SetUpFault
from conformance.outcome import Finding, Outcome, Result
from conformance.ven_bench import VenSetUp
from conformance.vtn_bench import VtnSetUp
from doorway import get_logger

log = get_logger()

DECLARED: Final = (vtn_tests, ven_tests)
"""Importing them declares their tests."""
BEFORE_SIGNATURES: Final = "X_HTTP_"
"""Tests of what is refused before a signature is looked at: they are not repeated with them."""
GRACE_S = 90.0
"""What a test may take beyond its scaled length: real round trips do not scale."""


class Bench(Protocol):
    """What the runner needs of a bench."""

    async def prepare(self, test: Test) -> None: ...

    async def tidy(self) -> None: ...

    @property
    def findings(self) -> Sequence[Finding]: ...


class Listener(Protocol):
    """Is told of the run as it goes."""

    def begun(self, test: Test) -> None: ...

    def ended(self, result: Result) -> None: ...


def chosen(tests: Iterable[Test], only: Collection[str]) -> list[Test]:
    """The tests whose names begin with one of `only`; all where nothing is named.

    Raises SetUpFault for a name that fits none.
    """
    every = list(tests)
    for name in only:
        if not any(test.name.startswith(name) for test in every):
            raise SetUpFault(f"No test is named {name}; see them all with: oadr-conformance list.")
    return [test for test in every if not only or test.name.startswith(tuple(only))]


async def run_vtn(setup: VtnSetUp, only: Collection[str], listener: Listener) -> list[Result]:
    """Every chosen test of a VTN, pull first."""

    async def bench(stack: AsyncExitStack, transport: Transport) -> Bench:
        return await vtn_bench.open_bench(stack, setup, transport)

    tests = [
        test
        for test in chosen(VTN_TESTS.values(), only)
        if setup.seal is None or not test.name.startswith(BEFORE_SIGNATURES)
    ]
    await setup.adapter.open()
    try:
        return await _run(
            tests,
            bench,
            lambda test: vtn_bench.missing(setup, test.needs),
            setup.scale,
            listener,
            push="" if setup.push_host else "push is not set up (--push-listen)",
        )
    finally:
        await setup.adapter.close()


async def run_ven(setup: VenSetUp, only: Collection[str], listener: Listener) -> list[Result]:
    """Every chosen test of a VEN, pull first."""

    async def bench(stack: AsyncExitStack, transport: Transport) -> Bench:
        return await ven_bench.open_bench(stack, setup, transport)

    return await _run(
        chosen(VEN_TESTS.values(), only),
        bench,
        lambda test: ven_bench.missing(setup, test.needs),
        setup.scale,
        listener,
        push="" if setup.push else "push is not set up (--push)",
    )


async def _run(
    tests: Sequence[Test],
    open_bench: Callable[[AsyncExitStack, Transport], Awaitable[Bench]],
    missing: Callable[[Test], Sequence[Ability]],
    scale: float,
    listener: Listener,
    *,
    push: str,
) -> list[Result]:
    """`push` says why push cannot be tested; empty where it can."""
    results = []
    for transport in Transport:
        ours = [test for test in tests if test.transport is transport]
        if not ours:
            continue
        async with AsyncExitStack() as stack:
            bench = None
            if transport is Transport.PULL or not push:
                bench = await open_bench(stack, transport)
            for test in ours:
                listener.begun(test)
                if bench is None:
                    result = _result(test, Outcome.NOT_RUN, push)
                elif lacking := missing(test):
                    result = _result(test, Outcome.NOT_RUN, f"the set-up cannot {lacking[0]}")
                else:
                    result = await _one(test, bench, scale)
                results.append(result)
                listener.ended(result)
    return results


async def _one(test: Test, bench: Bench, scale: float) -> Result:
    began = time.monotonic()
    outcome, seen, failure = await _tried(test, bench, scale)
    findings = [*([failure] if failure else []), *bench.findings]
    if outcome is Outcome.PASSED and findings:
        outcome, seen = Outcome.FAILED, in_words(findings[0])
    elif outcome is Outcome.NOT_RUN:
        findings = []
    try:
        async with asyncio.timeout(GRACE_S):
            await bench.tidy()
    except (Failed, AdapterFault, ConnectionError, TimeoutError) as error:
        log.warning("the device was not brought back to rest", test=test.name, why=str(error))
    return _result(test, outcome, seen, findings, time.monotonic() - began)


async def _tried(test: Test, bench: Bench, scale: float) -> tuple[Outcome, str, Finding | None]:
    run: Any = test.run  # the bench fits the test: each registry has its own
    try:
        async with asyncio.timeout(test.longest_s * max(scale, 0.1) + GRACE_S):
            await bench.prepare(test)
            await run(bench)
    except Failed as failed:
        finding = Finding(rule=failed.rule, seen=failed.seen, wanted=failed.wanted)
    except NotRun as reason:
        return Outcome.NOT_RUN, str(reason), None
    except AdapterFault as fault:
        finding = Finding(
            rule=test.rules[0],
            seen=f"it could not be prepared: {fault}",
            wanted="a device that does what it is asked",
        )
    except ConnectionError as error:
        finding = Finding(
            rule=test.rules[0], seen=f"no answer: {error}", wanted="an answer to every request"
        )
    except TimeoutError:
        finding = Finding(
            rule=test.rules[0], seen="the test did not come to its end", wanted="an end in time"
        )
    except Exception as error:
        log.exception("the harness itself failed", test=test.name)
        finding = Finding(
            rule=test.rules[0],
            seen=f"the harness itself failed: {error!r}",
            wanted="a harness without faults",
        )
    else:
        return Outcome.PASSED, "", None
    return Outcome.FAILED, in_words(finding), finding


def in_words(finding: Finding) -> str:
    """A finding as one line."""
    where = f" in {finding.message}" if finding.message else ""
    return f"rule {finding.rule}: {finding.seen}{where}; wanted: {finding.wanted}"


def _result(
    test: Test,
    outcome: Outcome,
    seen: str,
    findings: Sequence[Finding] = (),
    duration_s: float = 0.0,
) -> Result:
    return Result(
        name=test.name,
        title=test.title,
        rules=test.rules,
        outcome=outcome,
        seen=seen,
        findings=tuple(findings),
        duration_s=round(duration_s, 2),
    )
