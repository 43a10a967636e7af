# SPDX-License-Identifier: Apache-2.0
"""The light node: the device on the meter, which samples it and holds the building's set-point."""

from light_node.errors import LightNodeFault, NodeRefused, NodeUnreachable
from light_node.local import (
    Curtailment,
    Delta,
    Keep,
    Limit,
    LocalClient,
    Notice,
    NoticeValue,
    Readings,
    Share,
    Status,
    Step,
)

__all__ = [
    "Curtailment",
    "Delta",
    "Keep",
    "LightNodeFault",
    "Limit",
    "LocalClient",
    "NodeRefused",
    "NodeUnreachable",
    "Notice",
    "NoticeValue",
    "Readings",
    "Share",
    "Status",
    "Step",
]
