# SPDX-License-Identifier: Apache-2.0
"""The settings file of `ems-bridge`: one place on the topic tree, one broker, perhaps a plant."""

from typing import Annotated

from msgspec import Meta, Struct

from ems_bridge.broker import BrokerSettings


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """ems-bridge.toml, the same for each of its commands."""

    site: str
    node: str
    ems: str = "ems"
    broker: BrokerSettings
    plant: str = ""
    """tcp://host:port of the building's load port; empty: a simulated plant."""
    rated_w: Annotated[float, Meta(gt=0)] = 200_000.0
    """The most the plant can use; larger orders are refused as nonsense."""
    ramp_w_per_s: Annotated[float, Meta(gt=0)] | None = None
    """The plant's own ramp where the lease names none; not given: 2 % of rated_w a second."""
    heartbeat_s: Annotated[float, Meta(ge=0.1, le=60)] = 10.0
    step_s: Annotated[float, Meta(ge=0.05, le=5)] = 0.5
    """How often the plant is read and moved."""
