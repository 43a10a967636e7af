from pathlib import Path

import pytest

from light_node import sitefile
from light_node.errors import LightNodeFault
from light_node.scanning import Found, Place
from light_node.settings import load

METER = Found(
    place=Place(serial="/dev/serial/by-id/usb-1", baud=19200, parity="E", unit=7),
    profile="em340",
    name="EM340",
    others=("em24",),
    watts=-1500.0,
)


def test_a_file_written_elsewhere_keeps_everything_beside_it(tmp_path):
    path = tmp_path / "site.toml"
    sitefile.write(path, [METER, Found(place=Place(host="192.0.2.7"))], site="hq", node="n")

    settings = load(path)

    (meter,) = settings.meters
    assert (meter.serial, meter.baud, meter.parity, meter.unit) == (
        METER.place.serial,
        19200,
        "E",
        7,
    )
    assert settings.ring.path == tmp_path / "ring.db"
    assert settings.socket == tmp_path / "light-node.sock"
    assert settings.clock.synchronized_file is None
    assert 'fits "em24" as well' in path.read_text()
    assert "it said -1.50 kW" in path.read_text()


def test_a_file_for_the_unit_of_systemd_has_its_paths(tmp_path, monkeypatch):
    monkeypatch.setattr(sitefile, "SYSTEM_FOLDER", tmp_path.resolve())
    path = tmp_path / "site.toml"
    sitefile.write(path, [METER], site="hq", node="n")

    settings = load(path)
    example = load(Path(__file__).parents[3] / "systemd" / "site.toml.example")

    assert settings.socket == example.socket == Path("/run/light-node/light-node.sock")
    assert settings.ring.path == example.ring.path == Path("/var/lib/light-node/ring.db")
    assert settings.plan == example.plan
    assert settings.outbox == example.outbox
    assert settings.clock == example.clock
    assert '# key = "mqtt/node-1.key"' in path.read_text()
    opened = path.read_text().replace("# [mqtt]", "[mqtt]")
    for line in ("host", "ca", "cert", "key"):
        opened = opened.replace(f"# {line} = ", f"{line} = ")
    path.write_text(opened)
    assert load(path).mqtt.key == tmp_path / "mqtt" / "node-1.key"


def test_the_folder_of_the_unit_is_what_the_units_read():
    unit = (Path(__file__).parents[3] / "systemd" / "light-node.service").read_text()

    assert f"{sitefile.SYSTEM_FOLDER}/site.toml" in unit


def test_nothing_is_written_over_and_nothing_without_a_meter(tmp_path):
    path = tmp_path / "site.toml"
    with pytest.raises(LightNodeFault, match="no meter was found that could be written down"):
        sitefile.write(path, [Found(place=Place(host="h"))], site="hq", node="n")
    assert not path.exists()

    path.write_text("mine")
    with pytest.raises(LightNodeFault, match="is there already and is left as it is"):
        sitefile.write(path, [METER], site="hq", node="n")
    assert path.read_text() == "mine"
