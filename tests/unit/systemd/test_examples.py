import configparser
from pathlib import Path

import pytest

import light_node.settings
import ven.config
import vtn.config

SYSTEMD = Path(__file__).parents[3] / "systemd"
UNITS = sorted(path.name for path in SYSTEMD.glob("*.service"))


def unit(name):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(SYSTEMD / name)
    return parser


def test_there_is_a_unit_for_each_program_that_runs():
    assert UNITS == ["light-node.service", "ven.service", "vtn.service"]


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("site.toml", light_node.settings.load),
        ("ven.toml", ven.config.load),
        ("vtn.toml", vtn.config.load),
    ],
)
def test_the_example_settings_are_taken(tmp_path, name, load):
    (tmp_path / name).write_text((SYSTEMD / f"{name}.example").read_text())

    assert load(tmp_path / name)


@pytest.mark.parametrize("name", UNITS)
def test_what_the_settings_name_lies_where_the_unit_may_write(name):
    service = unit(name)["Service"]
    example = (SYSTEMD / f"{Path(service['ExecStart'].split()[-1]).name}.example").read_text()

    assert f"/var/lib/{service['StateDirectory']}/" in example


def test_the_ven_finds_the_socket_of_the_node_and_shares_its_group(tmp_path):
    for name in ("site", "ven"):
        (tmp_path / f"{name}.toml").write_text((SYSTEMD / f"{name}.toml.example").read_text())
    node, agent = unit("light-node.service")["Service"], unit("ven.service")["Service"]
    socket = light_node.settings.load(tmp_path / "site.toml").socket

    assert socket == ven.config.load(tmp_path / "ven.toml").node.socket
    assert socket.parent == Path("/run", node["RuntimeDirectory"])
    assert node["Group"] == agent["Group"]
    assert node["RuntimeDirectoryMode"] == "0750"
