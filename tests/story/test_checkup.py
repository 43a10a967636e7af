"""`vtn check` finds what would stop the VTN, says it in plain words, and touches nothing."""

import asyncio
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from certs.authority import Authority, SiteRole
from vtn.checkup import check
from vtn.config import Chain, OpenAdrSettings, OperatorSettings, Settings, StoreSettings
from vtn.config import VtnSettings as Who
from vtn.credential import create_token
from vtn.store import migrate


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    pki = Authority.create(tmp_path_factory.mktemp("checkup") / "pki")
    pki.vtn(["127.0.0.1"])
    return pki


@pytest.fixture
def settings(tmp_path: Path, pki: Authority) -> Settings:
    """Of a VTN that lacks nothing."""
    settings = Settings(
        vtn=Who(id="vtn"),
        openadr=OpenAdrSettings(
            certificates=(chain(pki, "ecc"), chain(pki, "rsa")),
            client_ca=pki.trust,
            host="127.0.0.1",
            port=0,
        ),
        operator=OperatorSettings(token_file=tmp_path / "operator.token", port=0),
        store=StoreSettings(url=f"sqlite+aiosqlite:///{tmp_path / 'vtn.db'}"),
    )
    create_token(settings.operator.token_file)
    asyncio.run(migrate(settings.store.url))
    return settings


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def chain(pki: Authority, cert: str, key: str = "") -> Chain:
    return Chain(cert=pki.folder / f"vtn-{cert}.crt", key=pki.folder / f"vtn-{key or cert}.key")


def changed(settings: Settings, **openadr) -> Settings:
    return Settings(
        vtn=settings.vtn,
        openadr=OpenAdrSettings(
            **{
                "certificates": settings.openadr.certificates,
                "client_ca": settings.openadr.client_ca,
                "host": "127.0.0.1",
                "port": 0,
                **openadr,
            }
        ),
        operator=settings.operator,
        store=settings.store,
    )


def found(settings: Settings, *, after: timedelta = timedelta(0)) -> tuple[list[str], list[str]]:
    """What is missing, and what is to be noted."""
    findings = asyncio.run(check(settings, now=datetime.now(UTC) + after))
    missing = [each.sentence for each in findings if not each.ok]
    return missing, [each.sentence for each in findings if each.ok and each.warning]


def only(sentences: list[str], part: str) -> None:
    assert len(sentences) == 1, sentences
    assert part in sentences[0]
    assert sentences[0].endswith(".")


def test_where_nothing_is_missing_nothing_is_said(settings: Settings, tmp_path: Path) -> None:
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    assert found(settings) == ([], [])
    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir()}


def test_the_key_of_another_certificate_is_told_apart(settings: Settings, pki: Authority) -> None:
    wrong = changed(settings, certificates=(chain(pki, "ecc", "rsa"), chain(pki, "rsa")))
    missing, _ = found(wrong)

    only(missing, "vtn-rsa.key is not the key of")


def test_certificates_that_end_are_named_before_and_after(settings: Settings) -> None:
    missing, notes = found(settings, after=timedelta(days=340))
    assert missing == []
    assert len(notes) == 2
    assert all("24 days left." in each or "25 days left." in each for each in notes)
    missing, _ = found(settings, after=timedelta(days=400))
    assert len(missing) == 2
    assert all(" expired on " in each and each.endswith("; renew it.") for each in missing)
    missing, _ = found(settings, after=timedelta(days=-400))
    assert len(missing) == 4
    assert all("see the clock" in each for each in missing)


def test_a_certificate_for_servers_only_cannot_push(settings: Settings, pki: Authority) -> None:
    broker = pki.site("for-servers-only", SiteRole.BROKER, hosts=["127.0.0.1"])
    chains = (Chain(cert=broker.certificate, key=broker.key), *settings.openadr.certificates)

    missing, warnings = found(changed(settings, certificates=chains))
    assert missing == []
    only(warnings, "VENs that are pushed to will refuse it")


def test_one_kind_of_certificate_is_not_enough_for_every_ven(
    settings: Settings, pki: Authority
) -> None:
    missing, notes = found(changed(settings, certificates=(chain(pki, "ecc"),)))

    assert missing == []
    only(notes, "There is no RSA certificate")


@pytest.mark.parametrize("text", [None, "", "nothing of use"])
def test_a_file_that_is_no_certificate_is_named(
    settings: Settings, tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "ca.crt"
    if text is not None:
        file.write_text(text)
    missing, _ = found(changed(settings, client_ca=file))

    only(missing, "no such file" if text is None else "this holds no PEM certificate")


def test_a_key_that_others_can_read_is_noted(
    settings: Settings, tmp_path: Path, pki: Authority
) -> None:
    key = tmp_path / "vtn-ecc.key"
    key.write_bytes((pki.folder / "vtn-ecc.key").read_bytes())
    key.chmod(0o644)
    own = Chain(cert=pki.folder / "vtn-ecc.crt", key=key)
    missing, notes = found(changed(settings, certificates=(own, chain(pki, "rsa"))))

    assert missing == []
    only(notes, "others can read it (mode 644); chmod 600 it.")


@pytest.mark.parametrize("text", [None, "short", "two words of a token"])
def test_a_token_that_is_none_is_named(settings: Settings, text: str | None) -> None:
    token = settings.operator.token_file
    token.unlink()
    if text is not None:
        token.write_text(text)
    missing, _ = found(settings)

    only(missing, "vtn init")


def test_a_database_that_is_not_there_is_not_made(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "vtn.db").unlink()
    missing, _ = found(settings)

    only(missing, "It has no tables yet; run vtn init.")
    assert not (tmp_path / "vtn.db").exists()


def test_a_port_in_use_is_noted_and_an_address_of_nobody_is_missing(
    settings: Settings, taken: int
) -> None:
    missing, notes = found(changed(settings, port=taken))
    assert missing == []
    only(notes, f"127.0.0.1:{taken} is in use")
    missing, _ = found(changed(settings, host="192.0.2.1"))
    only(missing, "192.0.2.1:0 cannot be taken: ")


def test_a_revocation_list_is_looked_through(
    settings: Settings, pki: Authority, tmp_path: Path
) -> None:
    crl = next(each.file for each in pki.crls() if each.file.name == "ven-ca.crl")
    good = changed(settings, client_ca=pki.ven_trust, crl=(crl,))
    assert found(good) == ([], [])
    _, noted = found(good, after=timedelta(days=40))
    assert any("overdue since" in each for each in noted)

    missing, _ = found(changed(settings, crl=(tmp_path / "none.crl",)))
    only(missing, "no revocation list can be used here: No such file")


def test_an_operators_listener_for_the_network_is_noted(settings: Settings) -> None:
    operator = msgspec.structs.replace(settings.operator, host="0.0.0.0")
    _, noted = found(msgspec.structs.replace(settings, operator=operator))

    only(noted, "in the clear")


def test_several_workers_on_sqlite_are_refused(settings: Settings) -> None:
    several = msgspec.structs.replace(settings, vtn=Who(id="vtn", workers=2))
    missing, _ = found(several)

    only(missing, "SQLite serves one process, not 2")
