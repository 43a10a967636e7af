# SPDX-License-Identifier: Apache-2.0
"""The PICS, filled from what ran and from nothing else."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from conformance.checks import CHECKS
from conformance.declaration import VEN_TESTS, VTN_TESTS, Test
from conformance.outcome import Outcome, Run
from conformance.rules import RULES
from conformance.services import EVENT, OPT, POLL, REGISTER, REPORT, SERVICE_OF


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the PICS: an item, whether it is kept, and what says so."""

    item: str
    demand: str
    support: str
    """"yes", "no", "not shown" (no test of it ran) or "not visible" (no test can show it)."""
    passed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    note: str = ""


class Pics(msgspec.Struct, frozen=True, kw_only=True):
    """Everything declared of one device."""

    device: str
    product: str
    made_from: str
    services: tuple[Statement, ...]
    rules: tuple[Statement, ...]


_SERVICES = (
    ("EiRegisterParty over HTTP pull", ("N1_",)),
    ("EiRegisterParty over HTTP push", ("N0_",)),
    ("EiEvent over HTTP pull", ("E1_", "A_E3_", "A_E1_")),
    ("EiEvent over HTTP push", ("E0_", "A_E2_", "A_E0_")),
    ("EiOpt over HTTP pull", ("P1_",)),
    ("EiOpt over HTTP push", ("P0_",)),
    ("EiReport over HTTP pull", ("R1_",)),
    ("EiReport over HTTP push", ("R0_",)),
    ("OadrPoll and TLS", ("G1_",)),
    ("TLS with push", ("G0_",)),
    ("XML signatures", ("X_514",)),
    ("Mutual TLS 1.2", ("G1_4005", "G1_4010", "G0_9005", "G0_9010")),
    ("Signal ELECTRICITY_PRICE/price", ("E1_1020", "E0_6020")),
    ("Signal LOAD_DISPATCH/setpoint", ("E1_1025", "E0_6025")),
    ("Signal SIMPLE beside another", ("E1_1040", "E0_6040")),
    ("Baseline", ("E1_1027", "E0_6027")),
    ("Report METADATA", ("R1_3070", "R1_3080", "R1_3090", "R0_8070", "R0_8080", "R0_8090")),
    ("Report TELEMETRY_STATUS", ("R1_3010", "R1_3020", "R0_8010", "R0_8020")),
    ("Report TELEMETRY_USAGE", ("R1_3150", "R1_3160", "R0_8150", "R0_8160")),
    ("Report HISTORY_USAGE", ("R1_3130", "R1_3140", "R0_8130", "R0_8140")),
)
"""Item of the PICS -> how the names of its tests begin."""


def pics_of(run: Run) -> Pics:
    """What the run shows of each service and each rule that lies on the device."""
    return Pics(
        device=run.device,
        product=run.product,
        made_from=f"a run of {run.started_at} at scale {run.scale:g}: {run.passed} passed, "
        f"{run.failed} failed, {run.not_run} not run",
        services=tuple(_service(run, name, prefixes) for name, prefixes in _SERVICES),
        rules=tuple(_rule(run, number) for number in RULES if _lies_on(number, run.device)),
    )


def _lies_on(number: int, device: str) -> bool:
    return RULES[number].who in ("both", device.upper())


def _service(run: Run, name: str, prefixes: tuple[str, ...]) -> Statement:
    tests = [test for test in run.tests if test.name.startswith(prefixes)]
    passed = tuple(test.name for test in tests if test.outcome is Outcome.PASSED)
    failed = tuple(test.name for test in tests if test.outcome is Outcome.FAILED)
    left = [test for test in tests if test.outcome is Outcome.NOT_RUN]
    return Statement(
        item=name,
        demand=f"{len(tests)} tests",
        support=_support(passed, failed),
        passed=passed,
        failed=failed,
        note=f"not run: {left[0].seen}" if left and not passed and not failed else "",
    )


def _rule(run: Run, number: int) -> Statement:
    """A rule that only message checks look for is shown by tests in which such messages came."""
    rule = RULES[number]
    passed, failed = [], []
    for test in run.tests:
        broken = {finding.rule for finding in test.findings}
        if number in broken:
            failed.append(test.name)
        elif number in test.rules and test.outcome is Outcome.PASSED:
            passed.append(test.name)
    if not passed and not failed and not pinned()[number]:
        passed = _by_checks(run, number)
    return Statement(
        item=f"rule {number}",
        demand=rule.demand,
        support="not visible" if rule.unseen else _support(passed, failed),
        passed=tuple(passed),
        failed=tuple(failed),
        note=rule.unseen,
    )


def _by_checks(run: Run, number: int) -> list[str]:
    prefixes = tuple(
        prefix
        for one in CHECKS
        if one.rule == number
        for prefix in ([_SAID_IN[SERVICE_OF[kind]] for kind in one.kinds] or [("",)])
    )
    fitting = tuple(letters for group in prefixes for letters in group)
    return [
        test.name
        for test in run.tests
        if fitting and test.name.startswith(fitting) and test.outcome is Outcome.PASSED
    ]


_SAID_IN = {
    EVENT: ("E", "A_E"),
    REPORT: ("R",),
    OPT: ("P",),
    REGISTER: ("N",),
    POLL: ("G",),
}
"""Service -> how the names of tests begin in which its messages come in."""


def _support(passed: Iterable[str], failed: Iterable[str]) -> str:
    if any(True for _ in failed):
        return "no"
    return "yes" if any(True for _ in passed) else "not shown"


def to_markdown(pics: Pics) -> str:
    """The PICS for people."""
    lines = [
        f"# PICS: {pics.product} ({pics.device.upper()}), OpenADR 2.0b",
        "",
        f"Filled by oadr-conformance from {pics.made_from}.",
        "Not tested, and so not declared: XMPP, and the 2.0a profile.",
        "A line says yes only where a test that pins it ran and passed. Names that end in (signed)",
        "are of tests repeated with XML signatures, and all but X_HTTP_... are: what those send is",
        "refused before any signature is looked at.",
        "",
    ]
    for title, statements in (("Services", pics.services), ("Rules", pics.rules)):
        lines += [f"## {title}", "", "| item | demand | support | tests |", "|---|---|---|---|"]
        lines += [
            f"| {one.item} | {_cell(one.demand)} | {one.support} | {_cell(_tests(one))} |"
            for one in statements
        ]
        lines.append("")
    return "\n".join(lines)


def _tests(one: Statement) -> str:
    if one.failed:
        return "failed: " + ", ".join(one.failed)
    shown = ", ".join(one.passed[:6]) + (" ..." if len(one.passed) > 6 else "")
    return shown or one.note


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def write(run: Run, folder: Path, stem: str) -> None:
    """`STEM-pics.md` and `STEM-pics.json` beside the results."""
    pics = pics_of(run)
    (folder / f"{stem}-pics.md").write_text(to_markdown(pics), encoding="utf-8")
    encoded = msgspec.json.format(msgspec.json.encode(pics), indent=2)
    (folder / f"{stem}-pics.json").write_bytes(encoded + b"\n")


def checked() -> dict[int, list[str]]:
    """Rules that the message checks look for in every payload of every test -> their names."""
    found: dict[int, list[str]] = {}
    for one in CHECKS:
        found.setdefault(one.rule, []).append(one.name)
    return found


def pinned() -> dict[int, list[Test]]:
    """Every rule -> the tests that name it, of both devices."""
    found: dict[int, list[Test]] = {number: [] for number in RULES}
    for test in (*VTN_TESTS.values(), *VEN_TESTS.values()):
        for number in test.rules:
            found[number].append(test)
    return found
