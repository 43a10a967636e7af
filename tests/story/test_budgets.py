"""What the field programs weigh, by goal 9 of docs/performance.md, as ratios within one run.

Memory is steady. CPU time, by each process's own clock, is the least of five turns on both sides.
On a busy machine the two still do not suffer alike (0.40 to 0.46 was seen where 0.45 is allowed),
so there are three tries: a budget that is really exceeded is exceeded in each of them.
"""

import dataclasses

import pytest

from bench.goals import field
from bench.plan import QUICK, Run
from bench.ratios import Rows
from bench.stage import Stage

TRIES = 3


@pytest.mark.timeout(500)
async def test_the_field_programs_keep_to_their_budgets_of_memory_and_imports(tmp_path):
    for number in range(TRIES):
        run = Run(
            stage=Stage(tmp_path / f"stage-{number}"),
            amounts=dataclasses.replace(QUICK, settle_s=5.0),
            rows=Rows(),
            tell=print,
        )
        await field.measure(run)
        assert [row.goal for row in run.rows.goals] == [9, 9, 9, 9]
        missed = {row.what: f"{row.ratio:.3f}, not {row.target}" for row in run.rows.missed}
        if not missed:
            return

    assert missed == {}
