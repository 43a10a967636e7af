"""Hypothesis strategies: any message of OpenADR 2.0b, within what the schema admits."""

import dataclasses
import enum
import types
import typing
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import strategies as st

from oadr import codec, columns, event, opt, poll, registration, report, target, units, vocabulary
from oadr.messages import NAME_OF
from oadr.response import EiResponse

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), include_characters="\t\n\r"),
    max_size=12,
).filter(lambda text: not codec._NOT_XML.search(text))
IDENTIFIERS = st.one_of(st.sampled_from(["0042", "1e3", "true", " x ", "", "-0"]), TEXT)
OPTIONAL_TEXT = TEXT.filter(bool)
INSTANTS = st.datetimes(
    min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)
).map(lambda moment: moment.replace(microsecond=0))
DURATIONS = st.integers(0, 10**9).map(lambda seconds: timedelta(seconds=seconds))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
OWN_WORDS = st.text("abcXYZ019-_", min_size=1, max_size=8).map(lambda text: f"x-{text}")
URIS = st.sampled_from(
    ["http://market.example/peak", "urn:x:y", "http://MarketContext1?a=b&c=d#e", "%41", "x"]
)
UNITS = st.one_of(
    st.builds(
        units.power,
        st.sampled_from(vocabulary.ScaleCode),
        hertz=st.sampled_from([50, 60]),
        voltage=st.integers(0, 10**6),
        ac=st.booleans(),
    ),
    st.builds(units.energy, st.sampled_from(vocabulary.ScaleCode)),
    st.builds(units.price_per_kwh, st.sampled_from(["EUR", "USD", "CHF"])),
    st.builds(units.custom, TEXT, TEXT, st.sampled_from(vocabulary.ScaleCode)),
    st.builds(
        units.Unit,
        kind=st.just("oadr:pulseCount"),
        symbol=st.just("count"),
        description=st.just("pulse count"),
        pulse_factor=FLOATS,
    ),
    st.sampled_from(
        [
            units.Unit(kind="power:voltage", symbol="V", description="Voltage"),
            units.Unit(kind="oadr:current", symbol="A", description="Current"),
            units.Unit(kind="oadr:frequency", symbol="Hz", description="Frequency"),
            units.Unit(kind="oadr:Therm", symbol="thm", description="Therm"),
            units.Unit(kind="oadr:temperature", symbol="celsius", description="temperature"),
            units.Unit(kind="power:energyReactive", symbol="VARh", description="ReactiveEnergy"),
            units.Unit(kind="power:energyApparent", symbol="VAh", description="ApparentEnergy"),
            units.Unit(
                kind="power:powerReactive",
                symbol="VAR",
                description="ReactivePower",
                attributes=units.PowerAttributes(hertz=Decimal("49.98")),
            ),
        ]
    ),
)
POSITIONS = st.lists(FLOATS, min_size=1, max_size=4).map(lambda p: target.Positions(tuple(p)))
STATUSES = st.deferred(lambda: any_of(columns.ResourceStatus))

_SIMPLE = {
    str: IDENTIFIERS,
    int: st.integers(0, 2**32 - 1),
    float: FLOATS,
    bool: st.booleans(),
    datetime: INSTANTS,
    timedelta: DURATIONS,
    types.NoneType: st.none(),
}
_WORDS = {
    "signal_name": vocabulary.SignalName,
    "opt_reason": vocabulary.OptReason,
    "report_name": vocabulary.ReportName,
    "report_type": vocabulary.ReportType,
    "reading_type": vocabulary.ReadingType,
}


def any_of(kind: type) -> st.SearchStrategy:
    """Any instance of a declared class, made from the very declarations the codec reads."""
    hints = typing.get_type_hints(kind)
    return st.builds(
        kind,
        **{field.name: _field(field, hints[field.name]) for field in dataclasses.fields(kind)},
    )


def _field(field: dataclasses.Field, hint: object) -> st.SearchStrategy:
    place = field.metadata[codec._PLACE]
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        item = typing.get_args(hint)[0]
        return st.none() | _item(field.name, place, item, optional=True)
    if origin is tuple:
        item = typing.get_args(hint)[0]
        return st.lists(
            _item(field.name, place, item, optional=False), min_size=place.least, max_size=2
        ).map(tuple)
    return _item(field.name, place, hint, optional=False)


def _item(name: str, place: object, item: object, *, optional: bool) -> st.SearchStrategy:
    if name == "response_code":
        return st.from_regex("[0-9]{3}", fullmatch=True)
    if name in _WORDS:
        return st.sampled_from(_WORDS[name]).map(str) | OWN_WORDS
    if name == "market_context":
        return URIS
    if item is units.Unit:
        return UNITS
    if item is columns.Intervals:
        return intervals()
    if item is target.Positions:
        return POSITIONS
    if isinstance(item, type) and issubclass(item, enum.Enum):
        return st.sampled_from(item)
    if dataclasses.is_dataclass(item):
        return any_of(item)
    if item is str and optional:
        return OPTIONAL_TEXT
    return _SIMPLE[item]


@st.composite
def intervals(draw: st.DrawFn) -> columns.Intervals:
    """Sparse columns in which every interval has a payload and every column a value."""
    count = draw(st.integers(1, 4))

    def per_interval(items: st.SearchStrategy) -> tuple:
        drawn = draw(st.lists(st.none() | items, min_size=count, max_size=count))
        return tuple(drawn) if any(item is not None for item in drawn) else ()

    full = draw(IDENTIFIERS)
    others = draw(st.lists(IDENTIFIERS.filter(lambda r: r != full), max_size=2, unique=True))
    drawn = []
    for r_id in sorted([full, *others]):
        value = FLOATS if draw(st.booleans()) else STATUSES
        if r_id == full:
            values = draw(st.lists(value, min_size=count, max_size=count).map(tuple))
        else:
            values = per_interval(value)
        if not values:
            continue

        def beside(items: st.SearchStrategy, values: tuple = values) -> tuple:
            side = draw(st.lists(st.none() | items, min_size=count, max_size=count))
            side = [
                None if value is None else item for item, value in zip(side, values, strict=True)
            ]
            return tuple(side) if any(item is not None for item in side) else ()

        drawn.append(
            columns.Column(
                r_id=r_id,
                values=values,
                quality=beside(st.sampled_from(vocabulary.DataQuality).map(str) | OWN_WORDS),
                confidence=beside(st.integers(0, 100)),
                accuracy=beside(FLOATS),
            )
        )
    return columns.Intervals(
        count=count,
        starts_at=per_interval(INSTANTS),
        durations=per_interval(DURATIONS),
        uids=per_interval(IDENTIFIERS),
        columns=tuple(drawn),
    )


MESSAGES: dict[str, st.SearchStrategy] = {
    name.partition(":")[2]: st.deferred(lambda kind=kind: any_of(kind))
    for kind, name in NAME_OF.items()
}
"""Wire name -> any such message."""

__all__ = [
    "MESSAGES",
    "EiResponse",
    "any_of",
    "event",
    "intervals",
    "opt",
    "poll",
    "registration",
    "report",
]
