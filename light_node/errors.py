# SPDX-License-Identifier: Apache-2.0
"""Faults of the light node.

Fault
└── LightNodeFault
    ├── ProfileFault          a meter's register map is missing or wrong
    ├── MeterFault            a meter gave no reading this time
    │   ├── MeterSilent       no answer, or no connection: counts for the breaker
    │   ├── MeterBusy         the meter asked for patience and the budget is spent
    │   ├── NoTimeLeft        the others on the bus have used up the tick
    │   └── MeterRefused      the meter answered with a Modbus exception
    ├── WriteFault            a device that is steered over Modbus did not take it
    ├── RingFault             the reading store cannot be opened or would be falsified
    ├── PlanFault             a plan from the VEN contradicts itself
    ├── NoBaseline            there is nothing to compare an event with
    ├── UnknownEvent          no order was ever held for this event
    ├── NodeUnreachable       nobody listens on the node's socket
    └── NodeRefused           the node answered a request with a refusal
"""

from doorway import Fault


class LightNodeFault(Fault):
    """A refusal by the light node."""


class ProfileFault(LightNodeFault):
    """A register map cannot be used; the sentence names the file and the point."""


class MeterFault(LightNodeFault):
    """A meter gave no reading this time."""


class MeterSilent(MeterFault):
    """No answer in time, or no connection."""


class MeterBusy(MeterFault):
    """The meter is busy (Modbus exception 6) for longer than the time there is."""


class NoTimeLeft(MeterFault):
    """The meter was not asked: the others on its bus have used up the tick."""


class MeterRefused(MeterFault):
    """The meter answered with a Modbus exception that asking again does not cure."""


class WriteFault(LightNodeFault):
    """A device was not told what it should hold; it is tried again."""


class RingFault(LightNodeFault):
    """The reading store cannot be opened, or what was asked would falsify it."""


class PlanFault(LightNodeFault):
    """A plan is refused as a whole; the one held stays."""


class NoBaseline(LightNodeFault):
    """Neither earlier days nor the last hour say what the building would have used."""


class UnknownEvent(LightNodeFault):
    """No order was ever held for this event."""


class NodeUnreachable(LightNodeFault):
    """Nobody listens on the node's socket, or the connection was lost."""


class NodeRefused(LightNodeFault):
    """The node refused a request; the sentence is the node's own."""
