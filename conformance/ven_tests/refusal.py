# SPDX-License-Identifier: Apache-2.0
"""Events that a VEN must refuse, each with its code, and without losing the good ones beside."""

from dataclasses import replace

from conformance import drafts
from conformance.declaration import ven_test
from conformance.errors import NotRun, expect
from conformance.ven_bench import VenBench
from conformance.ven_tests.event import answer_to, answered
from oadr.event import Event
from oadr.target import Target
from oadr.units import power
from oadr.vocabulary import OptType, SignalType

OUT = OptType.OPT_OUT


async def refused(bench: VenBench, event: Event, code: str, rule: int) -> None:
    """The event is answered with the code and optOut."""
    await answered(bench, event, opt=OUT, code=code, rule=rule)


@ven_test(
    pull="X_48_CONTEXT",
    title="A market context that the VEN takes no part in: 462",
    rules=(48, 33),
)
async def foreign_context(bench: VenBench) -> None:
    event = replace(bench.price_event(), market_context="http://market.example/foreign")
    await refused(bench, event, "462", 48)


@ven_test(pull="X_22_OTHER", title="An event for another VEN: 462", rules=(22, 48))
async def another_ven(bench: VenBench) -> None:
    event = replace(bench.price_event(), target=Target(ven_ids=("another-ven",)))
    await refused(bench, event, "462", 22)


@ven_test(pull="X_112_RESOURCE", title="A resource that the VEN does not have", rules=(112, 48))
async def foreign_resource(bench: VenBench) -> None:
    if not bench.resources:
        raise NotRun("the VEN names no resources")
    target = Target(resource_ids=("no-such-resource",))  # a venID beside it would be OR-ed
    event = replace(bench.price_event(), target=target)
    found = await answered(bench, event, opt=None, code="4xx", rule=112)
    expect(
        found.response_code in ("462", "469"),
        rule=112,
        seen=f"responseCode {found.response_code}",
        wanted="469, or 462 for a target that does not fit",
    )


@ven_test(
    pull="X_22_OR",
    title="Several criteria in a target: one that fits is enough",
    rules=(22,),
)
async def one_that_fits(bench: VenBench) -> None:
    if not bench.resources:
        raise NotRun("the VEN names no resources")
    target = Target(resource_ids=("no-such-resource", bench.resources[0]))
    await answered(bench, replace(bench.price_event(), target=target), rule=22)


@ven_test(pull="X_109_SIGNAL", title="A signal that nobody knows: 460", rules=(109, 48))
async def unknown_signal(bench: VenBench) -> None:
    signal = drafts.signal("x-NO_SUCH_SIGNAL", SignalType.LEVEL, [1], [bench.span(5)])
    await refused(bench, bench.draft([signal]), "460", 109)


@ven_test(pull="X_109_UNIT", title="A known signal in an impossible unit: 460", rules=(109, 48))
async def wrong_unit(bench: VenBench) -> None:
    signal = drafts.signal("ELECTRICITY_PRICE", SignalType.PRICE, [3.14], [bench.span(5)], power())
    await refused(bench, bench.draft([signal]), "460", 109)


@ven_test(pull="X_116_TYPE", title="SIMPLE with another type than level", rules=(116, 109))
async def simple_of_another_type(bench: VenBench) -> None:
    signal = drafts.signal("SIMPLE", SignalType.SETPOINT, [1], [bench.span(5)])
    await refused(bench, bench.draft([signal]), "4xx", 116)


@ven_test(pull="X_48_LEVEL", title="SIMPLE with the level 7", rules=(33, 48))
async def level_seven(bench: VenBench) -> None:
    await refused(bench, bench.simple_event(7), "4xx", 48)


@ven_test(
    pull="X_48_LENGTH",
    title="Intervals that do not fill the active period",
    rules=(33, 48),
)
async def short_intervals(bench: VenBench) -> None:
    event = bench.price_event()
    await refused(bench, replace(event, duration=2 * event.duration), "4xx", 48)


@ven_test(
    pull="X_19_MIXED",
    title="A faulty event beside a good one: each gets its own answer",
    rules=(19, 62),
)
async def mixed(bench: VenBench) -> None:
    good = bench.price_event()
    bad = replace(
        bench.price_event(starts_at=good.starts_at + 2 * good.duration),
        market_context="http://market.example/foreign",
    )
    since = bench.vtn.mark()
    await bench.vtn.distribute(bad, good)
    await answer_to(bench, good, rule=19, since=since)
    await answer_to(bench, bad, opt=OUT, code="462", rule=19, since=since)
