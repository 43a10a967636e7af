# SPDX-License-Identifier: Apache-2.0
"""Settings: one TOML file a program, decoded once into one frozen msgspec Struct."""

import math
import os
import re
import tomllib
from collections.abc import Iterator
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
        settings = msgspec.convert(raw, into, dec_hook=to_path)
    except msgspec.ValidationError as error:
        raise SettingsFault(f"{source}: {explain(str(error), into)}") from error
    for where in _endless(raw, ""):  # TOML knows nan and inf, and no limit holds against them
        raise SettingsFault(f"{source}: [{where}] must be a number that is finite.")
    return settings


def _endless(value: object, where: str) -> Iterator[str]:
    """Where numbers stand that are none, or have no end."""
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from _endless(inside, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for index, inside in enumerate(value):
            yield from _endless(inside, f"{where}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield where


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
        import difflib  # noqa: PLC0415 - 0.2 MB, for who has mistyped a key

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
    if noun == "setting":
        what = _plainly(what, _kind_at(into, where))
    return f"[{where}] {what}." if where else f"{what}."


_KINDS = {
    "str": "text in quotes",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "date": "a date like 2030-12-25",
    "null": "left out",
}
_BOUNDS = {"<=": "of at most", ">=": "of at least", "<": "below", ">": "above"}
_BOUND = re.compile(r"^Expected '(?P<kind>int|float)' (?P<sign><=|>=|<|>) (?P<limit>\S+)$")
_OTHER = re.compile(r"^Expected '(?P<kinds>[^']+)', got '(?P<got>[^']+)'$")
_CHOICE = re.compile(r"^Invalid enum value (?P<value>.+)$")


def _plainly(what: str, kind: Any) -> str:
    """Msgspec's commonest sentences, in the words of whoever wrote the file."""
    if match := _BOUND.match(what):
        limit = match["limit"].removesuffix(".0")
        return f"must be {_KINDS[match['kind']]} {_BOUNDS[match['sign']]} {limit}"
    if match := _OTHER.match(what):
        wanted = " or ".join(_KINDS.get(each, each) for each in match["kinds"].split(" | "))
        return f"must be {wanted}, not {_KINDS.get(match['got'], match['got'])}"
    if match := _CHOICE.match(what):
        choices = ", ".join(f"'{value}'" for value in _choices(kind))
        return f"must be one of {choices}, not {match['value']}" if choices else what
    if what == "Expected 'str' of length >= 1":
        return "must not be empty"
    if what == "Expected 'str' matching regex '^[A-Za-z0-9._-]+$'":
        return "may have letters, digits, dot, hyphen and underscore only"
    if what == "Invalid RFC3339 encoded date":
        return "must be a date like 2030-12-25"
    return what


def _choices(kind: Any) -> tuple[Any, ...]:
    options = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
    for option in options:
        if isinstance(option, msgspec.inspect.LiteralType):
            return tuple(option.values)
        if isinstance(option, msgspec.inspect.EnumType):
            return tuple(member.value for member in option.cls)
    return ()


def _fields_at(into: type[msgspec.Struct], where: str) -> list[str]:
    """The known keys of the table at `where` ("meter[0].serial"), for the nearest-key hint."""
    kind = _struct_of(_kind_at(into, where))
    return [field.encode_name for field in kind.fields] if kind is not None else []


def _kind_at(into: type[msgspec.Struct], where: str) -> Any:
    """The type of what stands at `where`; None where nothing is known of it."""
    kind: Any = msgspec.inspect.type_info(into)
    for part in filter(None, re.split(r"\.|(\[[^\]]*\])", where)):
        kind = _inside(kind, part)
        if kind is None:
            return None
    return kind


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
