# SPDX-License-Identifier: Apache-2.0
"""The VEN's certificate is replaced while an event runs: first at the VTN or first at the site.

The VEN is restarted with the new one. What it cannot report in between waits in the node's ring.
"""

import time

from chaos.field import REDUCED_W, Field, field_house, opened
from chaos.trial import Bench, Trial
from chaos.verdict import Outcome, outcome
from vtn.operations.bodies import NewCertificate
from vtn.views import Ven

RUNS = 2
_BETWEEN_S = (2.0, 6.0)
_EVENT_S = 40
_REGISTER_AGAIN_S = 1
"""A VEN that the VTN does not know yet asks again after this; 60 s unless the installer says so."""


def _replaced(bench: Bench) -> Outcome:
    runs = bench.times(RUNS)
    recoveries: list[float] = []
    house = field_house(bench)
    settings = house.folder / "ven.toml"
    patience = f"[vtn]\nregister_again_s = {_REGISTER_AGAIN_S}"
    settings.write_text(settings.read_text().replace("[vtn]", patience))
    with opened(house) as site:
        for number in range(runs):
            site.publish(starts_in_s=3, duration_s=_EVENT_S)
            site.house.wait("the load falls", lambda: site.reduction_w() > REDUCED_W)
            between_s = bench.chance.uniform(*_BETWEEN_S)
            recoveries.append(
                _replace(site, number, between_s=between_s, vtn_first=number % 2 == 0)
            )
            site.wait_until_settled()
            bench.say(number + 1, runs)
        missing = site.missing_ticks()
        verdict = site.judge()
    return outcome(
        bench.name,
        verdict,
        runs=len(recoveries),
        wanted=runs,
        recoveries_s=recoveries,
        remarks=[f"the node has no row at {at:.0f}" for at in missing],
    )


def _replace(site: Field, number: int, *, between_s: float, vtn_first: bool) -> float:
    """One replacement; how long after the last step readings were acknowledged again."""
    house = site.house
    new = house.authority.ven(f"{house.ven_id}-{number}")
    settings = house.folder / "ven.toml"
    old = house.ven_cert
    fresh = settings.read_text().replace(str(old.certificate), str(new.certificate))
    settings.write_text(fresh.replace(str(old.key), str(new.key)))
    house.ven_cert = new
    body = NewCertificate(certificate=new.certificate.read_text())

    def at_the_vtn() -> None:
        house.operator.post("vens", house.ven_id, "certificate", into=Ven, body=body)

    def at_the_site() -> None:
        house.ven.stop()
        house.ven.start()

    first, second = (at_the_vtn, at_the_site) if vtn_first else (at_the_site, at_the_vtn)
    first()
    time.sleep(between_s)
    before = site.acknowledged()
    second()
    return site.recovery_s(time.monotonic(), site.acknowledged, above=before)


TRIALS = (
    Trial(
        name="field-certificate",
        what="The VEN's certificate is replaced in an event: no reading lost, the event held once",
        run=_replaced,
        budget_s=420,
        usual_s=130,
    ),
)
