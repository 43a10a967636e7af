# SPDX-License-Identifier: Apache-2.0
"""Settings: one TOML file a program, decoded once into one frozen msgspec Struct."""

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from doorway.errors import SettingsFault

T = TypeVar("T", bound=msgspec.Struct)

_UNKNOWN = re.compile(r"unknown field `(?P<key>[^`]+)`(?: - at `\$?(?P<where>[^`]*)`)?")
_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<where>[^`]*)`)?$")


def load_settings(path: Path, into: type[T]) -> T:
    """Read the TOML file at `path` into `into`, a Struct with `forbid_unknown_fields=True`.

    Fields typed `Path` are taken relative to the file's folder, unless systemd hands a credential
    of that name to the service (LoadCredential=). Raises SettingsFault with one sentence that names
    the file, the key and, for an unknown key, the nearest known one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsFault(
            f"{path}: there is no such settings file; name one with --config."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsFault(f"{path}: the settings file cannot be read: {error}.") from error
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsFault(f"{path}: this is not TOML: {error}.") from error
    return decode_settings(raw, into, source=str(path), folder=path.resolve().parent)


def decode_settings(raw: dict[str, Any], into: type[T], *, source: str, folder: Path) -> T:
    """Decode already parsed TOML; `source` stands at the head of each fault's sentence."""

    def to_path(kind: type, value: object) -> object:
        if issubclass(kind, Path):
            if not isinstance(value, str):
                raise TypeError("Expected a path as text")
            if "\0" in value:
                raise ValueError("A path holds no NUL")
            try:
                return _placed(Path(value).expanduser(), folder)
            except RuntimeError as error:
                raise ValueError(f"There is no such home: {value}") from error
        raise NotImplementedError(f"Settings of type {kind} are not supported")

    try:
        return msgspec.convert(raw, into, dec_hook=to_path)
    except msgspec.ValidationError as error:
        raise SettingsFault(f"{source}: {explain(str(error), into)}") from error


def _placed(path: Path, folder: Path) -> Path:
    """One settings file serves the service, which gets its keys as credentials, and a person.

    LoadCredential=mqtt:/etc/demandflex/mqtt hands mqtt/node.key over as mqtt_node.key.
    """
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and not path.is_absolute():
        credential = Path(credentials, "_".join(path.parts))
        if credential.is_file():
            return credential
    return folder / path


def explain(fault: str, into: type[msgspec.Struct], *, noun: str = "setting") -> str:
    """What msgspec.ValidationError says, for a person; `noun` is what a key of `into` is called."""
    text = fault.removeprefix("Object contains ").removeprefix("Object ")
    if unknown := _UNKNOWN.search(text):
        key = unknown["key"]
        where = (unknown["where"] or "").lstrip(".")
        known = _fields_at(into, where)
        near = difflib.get_close_matches(key, known, n=1)
        place = f" in [{where}]" if where else ""
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(sorted(known))}."
        return f"there is no {noun} '{key}'{place}; {hint}"
    match = _AT.match(text)
    assert match is not None
    where = match["where"] or ""
    what = (
        match["what"]
        .replace("missing required field", f"misses the required {noun}")
        .replace("`", "'")
    )
    return f"[{where}] {what}." if where else f"{what}."


def _fields_at(into: type[msgspec.Struct], where: str) -> list[str]:
    """The known keys of the table at `where` ("meter[0].serial"), for the nearest-key hint."""
    kind: Any = msgspec.inspect.type_info(into)
    for part in filter(None, re.split(r"\.|(\[[^\]]*\])", where)):
        kind = _inside(kind, part)
        if kind is None:
            return []
    kind = _struct_of(kind)
    return [field.encode_name for field in kind.fields] if kind is not None else []


def _inside(kind: Any, part: str) -> Any:
    if part.startswith("["):
        options = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
        for option in options:
            if isinstance(option, msgspec.inspect.DictType):
                return option.value_type
            item = getattr(option, "item_type", None)
            if item is not None:
                return item
        return None
    struct = _struct_of(kind)
    if struct is None:
        return None
    return next((field.type for field in struct.fields if field.encode_name == part), None)


def _struct_of(kind: Any) -> msgspec.inspect.StructType | None:
    options = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
    return next((o for o in options if isinstance(o, msgspec.inspect.StructType)), None)
