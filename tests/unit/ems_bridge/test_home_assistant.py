"""The discovery payload has what Home Assistant's schemas ask for, and means what it should.

The keys are those of home-assistant/core, mqtt/schemas.py and the platforms' own modules; the
templates are rendered by jinja2, as there.
"""

import contextlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from jinja2.sandbox import SandboxedEnvironment

from ems_bridge.home_assistant import configuration, discovery, discovery_topic
from ems_bridge.messages import Override, decode
from ems_bridge.topics import Topics

TOPICS = Topics("town-hall", "node-1")
PAYLOAD = discovery(TOPICS, "bms", meters=("main",), version="1.2")
COMPONENTS = PAYLOAD["components"]
REQUIRED = {
    "sensor": {"state_topic"},
    "binary_sensor": {"state_topic"},
    "switch": {"command_topic"},
}
COMMON = {"name", "unique_id", "platform", "value_template", "state_topic"}
ALLOWED = {
    "sensor": {"expire_after", "device_class", "unit_of_measurement", "state_class"}
    | {"json_attributes_topic"},
    "binary_sensor": {"off_delay"},
    "switch": {"command_topic", "command_template", "payload_on", "payload_off", "retain"},
}
JINJA = SandboxedEnvironment()
NOW = datetime(2030, 1, 9, 14, tzinfo=UTC)
PAGE = Path(__file__).parents[3] / "docs" / "clients" / "home-assistant.yaml"


def rendered(template: str, payload: str) -> str:
    """As Home Assistant renders a value: with the text, and its JSON where it is some."""
    known = {"value": payload, "utcnow": lambda: NOW}
    with contextlib.suppress(ValueError):
        known["value_json"] = json.loads(payload)
    return JINJA.from_string(template).render(known)


def test_the_device_has_what_its_schema_requires_and_nothing_it_does_not_know():
    assert PAYLOAD.keys() == {"device", "origin", "components", "availability", "qos"}
    assert PAYLOAD["device"]["identifiers"] == ["demandflex-town-hall-node-1"]
    assert PAYLOAD["origin"]["name"]
    assert PAYLOAD["availability"][0]["topic"] == TOPICS.status
    for component in COMPONENTS.values():
        platform = component["platform"]
        assert REQUIRED[platform] <= component.keys() <= COMMON | ALLOWED[platform]
    ids = [component["unique_id"] for component in COMPONENTS.values()]
    assert len(set(ids)) == len(ids)


def test_the_discovery_topic_is_one_that_home_assistant_reads():
    odd = Topics("Rathaus Süd", "node.1")

    for topics in (TOPICS, odd):
        assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/config", discovery_topic(topics))


@pytest.mark.parametrize(
    ("state", "shown"), [("online", "online"), ("offline", "offline"), ("lost", "offline")]
)
def test_a_node_that_is_lost_is_not_available(state, shown):
    template = PAYLOAD["availability"][0]["value_template"]

    assert rendered(template, json.dumps({"state": state})) == shown


@pytest.mark.parametrize(
    ("name", "payload", "shown"),
    [
        ("change", {"delta_w": -5000.0, "max_w": None}, "-5000.0"),
        ("at-most", {"delta_w": -5000.0, "max_w": None}, "None"),
        ("at-most", {"max_w": 0.0}, "0.0"),
        ("limited", {"release": False}, "ON"),
        ("limited", {}, "ON"),
        ("limited", {"release": True}, "OFF"),
        ("event", {"status": "active"}, "active"),
        ("effect", {"verdict": "reached"}, "reached"),
        ("power-main", {"values": {"active_power_w": 54980.0}}, "54980.0"),
        ("power-main", {"values": {}}, "None"),
        ("opt-out", {"active": True}, "ON"),
        ("opt-out", {"active": False}, "OFF"),
    ],
)
def test_a_message_is_shown_as_what_it_means(name, payload, shown):
    assert rendered(COMPONENTS[name]["value_template"], json.dumps(payload)) == shown


def test_an_override_that_was_taken_off_its_topic_is_off():
    assert rendered(COMPONENTS["opt-out"]["value_template"], "") == "OFF"


@pytest.mark.parametrize("active", [True, False])
def test_the_switch_writes_an_override_that_the_contract_takes(active):
    switch = COMPONENTS["opt-out"]
    said = rendered(switch["command_template"], switch["payload_on" if active else "payload_off"])

    assert decode(said.encode()) == Override(
        active=active, reason="switched in Home Assistant", at=NOW
    )
    assert switch["retain"]


def test_the_switch_is_the_one_thing_that_can_be_written():
    commands = [one["command_topic"] for one in COMPONENTS.values() if "command_topic" in one]

    assert commands == [TOPICS.ems_override("bms")]


def test_the_yaml_beside_the_clients_is_the_same():
    assert yaml.safe_load(PAGE.read_text(encoding="utf-8")) == configuration(
        TOPICS, "bms", meters=("main",)
    ), "renew it as its first lines say"
