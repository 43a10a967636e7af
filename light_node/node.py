# SPDX-License-Identifier: Apache-2.0
"""The light node: samplers, ring, guard and bridge put together, and its desk at the socket."""

import asyncio
import contextlib
import math
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Self

from doorway import get_logger, sd_notify
from doorway.clock import clock_check
from doorway.version import version
from ems_bridge.bridge import Bridge
from ems_bridge.messages import MESSAGE_SCHEMAS, Description, MeterNotice, Minute, SiteLimits
from ems_bridge.topics import Topics
from light_node import curtailment
from light_node.baseline import Baseline, SiteCalendar, work_out
from light_node.capping import GridCap
from light_node.disk import Disk
from light_node.errors import LightNodeFault, NoBaseline, UnknownEvent
from light_node.grid import Grid
from light_node.local import (
    PUSH_EVERY_S,
    SPAN_ROWS,
    Answer,
    AnyAnswer,
    AnyRequest,
    Curtailment,
    GetCurtailment,
    GetReadings,
    GetSpan,
    GetStatus,
    ImportHistory,
    LocalServer,
    MeterStatus,
    OverrideState,
    PutPlan,
    Readings,
    SetOverride,
    Status,
    Step,
    VtnHeard,
    Watch,
    clear_the_way,
)
from light_node.minutes import MINUTE_S, Tally, worked_out
from light_node.modbus import Bus, ModbusMeter
from light_node.nearness import NEAR, Nearness
from light_node.plan import Order, Plan, check, orders_of, revised
from light_node.profile import Profile
from light_node.quality import FROZEN_TICKS, Judge, Quality, in_words, is_usable, to_text
from light_node.reading import QUARTER_S, Reading
from light_node.recorder import Recorder
from light_node.ring import QUARTERS_KEPT_S, Columns, Ring
from light_node.sampler import BusSampler, SampledMeter
from light_node.settings import MeterTable, Settings, WriteTable
from light_node.steering import HEARTBEAT_S, Steering, quantity_of
from light_node.store import Store
from light_node.sunspec import SunSpecMeter, meter_on
from light_node.telling import Telling
from light_node.writing import make_writers

log = get_logger()

_TICKS_LATE = 2.5
"""A tick older than this many intervals, and the node is to be restarted."""
_LEAST_COVERED_S = QUARTER_S / 2
_MOST_EVENT_ROWS = 500_000
_HOUR_S = 3600.0
ALERTS = ("nobody-listens", "no-answer", "no-effect", "denied", "disk", "store", "clock")
"""Those that are not of one meter; docs/topics.md says when each stands."""


def utc_now() -> datetime:
    return datetime.now(UTC)


class Node:
    """One running light node. `async with` opens its files and the line to the EMS.

    Two clocks are injected: `now` (aware UTC) and `monotonic` (seconds).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._now = now
        self._monotonic = monotonic
        self._boot = os.urandom(8).hex()
        self._version = version()
        self._topics = Topics(settings.site.id, settings.site.node)
        self._stack = contextlib.AsyncExitStack()
        self._watchers: set[asyncio.Event] = set()
        self._is_clock_sure = clock_check(settings.clock.synchronized_file)
        self._nearness = Nearness(now=now, monotonic=monotonic)
        self._baselines: dict[tuple[object, ...], Baseline] = {}
        self._levels: dict[str, float] = {}
        self._buses: dict[str, Bus] = {}
        self._units = {
            meter.id: profile.units
            for meter, profile in zip(settings.meters, settings.profiles, strict=True)
        }
        self._calendar = SiteCalendar(
            zone=settings.zone,
            working_days=settings.site.working_days,
            holidays=frozenset(settings.site.holidays),
        )

    async def __aenter__(self) -> Self:
        settings = self._settings
        # Before a file is opened or the broker is told: a second node would disturb the first.
        await clear_the_way(settings.socket)
        async with contextlib.AsyncExitStack() as stack:
            self._disk = Disk()
            stack.callback(self._disk.close)
            self._ring = Ring(
                settings.ring.path, boot=self._boot, interval_s=settings.sampling.interval_s
            )
            stack.callback(self._ring.close)
            self._store = Store(settings.plan)
            stack.callback(self._store.close)
            for damaged in (self._ring.set_aside, self._store.set_aside):
                if damaged is not None:
                    log.error("store_damaged", set_aside=str(damaged))
            self._plan = self._store.plan()
            self._orders = self._store.orders()
            self._samplers = self._make_samplers()
            self._recorder = Recorder(
                self._ring,
                self._disk,
                meters=tuple(meter.id for meter in settings.meters),
                commit_s=settings.ring.commit_s,
                is_pressing=self._is_near_event,
                now=self._epoch,
                monotonic=self._monotonic,
                changed=self._tell,
            )
            stack.push_async_callback(self._recorder.commit)
            link: Bridge | None = None
            if settings.mqtt is not None:
                link = await stack.enter_async_context(
                    Bridge(
                        settings.mqtt,
                        self._topics,
                        outbox=settings.outbox,
                        now=self._now,
                        boot=self._boot,
                        version=self._version,
                    )
                )
            writers = make_writers(
                settings,
                link=link,
                topics=self._topics,
                bus_of=self._bus_of,
                store=self._store,
                disk=self._disk,
                now=self._now,
            )
            self._devices = writers.devices
            self._steering = Steering(
                guard=settings.guard,
                store=self._store,
                disk=self._disk,
                link=link,
                topics=self._topics,
                ems=settings.mqtt.ems if settings.mqtt else "",
                boot=self._boot,
                now=self._now,
                level_of=self._level_of,
                changed=self._tell,
                writers=writers,
                grid_cap=GridCap(settings.grid_cap, now=self._now, monotonic=self._monotonic),
            )
            self._telling = None if link is None else self._make_telling(link)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def run(self, stop: asyncio.Event) -> None:
        """Sample, hold the plan and serve the socket until `stop`. Raises LightNodeFault."""
        async with LocalServer(self._settings.socket, self), asyncio.TaskGroup() as group:
            tasks = [
                *(group.create_task(sampler.run()) for sampler in self._samplers),
                group.create_task(self._recorder.run()),
                group.create_task(self._steering.run()),
                group.create_task(self._steering.hear()),
                group.create_task(self._steering.follow_broker()),
                group.create_task(self._steering.follow_line()),
                group.create_task(self._steering.beat()),
                group.create_task(self._steering.send_samples()),
                *(group.create_task(device.run()) for device in self._devices),
                group.create_task(sd_notify.keep_alive(self._is_alive)),
            ]
            if self._telling is not None:
                tasks += [
                    group.create_task(self._telling.follow_broker()),
                    group.create_task(self._telling.watch_troubles()),
                    group.create_task(self._telling.tell_minutes()),
                ]
            sd_notify.notify("READY=1", f"STATUS=reads {len(self._settings.meters)} meters")
            log.info("light_node_runs", boot=self._boot, socket=str(self._settings.socket))
            await stop.wait()
            sd_notify.notify("STOPPING=1")
            for task in tasks:
                task.cancel()

    # --- the desk ------------------------------------------------------------------------------

    async def answer(self, request: AnyRequest) -> AnyAnswer:
        match request:
            case PutPlan():
                await self._put_plan(request)
            case SetOverride(active=active, reason=reason, until=until):
                await self._steering.set_override(
                    "local",
                    OverrideState(active=active, reason=reason, until=until, source="local")
                    if active
                    else OverrideState(active=False),
                )
            case ImportHistory(quarters=quarters):
                meter = self._meter(request.meter)
                await self._disk.run(self._ring.import_quarters, meter, quarters, now=self._epoch())
                self._baselines.clear()
            case VtnHeard():
                self._steering.hear_utility()
            case GetReadings(after=after, limit=limit, wait_s=wait_s):
                if request.delivered and self._meter(request.meter) == self._settings.site_meter.id:
                    self._ring.delivered = request.delivered
                columns = await self._recorder.readings(
                    self._meter(request.meter), after=after, limit=limit, wait_s=wait_s
                )
                return _readings(request.n, columns, after)
            case GetSpan(starts_at=starts_at, ends_at=ends_at):
                columns = await self._span(
                    self._meter(request.meter), starts_at.timestamp(), ends_at.timestamp()
                )
                return _readings(request.n, columns, 0)
            case GetCurtailment(event_id=event_id):
                return await self._curtailment(request.n, event_id)
            case GetStatus() | Watch():
                return self._status(request.n)
        return Answer(n=request.n)

    async def watch(self) -> AsyncGenerator[Status]:
        changed = asyncio.Event()
        self._watchers.add(changed)
        try:
            while True:
                changed.clear()
                yield self._status(0)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PUSH_EVERY_S):
                        await changed.wait()
        finally:
            self._watchers.discard(changed)

    async def _put_plan(self, request: PutPlan) -> None:
        check(request.steps)
        plan = Plan(version=request.version, steps=request.steps, notices=request.notices)
        now = self._now()
        wanted = orders_of(plan.steps)
        orders = {
            event_id: order
            for event_id in {*self._orders, *wanted}
            if (order := revised(self._orders.get(event_id), wanted.get(event_id), now)) is not None
            and order != self._orders.get(event_id)
        }
        await self._disk.run(self._store.save_plan, plan, orders, now=now)
        self._plan = plan
        self._orders |= orders
        self._baselines.clear()
        self._levels = {e: level for e, level in self._levels.items() if e in wanted}
        self._steering.take_plan(plan)
        if self._is_near_event():
            self._recorder.hurry()
        self._tell()
        # Last, as the plan must not wait for it: it is put again where this is refused.
        for order in orders.values():
            if order.starts_at is not None:
                ends_at = order.ends_at or order.starts_at + timedelta(days=1)
                await self._disk.run(
                    self._ring.mark_event,
                    order.event_id,
                    order.starts_at.timestamp(),
                    ends_at.timestamp(),
                )

    async def _span(self, meter: str, starts_at: float, ends_at: float) -> Columns:
        return await self._disk.run(self._ring.span, meter, starts_at, ends_at, limit=SPAN_ROWS)

    async def _curtailment(self, n: int, event_id: str) -> Curtailment:
        order = self._orders.get(event_id)
        if order is None or order.starts_at is None:
            raise UnknownEvent(
                f"nothing was ever ordered for event '{event_id}'; "
                "ask for an event that is or was in the plan."
            )
        meter = self._settings.site_meter.id
        now = self._now()
        if now <= order.starts_at:
            raise UnknownEvent(
                f"event '{event_id}' starts at {order.starts_at.isoformat()}; ask again then."
            )
        until = self._until(order, meter, now)
        baseline = await self._baseline(order, now)
        columns = await self._disk.run(
            self._ring.span,
            meter,
            order.starts_at.timestamp(),
            until,
            limit=_MOST_EVENT_ROWS,
        )
        verified = curtailment.verify(
            steps=order.steps,
            baseline=baseline,
            starts_at=columns.starts_at,
            watts=columns.watts,
            quality=columns.quality,
            interval_s=self._settings.sampling.interval_s,
            until=until,
        )
        acknowledged = await self._disk.run(self._store.is_acknowledged, event_id)
        effect = await self._disk.run(self._store.effect, event_id)
        return Curtailment(
            n=n,
            event_id=event_id,
            modification_number=order.modification_number,
            baseline_method=baseline.method,
            fallback=baseline.fallback,
            starts_at=order.starts_at,
            ends_at=order.ends_at,
            ordered_w=verified.ordered_w,
            delivered_w=verified.delivered_w,
            fraction=verified.fraction,
            samples_expected=verified.samples_expected,
            samples_received=verified.samples_received,
            baseline=verified.baseline,
            delivered=verified.delivered,
            setpoint_acknowledged=acknowledged,
            final=order.ends_at is not None and until >= order.ends_at.timestamp(),
            effect="" if effect is None else effect.verdict,
        )

    def _until(self, order: Order, meter: str, now: datetime) -> float:
        """How far the event can be judged: to its end, or to the last row on the disk."""
        interval_s = self._settings.sampling.interval_s
        recorded = self._recorder.recorded_until.get(meter)
        until = now.timestamp()
        if recorded is not None and recorded + 2 * NEAR.total_seconds() > until:
            until = min(until, recorded + interval_s)
        assert order.starts_at is not None
        until = max(until, order.starts_at.timestamp())
        return until if order.ends_at is None else min(until, order.ends_at.timestamp())

    def _status(self, n: int) -> Status:
        override = self._steering.override_state()
        return Status(
            n=n,
            at=self._now(),
            boot=self._boot,
            version=self._version,
            meters=tuple(self._meter_status(meter) for meter in self._settings.meters),
            ems=self._steering.ems_state(),
            lease=self._steering.lease_state(),
            override=override,
            plan_version=self._plan.version,
            plan_steps=len(self._plan.steps),
            ring_rows=self._ring.row_count,
            guard=self._steering.guard_state.value,
            troubles=tuple(self._troubles().values()),
            grid_cap=self._steering.cap_state,
            read_only=self._settings.guard.read_only,
            writes=self._steering.write_states(),
            effect=self._steering.effect_state(),
        )

    def _troubles(self) -> dict[str, str]:
        """What somebody should look at, by the alert that tells it, each in one sentence."""
        found = {f"meter-{name}": said for name, said in self._meter_troubles()}
        if trouble := self._recorder.trouble:
            found["disk"] = trouble
        damaged = [str(file) for file in (self._ring.set_aside, self._store.set_aside) if file]
        if damaged:
            files = " and ".join(damaged)
            found["store"] = (
                f"A store was damaged; it was set aside as {files}, and a new one begun."
            )
        if not self._is_clock_sure():
            found["clock"] = "The clock has not been set since the start; readings say so."
        return found | self._steering.troubles()

    def _meter_troubles(self) -> Iterator[tuple[str, str]]:
        for name, seen in self._recorder.seen.items():
            if seen.last is not None and not is_usable(seen.last.quality):
                yield name, f"Meter {name} {in_words(seen.last.quality)}."

    # --- what the building is told ---------------------------------------------------------------

    def _make_telling(self, link: Bridge) -> Telling:
        meters = tuple(meter.id for meter in self._settings.meters)
        return Telling(
            link=link,
            topics=self._topics,
            meters=meters,
            description=self._description,
            troubles=self._troubles,
            known_alerts=(
                *ALERTS,
                *(f"meter-{meter}" for meter in meters),
                *(f"write-{table.asset}" for table in self._settings.write),
            ),
            minute=self._minute,
            bookmark=self._settings.outbox.with_name("minutes-untold"),
            now=self._now,
        )

    def _description(self) -> Description:
        guard = self._settings.guard
        return Description(
            ems=self._settings.mqtt.ems if self._settings.mqtt else "",
            meters=tuple(
                MeterNotice(
                    id=meter.id,
                    role=meter.role,
                    profile=meter.profile,
                    quantities={
                        quantity_of(point, unit): unit
                        for point, unit in self._units[meter.id].items()
                    },
                )
                for meter in self._settings.meters
            ),
            limits=SiteLimits(
                max_reduction_w=guard.max_reduction_w,
                min_load_w=guard.min_load_w,
                max_load_w=guard.max_load_w,
                ramp_w_per_s=guard.ramp_w_per_s,
                fallback_w=guard.failsafe_max_w,
            ),
            interval_s=self._settings.sampling.interval_s,
            lease_s=guard.lease_s,
            refresh_s=guard.refresh_s,
            heartbeat_s=HEARTBEAT_S,
            silence_s=guard.ems_silence_s,
            timezone=self._settings.site.timezone,
            schemas=MESSAGE_SCHEMAS,
            version=self._version,
            at=self._now(),
        )

    async def _minute(self, meter: str, starts_s: float, historical: bool, tally: Tally) -> Minute:
        samples = tally.samples(meter, starts_s)
        if samples is None:
            columns = await self._span(meter, starts_s, starts_s + MINUTE_S)
            samples = list(zip(columns.watts, columns.quality, strict=True))
        return worked_out(
            meter,
            starts_s,
            samples,
            interval_s=self._settings.sampling.interval_s,
            historical=historical,
        )

    def _meter_status(self, meter: MeterTable) -> MeterStatus:
        seen = self._recorder.seen[meter.id]
        good = seen.last_good
        return MeterStatus(
            id=meter.id,
            profile=meter.profile,
            online=seen.online,
            last_good_at=None if good is None else datetime.fromtimestamp(good.starts_at, UTC),
            last_watts=None if good is None else good.watts,
            quality=to_text(Quality.MISSED if seen.last is None else seen.last.quality),
        )

    # --- the baseline --------------------------------------------------------------------------

    async def _baseline(self, order: Order, now: datetime) -> Baseline:
        """The event's baseline; the same one each time as long as the plan stays."""
        assert order.starts_at is not None
        starts_at = order.starts_at.timestamp()
        # An open-ended event is given whole hours, so that its baseline is worked out once an hour.
        hours = 1 + (now.timestamp() - starts_at) // _HOUR_S
        ends_at = order.ends_at.timestamp() if order.ends_at else starts_at + hours * _HOUR_S
        key = (order.event_id, order.modification_number, starts_at, ends_at)
        if key not in self._baselines:
            self._baselines[key] = await self._work_out(order.event_id, starts_at, ends_at)
        return self._baselines[key]

    async def _work_out(self, event_id: str, starts_at: float, ends_at: float) -> Baseline:
        meter = self._settings.site_meter.id
        await self._recorder.commit()
        quarters = await self._disk.run(
            self._ring.quarters, meter, starts_at - QUARTERS_KEPT_S, starts_at
        )
        last_hour = await self._span(meter, starts_at - _HOUR_S, starts_at)
        good = [
            watts
            for watts, quality in zip(last_hour.watts, last_hour.quality, strict=True)
            if watts is not None and is_usable(quality)
        ]
        return work_out(
            {q.starts_at: q.watts for q in quarters if q.covered_s >= _LEAST_COVERED_S},
            starts_at=starts_at,
            ends_at=ends_at,
            calendar=self._calendar,
            event_spans=[
                (
                    other.starts_at.timestamp(),
                    (other.ends_at or other.starts_at + timedelta(days=1)).timestamp(),
                )
                for other in self._orders.values()
                if other.event_id != event_id and other.starts_at is not None
            ],
            last_hour_w=sum(good) / len(good) if good else None,
            asked_for=self._settings.baseline.method,
        )

    async def _level_of(self, step: Step) -> float | None:
        """What the building would use now: the baseline, else what was last measured before."""
        order = self._orders.get(step.event_id)
        now = self._now()
        if order is not None and order.starts_at is not None:
            with contextlib.suppress(NoBaseline):
                return (await self._baseline(order, now)).at(now.timestamp())
        if step.event_id not in self._levels:
            # Kept, for once the lease is obeyed the load is no longer the natural one.
            good = self._recorder.seen[self._settings.site_meter.id].last_good
            if good is None or good.watts is None:
                return None
            self._levels[step.event_id] = good.watts
        return self._levels[step.event_id]

    # --- inside --------------------------------------------------------------------------------

    def _epoch(self) -> float:
        return self._now().timestamp()

    def _meter(self, asked_for: str) -> str:
        if not asked_for:
            return self._settings.site_meter.id
        if asked_for not in self._recorder.seen:
            raise LightNodeFault(
                f"there is no meter '{asked_for}'; known are {', '.join(self._recorder.seen)}."
            )
        return asked_for

    def _is_near_event(self) -> bool:
        spans = [(step.starts_at, step.ends_at) for step in self._plan.steps]
        spans += [(o.starts_at, o.ends_at) for o in self._orders.values() if o.starts_at]
        return self._nearness.of(spans)

    async def _is_alive(self) -> bool:
        """Whether ticks are executed; a silent meter is an alarm, not a reason to restart."""
        longest_s = _TICKS_LATE * self._settings.sampling.interval_s
        now = self._monotonic()
        return all(now - sampler.last_tick_at < longest_s for sampler in self._samplers)

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher.set()

    def _accept(self, reading: Reading) -> None:
        self._recorder.accept(reading)
        if self._telling is not None:
            self._telling.see(reading)
        units = self._units[reading.meter]
        if reading.meter == self._settings.site_meter.id:
            self._steering.see(reading, units)
        else:
            self._steering.pass_on(reading, units)

    def _bus_of(self, table: WriteTable) -> Bus:
        """The line to a device that is written to; the meters' own where they are on it."""
        if table.host:
            bus = Bus.tcp(table.host, table.port)
        else:
            bus = Bus.rtu(table.serial, baud=table.baud, parity=table.parity, stop=table.stop)
        return self._buses.setdefault(bus.name, bus)

    def _make_samplers(self) -> list[BusSampler]:
        """One per bus; on each the site's meter first."""
        seq = count(1)
        buses: dict[str, tuple[Bus, list[SampledMeter]]] = {}
        ordered = sorted(
            zip(self._settings.meters, self._settings.profiles, strict=True),
            key=lambda pair: pair[0] is not self._settings.site_meter,
        )
        for meter, profile in ordered:
            bus = make_bus(meter, profile)
            bus = self._buses.setdefault(bus.name, bus)
            _, meters = buses.setdefault(bus.name, (bus, []))
            source = make_meter(
                meter,
                profile,
                buses[bus.name][0],
                second_try=meter is self._settings.site_meter,
            )
            repeats = math.ceil(meter.frozen_s / self._settings.sampling.interval_s)
            judge = Judge(ranges=source.ranges, frozen_after=max(FROZEN_TICKS, repeats))
            meters.append(SampledMeter(id=meter.id, source=source, judge=judge))
        return [
            BusSampler(
                meters,
                grid=Grid(
                    self._settings.sampling.interval_s,
                    now=self._epoch,
                    monotonic=self._monotonic,
                ),
                monotonic=self._monotonic,
                next_seq=lambda: next(seq),
                accept=self._accept,
                all_points=self._is_near_event,
                is_clock_sure=self._is_clock_sure,
            )
            for _, meters in buses.values()
        ]


def make_bus(meter: MeterTable, profile: Profile) -> Bus:
    """The line to a meter; not yet open."""
    if meter.host:
        return Bus.tcp(meter.host, meter.port)
    return Bus.rtu(
        meter.serial,
        baud=meter.baud or profile.serial.baud,
        parity=meter.parity or profile.serial.parity,
        stop=meter.stop or profile.serial.stop,
    )


def make_meter(
    meter: MeterTable, profile: Profile, bus: Bus, *, second_try: bool = False
) -> ModbusMeter | SunSpecMeter:
    """The meter on its line, with what the site says about it."""
    return meter_on(
        bus,
        unit=meter.unit,
        profile=profile,
        invert=meter.invert,
        ct_ratio=meter.ct_ratio,
        second_try=second_try,
    )


def _readings(n: int, columns: Columns, after: int) -> Readings:
    return Readings(
        n=n,
        cursor=columns.ids[-1] if columns.ids else after,
        ids=columns.ids,
        starts_at=columns.starts_at,
        watts=columns.watts,
        energy_wh=columns.energy_wh,
        quality=columns.texts(),
        start_error_ms=columns.start_error_ms,
    )
