# SPDX-License-Identifier: Apache-2.0
"""The MQTT contract with a building's EMS: messages, topics, the node's bridge, a reference EMS."""

from ems_bridge.bridge import Bridge, Received
from ems_bridge.broker import BrokerSettings
from ems_bridge.errors import BridgeError
from ems_bridge.messages import (
    Acknowledgement,
    AckStatus,
    EmsStatus,
    EventNotice,
    Heartbeat,
    Message,
    NodeStatus,
    Override,
    Reason,
    Sample,
    SetPoint,
    Verdict,
    decode,
    encode,
)
from ems_bridge.topics import Topics

__all__ = [
    "AckStatus",
    "Acknowledgement",
    "Bridge",
    "BridgeError",
    "BrokerSettings",
    "EmsStatus",
    "EventNotice",
    "Heartbeat",
    "Message",
    "NodeStatus",
    "Override",
    "Reason",
    "Received",
    "Sample",
    "SetPoint",
    "Topics",
    "Verdict",
    "decode",
    "encode",
]
