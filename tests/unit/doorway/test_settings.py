from pathlib import Path

import msgspec
import pytest

from doorway import SettingsFault, decode_settings, load_settings


class Serial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    baud: int = 9600


class Meter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    serial: Serial | None = None


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    ring: Path = Path("ring.db")
    meter: list[Meter] = []
    most_w: float | None = None
    windows: list[dict[str, float]] = []


def decode(raw: dict) -> Site:
    return decode_settings(raw, Site, source="site.toml", folder=Path("/etc/x"))


def test_a_path_is_taken_relative_to_the_file() -> None:
    assert Path("/etc/x/sub/ring.db") == decode({"name": "a", "ring": "sub/ring.db"}).ring
    assert Path("/var/ring.db") == decode({"name": "a", "ring": "/var/ring.db"}).ring


def test_a_credential_of_the_service_goes_before_the_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.key").touch()
    (tmp_path / "mqtt_node.key").touch()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    def at(text: str) -> Path:
        return decode({"name": "a", "ring": text}).ring

    assert at("one.key") == tmp_path / "one.key"
    assert at("mqtt/node.key") == tmp_path / "mqtt_node.key"
    assert at("mqtt/one.key") == Path("/etc/x/mqtt/one.key")
    assert at("other.key") == Path("/etc/x/other.key")
    assert at("/etc/one.key") == Path("/etc/one.key")


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({"nmae": "a"}, "site.toml: there is no setting 'nmae'; did you mean 'name'?"),
        (
            {"name": "a", "meter": [{"id": "m", "serial": {"baude": 1}}]},
            "site.toml: there is no setting 'baude' in [meter[0].serial]; did you mean 'baud'?",
        ),
        ({}, "site.toml: misses the required setting 'name'."),
        ({"name": 3}, "site.toml: [name] must be text in quotes, not a whole number."),
    ],
)
def test_a_fault_names_the_key_and_what_to_do(raw: dict, sentence: str) -> None:
    with pytest.raises(SettingsFault) as fault:
        decode(raw)

    assert sentence == str(fault.value)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsFault, match="there is no such settings file"):
        load_settings(tmp_path / "none.toml", Site)


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text("name = \n")

    with pytest.raises(SettingsFault, match=r"this is not TOML: .*line 1"):
        load_settings(file, Site)


def test_a_home_that_there_is_not_is_named_with_its_key() -> None:
    """Found by fuzzing: it was a traceback."""
    with pytest.raises(SettingsFault, match=r"\[ring\] .*home"):
        decode({"name": "a", "ring": "~nobody-of-that-name/log"})


def test_a_path_that_no_system_knows_is_named_with_its_key() -> None:
    with pytest.raises(SettingsFault, match=r"\[ring\] .*NUL"):
        decode({"name": "a", "ring": "a\0b"})


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("most_w = nan", "most_w"),
        ("most_w = -inf", "most_w"),
        ("windows = [{ a = 1 }, { a = 2, b = inf }]", "windows[1].b"),
    ],
)
def test_a_number_that_is_none_or_has_no_end_is_refused(
    tmp_path: Path, line: str, where: str
) -> None:
    (tmp_path / "site.toml").write_text(f'name = "a"\n{line}\n')
    with pytest.raises(SettingsFault) as refused:
        load_settings(tmp_path / "site.toml", Site)
    assert str(refused.value).endswith(f"site.toml: [{where}] must be a number that is finite.")
