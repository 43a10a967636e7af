# SPDX-License-Identifier: Apache-2.0
"""The utility's side alone: a VTN as a process, its operator, and certificates for many VENs."""

from collections.abc import Sequence
from pathlib import Path

from certs.authority import Authority, Issued
from chaos.program import START_S, Program, command, last_words, wait_for
from demo.ports import free_port
from vtn import config, records
from vtn.errors import NoAnswer, RefusedByVtn
from vtn.operations.bodies import NewMarketContext, NewVen
from vtn.operator_client import OperatorClient
from vtn.views import Ven

CONTEXT = "http://demandflex.example/peak"


def vtn_toml(
    *,
    openadr_port: int,
    operator_port: int,
    authority: Authority,
    database: str,
    openadr: str = "",
    back_s: int = 4,
) -> str:
    """Settings of a VTN for trials: quick polls, quick reports. `openadr`: more lines of it."""
    certs = authority.folder
    return f"""
[vtn]
id = "VTN-1"
[openadr]
host = "127.0.0.1"
port = {openadr_port}
client_ca = "{authority.ven_trust}"
poll_interval_s = 1
resend_after_s = 2
certificates = [
    {{ cert = "{certs}/vtn-ecc.crt", key = "{certs}/vtn-ecc.key" }},
    {{ cert = "{certs}/vtn-rsa.crt", key = "{certs}/vtn-rsa.key" }},
]
{openadr}
[operator]
port = {operator_port}
token_file = "operator.token"
[store]
url = "{database}"
[reports]
back_s = {back_s}
"""


class Utility:
    """A VTN, and what its operator knows; VENs are let in by `let_in`."""

    def __init__(self, folder: Path, database: str, *, workers: int = 1, openadr: str = "") -> None:
        """`database` as in vtn.toml, empty. Nothing is started yet."""
        self.folder = folder
        self.database = database
        self.authority = Authority.create(folder / "certs")
        self.authority.vtn(["127.0.0.1"])
        self.openadr_port, self.operator_port = free_port(), free_port()
        self.settings_file = folder / "vtn.toml"
        self.settings_file.write_text(
            vtn_toml(
                openadr_port=self.openadr_port,
                operator_port=self.operator_port,
                authority=self.authority,
                database=database,
                openadr=openadr,
            )
        )
        words = ["vtn", "serve", "--config", str(self.settings_file)]
        if workers > 1:
            words += ["--workers", str(workers)]
        self.vtn = Program("vtn", command(*words), folder)

    @property
    def store_url(self) -> str:
        """The URL of the database with its driver, as SQLAlchemy takes it."""
        return config.load(self.settings_file).store.url

    def open(self) -> None:
        """Make the database, start the VTN and wait until its operator is answered."""
        init = Program("init", command("vtn", "init", "--config", self.settings_file), self.folder)
        init.start()
        wait_for(
            "the database is made", lambda: not init.alive, within_s=START_S, words=self.last_words
        )
        self.vtn.start()
        self.operator = OperatorClient.at(config.load(self.settings_file))
        self.wait_ready()
        context = NewMarketContext(uri=CONTEXT, name="Peak")
        self.operator.post("market-contexts", into=records.MarketContext, body=context)

    def wait_ready(self, *, within_s: float = START_S) -> None:
        """Come back when the operator is answered. Raises InVain."""
        wait_for("the VTN answers", self.answers, within_s=within_s, words=self.last_words)

    def answers(self) -> bool:
        """Whether the operator is answered now."""
        try:
            return bool(self.operator.get("health", into=records.Health))
        except (NoAnswer, RefusedByVtn):
            return False

    def let_in(self, ven_ids: Sequence[str]) -> list[Issued]:
        """Issue certificates and add the VENs."""
        issued = [self.authority.ven(ven_id) for ven_id in ven_ids]
        for ven_id, one in zip(ven_ids, issued, strict=True):
            body = NewVen(
                ven_id=ven_id, certificate=one.certificate.read_text(), resources=("building",)
            )
            self.operator.post("vens", into=Ven, body=body)
        return issued

    def close(self) -> None:
        """Stop the VTN."""
        self.vtn.stop()

    def last_words(self) -> str:
        """The ends of all logs."""
        return last_words(self.folder)
