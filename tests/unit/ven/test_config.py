import re
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from doorway import SettingsFault, decode_settings
from tests.unit.ven.makers import settings
from ven.config import Settings, load, zone

EXAMPLE = """
[ven]
name = "hq"
cert = "pki/hq.crt"
key = "pki/hq.key"
state = "/var/lib/demandflex/ven.db"
[vtn]
url = "https://vtn.example"
ca = "pki/ca.crt"
[node]
socket = "light-node.sock"
[site]
resource_id = "building-1"
simple_levels = { 1 = { delta_w = -10000 }, 2 = { share = 0.5 }, 3 = { max_w = 1000 } }
[opt]
policy = "limits"
[[opt.window]]
days = ["mon"]
from = "08:00"
to = "18:00"
"""


def test_the_example_is_read_with_paths_beside_the_file(tmp_path):
    path = tmp_path / "ven.toml"
    path.write_text(EXAMPLE)
    found = load(path)

    assert tmp_path / "pki/hq.crt" == found.ven.cert
    assert str(found.ven.control_socket) == "/var/lib/demandflex/ven.sock"
    assert found.site.simple_levels["1"].delta_w == -10_000
    assert found.opt.windows[0].ends == "18:00"


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({"vtn": {"urll": "x"}}, "there is no setting 'urll' in \\[vtn\\]; did you mean 'url'"),
        ({"vtn": {"url": "http://vtn.example"}}, "must begin with https://"),
        ({"vtn": {"timeout_s": 4}}, "of at least 5"),
        ({"site": {"simple_levels": {"4": {"delta_w": 1}}}}, "simple_levels has no level '4'"),
        ({"site": {"simple_levels": {"1": {"delta_w": 1, "max_w": 2}}}}, "exactly one of delta_w"),
        ({"site": {"simple_levels": {"1": {}}}}, "exactly one of delta_w"),
        ({"site": {"timezone": "Europe/Zürich"}}, "There is no time zone 'Europe/Zürich'"),
        ({"opt": {"policy": "sometimes"}}, ", not 'sometimes'"),
        ({"opt": {"window": [{"from": "25:00"}]}}, "matching regex"),
        ({"opt": {"window": [{"from": "10:00", "to": "09:00"}]}}, "ends after it begins"),
        ({"polling": {"interval_s": 0}}, "of at least 0.05"),
        ({"reports": {"meter": [{"id": "pv"}, {"id": "pv"}]}}, "Two .* have the id 'pv'"),
    ],
)
def test_each_mistake_has_its_sentence(tables, sentence):
    with pytest.raises(SettingsFault, match=sentence):
        settings(**tables)


@pytest.mark.parametrize(
    ("name", "hours"), [("UTC", 0), ("Europe/Zurich", 1), ("+09:30", 9.5), ("-03:00", -3)]
)
def test_time_zones_by_name_and_by_offset(name, hours, clock):
    assert timedelta(hours=hours) == clock.now().astimezone(zone(name)).utcoffset()


@pytest.mark.parametrize("uncommented", [False, True])
def test_the_settings_in_the_documentation_are_right(uncommented):
    text = (Path(__file__).parents[3] / "docs" / "ven.md").read_text()
    example = re.search(r"```toml\n(.*?)```", text, re.DOTALL)[1]
    if uncommented:
        example = re.sub(r"(?m)^# (?=[a-z_]+ = )", "", example)
    found = decode_settings(tomllib.loads(example), Settings, source="docs", folder=Path())

    assert found.site.resource_id == "town-hall"
