# SPDX-License-Identifier: Apache-2.0
"""One declaration per field (name, type, place): the codec reads and writes from that same line.

    @value
    class Interval:
        duration: timedelta = at("xcal:duration/xcal:duration")
        uid: str | None = at("xcal:uid/xcal:text")
        value: float = at("ei:signalPayload/ei:payloadFloat/ei:value")

The type says how text becomes a value, whether the field may be missing (`| None`), and whether it
repeats (`tuple[X, ...]`). Fields stand in the order of the schema. A step that ends in `!` is
written even when nothing is in it; where not the last step repeats, the one that does ends in `*`.
Classes are compiled once, on their first use, into closures.
"""

import abc
import dataclasses
import enum
import math
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeAlias

from lxml import etree

from oadr.errors import InvalidContent, Unbuildable
from oadr.moments import read_duration, read_instant, write_duration, write_instant

NAMESPACES: Mapping[str, str] = {
    "oadr": "http://openadr.org/oadr-2.0b/2012/07",
    "ei": "http://docs.oasis-open.org/ns/energyinterop/201110",
    "pyld": "http://docs.oasis-open.org/ns/energyinterop/201110/payloads",
    "emix": "http://docs.oasis-open.org/ns/emix/2011/06",
    "power": "http://docs.oasis-open.org/ns/emix/2011/06/power",
    "scale": "http://docs.oasis-open.org/ns/emix/2011/06/siscale",
    "gml": "http://www.opengis.net/gml/3.2",
    "strm": "urn:ietf:params:xml:ns:icalendar-2.0:stream",
    "xcal": "urn:ietf:params:xml:ns:icalendar-2.0",
}

Element: TypeAlias = etree._Element  # noqa: SLF001 - lxml has no other name for it
Write = Callable[[Any, list[str]], None]
"""Appends the text of a value to the parts of a message."""


def clark(name: str) -> str:
    """`ei:venID` -> `{http://…}venID`, as lxml spells tags."""
    prefix, local = name.split(":")
    return f"{{{NAMESPACES[prefix]}}}{local}"


# --- kinds: how the text of one element becomes a value ------------------------------------------


class Kind(Protocol):
    """Text of an element <-> value; both ways raise ValueError for what cannot be."""

    def read(self, text: str) -> Any: ...

    def write(self, value: Any) -> str: ...


_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPECIAL = re.compile("[&<>\r]")
_ESCAPE = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}


def escape(text: str) -> str:
    """Text as element content. Raises ValueError for characters XML 1.0 cannot carry."""
    if _NOT_XML.search(text):
        raise ValueError(f"{text!r} holds a character that XML cannot carry")
    return _SPECIAL.sub(lambda match: _ESCAPE[match[0]], text)


class _Text:
    read = staticmethod(str)
    write = staticmethod(escape)


class _Uri:
    """xs:anyURI: surrounding white space is not part of it."""

    _LEGAL = re.compile(r"(?:[A-Za-z0-9\-._~:/?@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*(?:#[\w\-.~/?]*)?")

    @staticmethod
    def read(text: str) -> str:
        return " ".join(text.split())

    def write(self, value: str) -> str:
        if not self._LEGAL.fullmatch(value):
            raise ValueError(f"'{value}' is not a URI")
        return escape(value)


class _Count:
    """xs:unsignedInt."""

    def __init__(self, most: int = 2**32 - 1) -> None:
        self.most = most

    def read(self, text: str) -> int:
        return int(text)

    def write(self, value: int) -> str:
        if not 0 <= value <= self.most:
            raise ValueError(f"{value} is not between 0 and {self.most}")
        return str(int(value))


_finite = math.isfinite


class _Float:
    """xs:float; NaN and infinities are refused: nothing can be done with them."""

    @staticmethod
    def read(text: str) -> float:
        value = float(text)
        if not _finite(value):
            raise ValueError(f"'{text}' is not a finite number")
        return value

    @staticmethod
    def write(value: float) -> str:
        if not _finite(value):
            raise ValueError(f"{value} is not a finite number")
        return repr(float(value))


class _Flag:
    """xs:boolean."""

    @staticmethod
    def read(text: str) -> bool:
        return text.strip() in ("true", "1")

    @staticmethod
    def write(value: bool) -> str:
        return "true" if value else "false"


class _Instant:
    read = staticmethod(read_instant)
    write = staticmethod(write_instant)


class _Duration:
    read = staticmethod(read_duration)
    write = staticmethod(write_duration)


class _Listed:
    """A closed word list: the value is a member of the enumeration."""

    def __init__(self, words: type[enum.StrEnum]) -> None:
        self._members = {member.value: member for member in words}

    def read(self, text: str) -> enum.StrEnum:
        return self._members[" ".join(text.split())]

    def write(self, value: str) -> str:
        if value not in self._members:
            raise ValueError(f"'{value}' is none of {', '.join(self._members)}")
        return str(value)


class Word:
    """An open word list: one of the standard's words, or an own one that begins with `x-`."""

    _OWN = re.compile(r"x-\S(?: ?\S)*")

    def __init__(self, words: type[enum.StrEnum]) -> None:
        self._words: Collection[str] = frozenset(member.value for member in words)

    def read(self, text: str) -> str:
        return text if text in self._words else " ".join(text.split())

    def write(self, value: str) -> str:
        if value in self._words:
            return value
        if not self._OWN.fullmatch(value):
            raise ValueError(f"'{value}' is not in the standard's list and does not begin with x-")
        return escape(value)


class ResponseCode:
    """Three digits."""

    _DIGITS = re.compile("[0-9]{3}")

    def read(self, text: str) -> str:
        return text

    def write(self, value: str) -> str:
        if not self._DIGITS.fullmatch(value):
            raise ValueError(f"the response code '{value}' is not three digits")
        return value


class _Empty:
    """An element the schema asks for and nobody has anything to say in."""

    @staticmethod
    def read(_text: str) -> None:
        return None

    @staticmethod
    def write(_value: None) -> str:
        return ""


TEXT = _Text()
EMPTY = _Empty()
URI = _Uri()
COUNT = _Count()
PERCENT = _Count(100)
FLOAT = _Float()
FLAG = _Flag()
INSTANT = _Instant()
DURATION = _Duration()
RESPONSE_CODE = ResponseCode()

_BY_TYPE: Mapping[type, Kind] = {
    str: TEXT,
    int: COUNT,
    float: FLOAT,
    bool: FLAG,
    datetime: INSTANT,
    timedelta: DURATION,
}


class Own(abc.ABC):
    """A field that codes itself, for substitution groups and for bulk."""

    tags: Sequence[str]
    """The Clark names of the elements it reads."""

    @abc.abstractmethod
    def read(self, element: Element) -> Any: ...

    @abc.abstractmethod
    def write(self, value: Any, parts: list[str]) -> None: ...


# --- declarations --------------------------------------------------------------------------------

_PLACE = "oadr place"


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    path: str
    kind: Kind | Own | None
    least: int = 0


def at(path: str, kind: Kind | Own | None = None, *, default: Any = dataclasses.MISSING) -> Any:
    """Declare where a field stands; `path` goes down from the class's element."""
    return dataclasses.field(default=default, metadata={_PLACE: _Place(path, kind)})


def maybe(path: str, kind: Kind | Own | None = None) -> Any:
    """A field that may be missing; for text, empty is missing too (rule 46)."""
    return at(path, kind, default=None)


def many(path: str, kind: Kind | Own | None = None) -> Any:
    """A field that repeats; none is the empty tuple."""
    return at(path, kind, default=())


def some(path: str, kind: Kind | Own | None = None) -> Any:
    """A field that repeats and stands at least once."""
    return dataclasses.field(metadata={_PLACE: _Place(path, kind, least=1)})


# --- compilation ---------------------------------------------------------------------------------


@dataclasses.dataclass(slots=True)
class _Field:
    name: str
    path: str
    required: bool
    read: Callable[[Element], Any]
    write: Write
    repeats: bool = False
    least: int = 0
    bare: str = ""
    """What stands for a missing value of a step that is always written."""


class _Node:
    """A step of the places of one class: its children in the order of the schema."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.always = False
        self.children: dict[str, _Node] = {}
        self.field: _Field | None = None
        self.own: Own | None = None

    def reader(self) -> "_Table":
        table: _Table = {}
        for child in self.children.values():
            if child.own is not None:
                table.update(dict.fromkeys(child.own.tags, child.field))
            else:
                table[clark(child.name)] = child.field or child.reader()
        return table


_Table = dict[str, "_Field | _Table | None"]


@dataclasses.dataclass(slots=True)
class _Code:
    table: _Table
    writers: list[Write]
    required: Mapping[str, str]


class _Missing(Exception):
    """A required field is not there; carried up until the message is known."""


_codes: dict[type, _Code] = {}


def read(kind: type[Any], element: Element) -> Any:
    """An element -> an instance of the declared class `kind`.

    Raises InvalidContent (459) where the schema was satisfied but the value cannot be used.
    """
    try:
        return _read(kind, element)
    except (ValueError, _Missing) as error:
        raise InvalidContent(f"{_local(element.tag)}: {error}.") from error


def write(value: Any, parts: list[str]) -> None:
    """Append the children of the element that `value` stands for.

    Raises Unbuildable, naming the field, for a value the wire cannot carry.
    """
    for writer in _code(type(value)).writers:
        writer(value, parts)


def _read(kind: type[Any], element: Element) -> Any:
    code = _code(kind)
    found: dict[str, Any] = {}
    _collect(code.table, element, found)
    for name, path in code.required.items():
        if name not in found:
            raise _Missing(f"{path} is missing")
    return kind(**found)


def _collect(table: _Table, element: Element, found: dict[str, Any]) -> None:
    for child in element:
        entry = table.get(child.tag)
        if entry is None:
            continue
        if type(entry) is dict:
            _collect(entry, child, found)
            continue
        assert isinstance(entry, _Field)
        try:
            value = entry.read(child)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{entry.path}: {error}") from error
        if entry.repeats:
            found[entry.name] = (*found.get(entry.name, ()), value)
        elif value is not None:
            found[entry.name] = value


def _code(kind: type[Any]) -> _Code:
    code = _codes.get(kind)
    if code is None:
        code = _codes[kind] = _compile(kind)
    return code


def _compile(kind: type[Any]) -> _Code:
    root = _Node("")
    required: dict[str, str] = {}
    hints = typing.get_type_hints(kind)
    for declared in dataclasses.fields(kind):
        place: _Place = declared.metadata[_PLACE]
        outer, inner = _split(place.path)
        node = root
        for step in outer:
            name = step.removesuffix("!")
            node = node.children.setdefault(name, _Node(name))
            node.always = node.always or step.endswith("!")
        item, optional, repeats = _shape(hints[declared.name])
        field = _field(declared.name, (node.name, *inner), item, place, optional=optional)
        field.repeats, field.least = repeats, place.least
        field.bare = f"<{node.name}/>" if node.always else ""
        node.field = field
        node.own = place.kind if isinstance(place.kind, Own) else None
        if declared.default is dataclasses.MISSING:
            required[declared.name] = field.path
    return _Code(root.reader(), [_writer(child) for child in root.children.values()], required)


def _split(path: str) -> tuple[list[str], list[str]]:
    """Steps down to the one that is the field's element, and the steps within each occurrence."""
    steps = path.split("/")
    for index, step in enumerate(steps):
        if step.endswith("*"):
            return [*steps[:index], step.removesuffix("*")], steps[index + 1 :]
    return steps, []


def _shape(hint: Any) -> tuple[Any, bool, bool]:
    """Annotation -> (item type, may be None, repeats)."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        inner = [arg for arg in typing.get_args(hint) if arg is not types.NoneType]
        return inner[0], True, False
    if origin is tuple:
        return typing.get_args(hint)[0], False, True
    return hint, False, False


def _field(name: str, steps: Sequence[str], item: Any, place: _Place, *, optional: bool) -> _Field:
    path = re.sub("[!*]", "", place.path)
    if isinstance(place.kind, Own):
        return _Field(name, path, not optional, place.kind.read, place.kind.write)
    if dataclasses.is_dataclass(item) and place.kind is None:
        return _nested(name, steps[0], item, path, optional=optional)
    kind = _kind_of(item) if place.kind is None else place.kind
    head = "".join(f"<{step}>" for step in steps)
    tail = "".join(f"</{step}>" for step in reversed(steps))
    inner = [clark(step) for step in steps[1:]]
    reading, writing = kind.read, kind.write

    def read_text(element: Element) -> Any:
        for step in inner:
            element = element.find(step)
        text = element.text
        if text is None:
            if optional and not inner:
                return None
            text = ""
        return reading(text)

    def write_text(value: Any, parts: list[str]) -> None:
        try:
            parts.append(f"{head}{writing(value)}{tail}")
        except (ValueError, TypeError, AttributeError) as error:
            raise Unbuildable(f"{name}: {error}.") from error

    return _Field(name, path, not optional, read_text, write_text)


def _nested(name: str, element: str, item: Any, path: str, *, optional: bool) -> _Field:
    head, tail = f"<{element}>", f"</{element}>"

    def read_nested(element: Element) -> Any:
        return _read(item, element)

    def write_nested(value: Any, parts: list[str]) -> None:
        parts.append(head)
        write(value, parts)
        parts.append(tail)

    return _Field(name, path, not optional, read_nested, write_nested)


def _kind_of(item: Any) -> Kind:
    if isinstance(item, type) and issubclass(item, enum.StrEnum):
        return _Listed(item)
    return _BY_TYPE[item]


def _writer(node: _Node) -> Write:
    if node.field is not None:
        return _field_writer(node.field)
    inner = [_writer(child) for child in node.children.values()]
    return _wrapper_writer(node.name, inner, always=node.always)


def _field_writer(field: _Field) -> Write:
    name, writing, bare = field.name, field.write, field.bare
    if field.repeats:
        least = field.least

        def write_all(value: Any, parts: list[str]) -> None:
            items: Sequence[Any] = getattr(value, name)
            if len(items) < least:
                raise Unbuildable(f"{name}: there must be at least one.")
            for item in items:
                writing(item, parts)

        return write_all
    if field.required:
        return lambda value, parts: writing(getattr(value, name), parts)

    def write_present(value: Any, parts: list[str]) -> None:
        item = getattr(value, name)
        if item is not None and item != "":
            writing(item, parts)
        elif bare:
            parts.append(bare)

    return write_present


def _wrapper_writer(name: str, inner: list[Write], *, always: bool) -> Write:
    head, tail, bare = f"<{name}>", f"</{name}>", f"<{name}/>"

    def write_wrapped(value: Any, parts: list[str]) -> None:
        before = len(parts)
        parts.append(head)
        for writer in inner:
            writer(value, parts)
        if len(parts) > before + 1:
            parts.append(tail)
        else:
            parts.pop()
            if always:
                parts.append(bare)

    return write_wrapped


def _local(tag: object) -> str:
    return str(tag).rpartition("}")[2]
