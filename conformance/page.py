# SPDX-License-Identifier: Apache-2.0
"""docs/conformance.md: the last results of ours and of the peers, rule by rule."""

from collections.abc import Sequence

import msgspec

from conformance.outcome import Outcome, Run, run_of
from conformance.pics import Statement, checked, pics_of
from conformance.report import SIGNED
from conformance.rules import RULES
from conformance.side_by_side import compared

NOT_SUPPORTED = """\
Not supported, and not tested: XMPP as a transport (rules 38 in part, 507, 515) and the 2.0a profile
(rules 7, 64, 69, 113, 506). Of the signature algorithms only those with SHA-256 are taken (514).
"""

HEAD = """\
# Conformance to OpenADR 2.0b

Written by `make conformance`; do not edit. An open harness (`oadr-conformance`) played a VEN
against our VTN and a VTN against our VEN, and did the same with the unmodified openleadr 0.5.36.
Tests carry the names of the certification; those that begin with X_ are our own. Every payload that
came in during any test also went through the message checks. Ours were tested by pull and by push,
and all of it once more with XML signatures in both directions, except for the tests X_HTTP_...:
what those send is refused before any signature is looked at. Waits are those of the certification
times the scale; the steps between them are real time. Numbers are those of the Profile
Specification 1.1.
"""

FAIRNESS = """\
A test fails when any payload in it breaks any rule, so one fault of a device can fail many tests:
compare the number of rules, too.
"""

HOW_TO = """\
To test another product, from nothing but its address and certificates:

    oadr-conformance vtn --url https://vtn.example:8443 --ven-id 0042 \\
        --cert ven.crt --key ven.key --ca ca.crt --out results
    oadr-conformance ven --listen 0.0.0.0:8443 --url https://harness.example:8443 \\
        --cert vtn.crt --key vtn.key --ca ca.crt --out results

It prompts a person where the device has to be prepared; a small class does so by itself
(`--adapter module:Class`; conformance/adapters/openleadr_vtn.py is the example to copy). Push is
tested with `--push-listen` or `--push`, signatures with `--sign --device-cert FILE`. Waits are real
time unless `--scale` says otherwise.
"""


def page(vtn: Run, ven: Run, peer_vtn: Run, peer_ven: Run, broken: str = "") -> str:
    """The whole page; `broken` is the account of rules that were broken on purpose."""
    parts = [
        HEAD,
        HOW_TO,
        "## Results\n",
        _counts((*_ways(vtn), *_ways(ven), peer_vtn, peer_ven)),
        "## What is not supported, not kept, or not shown\n",
        NOT_SUPPORTED,
        _open_ends((vtn, ven)),
        "## Rule by rule\n",
        _rules(vtn, ven),
    ]
    if broken:
        parts += ["## Broken on purpose\n", broken]
    parts += [
        "## Side by side: VTN\n",
        compared((*_ways(vtn), peer_vtn)),
        "## Side by side: VEN\n",
        compared((*_ways(ven), peer_ven)),
    ]
    return "\n".join(parts)


def _ways(run: Run) -> tuple[Run, ...]:
    """A run as it was without and with signatures, each test under its plain name."""
    plain = [test for test in run.tests if not test.name.endswith(SIGNED)]
    signed = [
        msgspec.structs.replace(test, name=test.name.removesuffix(SIGNED))
        for test in run.tests
        if test.name.endswith(SIGNED)
    ]
    ways = ((plain, run.product), (signed, f"{run.product}, signed"))
    return tuple(
        run_of(
            tests,
            device=run.device,
            product=product,
            started_at=run.started_at,
            scale=run.scale,
        )
        for tests, product in ways
        if tests
    )


def _counts(runs: Sequence[Run]) -> str:
    lines = [
        "| tested | passed | failed | not run | different rules broken | scale |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for run in runs:
        broken = {finding.rule for test in run.tests for finding in test.findings}
        lines.append(
            f"| {run.product} | {run.passed} | {run.failed} | {run.not_run} | {len(broken)} "
            f"| {run.scale:g} |"
        )
    return "\n".join(lines) + "\n\n" + FAIRNESS


def _open_ends(runs: Sequence[Run]) -> str:
    lines: list[str] = []
    for run in runs:
        lines += [
            f"- {run.product}, {test.name}: {test.seen}"
            for test in run.tests
            if test.outcome is Outcome.FAILED
        ]
        reasons: dict[str, list[str]] = {}
        for test in run.tests:
            if test.outcome is Outcome.NOT_RUN:
                reasons.setdefault(test.seen, []).append(test.name)
        lines += [
            f"- {run.product}: {len(names)} tests not run, {reason} "
            f"({', '.join(names[:3])}{' ...' if len(names) > 3 else ''})"
            for reason, names in reasons.items()
        ]
    lines += [
        f"- rule {rule.number} ({rule.demand}): {rule.unseen}"
        for rule in RULES.values()
        if rule.unseen
    ]
    return "\n".join(lines) + "\n"


def _rules(vtn: Run, ven: Run) -> str:
    ours = {run.device: {one.item: one for one in pics_of(run).rules} for run in (vtn, ven)}
    by_checks = checked()
    lines = ["| rule | demand | VTN | VEN | shown by |", "|---|---|---|---|---|"]
    for number, rule in RULES.items():
        item = f"rule {number}"
        found = [ours[device].get(item) for device in ("vtn", "ven")]
        words = [one.support if one is not None else "-" for one in found]
        names = [name for one in found if one is not None for name in _names(one)]
        if number in by_checks:
            names.append(f"check {', '.join(by_checks[number])}")
        shown = rule.unseen or ", ".join(names)
        demand = rule.demand.replace("|", "/")
        lines.append(f"| {number} | {demand} | {words[0]} | {words[1]} | {shown} |")
    return "\n".join(lines) + "\n"


def _names(one: Statement) -> list[str]:
    if one.failed:
        return [f"**{name}**" for name in one.failed[:4]]
    return list(one.passed[:4])
