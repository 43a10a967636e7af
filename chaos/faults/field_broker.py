# SPDX-License-Identifier: Apache-2.0
"""The site's broker is killed (-9) in an event, and comes back with nothing in its memory.

In every other run the event is called off while the broker is away, and another one begins: what
the EMS hears first when the broker is back must be that one.
"""

import time
from datetime import timedelta

from chaos.field import REDUCED_W, Field, field
from chaos.site import judge_house
from chaos.trial import Bench, Trial
from chaos.verdict import Outcome, Patience, Verdict, outcome

RUNS = 6
_AWAY_S = (2.0, 16.0)
"""At random; where it is longer than a lease (12 s) the load is let go meanwhile."""
_EVENT_S = 60
_LETS_GO_S = 20.0
"""A lease that cannot be taken back, and the lag of the plant."""


def _broker(bench: Bench) -> Outcome:
    runs = bench.times(RUNS)
    recoveries: list[float] = []
    stale = 0
    with field(bench) as site:
        for number in range(runs):
            found_s, wrong = _away(site, bench, is_replaced=number % 2 == 1)
            recoveries.append(found_s)
            stale += wrong
            bench.say(number + 1, runs)
        verdict = judge_house(
            site.house,
            site.orders.values(),
            patience=Patience(settle=timedelta(seconds=_LETS_GO_S), most_times=2),
        )
    remarks = (f"{stale} set-points of an event that was called off were obeyed",) if stale else ()
    return outcome(
        bench.name,
        verdict + Verdict(applied_wrongly=stale, remarks=remarks),
        runs=len(recoveries),
        wanted=runs,
        recoveries_s=recoveries,
        measured={"set_points_obeyed": len(site.obeyed())},
    )


def _away(site: Field, bench: Bench, *, is_replaced: bool) -> tuple[float, int]:
    """One outage; how long after its end the EMS obeyed again, and how often wrongly."""
    house = site.house
    event = site.publish(starts_in_s=2, duration_s=_EVENT_S)
    house.wait("the load falls", lambda: site.reduction_w() > REDUCED_W)
    house.broker.kill()
    away_s = bench.chance.uniform(*_AWAY_S)
    time.sleep(away_s)
    if is_replaced:
        site.cancel(event, known_after_s=1)
        event = site.publish(kw=80, starts_in_s=0, duration_s=_EVENT_S)
        time.sleep(4)  # the plan reaches the node
    last_before = max((seq for seq, _ in site.obeyed()), default=0)
    house.broker.start()
    back_at = time.monotonic()
    found_s = site.recovery_s(
        back_at, lambda: max((seq for seq, _ in site.obeyed()), default=0), above=last_before
    )
    house.wait("the load is held", lambda: site.reduction_w() > REDUCED_W)
    wrong = sum(of != event.event_id for _, of in site.obeyed(after=last_before))
    site.cancel(event, known_after_s=1)
    house.wait("the load is let go", lambda: site.reduction_w() < REDUCED_W)
    time.sleep(2)
    return found_s, wrong


TRIALS = (
    Trial(
        name="field-broker-killed",
        what="Broker killed -9 in an event: what is in force reaches the EMS in 3 s, nothing stale",
        run=_broker,
        budget_s=400,
        usual_s=160,
    ),
)
