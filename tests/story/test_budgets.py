"""What the field programs weigh, by goal 9 of docs/performance.md, as ratios within one run.

Memory is steady. Of CPU time, by each process's own clock, the least of five turns is taken, on
both sides: a busy machine only ever adds to it.
"""

import dataclasses

import pytest

from bench.goals import field
from bench.plan import QUICK, Run
from bench.ratios import Rows
from bench.stage import Stage


@pytest.mark.timeout(300)
async def test_the_field_programs_keep_to_their_budgets_of_memory_and_imports(tmp_path):
    run = Run(
        stage=Stage(tmp_path / "stage"),
        amounts=dataclasses.replace(QUICK, settle_s=5.0),
        rows=Rows(),
        tell=print,
    )

    await field.measure(run)

    assert [row.goal for row in run.rows.goals] == [9, 9, 9, 9]
    missed = {row.what: f"{row.ratio:.3f}, not {row.target}" for row in run.rows.missed}
    assert missed == {}
