"""Read-only mode: no path can write, shown where writers are made and in all of the code."""

import ast
from collections import defaultdict
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


def words_of_code():
    """Which modules of the light node say a name in code: by name, not in comments."""
    found = defaultdict(set)
    for path in Path(light_node.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            said = getattr(node, "attr", None) or getattr(node, "id", None)
            found[said].add(path.stem)
    return found


def test_nothing_else_in_the_light_node_could_write():
    where = words_of_code()

    assert where["limit_cmd"] == where["limit_state"] == {"writing"}
    assert where["write_registers"] == {"modbus"}
    assert where["BusRegisters"] == where["EmsWriter"] == where["DeviceWriter"] == {"writing"}
    assert where["make_writers"] == {"node"}
    for other in ("write_register", "write_coil", "write_coils", "readwrite_registers"):
        assert where[other] == set()
