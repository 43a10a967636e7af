# SPDX-License-Identifier: Apache-2.0
"""The steering: carries the guard's decisions to the EMS, and the EMS's words back to the guard."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal, Protocol

import msgspec

from doorway import Fault, get_logger
from ems_bridge.bridge import Received
from ems_bridge.errors import BridgeError
from ems_bridge.messages import (
    Acknowledgement,
    AckStatus,
    EmsStatus,
    EventNotice,
    Heartbeat,
    Message,
    Offer,
    Override,
    Sample,
    SetPoint,
)
from ems_bridge.topics import Topics
from light_node.capping import FAILSAFE_EVENT, GridCap
from light_node.disk import Disk
from light_node.effect import Effect
from light_node.local import (
    CapWord,
    EffectState,
    EmsState,
    LeaseState,
    OfferState,
    OverrideState,
    Step,
    WriteState,
)
from light_node.notices import next_change, notices_at
from light_node.plan import Plan
from light_node.quality import is_usable, to_text
from light_node.reading import Reading
from light_node.setpoint import GuardState, Held, Situation, decide, in_words, step_at
from light_node.settings import GuardTable
from light_node.store import Store
from light_node.writing import SetPointLink, Writers

log = get_logger()

HEARTBEAT_S = 10.0
SILENT_AFTER_S = 35.0
"""Three heartbeats of the EMS missed: it is shown as offline."""
NO_ANSWER_AFTER_S = 15.0
"""A lease that is not answered for so long is worth an alert: three tries."""
_LOOK_AT_LEAST_S = 30.0
_OBEYING = (AckStatus.ACCEPTED, AckStatus.STARTED, AckStatus.SUCCEEDED)
_UNITS = {"W": "w", "V": "v", "A": "a", "VA": "va", "var": "var", "Hz": "hz", "Wh": "wh"}


class EmsLink(SetPointLink, Protocol):
    """What the steering needs of the line to the EMS, as a writer and to hear of it."""

    def messages(self) -> AsyncIterator[Received]:
        """What the EMS say; a message may come twice."""

    def connected_changes(self) -> AsyncIterator[bool]:
        """Whether the broker is there, now and at each change."""

    def line_changes(self) -> AsyncIterator[tuple[bool, frozenset[str]]]:
        """Whether nobody listens to set-points, and what the broker denies; now and at changes."""


class Steering:
    """Holds the plan against the clock. Without a link, there is no EMS and nothing is leased."""

    def __init__(
        self,
        *,
        guard: GuardTable,
        store: Store,
        disk: Disk,
        link: EmsLink | None,
        topics: Topics,
        ems: str,
        boot: str,
        now: Callable[[], datetime],
        level_of: Callable[[Step], Awaitable[float | None]],
        changed: Callable[[], None],
        writers: Writers,
        grid_cap: GridCap | None = None,
    ) -> None:
        """`level_of` gives what the building would use now under a step; `changed` tells watchers
        that lease, acknowledgement, override or EMS are no longer what they were. Without writers
        nothing is leased; a link without them is for telling alone.
        """
        self._writers = writers
        self._grid_cap = grid_cap or GridCap(None, now=now)
        self._guard = guard
        self._store = store
        self._disk = disk
        self._link = link
        self._topics = topics
        self._ems = ems
        self._boot = boot
        self._now = now
        self._level_of = level_of
        self._changed = changed
        self._wake = asyncio.Event()
        self._plan = store.plan()
        self._held: Held = store.held()
        self._ack = store.last_acknowledgement()
        obeyed = self._ack is not None and self._ack.status in _OBEYING
        self._acknowledged_seq = self._ack.seq if self._ack is not None and obeyed else 0
        self._overrides = {source: store.override(source) for source in ("ems", "local")}
        self._broker_connected = False
        self._ems_state: EmsStatus | None = None
        self._ems_seen_at: datetime | None = None
        self._ems_shown: bool | None = None
        self._offer: Offer | None = None
        self._unanswered_since: datetime | None = None
        self.unheard = False
        """The broker says that nobody listens to our set-points (known under MQTT 5 alone)."""
        self._denied: frozenset[str] = frozenset()
        self._renew = bool(writers.devices)
        """At the start a device may have let go by itself, or hold what is long over."""
        for device in writers.devices:
            if writers.ems is None:  # else the EMS answers for the building
                device.answered = self._take_device_answer
        self._told: dict[str, tuple[object, ...]] = {}
        self._hindrance = ""
        self._recent: deque[Reading] = deque(maxlen=15)
        self._effect: Effect | None = None
        self._effect_done = ""
        self._samples: asyncio.Queue[Sample] = asyncio.Queue(maxsize=100)

    # --- what others see -----------------------------------------------------------------------

    @property
    def guard_state(self) -> GuardState:
        return self._held.state

    def ems_state(self) -> EmsState:
        return EmsState(
            broker_connected=self._broker_connected,
            online=self._is_ems_online(),
            last_seen_at=self._ems_seen_at,
            offer=self._offer_state(),
        )

    def effect_state(self) -> EffectState | None:
        """What the meter saw of the lease in force, once that can be said."""
        effect = self._effect
        if effect is None or not effect.is_judged:
            return None
        return EffectState(
            event_id=effect.lease.reason.event_id,
            verdict=effect.word,
            target_w=effect.target_w,
            actual_w=effect.actual_w,
            reached_after_s=effect.reached_after_s,
            at=self._now(),
        )

    def write_states(self) -> tuple[WriteState, ...]:
        return tuple(device.state() for device in self._writers.devices)

    @property
    def cap_state(self) -> CapWord:
        """Where the grid cap stands; "" where the site has none."""
        return self._grid_cap.state

    def _offer_state(self) -> OfferState | None:
        offer = self._offer
        if offer is None or offer.valid_until <= self._now():
            return None
        return OfferState(
            down_w=offer.down_w,
            up_w=offer.up_w,
            min_duration_s=offer.min_duration_s,
            max_duration_s=offer.max_duration_s,
            notice_s=offer.notice_s,
            valid_until=offer.valid_until,
        )

    def troubles(self) -> dict[str, str]:
        """What somebody should look at on the line to the EMS: by alert, each in one sentence."""
        found = {}
        if self.unheard:
            found["nobody-listens"] = (
                "The broker says that no EMS listens to set-points; "
                "look whether it runs and subscribes to limit/cmd."
            )
        since = self._unanswered_since
        if since is not None and (self._now() - since).total_seconds() >= NO_ANSWER_AFTER_S:
            found["no-answer"] = (
                f"The EMS {self._ems} has not answered a set-point since {since:%H:%M:%S} UTC; "
                "look whether it runs, and whether the broker's access list lets it and us speak."
            )
        effect = self._effect
        if effect is not None and effect.is_idle_word:
            found["no-effect"] = (
                f"It is said that the set-point is obeyed, but the meter shows "
                f"{effect.actual_w / 1000:,.1f} kW where {effect.target_w / 1000:,.1f} kW were "
                "asked for; look what the EMS, or the device, really does."
            )
        for device in self._writers.devices:
            if device.trouble:
                found[f"write-{device.asset}"] = device.trouble
        if self._denied:
            found["denied"] = (
                f"The broker denies what we say on {min(self._denied)}; mend its access list."
            )
        return found

    def override_state(self) -> OverrideState:
        """The override in force; the one at the node itself before the EMS's."""
        now = self._now()
        for source in ("local", "ems"):
            state = self._overrides[source]
            if state.active and (state.until is None or now < state.until):
                spared = self._grid_cap.market_contexts
                return msgspec.structs.replace(state, spares=spared) if spared else state
        return OverrideState(active=False)

    def lease_state(self) -> LeaseState | None:
        lease, ack = self._held.lease, self._ack
        if lease is None or self._now() >= lease.not_after:
            return None
        own = ack is not None and ack.id == lease.id
        return LeaseState(
            event_id=lease.reason.event_id,
            seq=lease.seq,
            target=in_words(lease),
            delta_w=lease.delta_w,
            max_w=lease.max_w,
            min_w=lease.min_w,
            issued_at=lease.issued_at,
            not_after=lease.not_after,
            acknowledged=str(ack.status) if own and ack else "",
            acknowledged_at=ack.at if own and ack else None,
            applied_w=ack.applied_w if own and ack else None,
        )

    # --- what others bring ---------------------------------------------------------------------

    def take_plan(self, plan: Plan) -> None:
        """Steer by this plan from now on; it is on disk already."""
        self._plan = plan
        self._grid_cap.take(plan.steps)
        self._wake.set()

    def hear_utility(self) -> None:
        """The VTN has answered the VEN."""
        self._grid_cap.hear()
        self._wake.set()

    async def set_override(self, source: Literal["ems", "local"], state: OverrideState) -> None:
        """Opt out, or back in; on disk before this returns."""
        await self._disk.run(self._store.save_override, source, state)
        self._overrides[source] = state
        log.info("override", source=source, active=state.active, reason=state.reason)
        self._wake.set()
        self._changed()

    def see(self, reading: Reading, units: dict[str, str]) -> None:
        """Take note of the site meter's reading, and pass it on to the EMS."""
        self.pass_on(reading, units)
        if reading.watts is None or not is_usable(reading.quality):
            return
        self._recent.append(reading)
        if self._effect is not None and self._effect.see(self._now(), reading.watts):
            self._wake.set()

    def pass_on(self, reading: Reading, units: dict[str, str]) -> None:
        """Send a reading to the EMS as well as it goes; dropped where nobody listens."""
        if self._link is None or self._samples.full():
            return
        self._samples.put_nowait(
            Sample(
                meter=reading.meter,
                k=reading.k,
                seq=reading.seq,
                boot=self._boot,
                at=datetime.fromtimestamp(reading.starts_at, self._now().tzinfo),
                values={
                    quantity_of(name, units[name]): value for name, value in reading.values.items()
                },
                quality=to_text(reading.quality),
            )
        )

    # --- the loops -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Steer for ever: at each step's begin and end, each refresh, and when something is new."""
        while True:
            self._wake.clear()
            try:
                look_at = await self._steer()
            except Fault as fault:  # the disk refuses: nothing was sent, it is tried again
                log.error("steering_fails", why=str(fault))  # noqa: TRY400 - the sentence says it all
                look_at = self._now() + timedelta(seconds=1)
            wait_s = min((look_at - self._now()).total_seconds(), _LOOK_AT_LEAST_S)
            try:
                async with asyncio.timeout(max(0.0, wait_s)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def hear(self) -> None:
        """Listen to the EMS for ever."""
        if self._link is None:
            return
        async for received in self._link.messages():
            if received.ems != self._ems:
                log.warning("another_ems_speaks", ems=received.ems, expected=self._ems)
                continue
            try:
                await self._take(received)
            except Fault as fault:
                log.error("ems_message_not_kept", why=str(fault))  # noqa: TRY400 - the sentence says it all

    async def follow_broker(self) -> None:
        """Say again what is in force each time the broker is back, for it may have forgotten."""
        if self._link is None:
            return
        async for connected in self._link.connected_changes():
            self._broker_connected = connected
            if connected:
                self._renew = True
                self._told.clear()
            self._wake.set()
            self._changed()

    async def follow_line(self) -> None:
        """Take note of what the broker tells of our messages, for ever."""
        if self._link is None:
            return
        async for unheard, denied in self._link.line_changes():
            self.unheard, self._denied = unheard, denied
            self._wake.set()
            self._changed()

    async def beat(self) -> None:
        """Send the node's heartbeat for ever."""
        counter = 0
        while self._link is not None:
            counter += 1
            heartbeat = Heartbeat(counter=counter, at=self._now())
            await self._send(self._topics.hb, heartbeat, qos=0)
            await asyncio.sleep(HEARTBEAT_S)

    async def send_samples(self) -> None:
        """Pass readings on for ever."""
        while self._link is not None:
            sample = await self._samples.get()
            await self._send(self._topics.sample(sample.meter), sample, qos=0)

    # --- inside --------------------------------------------------------------------------------

    async def _steer(self) -> datetime:
        now = self._now()
        moments = [now + timedelta(seconds=_LOOK_AT_LEAST_S)]
        if not self._writers.is_empty:
            moments.append(await self._lease())
        else:
            self._held = replace(self._held, state=GuardState.NORMAL)
        await self._tell_events(now)
        moments += [at for at in (next_change(self._plan.notices, now),) if at is not None]
        moments += [at for at in (self._grid_cap.next_change(),) if at is not None]
        moments += [s.until for s in self._overrides.values() if s.active and s.until is not None]
        online = self._is_ems_online()
        if online != self._ems_shown:
            self._ems_shown = online
            self._changed()
        return min(at for at in moments if at > now)

    async def _lease(self) -> datetime:
        step = step_at(self._grid_cap.steps(self._plan.steps), self._now())
        level_w = None if step is None else await self._level_of(step)
        # From here to the decision nothing is awaited: a plan or an override that came while the
        # level was worked out is in it.
        now = self._now()
        steps = self._grid_cap.steps(self._plan.steps)
        if self.override_state().active:
            steps = tuple(step for step in steps if self._grid_cap.is_cap(step))
        situation = Situation(
            now=now,
            steps=steps,
            is_failsafe=any(step.event_id == FAILSAFE_EVENT for step in steps),
            level_w=level_w,
            ems_lost=self._ems_state is not None and self._ems_state.state != "online",
            ems_seen_at=self._ems_seen_at,
            acknowledged_seq=self._acknowledged_seq,
            answered_seq=self._ack.seq if self._ack is not None else 0,
            renew=self._renew,
        )
        decision = decide(self._held, situation, self._guard)
        if decision.hindrance and decision.hindrance != self._hindrance:
            event_id = step.event_id if step is not None else ""
            log.warning("step_not_held", event_id=event_id, why=decision.hindrance)
        self._hindrance = decision.hindrance
        before, self._held = self._held, decision.held
        if decision.held != before:
            try:
                await self._disk.run(self._store.save_held, decision.held, decision.send)
            except Fault:
                self._held = before
                raise
            if decision.held.state is not before.state:
                log.info("guard", state=str(decision.held.state), was=str(before.state))
            self._changed()
        self._unanswered_since = self._since_when_unanswered(now)
        if decision.send is not None:
            self._renew = False
            await self._write(decision.send, level_w)
        await self._report_effect()
        return decision.look_at or now + timedelta(seconds=_LOOK_AT_LEAST_S)

    def _since_when_unanswered(self, now: datetime) -> datetime | None:
        """Since when a lease has been in force without a word of the EMS on it or a newer one."""
        lease = self._held.lease
        answered = self._ack is not None and lease is not None and self._ack.id == lease.id
        if lease is None or (answered and self._ack is not None and self._ack.seq >= lease.seq):
            return None
        return self._unanswered_since or now

    async def _write(self, made: SetPoint, level_w: float | None) -> None:
        if self._writers.ems is not None and not await self._writers.ems.write(made):
            self._renew = True
        for device in self._writers.devices:
            device.write(made, level_w)
        event_id = made.reason.event_id
        if made.release:
            log.info("released", event_id=event_id, seq=made.seq)
            return
        until = made.not_after.isoformat()
        log.info("leased", event_id=event_id, seq=made.seq, target=in_words(made), not_after=until)

    async def _take_device_answer(self, ack: Acknowledgement) -> None:
        """What a device says stands for the building where there is no EMS."""
        await self._take_acknowledgement(ack)
        self._ems_seen_at = self._now()
        self._wake.set()
        self._changed()

    async def _report_effect(self) -> None:
        """Tell what our own meter saw: soon after the acknowledgement, at changes, at the end."""
        lease = self._held.lease
        effect = self._effect
        if effect is not None:
            over = lease is None or lease.id != effect.lease.id
            if effect.is_news or (over and effect.told != effect.word):
                verdict = effect.verdict(self._now())
                effect.told = verdict.verdict
                log.info("effect", event_id=verdict.event_id, verdict=verdict.verdict)
                await self._disk.run(self._store.save_effect, verdict, now=self._now())
                await self._send(self._topics.verify, verdict)
                self._changed()
            if over:
                self._effect = None
        if self._effect is None and lease is not None and lease.id != self._effect_done:
            watts = [reading.watts for reading in self._recent if reading.watts is not None]
            if effect is not None:  # one lease after another: the load is no longer the natural one
                self._effect = Effect(lease=lease, before_w=effect.before_w)
            elif watts:
                self._effect = Effect(lease=lease, before_w=sum(watts) / len(watts))
            self._effect_done = lease.id

    async def _tell_events(self, now: datetime) -> None:
        notices = notices_at(self._plan.notices, now)
        news = [notice for notice in notices if self._told.get(_key(notice)) != _gist(notice)]
        self._told = {_key(notice): _gist(notice) for notice in notices}
        if news and news[-1] is not notices[-1]:
            news.append(notices[-1])  # what is sent last stays on the topic: the most pressing
        for notice in news:
            await self._send(self._topics.event, notice, retain=True)

    async def _take(self, received: Received) -> None:
        message = received.message
        if not received.retained:
            self._hear_from(received.at)
        match message:
            case Acknowledgement():
                await self._take_acknowledgement(message)
            case EmsStatus():
                came_back = message.state == "online" and not received.retained
                self._ems_state = message
                self._renew |= came_back
            case Override(active=active, reason=reason, until=until):
                await self.set_override(
                    "ems", OverrideState(active=active, reason=reason, until=until, source="ems")
                )
            case Offer():
                self._offer = message
            case None if received.kind == "offer":
                self._offer = None
            case None:
                await self.set_override("ems", OverrideState(active=False))
            case _:
                return  # a heartbeat: that it has come is all it says
        self._wake.set()
        self._changed()

    def _hear_from(self, at: datetime) -> None:
        if self._is_ems_online() is False:
            self._renew = True
            self._wake.set()
        self._ems_seen_at = at
        if self._is_ems_online() != self._ems_shown:
            self._wake.set()

    async def _take_acknowledgement(self, ack: Acknowledgement) -> None:
        if ack.seq > self._held.seq:
            log.warning("acknowledgement_of_nothing", seq=ack.seq, newest=self._held.seq)
            return
        if self._ack is not None and (ack.seq, ack.status) == (self._ack.seq, self._ack.status):
            return  # it came twice
        await self._disk.run(self._store.save_acknowledgement, ack, now=self._now())
        if self._ack is None or ack.seq >= self._ack.seq:
            self._ack = ack
        if ack.status in _OBEYING:
            if self._effect is not None and ack.id == self._effect.lease.id:
                self._effect.obeyed(self._now())
            self._acknowledged_seq = max(self._acknowledged_seq, ack.seq)
        log.info("ems_says", status=str(ack.status), seq=ack.seq, reason=ack.reason)

    def _is_ems_online(self) -> bool | None:
        if self._ems_state is not None and self._ems_state.state != "online":
            return False
        if self._ems_seen_at is None:
            return None
        return (self._now() - self._ems_seen_at).total_seconds() <= SILENT_AFTER_S

    async def _send(
        self,
        topic: str,
        message: Message,
        *,
        qos: Literal[0, 1] = 1,
        retain: bool = False,
        expires_at: datetime | None = None,
        supersedes: str = "",
    ) -> None:
        if self._link is None:
            return
        try:
            await self._link.publish(
                topic,
                message,
                qos=qos,
                retain=retain,
                expires_at=expires_at,
                supersedes=supersedes,
            )
        except BridgeError as fault:
            log.error("not_sent_to_ems", topic=topic, why=str(fault))  # noqa: TRY400 - the sentence says it all


def quantity_of(point: str, unit: str) -> str:
    """A point's name in a sample: with its unit, such as active_power_w."""
    return f"{point}_{_UNITS[unit]}" if unit in _UNITS else point


def _key(notice: EventNotice) -> str:
    return f"{notice.event_id} {notice.signal_name}"


def _gist(notice: EventNotice) -> tuple[object, ...]:
    """What makes a notice worth sending again; the time remaining alone does not."""
    return (
        notice.modification_number,
        notice.status,
        notice.value,
        notice.starts_at,
        notice.ends_at,
        notice.opt,
        notice.comment,
    )
