"""What `ven enroll` writes into ven.toml; tests/story/test_enrolment.py has the rest."""

import tomllib

from doorway import decode_settings
from tests.unit.ven.makers import START
from ven.config import Settings
from ven.enrolment import Place, settings_text
from ven.est import VenHere

HERE = VenHere(vtn_id="vtn", vtn_url="https://vtn.example:8443", ven_id="0042", name='Town "hall"')


def written(tmp_path, site=""):
    (tmp_path / "site.toml").write_text(site)
    text = settings_text(Place(folder=tmp_path), HERE, "https://vtn.example:8446", START)
    return decode_settings(tomllib.loads(text), Settings, source="ven.toml", folder=tmp_path)


def test_the_sub_meters_of_the_site_are_passed_on(tmp_path):
    found = written(
        tmp_path,
        """
[[meter]]
id = "main"
[[meter]]
id = "pv"
role = "sub"
[sampling]
interval_s = 10
""",
    )

    assert [meter.id for meter in found.reports.sub_meters] == ["pv"]
    assert (found.reports.min_period_s, found.opt.policy) == (10, "always")
    assert found.ven.name == 'Town "hall"'


def test_without_a_site_file_there_is_only_the_site_s_meter(tmp_path):
    assert written(tmp_path).reports.sub_meters == ()
