import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from certs import Authority, AuthorityFault, NameRefused, SiteRole, describe
from certs.authority import _checked_host, _checked_name
from oadr.fingerprint import fingerprint


def first_of(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def purposes_of(path: Path) -> list[x509.ObjectIdentifier]:
    return list(first_of(path).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


BOTH_ENDS = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One authority for the refusals, which change nothing."""
    return Authority.create(tmp_path_factory.mktemp("certs") / "pki").folder


def test_every_private_key_is_for_its_owner_alone(authority: Authority) -> None:
    authority.ven("closed")
    keys = [*authority.folder.rglob("*.key")]

    assert len(keys) >= 8
    assert {0o600} == {stat.S_IMODE(key.stat().st_mode) for key in keys}
    assert stat.S_IMODE((authority.folder / "authority").stat().st_mode) == 0o700


def test_the_vtn_gets_an_ecc_and_an_rsa_certificate_for_its_hosts(tmp_path: Path) -> None:
    ecc, rsa_ = Authority.create(tmp_path / "authority").vtn(["127.0.0.1", "vtn.example"])

    assert (ecc.certificate.name, rsa_.certificate.name) == ("vtn-ecc.crt", "vtn-rsa.crt")
    ecc_key = first_of(ecc.certificate).public_key()
    rsa_key = first_of(rsa_.certificate).public_key()
    assert isinstance(ecc_key, ec.EllipticCurvePublicKey)
    assert ecc_key.curve.name == "secp256r1"
    assert isinstance(rsa_key, rsa.RSAPublicKey)
    assert rsa_key.key_size == 2048
    for issued in (ecc, rsa_):
        assert describe(issued.certificate)[0].hosts == ("127.0.0.1", "vtn.example")
        assert purposes_of(issued.certificate) == BOTH_ENDS


def test_an_rsa_chain_holds_no_ecc_signature(authority: Authority) -> None:
    issued = authority.ven("rsa-only", rsa=True)
    chain = x509.load_pem_x509_certificates(issued.certificate.read_bytes())

    assert len(chain) == 2
    assert {"sha256WithRSAEncryption"} == {each.signature_algorithm_oid._name for each in chain}


def test_a_ven_certificate_is_good_for_asking_and_for_being_pushed_to(authority: Authority) -> None:
    issued = authority.ven("hq", hosts=["ven.example"])

    assert purposes_of(issued.certificate) == BOTH_ENDS
    assert describe(issued.certificate)[0].hosts == ("ven.example",)
    assert describe(issued.certificate)[0].subject == "CN=hq"
    key = serialization.load_pem_private_key(issued.key.read_bytes(), password=None)
    assert key.public_key() == first_of(issued.certificate).public_key()


def test_the_fingerprint_is_that_of_the_first_certificate_of_the_file(
    authority: Authority,
) -> None:
    issued = authority.ven("fingered")
    der = first_of(issued.certificate).public_bytes(serialization.Encoding.DER)

    assert issued.fingerprint == fingerprint(der)
    shown = describe(issued.certificate)
    assert (shown[0].fingerprint, shown[0].sha256) == (issued.fingerprint, issued.sha256)
    assert shown[1].subject == "CN=demandflex VEN CA ECC"


def test_the_sites_network_shares_no_trust_with_the_utility(authority: Authority) -> None:
    node = authority.site("node-1", SiteRole.NODE)
    broker = authority.site("broker", SiteRole.BROKER, hosts=["127.0.0.1"])

    assert describe(node.certificate)[0].issuer == "CN=demandflex site CA"
    assert purposes_of(node.certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert purposes_of(broker.certificate) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert "CN=demandflex site CA" not in {each.subject for each in describe(authority.trust)}


def test_a_certificate_is_valid_from_the_day_before_for_a_year(
    tmp_path: Path, folder: Path, clock
) -> None:
    start = clock.now()
    shown = describe(Authority.open(folder, now=clock.now).ven("timed").certificate)[0]

    assert shown.not_before_at == start - timedelta(hours=24)
    assert shown.not_after_at == start + timedelta(days=365)


def test_a_certificate_never_outlives_its_authority(folder: Path, clock) -> None:
    end = describe(folder / "authority" / "ven-ca-ecc.crt")[0].not_after_at
    clock.at = end - timedelta(days=3)
    authority = Authority.open(folder, now=clock.now)
    assert describe(authority.ven("late").certificate)[0].not_after_at == end

    clock.advance(timedelta(days=4).total_seconds())
    with pytest.raises(AuthorityFault, match="has expired: make a new authority"):
        authority.ven("too-late")
    assert not (folder / "too-late.key").exists()


def test_nothing_is_ever_overwritten(folder: Path) -> None:
    authority = Authority.open(folder)
    before = authority.ven("once").certificate.read_bytes()

    with pytest.raises(AuthorityFault, match=r"once\.crt is there already"):
        authority.ven("once")
    with pytest.raises(AuthorityFault, match="never overwrites: name a new folder"):
        Authority.create(folder)
    assert before == (folder / "once.crt").read_bytes()


def test_a_vtn_certificate_is_not_half_made_when_one_of_the_two_is_there(folder: Path) -> None:
    (folder / "vtn-rsa.key").write_text("somebody's")

    with pytest.raises(AuthorityFault, match=r"vtn-rsa\.key is there already"):
        Authority.open(folder).vtn(["127.0.0.1"])
    assert not (folder / "vtn-ecc.key").exists()


def test_a_full_disk_leaves_no_half_of_a_pair(tmp_path: Path, monkeypatch) -> None:
    authority = Authority.create(tmp_path / "pki")
    before = sorted(authority.folder.iterdir())
    monkeypatch.setattr("certs.authority._write", fails_at("vtn-rsa.crt"))

    with pytest.raises(AuthorityFault, match=r"vtn-rsa\.crt cannot be written: No space left"):
        authority.vtn(["127.0.0.1"])
    assert before == sorted(authority.folder.iterdir())


def fails_at(name: str):
    def write(path: Path, content: bytes, *, mode: int) -> None:
        if path.name == name:
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    return write


def test_a_failed_founding_leaves_nothing_behind(tmp_path: Path, monkeypatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("certs.authority.Path.rename", full)
    with pytest.raises(AuthorityFault, match="cannot be filled: No space left on device"):
        Authority.create(tmp_path / "pki")
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_may_become_an_authority(tmp_path: Path) -> None:
    (tmp_path / "pki").mkdir()
    assert Authority.create(tmp_path / "pki").trust.exists()


def test_a_folder_without_an_authority_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(AuthorityFault, match=f"certs init --out {tmp_path}"):
        Authority.open(tmp_path)


NAMES_THAT_STRAY = ["", "../up", "a b", "ca", "ven-ca", "vtn-ecc", "-x", "ü", "a" * 65, "a\n"]


@pytest.mark.parametrize("name", NAMES_THAT_STRAY)
def test_a_name_that_would_stray_is_refused(folder: Path, name: str) -> None:
    before = sorted(folder.iterdir())
    with pytest.raises(NameRefused):
        Authority.open(folder).ven(name)
    assert before == sorted(folder.iterdir())


@pytest.mark.parametrize("host", ["", "http://x", "*.example", "a..b", "-a", "a b", "x/24", "é"])
def test_a_host_that_nobody_can_call_is_refused(folder: Path, host: str) -> None:
    with pytest.raises(NameRefused, match="no host name or address"):
        Authority.open(folder).vtn([host])


def test_only_a_broker_has_hosts_and_it_needs_one(folder: Path) -> None:
    authority = Authority.open(folder)
    with pytest.raises(NameRefused, match="at least one --host"):
        authority.site("b", SiteRole.BROKER)
    with pytest.raises(NameRefused, match="Only a broker"):
        authority.site("e", SiteRole.EMS, hosts=["a"])


@given(st.text(max_size=80))
def test_an_accepted_name_is_a_plain_file_name(name: str) -> None:
    try:
        _checked_name(name)
    except NameRefused:
        return
    assert Path(name).name == name
    assert name.isascii()


@given(st.from_regex(r"[a-z]([a-z0-9]{0,10})(\.[a-z][a-z0-9]{0,8}){0,3}", fullmatch=True))
def test_an_ordinary_host_name_is_accepted(host: str) -> None:
    assert _checked_host(host) == x509.DNSName(host)


@given(st.ip_addresses())
def test_every_address_is_accepted(address) -> None:
    assert _checked_host(str(address)) == x509.IPAddress(address)
