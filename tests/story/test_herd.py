"""A VTN is killed under sixty VENs: each of them is answered again, and rightly."""

from datetime import UTC, datetime

from bench.conversation import introduce
from bench.herd import come_back
from bench.servers import Ours
from bench.stage import Stage

VENS = 60


async def test_every_ven_is_answered_again_after_a_restart(tmp_path):
    async with Ours(Stage(tmp_path / "stage"), openadr={"poll_interval_s": 1}) as vtn:
        sites = vtn.stage.sites(VENS)
        await introduce(vtn, sites, now=datetime.now(UTC))
        found = await come_back(
            vtn, sites, interval_s=1.0, down_s=1.0, watch_s=2.0, patience_s=60.0, crowd=False
        )

    assert found.all_answered_s is not None
    assert found.wrong == 0
    assert sum(window.polls for window in found.windows) >= VENS
