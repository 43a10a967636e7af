"""Broken site.toml files: each is refused in one sentence: what, where, and what to do."""

import pytest

from doorway import Fault
from light_node.settings import load

SITE = """
[site]
id = "hq"
timezone = "Europe/Zurich"

[[meter]]
id = "main"
profile = "sdm630"
host = "192.0.2.1"
"""
SECOND = """
[[meter]]
id = "other"
profile = "sdm630"
"""
HOST = 'host = "192.0.2.1"'


def replaced(old, new):
    assert old in SITE
    return SITE.replace(old, new)


BROKEN = {
    "not TOML": (SITE + "[mqtt\n", "line 10"),
    "twice the same table": (SITE + '[site]\nid = "x"\n', "site"),
    "no site": (SITE[SITE.index("[[meter]]") :], "misses the required setting 'site'"),
    "no meter": (SITE[: SITE.index("[[meter]]")], "misses the required setting 'meter'"),
    "meters is no list": (replaced("[[meter]]", "[meter]"), "[meter]"),
    "no id of the site": (replaced('id = "hq"\n', ""), "misses the required setting 'id'"),
    "an id that is no topic": (replaced('"hq"', '"a/b"'), "[site.id] may have letters, digits"),
    "an empty id": (replaced('"hq"', '""'), "[site.id] must not be empty"),
    "a number for a name": (replaced('"hq"', "7"), "[site.id] must be text in quotes"),
    "a zone nobody knows": (
        replaced("Europe/Zurich", "Mars/Olympus"),
        "there is no time zone 'Mars/Olympus'; write an IANA name",
    ),
    "a weekday nobody knows": (
        replaced('id = "hq"', 'id = "hq"\nworking_days = ["monday"]'),
        "working_days",
    ),
    "a holiday that is no day": (
        replaced('id = "hq"', 'id = "hq"\nholidays = ["christmas"]'),
        "holidays[0]] must be a date like 2030-12-25",
    ),
    "a wrong key": (replaced("host =", "hots ="), "did you mean 'host'?"),
    "a wrong table": (SITE + "[gaurd]\nmax_load_w = 1\n", "did you mean 'guard'?"),
    "a profile nobody knows": (replaced("sdm630", "sdm360"), "no meter profile 'sdm360'; known"),
    "a profile file that is not there": (replaced("sdm630", "mine.toml"), "mine.toml: the meter"),
    "neither host nor serial": (replaced(HOST, ""), "needs either host (Modbus TCP) or serial"),
    "host and serial": (
        replaced(HOST, HOST + '\nserial = "/dev/ttyUSB0"'),
        "needs either host (Modbus TCP) or serial",
    ),
    "a port beyond all ports": (replaced(HOST, HOST + "\nport = 70000"), "at most 65535"),
    "a unit beyond all units": (replaced(HOST, HOST + "\nunit = 248"), "unit"),
    "a parity nobody knows": (
        replaced(HOST, 'serial = "/dev/ttyUSB0"\nparity = "even"'),
        "parity] must be one of 'E', 'N', 'O', not 'even'",
    ),
    "a ratio of nothing": (
        replaced(HOST, HOST + "\nct_ratio = 0"),
        "ct_ratio] must be a number above 0",
    ),
    "a yes for a true": (
        replaced(HOST, HOST + '\ninvert = "yes"'),
        "must be true or false, not text",
    ),
    "two meters of one name": (
        SITE + SECOND.replace("other", "main") + HOST + "\nunit = 2\n",
        "two [[meter]] tables have the id 'main'; rename one",
    ),
    "two meters at one address": (
        SITE + SECOND + HOST + "\n",
        "'other' and 'main' are the same device; correct the unit number",
    ),
    "two speeds on one line": (
        replaced(HOST, 'serial = "/dev/ttyUSB0"')
        + SECOND
        + 'serial = "/dev/ttyUSB0"\nunit = 2\nbaud = 19200\n',
        "on /dev/ttyUSB0 have different line settings; give each the same",
    ),
    "no meter of the site": (
        replaced(HOST, HOST + '\nrole = "sub"'),
        'no [[meter]] has role = "site"; give it to the one at the grid connection',
    ),
    "a commit each hour": (SITE + '[ring]\npath = "r.db"\ncommit_s = 3600\n', "commit_s"),
    "a ring nowhere": (SITE + "[ring]\ncommit_s = 60\n", "misses the required setting 'path'"),
    "a broker without a host": (SITE + "[mqtt]\nport = 8883\n", "setting 'host'"),
    "an EMS that is no topic": (SITE + '[mqtt]\nhost = "h"\nems = "a#"\n', "[mqtt.ems]"),
    "limits the wrong way round": (
        SITE + "[guard]\nmin_load_w = 9\nmax_load_w = 8\n",
        "min_load_w is above max_load_w; exchange them",
    ),
    "leases that are refreshed too late": (
        SITE + "[guard]\nlease_s = 30\nrefresh_s = 20\n",
        "refresh_s must be at most half of lease_s",
    ),
    "a reduction of less than nothing": (SITE + "[guard]\nmax_reduction_w = -1\n", "max_reduct"),
    "a baseline of one's own": (SITE + '[baseline]\nmethod = "guess"\n', "guess"),
    "an interval of a minute and more": (SITE + "[sampling]\ninterval_s = 300\n", "interval_s"),
}


def test_there_are_enough_of_them():
    assert len(BROKEN) >= 25


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_in_one_sentence(tmp_path, name):
    text, sentence = BROKEN[name]
    path = tmp_path / "site.toml"
    path.write_text(text)

    with pytest.raises(Fault) as fault:
        load(path)

    said = str(fault.value)
    assert sentence in said
    assert "site.toml: " in said
    assert "\n" not in said
    assert said.endswith((".", "?"))
    assert len(said) < 400
