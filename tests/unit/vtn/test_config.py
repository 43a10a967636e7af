import tomllib
from pathlib import Path

import msgspec
import pytest

from doorway import SettingsFault
from vtn import config

TEXT = """
[vtn]
id = "VTN-1"
[openadr]
certificates = [{cert = "vtn.crt", key = "vtn.key"}]
client_ca = "ca.crt"
[operator]
token_file = "token"
"""


def load(folder: Path, text: str) -> config.Settings:
    file = folder / "vtn.toml"
    file.write_text(text)
    return config.load(file)


def test_paths_and_the_database_are_relative_to_the_file(tmp_path):
    settings = load(tmp_path, TEXT)

    assert settings.store.url == f"sqlite+aiosqlite:///{tmp_path}/vtn.db"
    assert settings.openadr.client_ca == tmp_path / "ca.crt"
    assert settings.openadr.certificates[0].key == tmp_path / "vtn.key"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("sqlite:///x.db", "sqlite+aiosqlite:////base/x.db"),
        ("sqlite:////var/x.db", "sqlite+aiosqlite:////var/x.db"),
        ("sqlite+aiosqlite:////var/x.db", "sqlite+aiosqlite:////var/x.db"),
        ("postgresql://vtn@db/vtn", "postgresql+asyncpg://vtn@db/vtn"),
        ("postgresql+asyncpg://vtn@/x?host=/run", "postgresql+asyncpg://vtn@/x?host=/run"),
    ],
)
def test_a_database_gets_its_driver(given, url):
    assert config.store_url(given, folder=Path("/base")) == url


@pytest.mark.parametrize("url", ["mysql://x", "vtn.db", "sqlite://", "sqlite:///"])
def test_another_database_is_refused_with_its_key(tmp_path, url):
    with pytest.raises(SettingsFault, match=r"\[store\] url"):
        load(tmp_path, f'{TEXT}[store]\nurl = "{url}"\n')


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("[reports]\nback = 5", "did you mean 'back_s'"),
        ("[reports]\nback_s = 0", "reports.back_s"),
        ("[stores]", "did you mean 'store'"),
        ("[openadr.proxy]", r"\[openadr.proxy\] peers: name the addresses"),
        ('[openadr.proxy]\npeers = ["10.0.0.1/8"]', "peers: 10.0.0.1/8 has host bits set"),
        ('[openadr.proxy]\npeers = ["front"]', "peers: 'front' does not appear to be"),
        ('[openadr.proxy]\nheader = "X-Mine"', "header"),
    ],
)
def test_a_mistake_is_named_with_its_key(tmp_path, more, sentence):
    with pytest.raises(SettingsFault, match=sentence):
        load(tmp_path, TEXT + more)


OIDC = {
    "issuer": '"https://id.example"',
    "client_id": '"vtn"',
    "console_url": '"https://vtn.example:8444"',
}


def oidc(tmp_path, **changes):
    lines = [f"{key} = {value}" for key, value in {**OIDC, **changes}.items()]
    return load(tmp_path, "\n".join([TEXT, "[operator.oidc]", *lines])).operator.oidc


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("issuer", '"http://id.example"', "issuer must begin with https://"),
        ("issuer", '"https://"', "issuer must begin with https://"),
        ("issuer", '"https://id.example/?x=1"', "issuer must be an address without"),
        ("issuer", '""', "issuer"),
        ("console_url", '"http://vtn.example"', "console_url must begin with https://"),
        ("console_url", '"https://a:b@vtn.example"', "console_url must be an address without"),
        ("scopes", '["profile"]', "openid"),
        ("roles", '{ it = "boss" }', "boss"),
    ],
)
def test_an_identity_provider_is_reached_by_https_and_gives_roles_that_there_are(
    tmp_path, key, value, sentence
):
    with pytest.raises(SettingsFault, match=sentence):
        oidc(tmp_path, **{key: value})


def test_a_provider_of_a_trial_may_be_on_this_machine_without_tls(tmp_path):
    settings = oidc(tmp_path, issuer='"http://127.0.0.1:8080/x"', roles='{ it = "admin" }')
    assert settings.issuer == "http://127.0.0.1:8080/x"
    assert settings.roles == {"it": "admin"}


@pytest.mark.parametrize("name", ["openadr", "operator", "openadr.proxy"])
def test_operators_vens_and_the_front_never_share_a_port(tmp_path, name):
    """Whatever the host: one of them may become 0.0.0.0 some day."""
    other = "openadr" if name == "operator" else "operator"
    raw = tomllib.loads(TEXT + '[openadr.proxy]\npeers = ["127.0.0.1"]\n')
    section = raw
    for key in name.split("."):
        section = section[key]
    section["port"] = 7000
    raw[other]["port"] = 7000
    settings = msgspec.convert(raw, config.Settings, dec_hook=lambda kind, value: kind(value))

    with pytest.raises(ValueError, match="each listener has its own"):
        config._check_listeners(settings)


@pytest.mark.parametrize(
    ("retention", "reason"),
    [
        ("samples_days = 3", "samples_days must be 8 or more"),
        ("rollup_days = 100", "rollup_days must not be less"),
        ("samples_days = 0", "rollup_days must not be less"),
        ("audit_days = -1", "audit_days"),
    ],
)
def test_what_may_not_be_forgotten_is_kept(retention, reason):
    with pytest.raises(msgspec.ValidationError, match=reason):
        msgspec.convert(tomllib.loads(retention), config.RetentionSettings)


def test_everything_may_be_kept_for_ever():
    config.RetentionSettings(samples_days=0, event_days=0, rollup_days=0, audit_days=0)
