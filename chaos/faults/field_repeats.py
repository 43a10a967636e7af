# SPDX-License-Identifier: Apache-2.0
"""Between VEN and light node messages come twice, late, in another order, and the line breaks.

Events run all the time; readings go up as ever, each once, and every event is held once.
"""

import time

from chaos.field import field_house, opened
from chaos.socket_line import SocketLine
from chaos.trial import Bench, Trial
from chaos.verdict import Outcome, outcome

_SECONDS = 90.0


def _repeated(bench: Bench) -> Outcome:
    house = field_house(bench)
    settings = house.folder / "ven.toml"
    settings.write_text(settings.read_text().replace("light-node.sock", "line.sock"))
    node = house.folder / "light-node.sock"
    with (
        SocketLine(house.folder / "line.sock", node, seed=bench.seed) as line,
        opened(house) as site,
    ):
        seconds = _SECONDS * bench.scale
        begun = time.monotonic()
        while (passed_s := time.monotonic() - begun) < seconds:
            site.keep_busy()
            time.sleep(0.5)
            bench.say(int(passed_s), int(seconds))
        site.wait_until_settled()
        verdict = site.judge()
    return outcome(
        bench.name,
        verdict,
        runs=line.repeated + line.overtaken + line.broken,
        measured={
            "messages": line.passed,
            "repeated": line.repeated,
            "overtaken": line.overtaken,
            "broken": line.broken,
            "events": len(site.orders),
        },
    )


TRIALS = (
    Trial(
        name="field-repeats",
        what="Messages between VEN and node twice, late, in another order, or cut: nothing twice",
        run=_repeated,
        budget_s=300,
        usual_s=140,
    ),
)
