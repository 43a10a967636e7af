"""An installer's ten minutes: the package, three commands, a node that is ready; then shut out."""

import json
import shutil
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certs.authority import SiteRole
from chaos.brokers import ACL, start_mosquitto
from chaos.program import Program, command, wait_for
from chaos.utility import Utility
from demo.load_series import AFTERNOON, ClockShift
from demo.ports import free_port
from tests.packaging.picture import Picture
from vtn import config, records
from vtn.operator_client import OperatorClient

pytestmark = pytest.mark.timeout(900)  # as long as the package takes that it may have to build

VEN = "town-hall"
WAIT_S = 120.0
SYSTEMCTL = Path(__file__).with_name("pretend_systemctl.py")


@pytest.fixture
def utility(tmp_path):
    """A VTN that enrols devices."""
    folder = tmp_path / "utility"
    folder.mkdir()
    found = Utility(folder, "sqlite:///vtn.db")
    issued = found.authority.enrolment()
    at = free_port()
    with found.settings_file.open("a") as file:
        file.write(f"""
[enrolment]
host = "127.0.0.1"
port = {at}
cert = "{issued.certificate}"
key = "{issued.key}"
trust = "{found.authority.vtn_trust}"
""")
    text = found.settings_file.read_text()
    named = f'[vtn]\nurl = "https://127.0.0.1:{found.openadr_port}"'
    found.settings_file.write_text(text.replace("[vtn]", named, 1))
    init = command("vtn", "init", "--config", found.settings_file)
    subprocess.run(init, check=True, capture_output=True)
    found.vtn.start()
    found.operator = OperatorClient.at(config.load(found.settings_file))
    try:
        found.wait_ready(within_s=WAIT_S)
        yield found
    finally:
        found.close()


@pytest.fixture
def building(tmp_path, utility):
    """A meter, a broker with mutual TLS, and the building's EMS, which is started with `start`."""
    found = Building(tmp_path, utility.authority)
    yield found
    found.close()


class Building:
    def __init__(self, folder, authority):
        self.folder, self.authority = folder, authority
        self.meter_port, self.load_port = free_port(), free_port()
        shift = ClockShift.to_play(AFTERNOON, at=datetime.now(UTC))
        self.plant = self._program(
            "building",
            *("python", "-m", "demo.building", "--shift", shift, "--ledger", folder / "ledger"),
            *("--meter-port", self.meter_port, "--load-port", self.load_port),
        )
        self.plant.start()
        broker = authority.site("broker", SiteRole.BROKER, hosts=["127.0.0.1"])
        self.broker = start_mosquitto(
            folder, ca=authority.site_trust, cert=broker.certificate, key=broker.key, acl=ACL
        )
        self.ems = None

    def _program(self, name, *words):
        return Program(name, command(*words), self.folder)

    def start_ems(self, *, site, node, ems):
        issued = self.authority.site(ems, SiteRole.EMS)
        self.ems = self._program(
            "ems",
            *("ems-bridge", "reference", "--site", site, "--node", node, "--ems", ems),
            *("--broker", f"mqtts://127.0.0.1:{self.broker.port}"),
            *("--ca", self.authority.site_trust),
            *("--cert", issued.certificate, "--key", issued.key),
            *("--plant", f"tcp://127.0.0.1:{self.load_port}", "--rated-kw", 600),
        )
        self.ems.start()

    def close(self):
        if self.ems is not None:
            self.ems.stop()
        self.plant.stop()
        self.broker.stop()


def vtn(utility, *words):
    """One of the operator's commands."""
    line = [*command("vtn", *words), "--config", utility.settings_file, "--json"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr + utility.last_words()
    return json.loads(done.stdout)


def edited(site_file, *, port):
    """What an installer does with an editor; the files' names stay as the scan has written them."""
    before, table, after = site_file.read_text().partition("# [mqtt]")
    mqtt, end, guard = after.partition("[guard]")
    lines = [line.removeprefix("# ") for line in (table + mqtt).splitlines(keepends=True)]
    mqtt = "".join(lines).replace("port = 8883", f"port = {port}")
    # readings leave a minute later in quiet times, which is too long for a test
    before = before.replace("# commit_s = 60", "commit_s = 2")
    site_file.write_text(before + mqtt + end + guard)
    return tomllib.loads(site_file.read_text())


def hand_over(picture, building, mqtt, node):
    """The broker's files, as the one who runs the broker gives them."""
    issued = building.authority.site(node, SiteRole.NODE)
    for name, source in (
        ("ca", building.authority.site_trust),
        ("cert", issued.certificate),
        ("key", issued.key),
    ):
        file = picture.path(f"/etc/demandflex/{mqtt[name]}")
        file.write_bytes(source.read_bytes())
        file.chmod(0o600)


def test_from_a_package_and_a_sheet_to_a_node_that_is_ready_in_three_commands(
    tmp_path, package, utility, building
):
    sheet = tmp_path / "town-hall.html"
    made = vtn(utility, "codes", "make", VEN, "--resource", VEN, "--sheet", sheet)
    assert made["invitation"].replace("&", "&amp;") in sheet.read_text()
    (tmp_path / "picture").mkdir()
    with Picture(tmp_path / "picture") as picture:
        shutil.copyfile(package, picture.path("/package.deb"))
        picture.sh("dpkg --install /package.deb")
        shutil.copyfile(SYSTEMCTL, picture.path("/usr/bin/systemctl"))
        picture.path("/usr/bin/systemctl").chmod(0o755)
        picture.sh("mkdir -p /run/systemd/system /run/systemd/timesync")
        picture.path("/run/systemd/timesync/synchronized").touch()

        # 1
        there = f"127.0.0.1:{building.meter_port}"
        said = picture.sh(f"light-node scan --tcp {there} --write /etc/demandflex/site.toml")
        assert "unit 1: sdm630" in said
        site = edited(picture.path("/etc/demandflex/site.toml"), port=building.broker.port)
        names = {"site": site["site"]["id"], "node": site["site"]["node"]}
        hand_over(picture, building, site["mqtt"], names["node"])
        building.start_ems(**names, ems=site["mqtt"]["ems"])

        # 2
        said = picture.sh("light-node check --config /etc/demandflex/site.toml")
        assert "power, phases, voltages and counters agree" in said
        assert "EMS: 'bms' is there" in said

        # 3
        said = picture.sh(f"ven enroll '{made['invitation']}' --start || tail /run/*.log")
        assert "certificate: issued to 'CN=town-hall'" in said
        assert "services: light-node and ven are started, and again at each boot" in said
        assert "registration: the running VEN is registered as 'town-hall'" in said
        assert "EMS: is there, at the broker" in said
        assert "MISSING" not in said
        assert said.endswith("Ready.\n")

        for program, settings in (("light-node", "site.toml"), ("ven", "ven.toml")):
            written = tomllib.loads(picture.path(f"/etc/demandflex/{settings}").read_text())
            assert written["clock"]["synchronized_file"] == "/run/systemd/timesync/synchronized"
            said = picture.sh(f"{program} status --config /etc/demandflex/{settings}")
            assert said.startswith("All is well.\n")
        assert picture.path("/etc/demandflex/ven/ven.key").stat().st_mode & 0o777 == 0o600

        def measured():
            points = utility.operator.get("points", into=list[records.Point], ven=VEN)
            return any(point.unit == "W" for point in points)

        wait_for("its readings are at the VTN", measured, within_s=WAIT_S, words=utility.last_words)

        assert vtn(utility, "vens", "revoke", VEN)["state"] == "revoked"

        def shut_out():
            said = picture.sh("ven status --config /etc/demandflex/ven.toml 2>&1 || true")
            return "belongs to no VEN here" in said.splitlines()[0]

        wait_for("the VEN says that it is out", shut_out, within_s=WAIT_S, words=utility.last_words)
