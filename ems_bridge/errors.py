# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between the node and the building's EMS.

doorway.Fault
└── BridgeError
    ├── MessageRefused       a message that may not be sent, or must not be believed
    ├── TopicRefused         a topic or an identifier that does not fit the tree
    ├── BrokerUnusable       the broker's settings cannot work as they stand (files, address)
    ├── BrokerUnreachable    no broker answers now, where somebody waits for it
    ├── NotDelivered         the broker did not take a message; it may be sent again
    ├── OutboxFault          the outbox on disk cannot be read or written
    ├── PlantFault           the building's load port does not answer as it should
    └── EmsFailed            an EMS that was tried breaks the contract
"""

from doorway import Fault


class BridgeError(Fault):
    """The family's head."""


class MessageRefused(BridgeError, ValueError):
    """A ValueError too, so that msgspec reports it with the path to the fault."""


class TopicRefused(BridgeError):
    """The sentence names the topic or identifier."""


class BrokerUnusable(BridgeError):
    """The sentence names the setting to change."""


class BrokerUnreachable(BridgeError):
    """The sentence says what the last attempt met."""


class NotDelivered(BridgeError):
    """`denied` tells a broker's refusal from a lost connection."""

    def __init__(self, sentence: str, *, denied: bool = False) -> None:
        super().__init__(sentence)
        self.denied = denied


class OutboxFault(BridgeError):
    """The sentence names the file."""


class PlantFault(BridgeError):
    """The sentence names the address of the load port."""


class EmsFailed(BridgeError):
    """The sentence says in how many ways."""
