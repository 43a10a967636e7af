"""The plant that ems_client.py moves: a simulated one. Put yours in its place."""
import time

RATED_W = 100_000  # the most it can use
NATURAL_W = 60_000  # what it would use now if nobody asked for anything
PACE_W_PER_S = 10_000  # how fast it moves where a set-point names no ramp

load_w, moved_s = NATURAL_W, time.monotonic()


def problem(order):
    """Why it cannot do what a set-point asks for; "" when it can. No comparison with NaN is true."""
    limits = [order[name] for name in ("max_w", "min_w") if order.get(name) is not None]
    if (order.get("delta_w") is None) == (not limits):
        return "give either a change or limits"
    if not (abs(order.get("delta_w") or 0) <= RATED_W and min(limits, default=0) >= 0):
        return "more than the plant can do"
    return ""


def move(order):
    """Move the load towards what a set-point asks for ({}: nothing); True when it is there."""
    global load_w, moved_s
    most, least = order.get("max_w"), order.get("min_w") or 0
    wanted_w = max(0, NATURAL_W + (order.get("delta_w") or 0))
    wanted_w = max(least, wanted_w if most is None else min(wanted_w, most))
    seconds, moved_s = time.monotonic() - moved_s, time.monotonic()
    reach_w = (order.get("ramp_w_per_s") or PACE_W_PER_S) * seconds
    load_w += max(-reach_w, min(reach_w, wanted_w - load_w))
    return abs(load_w - wanted_w) < 1


def applied_w(order):
    """What is held, in the terms of the set-point."""
    return order["delta_w"] if order.get("delta_w") is not None else order.get("max_w", order.get("min_w"))
