"""Read-only mode: no path can write, shown where writers are made and in all of the code."""

import ast
from pathlib import Path

import msgspec

import light_node
from ems_bridge.topics import Topics
from light_node.settings import load
from light_node.writing import make_writers

SITE = """
[site]
id = "hq"
[[meter]]
id = "main"
profile = "sdm630"
host = "127.0.0.1"
[mqtt]
host = "127.0.0.1"
tls = false
[[write]]
asset = "pv"
host = "127.0.0.1"
rated_w = 60000
sunspec = "limit"
"""


class NoBook:
    def written(self, asset):
        return None


def writers(tmp_path, *, read_only):
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    settings = load(path)
    guard = msgspec.structs.replace(settings.guard, read_only=read_only)
    made_for = []

    def bus_of(table):
        made_for.append(table.asset)

    made = make_writers(
        msgspec.structs.replace(settings, guard=guard),
        link=object(),
        topics=Topics("hq", "node-1"),
        bus_of=bus_of,
        store=NoBook(),
        disk=None,
        now=None,
    )
    return made, made_for


def test_in_read_only_mode_no_writer_is_made_and_no_line_is_opened_for_one(tmp_path):
    made, made_for = writers(tmp_path, read_only=True)

    assert made.is_empty
    assert made_for == []


def test_else_there_is_one_for_each_way(tmp_path):
    made, made_for = writers(tmp_path, read_only=False)

    assert made.ems is not None
    assert [device.asset for device in made.devices] == made_for == ["pv"]


def uses(name):
    """The modules of the light node that say a name in code: attributes, names, not comments."""
    found = set()
    for path in Path(light_node.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            said = getattr(node, "attr", None) or getattr(node, "id", None)
            if said == name:
                found.add(path.stem)
    return found


def test_nothing_else_in_the_light_node_could_write():
    assert uses("limit_cmd") == uses("limit_state") == {"writing"}
    assert uses("write_registers") == {"modbus"}
    assert uses("BusRegisters") == uses("EmsWriter") == uses("DeviceWriter") == {"writing"}
    assert uses("make_writers") == {"node"}
    assert uses("write_register") == uses("write_coil") == uses("write_coils") == set()
