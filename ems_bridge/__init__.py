# SPDX-License-Identifier: Apache-2.0
"""The MQTT contract with a building's EMS: messages, topics, the node's bridge, a reference EMS."""

from ems_bridge.bridge import Bridge, Received
from ems_bridge.broker import BrokerSettings
from ems_bridge.errors import BridgeError
from ems_bridge.messages import (
    Acknowledgement,
    AckStatus,
    Alert,
    Description,
    EmsStatus,
    EventNotice,
    Heartbeat,
    Message,
    Minute,
    NodeStatus,
    Offer,
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
    "Alert",
    "Bridge",
    "BridgeError",
    "BrokerSettings",
    "Description",
    "EmsStatus",
    "EventNotice",
    "Heartbeat",
    "Message",
    "Minute",
    "NodeStatus",
    "Offer",
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
