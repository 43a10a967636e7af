# SPDX-License-Identifier: Apache-2.0
"""The contract as an AsyncAPI 3.0 document and JSON Schemas, made from the code's own Structs."""

import inspect
import json
import re
from typing import Any, get_args

import msgspec

from ems_bridge.messages import Message
from ems_bridge.topics import CARRIES, EMS_KINDS, Kind, Topics

_PLACE = Topics("{site}", "{node}")
_ADDRESS: dict[Kind, str] = {
    "status": _PLACE.status,
    "description": _PLACE.description,
    "event": _PLACE.event,
    "limit-cmd": _PLACE.limit_cmd,
    "limit-state": _PLACE.limit_state,
    "node-hb": _PLACE.hb,
    "verify": _PLACE.verify,
    "sample": _PLACE.sample("{meter}"),
    "minute": _PLACE.minute("{meter}"),
    "alert": _PLACE.alert("{alert}"),
    "ack": _PLACE.ems_ack("{ems}"),
    "hb": _PLACE.ems_hb("{ems}"),
    "ems-status": _PLACE.ems_status("{ems}"),
    "override": _PLACE.ems_override("{ems}"),
    "offer": _PLACE.ems_offer("{ems}"),
}
_SAYS: dict[Kind, str] = {
    "status": "Whether the light node is there; retained, with a last will.",
    "description": "What there is at this node: meters, limits, times; retained.",
    "event": "The event at hand in plain terms, prices included; retained.",
    "limit-cmd": "A set-point for the EMS to obey: a lease.",
    "limit-state": "The lease in force, retained for an EMS that joins late.",
    "node-hb": "The node's sign of life, every 10 s.",
    "verify": "What the node's own meter saw of a lease.",
    "sample": "A reading of a meter, every 4 s.",
    "minute": "A minute of a meter, with its coverage; told again after an outage.",
    "alert": "What somebody should look at; retained, cleared by an empty payload.",
    "ack": "The EMS's answers to a set-point.",
    "hb": "The EMS's sign of life, every 10 s.",
    "ems-status": "Whether the EMS is there; retained, with a last will.",
    "override": "A person at the building opts out; retained.",
    "offer": "How far the EMS could move the load if it were asked; retained.",
}
_PARAMETERS = {
    "site": "The site, as the installer named it.",
    "node": "The light node.",
    "ems": "The EMS, as it names itself.",
    "meter": "The meter, as the node's settings name it.",
    "alert": "What is wrong, in a word, such as nobody-listens or meter-main.",
}
_BEST_EFFORT: frozenset[Kind] = frozenset({"node-hb", "hb", "sample"})
_RETAINED: frozenset[Kind] = frozenset(
    {
        "status",
        "description",
        "event",
        "limit-state",
        "alert",
        "ems-status",
        "override",
        "offer",
    }
)


def schemas() -> dict[str, Any]:
    """The JSON Schema (2020-12) of every message and of what they contain, by name."""
    _, components = msgspec.json.schema_components(
        get_args(Message), ref_template="#/components/schemas/{name}"
    )
    return {name: _tidy(schema) for name, schema in components.items()}


def schema_files() -> dict[str, dict[str, Any]]:
    """One JSON Schema (2020-12) for each message, complete in itself, by its file's name.

    What fields say of one another (a set-point's targets, an order of instants) no schema says.
    """
    files = {}
    for kind in get_args(Message):
        whole = msgspec.json.schema(kind)
        parts = {name: _tidy(part) for name, part in whole["$defs"].items()}
        tag = str(kind.__struct_config__.tag)
        files[f"{tag.rsplit('/', 1)[1]}.json"] = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **parts.pop(kind.__name__),
            **({"$defs": parts} if parts else {}),
        }
    return files


def _tidy(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema with its docstring without the indentation of the source."""
    return {**schema, "description": inspect.cleandoc(schema["description"])}


def document() -> dict[str, Any]:
    """The whole AsyncAPI document, seen from the EMS: it receives what the node says."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "The light node and the building's EMS",
            "version": "1.0.0",
            "description": "Set-points as leases over MQTT. docs/topics.md explains this contract.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {kind: _channel(kind) for kind in _ADDRESS},
        "operations": {kind: _operation(kind) for kind in _ADDRESS},
        "components": {
            "messages": {
                kind.__name__: {
                    "name": kind.__struct_config__.tag,
                    "contentType": "application/json",
                    "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
                }
                for kind in get_args(Message)
            },
            "schemas": schemas(),
        },
    }


def _channel(kind: Kind) -> dict[str, Any]:
    address = _ADDRESS[kind]
    name = CARRIES[kind].__name__
    return {
        "address": address,
        "description": _SAYS[kind],
        "parameters": {
            parameter: {"description": _PARAMETERS[parameter]}
            for parameter in re.findall(r"{(\w+)}", address)
        },
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
    }


def _operation(kind: Kind) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "action": "send" if kind in EMS_KINDS else "receive",
        "channel": {"$ref": f"#/channels/{kind}"},
        "bindings": {
            "mqtt": {
                "qos": 0 if kind in _BEST_EFFORT else 1,
                "retain": kind in _RETAINED,
                "bindingVersion": "0.2.0",
            }
        },
    }
    if kind == "limit-cmd":
        operation["reply"] = {
            "channel": {"$ref": "#/channels/ack"},
            "messages": [{"$ref": "#/channels/ack/messages/Acknowledgement"}],
        }
    return operation


def to_yaml(value: Any, indent: int = 0) -> str:
    """JSON-like data as block YAML with every string quoted: no YAML library on a field device."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{pad}{_key(k)}:{_nested(v, indent)}" for k, v in value.items())
    if isinstance(value, list) and value:
        return "".join(f"{pad}-{_nested(item, indent)}" for item in value)
    return f"{pad}{json.dumps(value, ensure_ascii=False)}\n"


def _nested(value: Any, indent: int) -> str:
    if isinstance(value, dict | list) and value:
        return f"\n{to_yaml(value, indent + 1)}"
    return f" {json.dumps(value, ensure_ascii=False)}\n"


def _key(key: str) -> str:
    plain = re.fullmatch(r"[A-Za-z][\w-]*", key) and key not in {"true", "false", "null", "no"}
    return key if plain else json.dumps(key)
