"""The broker's configuration files of docs/clients/mosquitto, as they are: who may say what."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from chaos.brokers import ACL, RunningBroker
from demo.ports import free_port
from ems_bridge.broker import BrokerSettings
from ems_bridge.errors import BrokerUnreachable, NotDelivered
from ems_bridge.link import Outgoing
from ems_bridge.probe import connected
from ems_bridge.settings import Settings

FILES = Path(__file__).parents[2] / "docs" / "clients" / "mosquitto"
PLACE = "/etc/mosquitto/demandflex"
ROOT = "df/v1/town-hall/node-1"
ALLOWED = [
    ("node-1", f"{ROOT}/limit/cmd"),
    ("node-1", f"{ROOT}/alert/disk"),
    ("bms", f"{ROOT}/ems/bms/ack"),
    ("bms", f"{ROOT}/ems/bms/override"),
    ("installer", f"{ROOT}/limit/cmd"),
    ("installer", "homeassistant/device/demandflex-town-hall-node-1/config"),
    ("home-assistant", f"{ROOT}/ems/bms/override"),
]
DENIED = [
    ("node-1", "df/v1/town-hall/node-2/limit/cmd"),
    ("node-1", f"{ROOT}x/limit/cmd"),
    ("node-1", "homeassistant/device/x/config"),
    ("bms", f"{ROOT}/limit/cmd"),
    ("bms", f"{ROOT}/status"),
    ("bms", f"{ROOT}/ems/other/ack"),
    ("bms", "homeassistant/device/x/config"),
    ("home-assistant", f"{ROOT}/limit/cmd"),
    ("home-assistant", f"{ROOT}/ems/bms/ack"),
    ("stranger", f"{ROOT}/ems/bms/ack"),
]


def now() -> datetime:
    return datetime.now(UTC)


class Site:
    """A folder in the place of /etc/mosquitto/demandflex, and the broker that reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(folder / "ca.pem")
        self.issue("broker", "127.0.0.1")
        shutil.copy(FILES / "demandflex.acl", folder)
        (folder / "demandflex.acl").chmod(0o600)
        port = free_port()
        written = (FILES / "demandflex.conf").read_text(encoding="utf-8")
        config = written.replace(PLACE, str(folder)).replace("listener 8883", f"listener {port}")
        if os.geteuid() == 0:
            config += "user root\n"  # or it drops to a user who may not look into this folder
        (folder / "mosquitto.conf").write_text(config, encoding="utf-8")
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        command = [program, "-c", folder / "mosquitto.conf"]
        self.broker = RunningBroker(command, port, folder / "mosquitto.log")

    def issue(self, name: str, host: str, authority: trustme.CA | None = None) -> None:
        identity = (authority or self.authority).issue_cert(host, common_name=name)
        identity.cert_chain_pems[0].write_to_path(self.folder / f"{name}.pem")
        identity.private_key_pem.write_to_path(self.folder / f"{name}.key")
        (self.folder / f"{name}.key").chmod(0o600)

    def settings(self, name: str | None) -> Settings:
        files = {"ca": self.folder / "ca.pem"}
        if name is not None:
            files |= {"cert": self.folder / f"{name}.pem", "key": self.folder / f"{name}.key"}
        broker = BrokerSettings(host="127.0.0.1", port=self.broker.port, protocol="5", **files)
        return Settings(site="town-hall", node="node-1", broker=broker)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("site"))
    for name in {name for name, _ in ALLOWED + DENIED}:
        site.issue(name, f"{name}.example")
    site.issue("foreign", "foreign.example", trustme.CA())
    site.broker.start()
    yield site
    site.broker.kill()


async def is_taken(site: Site, name: str, topic: str) -> bool:
    async with connected(site.settings(name), (), now) as link:
        try:
            await link.publish(Outgoing(topic=topic, payload=b"{}"))
        except NotDelivered as fault:
            if not fault.denied:
                raise
            return False
    return True


async def test_each_client_may_say_what_is_its_own_and_nothing_else(site):
    taken = {(name, topic): await is_taken(site, name, topic) for name, topic in ALLOWED + DENIED}

    assert [place for place, was in taken.items() if was] == ALLOWED
    assert [place for place, was in taken.items() if not was] == DENIED


@pytest.mark.parametrize("name", [None, "foreign"])
async def test_nobody_without_a_certificate_of_the_site_is_let_in(site, name):
    with pytest.raises(BrokerUnreachable):
        async with connected(site.settings(name), (), now):
            pytest.fail("let in")


def test_what_the_other_tests_allow_is_what_the_files_allow():
    rules = [line for line in ACL.splitlines() if line.startswith("pattern")]
    files = (FILES / "demandflex.acl").read_text(encoding="utf-8").splitlines()

    assert [line for line in files if line.startswith("pattern")] == rules
