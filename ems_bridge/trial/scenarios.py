# SPDX-License-Identifier: Apache-2.0
"""The scenarios, each one promise of docs/topics.md: what the EMS must, or should, do.

A scenario begins with the load let go and returns where the EMS keeps the promise. It raises Wrong
where it does not, and NotShown where that cannot be seen from here.
"""

import asyncio
import itertools
import statistics
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from ems_bridge.messages import (
    MAX_BYTES,
    Acknowledgement,
    AckStatus,
    EmsStatus,
    Heartbeat,
    SetPoint,
    encode,
)
from ems_bridge.trial.stage import ANSWER_S, BEAT_S, NEVER, NotShown, Stage, Wrong

Act = Callable[[Stage], Awaitable[None]]
Weight = Literal["must", "should"]

SHORT_S = 4.0
"""A lease that is to run out."""
LATE_S = 2.0
"""An end that is said so much later is still in time."""
AWAY_S = 3.0
BACK_S = 15.0
"""An EMS is to be back so soon after the broker is."""
SKEW_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One promise."""

    name: str
    weight: Weight
    promise: str
    act: Act


SCENARIOS: dict[str, Scenario] = {}
"""By name, in the order in which they are played."""


def _promise(name: str, promise: str, *, weight: Weight = "must") -> Callable[[Act], Act]:
    def note(act: Act) -> Act:
        SCENARIOS[name] = Scenario(name=name, weight=weight, promise=promise, act=act)
        return act

    return note


# --- being there ----------------------------------------------------------------------------------


@_promise("status", "Its status stands retained on its topic: online.")
async def _status(stage: Stage) -> None:
    topic = stage.topics.ems_status(stage.settings.ems)
    if not await stage.until(lambda: bool(stage.statuses()), within_s=BACK_S):
        raise Wrong(f"it says nothing on {topic}; is an EMS of this name there?")
    message = stage.statuses()[-1].message
    assert isinstance(message, EmsStatus)
    if message.state != "online":
        raise Wrong(f"its status says {message.state}, not online.")
    if not await stage.stands_retained(topic):
        raise Wrong("its status is not retained: who joins later does not see it.")


# --- a lease, from order to release ---------------------------------------------------------------


@_promise("accept", "A set-point is ACCEPTED at once, under its id and seq.")
async def _accept(stage: Stage) -> None:
    await stage.answer(await stage.send(stage.lease()), AckStatus.ACCEPTED, but_not=NEVER)


@_promise("progress", "STARTED when the load moves, SUCCEEDED when it is there, in this order.")
async def _progress(stage: Stage) -> None:
    lease = await stage.send(stage.lease())
    await stage.obeyed(lease)
    said = [one.status for one in stage.answers(lease)]
    order = [AckStatus.ACCEPTED, AckStatus.STARTED, AckStatus.SUCCEEDED]
    if list(dict.fromkeys(said)) != order:
        raise Wrong(f"it says {', '.join(said)}; ACCEPTED, STARTED, SUCCEEDED belong there.")


@_promise("applied", "SUCCEEDED says in applied_w what is held, in the terms of the order.")
async def _applied(stage: Stage) -> None:
    lease = await stage.send(stage.lease())
    answer = await stage.obeyed(lease)
    assert lease.delta_w is not None
    if answer.applied_w is None or abs(answer.applied_w - lease.delta_w) > stage.step_w * 0.1:
        raise Wrong(f"applied_w is {answer.applied_w} where delta_w was {lease.delta_w:.0f}.")


@_promise("moves the load", "The load really moves by what is said, and comes back.")
async def _moves(stage: Stage) -> None:
    lease = await stage.send(stage.lease())
    await stage.obeyed(lease)
    await stage.reduction(stage.step_w, within_s=stage.patience_s)
    await stage.send(stage.release(lease))
    await stage.reduction(0.0, within_s=stage.patience_s)


@_promise("release", "A release ends the lease: ACCEPTED, then SUCCEEDED.")
async def _release(stage: Stage) -> None:
    lease = await stage.send(stage.lease())
    await stage.answer(lease, AckStatus.ACCEPTED, but_not=NEVER)
    await stage.obeyed(await stage.send(stage.release(lease)))


@_promise("release of nothing", "A release that comes late or twice is obeyed without complaint.")
async def _release_of_nothing(stage: Stage) -> None:
    lease = await stage.send(stage.lease())
    await stage.answer(lease, AckStatus.ACCEPTED, but_not=NEVER)
    for _ in range(2):
        await stage.obeyed(await stage.send(stage.release(lease)))


@_promise("limit", "A limit (max_w) is understood as well as a change (delta_w).")
async def _limit(stage: Stage) -> None:
    limit_w = stage.settings.rated_w * 1.0
    answer = await stage.obeyed(await stage.send(stage.lease(max_w=limit_w)))
    if answer.applied_w is None or abs(answer.applied_w - limit_w) > stage.settings.rated_w * 0.02:
        raise Wrong(f"applied_w is {answer.applied_w} where max_w was {limit_w:.0f}.")


@_promise("zero is a limit", "max_w = 0 forbids consumption; it is not the same as no limit.")
async def _zero(stage: Stage) -> None:
    lease = await stage.send(stage.lease(max_w=0.0))
    wanted = (AckStatus.ACCEPTED, AckStatus.REJECTED)
    answer = await stage.answer(lease, *wanted)
    if answer.status is AckStatus.ACCEPTED and answer.applied_w not in (None, 0.0):
        raise Wrong(f"it takes max_w = 0 for {answer.applied_w} W.")
    if answer.status is AckStatus.ACCEPTED and answer.applied_w is None:
        later = await stage.answer(lease, AckStatus.SUCCEEDED, within_s=stage.patience_s * 4)
        if later.applied_w is None:
            raise Wrong("it takes max_w = 0 for no limit: applied_w stays null.")


@_promise("ramp", "The load moves no faster than ramp_w_per_s.")
async def _ramp(stage: Stage) -> None:
    lease = await stage.send(stage.lease(ramp_w_per_s=stage.step_w / 3))
    await stage.answer(lease, AckStatus.STARTED, within_s=stage.patience_s, but_not=NEVER)
    begun_s = stage.monotonic()
    await stage.answer(lease, AckStatus.SUCCEEDED, within_s=stage.patience_s + 3, but_not=NEVER)
    if stage.monotonic() - begun_s < 1.5:
        raise Wrong("it is there in half of the time that the ramp allows.")


@_promise("not yet", "What begins later is accepted at once and not begun before not_before.")
async def _not_yet(stage: Stage) -> None:
    lease = await stage.send(stage.lease(begins_in_s=SHORT_S))
    await stage.answer(lease, AckStatus.ACCEPTED, but_not=NEVER)
    await stage.answer(lease, AckStatus.STARTED, within_s=SHORT_S + stage.patience_s, but_not=NEVER)
    heard_at = next(
        one.at
        for one in stage.heard
        if isinstance(one.message, Acknowledgement)
        and (one.message.seq, one.message.status) == (lease.seq, AckStatus.STARTED)
    )
    if heard_at < lease.not_before:
        early_s = (lease.not_before - heard_at).total_seconds()
        raise Wrong(f"it begins {early_s:.1f} s before not_before.")


# --- order ----------------------------------------------------------------------------------------


@_promise("duplicate", "The same id and seq again: the latest answer again, and nothing changes.")
async def _duplicate(stage: Stage) -> None:
    lease = await stage.send(stage.lease())
    await stage.obeyed(lease)
    count = len(stage.answers(lease))
    await stage.send(lease)
    if not await stage.until(lambda: len(stage.answers(lease)) > count, within_s=ANSWER_S):
        raise Wrong("it does not answer a set-point that comes again: its answer may be lost.")
    again = stage.answers(lease)[-1]
    if again.status is not AckStatus.SUCCEEDED:
        raise Wrong(f"it answers {again.status} where its latest answer was SUCCEEDED.")


@_promise("replay", "A seq that is not newer is REJECTED, and what is in hand stays.")
async def _replay(stage: Stage) -> None:
    older = stage.lease()
    lease = await stage.send(stage.lease())
    await stage.obeyed(lease)
    await stage.say(stage.topics.limit_cmd, encode(older))
    await stage.refused(older)
    await stage.keeps(lease, for_s=1.0)


@_promise("refresh", "The same id with a newer seq goes on from where the load is.")
async def _refresh(stage: Stage) -> None:
    lease = await stage.send(stage.lease(ttl_s=SHORT_S + 2))
    await stage.obeyed(lease)
    fresh = await stage.send(stage.lease(id=lease.id))
    await stage.obeyed(fresh)
    if any(one.status in NEVER for one in stage.answers(lease)):
        raise Wrong("it gives the lease up that is only refreshed.")
    await stage.keeps(fresh, for_s=SHORT_S)


@_promise("replace", "A lease with another id takes the place of the one in hand: that is REVOKED.")
async def _replace(stage: Stage) -> None:
    lease = await stage.send(stage.lease())
    await stage.answer(lease, AckStatus.ACCEPTED, but_not=NEVER)
    await stage.answer(await stage.send(stage.lease()), AckStatus.ACCEPTED, but_not=NEVER)
    await stage.answer(lease, AckStatus.REVOKED)


# --- a lease ends by itself -----------------------------------------------------------------------


async def _runs_out(stage: Stage, lease: SetPoint, *, after_s: float) -> None:
    """An unreached lease is ABORTED when it runs out, and not before."""
    begun_s = stage.monotonic()
    await stage.answer(lease, AckStatus.ACCEPTED, but_not=NEVER)
    await stage.answer(lease, AckStatus.ABORTED, within_s=after_s + LATE_S)
    took_s = stage.monotonic() - begun_s
    if took_s < after_s - 1.0:
        raise Wrong(f"it gives the lease up after {took_s:.1f} s; it lasts {after_s:g} s.")


@_promise("expired", "A lease that has run out before it arrives is REJECTED.")
async def _expired(stage: Stage) -> None:
    await stage.refused(await stage.send(stage.lease(clock_s=-30.0), state=False))


@_promise("runs out", "A lease that is not refreshed ends by itself: ABORTED if not reached.")
async def _expiry(stage: Stage) -> None:
    await _runs_out(stage, await stage.send(stage.slow_lease(ttl_s=SHORT_S)), after_s=SHORT_S)


@_promise("clock behind", "ttl_s ends the lease where not_after is far: the node's clock is ahead.")
async def _ttl(stage: Stage) -> None:
    lease = await stage.send(stage.slow_lease(ttl_s=SHORT_S, clock_s=3600.0))
    await _runs_out(stage, lease, after_s=SHORT_S)


@_promise("clock ahead", "not_after ends the lease where ttl_s is longer: whichever is first.")
async def _not_after(stage: Stage) -> None:
    lease = await stage.send(stage.slow_lease(ttl_s=3600.0, clock_s=SHORT_S))
    await _runs_out(stage, lease, after_s=SHORT_S)


@_promise("lets go", "When a lease that was reached runs out, the load is let go.")
async def _lets_go(stage: Stage) -> None:
    if stage.plant is None:
        raise NotShown("the load itself is not looked at; give its port with --plant.")
    await stage.obeyed(await stage.send(stage.lease(ttl_s=stage.patience_s + SHORT_S)))
    await stage.reduction(stage.step_w, within_s=1.0)
    await stage.reduction(0.0, within_s=2 * stage.patience_s + SHORT_S + LATE_S)


@_promise("node lost", "When the node dies the lease runs to its end: no earlier, no later.")
async def _node_lost(stage: Stage) -> None:
    lease = await stage.send(stage.slow_lease(ttl_s=SHORT_S))
    await stage.say_node("lost")
    try:
        await _runs_out(stage, lease, after_s=SHORT_S)
    finally:
        await stage.say_node("online")


# --- nonsense -------------------------------------------------------------------------------------


@_promise("too much", "More than the plant is rated for is REJECTED, or clamped and said so.")
async def _too_much(stage: Stage) -> None:
    asked_w = -3 * stage.settings.rated_w
    lease = await stage.send(stage.lease(delta_w=asked_w), state=False)
    answer = await stage.answer(lease, AckStatus.REJECTED, AckStatus.ACCEPTED)
    if answer.status is AckStatus.ACCEPTED:
        end = await stage.answer(
            lease, AckStatus.SUCCEEDED, AckStatus.ABORTED, within_s=stage.patience_s * 10
        )
        if end.applied_w is not None and end.applied_w < -1.02 * stage.settings.rated_w:
            raise Wrong(f"it claims to hold {end.applied_w:.0f} W of change.")


@_promise("nonsense changes nothing", "What is rejected leaves the lease in hand as it is.")
async def _nonsense(stage: Stage) -> None:
    lease = await stage.send(stage.lease())
    await stage.obeyed(lease)
    bad = stage.lease(clock_s=-30.0)
    await stage.say(stage.topics.limit_cmd, encode(bad))
    await stage.refused(bad)
    await stage.keeps(lease, for_s=1.0)


async def _survives(stage: Stage, *payloads: bytes) -> None:
    for payload in payloads:
        await stage.say(stage.topics.limit_cmd, payload)
    await stage.still_obeys()


def _altered(order: SetPoint, changes: Mapping[str, object]) -> bytes:
    """A set-point that `encode` would refuse."""
    return msgspec.json.encode({**msgspec.json.decode(encode(order)), **changes})


@_promise("malformed JSON", "Broken JSON, other bytes and other JSON do it no harm.")
async def _malformed(stage: Stage) -> None:
    good = encode(stage.lease())
    await _survives(
        stage,
        good[: len(good) // 2],
        b"\xff\xfe\x00",
        b"",
        b"null",
        b"[]",
        b"42",
        b"{}",
        b"{" * 500,
    )


@_promise("no number", "NaN, Infinity and text in the place of a number are not obeyed.")
async def _no_number(stage: Stage) -> None:
    for bad in (b"NaN", b"Infinity", b'"-5000"', b"1e999"):
        lease = stage.lease(delta_w=-1234.5)
        await stage.say(stage.topics.limit_cmd, encode(lease).replace(b"-1234.5", bad))
        await _not_obeyed(stage, lease)
    await stage.still_obeys()


@_promise("unknown schema", "A message of another schema is not obeyed.")
async def _schema(stage: Stage) -> None:
    lease = stage.lease()
    await stage.say(stage.topics.limit_cmd, _altered(lease, {"schema": "df/v9/setpoint"}))
    await _not_obeyed(stage, lease)
    await stage.still_obeys()


@_promise("two targets", "A set-point with a change and a limit, or with none, is not obeyed.")
async def _two_targets(stage: Stage) -> None:
    for changes in ({"max_w": 1000.0}, {"delta_w": None}):
        lease = stage.lease()
        await stage.say(stage.topics.limit_cmd, _altered(lease, changes))
        await _not_obeyed(stage, lease)
    await stage.still_obeys()


@_promise("too long", "A message of more than 64 kB is not obeyed and does no harm.")
async def _too_long(stage: Stage) -> None:
    lease = stage.lease()
    reason = {"event_id": "x" * MAX_BYTES, "modification_number": 0}
    words = {"signal_name": "TRIAL", "signal_type": "x"}
    await stage.say(stage.topics.limit_cmd, _altered(lease, {"reason": {**reason, **words}}))
    await _not_obeyed(stage, lease)
    await stage.still_obeys()


async def _not_obeyed(stage: Stage, lease: SetPoint) -> None:
    """Neither accepted nor begun; REJECTED is welcome. Raises Wrong."""

    def taken() -> bool:
        return any(one.status is not AckStatus.REJECTED for one in stage.answers(lease))

    if await stage.until(taken, within_s=1.0):
        raise Wrong(f"it answers {stage.answers(lease)[0].status}.")


# --- opting out, coming late, coming back ---------------------------------------------------------


@_promise("override", "An override on its topic ends the lease (ABORTED) and refuses the next.")
async def _override(stage: Stage) -> None:
    lease = await stage.send(stage.lease())
    await stage.answer(lease, AckStatus.ACCEPTED, but_not=NEVER)
    try:
        await stage.override(active=True)
        await stage.answer(lease, AckStatus.ABORTED)
        await stage.refused(await stage.send(stage.lease(), state=False))
    finally:
        await stage.override(active=False)
    await asyncio.sleep(0.5)
    await stage.still_obeys()


@_promise("last will", "When its connection breaks, the broker says for it: lost.")
async def _last_will(stage: Stage) -> None:
    count = len(stage.statuses())
    stage.cut()
    try:
        await asyncio.sleep(AWAY_S)
        said = stage.statuses()[count:]
    finally:
        stage.mend()
    if not any(isinstance(one.message, EmsStatus) and one.message.state == "lost" for one in said):
        raise Wrong("the broker says nothing for it; set a last will (under MQTT 5 without delay).")
    await _back(stage, count)


@_promise("reconnect", "It comes back by itself, says online, and obeys again.")
async def _reconnect(stage: Stage) -> None:
    count = len(stage.statuses())
    stage.cut()
    await asyncio.sleep(AWAY_S)
    stage.mend()
    await _back(stage, count)
    await stage.still_obeys()


@_promise("outage", "A lease in hand outlives a short break of the line.")
async def _outage(stage: Stage) -> None:
    lease = await stage.send(stage.lease())
    await stage.obeyed(lease)
    count = len(stage.statuses())
    stage.cut()
    await asyncio.sleep(AWAY_S)
    stage.mend()
    await _back(stage, count)
    await stage.keeps(lease, for_s=1.0)


@_promise("late join", "The lease retained on limit/state is obeyed by an EMS that joins late.")
async def _late_join(stage: Stage) -> None:
    count = len(stage.statuses())
    stage.cut()
    lease = stage.lease()
    await stage.say(stage.topics.limit_state, encode(lease), retain=True)
    await asyncio.sleep(1.0)
    stage.mend()
    await _back(stage, count)
    obeyed = (AckStatus.ACCEPTED, AckStatus.STARTED, AckStatus.SUCCEEDED)
    await stage.answer(lease, *obeyed, within_s=BACK_S, but_not=NEVER)
    await stage.send(stage.release(lease))


@_promise("late join, too late", "A retained lease that has run out is let be.")
async def _too_late_join(stage: Stage) -> None:
    count = len(stage.statuses())
    stage.cut()
    lease = stage.lease(clock_s=-10.0)
    await stage.say(stage.topics.limit_state, encode(lease), retain=True)
    await asyncio.sleep(1.0)
    stage.mend()
    await _back(stage, count)
    await _not_obeyed(stage, lease)
    await stage.say(stage.topics.limit_state, b"", retain=True)


async def _back(stage: Stage, count: int) -> None:
    """It says online again. Raises Wrong."""

    def back() -> bool:
        return any(
            isinstance(one.message, EmsStatus) and one.message.state == "online"
            for one in stage.statuses()[count:]
        )

    if not await stage.until(back, within_s=BACK_S):
        raise Wrong(f"it is not back within {BACK_S:g} s after the broker is.")


# --- over the whole trial -------------------------------------------------------------------------


@_promise("heartbeat", "It beats every 10 s, and its counter rises.")
async def _heartbeat(stage: Stage) -> None:
    def beats() -> list[Heartbeat]:
        return [one.message for one in stage.heard if isinstance(one.message, Heartbeat)]

    await stage.until(lambda: len(beats()) >= 2, within_s=2 * BEAT_S + ANSWER_S)
    counters = [one.counter for one in beats()]
    if len(counters) < 2:
        raise Wrong(f"{len(counters)} signs of life within {2 * BEAT_S + ANSWER_S:g} s.")
    if any(later <= earlier and later != 0 for earlier, later in itertools.pairwise(counters)):
        raise Wrong("its counter does not rise.")


@_promise(
    "well-formed", "Everything it has said is as docs/topics.md has it; answers not retained."
)
async def _well_formed(stage: Stage) -> None:
    for one in stage.heard:
        if one.refused:
            raise Wrong(f"on {one.topic}: {one.refused}")
    if await stage.stands_retained(stage.topics.ems_ack(stage.settings.ems)):
        raise Wrong("its answers are retained: who joins later takes an old one for a new.")


@_promise("clock", "Its clock is right: answers bear the time they were given at.", weight="should")
async def _clock(stage: Stage) -> None:
    skews = [
        (one.message.at - one.at).total_seconds()
        for one in stage.heard
        if isinstance(one.message, Acknowledgement) and not one.retained
    ]
    if not skews:
        raise NotShown("it has answered nothing.")
    skew_s = statistics.median(skews)  # an answer may be told again later
    if abs(skew_s) > SKEW_S:
        raise Wrong(f"its clock is {skew_s:+.0f} s off; set it by NTP.")
