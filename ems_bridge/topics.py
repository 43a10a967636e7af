# SPDX-License-Identifier: Apache-2.0
"""The topic tree, written once: df/v1/{site}/{node}/... of one light node and its EMS.

status  description  event  hb  verify  limit/cmd  limit/state               the node writes
meter/{meter}/sample  meter/{meter}/minute  alert/{alert}
ems/{ems}/ack  ems/{ems}/hb  ems/{ems}/status  ems/{ems}/override            an EMS writes
ems/{ems}/offer
"""

from dataclasses import dataclass
from typing import Literal, cast, get_args

from ems_bridge.errors import TopicRefused
from ems_bridge.messages import (
    Acknowledgement,
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
    Sample,
    SetPoint,
    Verdict,
)

ROOT = "df/v1"

EmsKind = Literal["ack", "hb", "ems-status", "override", "offer"]
NodeKind = Literal[
    "status",
    "description",
    "event",
    "limit-cmd",
    "limit-state",
    "node-hb",
    "verify",
    "sample",
    "minute",
    "alert",
]
Kind = EmsKind | NodeKind

_EMS_LEAVES: dict[str, EmsKind] = {
    "ack": "ack",
    "hb": "hb",
    "status": "ems-status",
    "override": "override",
    "offer": "offer",
}
_METER_LEAVES: dict[str, NodeKind] = {"sample": "sample", "minute": "minute"}
_NODE_LEAVES: dict[tuple[str, ...], NodeKind] = {
    ("status",): "status",
    ("description",): "description",
    ("event",): "event",
    ("limit", "cmd"): "limit-cmd",
    ("limit", "state"): "limit-state",
    ("hb",): "node-hb",
    ("verify",): "verify",
}
CARRIES: dict[Kind, type[Message]] = {
    "ack": Acknowledgement,
    "hb": Heartbeat,
    "ems-status": EmsStatus,
    "override": Override,
    "offer": Offer,
    "status": NodeStatus,
    "description": Description,
    "event": EventNotice,
    "limit-cmd": SetPoint,
    "limit-state": SetPoint,
    "node-hb": Heartbeat,
    "verify": Verdict,
    "sample": Sample,
    "minute": Minute,
    "alert": Alert,
}
"""The one message that each kind of topic carries."""

EMS_KINDS: frozenset[Kind] = frozenset(get_args(EmsKind))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a topic stands in the tree: its kind, and of which EMS, meter or alert ("" of none)."""

    kind: Kind
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one node. Raises TopicRefused for an identifier that cannot be a topic level.

    >>> Topics("town-hall", "node-1").ems_ack("bms")
    'df/v1/town-hall/node-1/ems/bms/ack'
    """

    site: str
    node: str

    def __post_init__(self) -> None:
        checked("site", self.site)
        checked("node", self.node)

    @property
    def root(self) -> str:
        return f"{ROOT}/{self.site}/{self.node}"

    @property
    def status(self) -> str:
        return f"{self.root}/status"

    @property
    def description(self) -> str:
        return f"{self.root}/description"

    @property
    def event(self) -> str:
        return f"{self.root}/event"

    @property
    def limit_cmd(self) -> str:
        return f"{self.root}/limit/cmd"

    @property
    def limit_state(self) -> str:
        return f"{self.root}/limit/state"

    @property
    def hb(self) -> str:
        return f"{self.root}/hb"

    @property
    def verify(self) -> str:
        return f"{self.root}/verify"

    def sample(self, meter: str) -> str:
        return f"{self.root}/meter/{checked('meter', meter)}/sample"

    def minute(self, meter: str) -> str:
        return f"{self.root}/meter/{checked('meter', meter)}/minute"

    def alert(self, alert: str) -> str:
        return f"{self.root}/alert/{checked('alert', alert)}"

    def ems_ack(self, ems: str) -> str:
        return f"{self.root}/ems/{checked('ems', ems)}/ack"

    def ems_hb(self, ems: str) -> str:
        return f"{self.root}/ems/{checked('ems', ems)}/hb"

    def ems_status(self, ems: str) -> str:
        return f"{self.root}/ems/{checked('ems', ems)}/status"

    def ems_override(self, ems: str) -> str:
        return f"{self.root}/ems/{checked('ems', ems)}/override"

    def ems_offer(self, ems: str) -> str:
        return f"{self.root}/ems/{checked('ems', ems)}/offer"

    @property
    def from_ems(self) -> tuple[str, ...]:
        """Filters: all that any EMS of this node says."""
        return tuple(f"{self.root}/ems/+/{leaf}" for leaf in _EMS_LEAVES)

    def to_ems(self, ems: str) -> tuple[str, ...]:
        """Filters: what an EMS needs to obey, its own override included."""
        return (self.limit_cmd, self.limit_state, self.status, self.ems_override(ems))

    @property
    def everything(self) -> str:
        """Filter: the node's whole tree."""
        return f"{self.root}/#"

    def place(self, topic: str) -> Place | None:
        """Where `topic` stands in this node's tree; None when the tree has no such topic."""
        head = f"{self.root}/"
        if not topic.startswith(head):
            return None
        levels = tuple(topic[len(head) :].split("/"))
        if kind := _NODE_LEAVES.get(levels):
            return Place(kind)
        match levels:
            case ("meter", meter, leaf) if meter and leaf in _METER_LEAVES:
                return Place(_METER_LEAVES[leaf], meter)
            case ("alert", alert) if alert:
                return Place("alert", alert)
            case ("ems", ems, leaf) if ems and leaf in _EMS_LEAVES:
                return Place(_EMS_LEAVES[leaf], ems)
        return None


def checked(what: str, identifier: str) -> str:
    """`identifier`, if it can be one level of a topic; else TopicRefused."""
    if not identifier:
        raise TopicRefused(f"the {what} has no name; give one.")
    if len(identifier) > 128:
        raise TopicRefused(f"the {what} '{identifier[:20]}…' is longer than 128 characters.")
    bad = next((c for c in identifier if c in "/+#" or not c.isprintable()), None)
    if bad is not None:
        raise TopicRefused(
            f"the {what} {identifier!r} contains {bad!r}; MQTT topics leave no room for '/', '+', "
            "'#' and control characters in a name."
        )
    return identifier


def ems_kind(kind: Kind) -> EmsKind:
    """`kind`, known to be one that an EMS writes."""
    if kind not in EMS_KINDS:
        raise TopicRefused(f"a topic of kind '{kind}' is written by the node, not by an EMS.")
    return cast("EmsKind", kind)
