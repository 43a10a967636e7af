# SPDX-License-Identifier: Apache-2.0
"""Two or more runs in one table: who passes what."""

from collections.abc import Sequence

from conformance.outcome import Outcome, Run

_WORD = {Outcome.PASSED: "pass", Outcome.FAILED: "**FAIL**", Outcome.NOT_RUN: "not run"}


def compared(runs: Sequence[Run]) -> str:
    """A Markdown table: a row per test, a column per product, the counts at its foot."""
    names = list(dict.fromkeys(test.name for run in runs for test in run.tests))
    lines = [
        "| test | " + " | ".join(run.product for run in runs) + " |",
        "|---|" + "---|" * len(runs),
    ]
    for name in names:
        found = [run.result(name) for run in runs]
        title = next((one.title for one in found if one is not None), "")
        cells = [_WORD[one.outcome] if one is not None else "-" for one in found]
        lines.append(f"| {name} {title.replace('|', '/')} | " + " | ".join(cells) + " |")
    counts = [f"{run.passed} pass, {run.failed} fail, {run.not_run} not run" for run in runs]
    lines.append("| **sum** | " + " | ".join(counts) + " |")
    return "\n".join(lines) + "\n"
