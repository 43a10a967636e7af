# SPDX-License-Identifier: Apache-2.0
"""Home Assistant's view of a light node: MQTT discovery, made from the same topics.

What is shown is read-only; the one thing to be switched is a person's override. Nothing here lets
Home Assistant order a load.
"""

from collections.abc import Iterable
from typing import Any

from ems_bridge.messages import SetPoint
from ems_bridge.topics import Topics

PREFIX = "homeassistant"
"""Home Assistant's own discovery prefix, unless it was changed there."""
LEASE_S = 120
"""A lease that is not refreshed has ended by then, and so has what is shown of it."""
SILENT_AFTER_S = 60

_RELEASED = "value_json.release | default(false)"
# Inside a template `value_json.values` would be the dict's own method of that name.
_POWER = "{{ value_json['values']['active_power_w'] | default('None') }}"
_OVERRIDE = (
    '{"schema": "df/v1/override", "active": {{ "true" if value == "ON" else "false" }}, '
    '"reason": "switched in Home Assistant", '
    '"at": "{{ utcnow().strftime("%Y-%m-%dT%H:%M:%SZ") }}"}'
)


def discovery_topic(topics: Topics, *, prefix: str = PREFIX) -> str:
    """Where the payload is retained."""
    return f"{prefix}/device/{_identifier(topics)}/config"


def discovery(topics: Topics, ems: str, *, meters: Iterable[str], version: str) -> dict[str, Any]:
    """The device payload: one device with a component for each thing to be seen or switched."""
    return {
        "device": {
            "identifiers": [_identifier(topics)],
            "name": f"Light node {topics.site}/{topics.node}",
            "manufacturer": "demandflex",
            "model": "light node",
            "sw_version": version,
        },
        "origin": {"name": "demandflex ems-bridge", "sw_version": version},
        "availability": _availability(topics),
        "qos": 1,
        "components": _components(topics, ems, meters),
    }


def configuration(topics: Topics, ems: str, *, meters: Iterable[str]) -> dict[str, Any]:
    """The same for those who write configuration.yaml instead."""
    return {
        "mqtt": [
            {
                component["platform"]: {
                    **{key: value for key, value in component.items() if key != "platform"},
                    "qos": 1,
                    "availability": _availability(topics),
                }
            }
            for component in _components(topics, ems, meters).values()
        ]
    }


def _identifier(topics: Topics) -> str:
    """Home Assistant takes letters, digits, hyphens and underscores alone in this place."""
    return "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "_"
        for letter in f"demandflex-{topics.site}-{topics.node}"
    )


def _availability(topics: Topics) -> list[dict[str, str]]:
    # "lost", the last will, is no payload of Home Assistant's: it would leave it as it was.
    template = "{{ 'online' if value_json.state == 'online' else 'offline' }}"
    return [{"topic": topics.status, "value_template": template}]


def _components(topics: Topics, ems: str, meters: Iterable[str]) -> dict[str, dict[str, Any]]:
    override = topics.ems_override(ems)
    found: dict[str, dict[str, Any]] = {
        "limited": {
            "platform": "binary_sensor",
            "name": "Set-point in force",
            "state_topic": topics.limit_cmd,
            "value_template": f"{{{{ 'OFF' if {_RELEASED} else 'ON' }}}}",
            "off_delay": LEASE_S,
        },
        "change": _limit(topics, "Change asked for", "delta_w"),
        "at-most": _limit(topics, "Limit asked for", "max_w"),
        "event": {
            "platform": "sensor",
            "name": "Event",
            "state_topic": topics.event,
            "value_template": "{{ value_json.status }}",
            "json_attributes_topic": topics.event,
        },
        "effect": {
            "platform": "sensor",
            "name": "Measured effect",
            "state_topic": topics.verify,
            "value_template": "{{ value_json.verdict }}",
            "json_attributes_topic": topics.verify,
        },
        "opt-out": {
            "platform": "switch",
            "name": "Opted out",
            "state_topic": override,
            "value_template": "{{ 'ON' if value and value_json.active else 'OFF' }}",
            "command_topic": override,
            "command_template": _OVERRIDE,
            "payload_on": "ON",
            "payload_off": "OFF",
            "retain": True,
        },
    }
    for meter in meters:
        found[f"power-{meter}"] = {
            "platform": "sensor",
            "name": f"Power {meter}",
            "state_topic": topics.sample(meter),
            "value_template": _POWER,
            "expire_after": SILENT_AFTER_S,
            **_watts("measurement"),
        }
    for name, component in found.items():
        component["unique_id"] = f"{_identifier(topics)}-{name}"
    return found


def _limit(topics: Topics, name: str, key: str) -> dict[str, Any]:
    assert key in SetPoint.__struct_fields__
    return {
        "platform": "sensor",
        "name": name,
        "state_topic": topics.limit_cmd,
        "value_template": f"{{{{ value_json.{key} }}}}",  # null is "None": unknown, not 0
        "expire_after": LEASE_S,
        **_watts(None),
    }


def _watts(state_class: str | None) -> dict[str, str]:
    unit = {"device_class": "power", "unit_of_measurement": "W"}
    return unit if state_class is None else {**unit, "state_class": state_class}
