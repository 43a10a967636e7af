# SPDX-License-Identifier: Apache-2.0
"""The status on one screen: first in words whether all is well, then row by row."""

from light_node.local import Status


def verdict(status: Status, *, expects_ems: bool) -> tuple[str, ...]:
    """What is not well, one sentence each; empty when all is."""
    found = list(status.troubles)
    found += [
        f"Meter {meter.id} has given no reading yet."
        for meter in status.meters
        if meter.last_good_at is None and not any(f"Meter {meter.id} " in said for said in found)
    ]
    if expects_ems and not status.ems.broker_connected:
        found.append("The broker is not reached; check that it runs, and [mqtt] in site.toml.")
    elif expects_ems and not status.ems.online:
        what = "was never heard" if status.ems.online is None else "is offline"
        found.append(f"The EMS {what}; look at it, and at its name in [mqtt] ems.")
    return tuple(found)


def headline(status: Status) -> str:
    """What the building does now, in one sentence."""
    meter = status.meters[0]
    if meter.last_watts is None:
        power = "The building's power is not known"
    elif meter.last_watts < 0:
        power = f"The building feeds in {-meter.last_watts / 1000:,.1f} kW"
    else:
        power = f"The building uses {meter.last_watts / 1000:,.1f} kW"
    if status.override.active:
        return f"{power}; it has opted out: {status.override.reason}."
    if status.lease is None:
        return f"{power}; no set-point is held."
    return f"{power}; event {status.lease.event_id} holds it at {status.lease.target}."


def rows(status: Status) -> list[tuple[str, str]]:
    """Everything else."""
    words = [("at", f"{status.at:%Y-%m-%d %H:%M:%S} UTC"), ("guard", str(status.guard))]
    for meter in status.meters:
        watts = (
            "no reading yet" if meter.last_watts is None else f"{meter.last_watts / 1000:,.1f} kW"
        )
        words.append(
            (
                f"meter {meter.id}",
                f"{watts}, {'online' if meter.online else 'SILENT'}, {meter.quality}",
            )
        )
    online = {None: "never heard", True: "online", False: "OFFLINE"}[status.ems.online]
    broker = "broker connected" if status.ems.broker_connected else "no broker"
    words.append(("EMS", f"{online}, {broker}"))
    if (offer := status.ems.offer) is not None:
        reach = f"{offer.down_w / 1000:,.1f} kW less or {offer.up_w / 1000:,.1f} kW more"
        words.append(("EMS offers", f"{reach}, until {offer.valid_until:%Y-%m-%d %H:%M} UTC"))
    if status.lease is None:
        words.append(("set-point", "none"))
    else:
        lease = status.lease
        acknowledged = lease.acknowledged or "not acknowledged yet"
        words.append(("set-point", f"{lease.target} (event {lease.event_id}), {acknowledged}"))
    if (effect := status.effect) is not None:
        seen = f"{effect.actual_w / 1000:,.1f} of {effect.target_w / 1000:,.1f} kW"
        words.append(("effect", f"{effect.verdict} by our own meter, {seen}"))
    for device in status.writes:
        wanted = "let go" if device.wanted_w is None else f"{device.wanted_w / 1000:,.1f} kW wanted"
        held = "" if device.held_w is None else f", {device.held_w / 1000:,.1f} kW read back"
        words.append((f"device {device.asset}", f"{wanted}{held}, {device.writes:,} writes"))
    if status.grid_cap:
        words.append(("grid cap", status.grid_cap))
    if status.read_only:
        words.append(("read only", "measures and reports, and asks nothing of anybody"))
    if status.override.active:
        until = status.override.until
        ends = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
        words.append(("override", f"{status.override.reason}{ends} ({status.override.source})"))
    words.append(("plan", f"version {status.plan_version}, {status.plan_steps} steps"))
    words.append(("readings kept", f"{status.ring_rows:,}"))
    return words
