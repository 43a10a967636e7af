from datetime import UTC, timedelta
from pathlib import Path

import pytest

from doorway import Fault
from light_node.profile import known_profiles
from light_node.settings import load, parse_zone

SITE = """
[site]
id = "hq"
timezone = "+09:30"

[[meter]]
id = "main"
profile = "sdm630"
host = "127.0.0.1"
"""


def load_text(folder, text):
    path = folder / "site.toml"
    path.write_text(text)
    return load(path)


def test_a_short_file_is_enough_and_everything_lies_beside_it(tmp_path):
    settings = load_text(tmp_path, SITE)

    assert settings.socket == tmp_path / "light-node.sock"
    assert settings.ring.path == tmp_path / "ring.db"
    assert settings.plan == tmp_path / "plan.db"
    assert settings.outbox == tmp_path / "outbox.db"
    assert settings.mqtt is None
    assert settings.site_meter.id == "main"
    assert settings.zone.utcoffset(None) == timedelta(hours=9, minutes=30)
    assert settings.sampling.interval_s == 4.0
    assert settings.profiles[0].device.id == "eastron_sdm630"


def test_every_table_can_be_set(tmp_path):
    settings = load_text(
        tmp_path,
        SITE
        + """
[[meter]]
id = "heat"
profile = "em24"
serial = "/dev/ttyUSB0"
baud = 19200
unit = 7
role = "sub"
[socket]
path = "run/node.sock"
[ring]
path = "state/ring.db"
commit_s = 5
[mqtt]
host = "localhost"
port = 8883
ca = "ca.crt"
ems = "bms"
[guard]
max_reduction_w = 60000
[baseline]
method = "same-day mean of the last hour"
[sampling]
interval_s = 1
""",
    )

    assert settings.socket == tmp_path / "run" / "node.sock"
    assert settings.plan == tmp_path / "state" / "plan.db"
    assert settings.mqtt.ca == tmp_path / "ca.crt"
    assert settings.mqtt.ems == "bms"
    assert settings.meters[1].unit == 7
    assert settings.guard.max_reduction_w == 60_000


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("host =", "hots =", "there is no setting 'hots' in [meter[0]]; did you mean 'host'?"),
        ("sdm630", "sdm360", "no meter profile 'sdm360'"),
        ("+09:30", "Mars/Olympus", "there is no time zone 'Mars/Olympus'"),
        ('host = "127.0.0.1"', "", "needs either host (Modbus TCP) or serial"),
        ('id = "hq"', 'id = "a/b"', "[site.id]"),
        ('host = "127.0.0.1"', 'host = "h"\nrole = "sub"', 'no [[meter]] has role = "site"'),
        ('id = "hq"', "", "misses the required setting 'id'"),
        ("[site]", "[guard]\nlease_s = 30\nrefresh_s = 20\n[site]", "at most half of lease_s"),
        (
            "[site]",
            "[guard]\nmin_load_w = 9\nmax_load_w = 8\n[site]",
            "min_load_w is above max_load_w",
        ),
        ("[site]", '[baseline]\nmethod = "guess"\n[site]', "guess"),
    ],
)
def test_a_wrong_file_gets_one_sentence(tmp_path, old, new, sentence):
    with pytest.raises(Fault) as fault:
        load_text(tmp_path, SITE.replace(old, new))

    assert sentence in str(fault.value)
    assert "site.toml" in str(fault.value) or "profile" in str(fault.value)


def test_two_meters_of_one_name_are_refused(tmp_path):
    with pytest.raises(Fault, match="two \\[\\[meter\\]\\] tables have the id 'main'"):
        load_text(tmp_path, SITE + SITE.split("\n\n")[1])


def test_two_meters_on_one_address_are_refused(tmp_path):
    second = SITE.split("\n\n")[1].replace('"main"', '"other"')

    with pytest.raises(Fault, match="'other' and 'main' are the same device"):
        load_text(tmp_path, SITE + second)
    assert len(load_text(tmp_path, SITE + second + "unit = 2\n").meters) == 2


def test_two_speeds_on_one_line_are_refused(tmp_path):
    first = SITE.replace('host = "127.0.0.1"', 'serial = "/dev/ttyUSB0"')
    second = first.split("\n\n")[1].replace('"main"', '"other"') + "unit = 2\nbaud = 19200\n"

    with pytest.raises(Fault, match="on /dev/ttyUSB0 have different line settings"):
        load_text(tmp_path, first + second)


def test_zones():
    assert parse_zone("UTC") is UTC
    assert parse_zone("-03:30").utcoffset(None) == -timedelta(hours=3, minutes=30)
    assert str(parse_zone("Europe/Zurich")) == "Europe/Zurich"
    for wrong in ("+9", "+09:75", "", "../etc/passwd"):
        with pytest.raises(ValueError, match="there is no time zone"):
            parse_zone(wrong)


def test_the_installers_page_shows_settings_that_work(tmp_path):
    page = Path(__file__).parents[3] / "docs" / "installer.md"
    sample = page.read_text().split("```toml\n")[1].split("```")[0]

    settings = load_text(tmp_path, sample)

    assert settings.guard.max_reduction_w == 60_000
    assert settings.mqtt.ems == "bms"


def test_the_installers_page_names_every_profile():
    page = (Path(__file__).parents[3] / "docs" / "installer.md").read_text()

    assert [name for name in known_profiles() if f"`{name}`" not in page] == []


WRITE = """
[[write]]
asset = "pv"
host = "127.0.0.1"
rated_w = 60000
"""


def test_a_device_that_is_written_to_has_sane_defaults(tmp_path):
    (table,) = load_text(tmp_path, SITE + WRITE + 'sunspec = "limit"\n').write

    assert (table.lowest_w, table.highest_w, table.between_writes_s) == (0.0, 60_000, 0.0)
    flash = 'limit = { address = 200 }\nvolatile = false\nfollows = "change"\n'
    (table,) = load_text(tmp_path, SITE + WRITE + flash).write
    assert (table.lowest_w, table.highest_w, table.between_writes_s) == (-60_000, 60_000, 300.0)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "needs either sunspec"),
        ('sunspec = "limit"\nserial = "/dev/ttyUSB0"\n', "host"),
        ('sunspec = "limit"\nrange = [2, 1]\n', "range"),
        ("limit = { address = 1 }\nfailsafe = { address = 2 }\n", "reversion"),
        (
            "limit = { address = 1 }\nreversion = { address = 2 }\nvolatile = false\n",
            "wears out",
        ),
        ('sunspec = "limit"\n' + WRITE + 'sunspec = "limit"\n', "one owner"),
    ],
)
def test_what_is_written_must_be_clear(tmp_path, more, said):
    with pytest.raises(Fault, match=said):
        load_text(tmp_path, SITE + WRITE + more)
