# SPDX-License-Identifier: Apache-2.0
"""The stage: folders, ports, certificates and settings files of one run of the demonstration."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from certs.authority import Authority
from demo.load_series import ClockShift
from demo.ports import free_port

VTN_ID = "DEMO-VTN"
VEN_ID = "demo-site"
SITE, NODE, EMS = "demo", "node-1", "ems-1"
MARKET_CONTEXT = "http://demandflex.example/demo"
RATED_KW = 450


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """TCP ports on loopback."""

    openadr: int = field(default_factory=free_port)
    operator: int = field(default_factory=free_port)
    meter: int = field(default_factory=free_port)
    load: int = field(default_factory=free_port)
    broker: int = field(default_factory=free_port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where everything of this run lies; `set_up` made it."""

    out: Path
    ports: Ports
    shift: ClockShift

    @property
    def logs(self) -> Path:
        return self.out / "logs"

    @property
    def certs(self) -> Path:
        return self.out / "certs"

    @property
    def vtn_toml(self) -> Path:
        return self.out / "vtn" / "vtn.toml"

    @property
    def site_toml(self) -> Path:
        return self.out / "site" / "site.toml"

    @property
    def ven_toml(self) -> Path:
        return self.out / "site" / "ven.toml"

    @property
    def history(self) -> Path:
        return self.out / "site" / "history.csv"

    @property
    def socket(self) -> Path:
        return self.out / "site" / "light-node.sock"

    @property
    def ven_certificate(self) -> Path:
        return self.certs / f"{VEN_ID}.crt"

    @property
    def result(self) -> Path:
        return self.out / "result.json"

    @property
    def picture(self) -> Path:
        return self.out / "curtailment.svg"


def set_up(out: Path, shift: ClockShift) -> Stage:
    """Clear `out` and fill it: certificates, and a settings file for each program."""
    shutil.rmtree(out, ignore_errors=True)
    stage = Stage(out=out.resolve(), ports=Ports(), shift=shift)
    for folder in (stage.logs, stage.vtn_toml.parent, stage.site_toml.parent):
        folder.mkdir(parents=True)
    authority = Authority.create(stage.certs)
    authority.vtn(["127.0.0.1", "localhost"])
    authority.ven(VEN_ID)
    stage.vtn_toml.write_text(_vtn_toml(stage))
    stage.site_toml.write_text(_site_toml(stage))
    stage.ven_toml.write_text(_ven_toml(stage))
    return stage


def _vtn_toml(stage: Stage) -> str:
    return f"""
[vtn]
id = "{VTN_ID}"
url = "https://127.0.0.1:{stage.ports.openadr}"

[openadr]
host = "127.0.0.1"
port = {stage.ports.openadr}
client_ca = "{stage.certs / "ven-ca.crt"}"
poll_interval_s = 1
certificates = [
    {{ cert = "{stage.certs / "vtn-ecc.crt"}", key = "{stage.certs / "vtn-ecc.key"}" }},
    {{ cert = "{stage.certs / "vtn-rsa.crt"}", key = "{stage.certs / "vtn-rsa.key"}" }},
]

[operator]
port = {stage.ports.operator}
token_file = "operator.token"

[store]
url = "sqlite:///vtn.db"

[reports]
back_s = 8  # 60 in the field; here somebody is waiting to see readings
"""


def _site_toml(stage: Stage) -> str:
    working_days = ", ".join(f'"{day}"' for day in stage.shift.working_days)
    return f"""
[site]
id = "{SITE}"
node = "{NODE}"
timezone = "{stage.shift.timezone}"  # so that the site's calendar is the recording's
working_days = [{working_days}]

[[meter]]
id = "main"
profile = "sdm630"
host = "127.0.0.1"
port = {stage.ports.meter}

[mqtt]
host = "127.0.0.1"
port = {stage.ports.broker}
ems = "{EMS}"

[ring]
path = "ring.db"
commit_s = 4  # 60 in the field, to spare the SD card

[guard]
max_reduction_w = 150_000
"""


def _ven_toml(stage: Stage) -> str:
    return f"""
[ven]
name = "{VEN_ID}"
cert = "{stage.ven_certificate}"
key = "{stage.certs / f"{VEN_ID}.key"}"
state = "ven.db"

[vtn]
url = "https://127.0.0.1:{stage.ports.openadr}"
ca = "{stage.certs / "vtn-ca.crt"}"

[node]
socket = "light-node.sock"

[reports]
event_batch_s = 4

[site]
resource_id = "building"
rated_w = {RATED_KW * 1000}
"""
