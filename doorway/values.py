# SPDX-License-Identifier: Apache-2.0
"""`@value`: a frozen, slotted, keyword-only dataclass, made in half the time.

The standard decorator compiles six functions for each class. Of 80 classes that is a sixth of what
`ven run` needs to start, so here only `__init__` is compiled; the rest is shared.
"""

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NoReturn, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=())
def value(cls: type[T]) -> type[T]:
    """As `@dataclass(frozen=True, slots=True, kw_only=True)`, for classes that stand alone.

    `fields`, `replace` and `asdict` work on it. There is no `__post_init__`, `default_factory`
    or inheritance of fields: TypeError.
    """
    cls.__doc__ = cls.__doc__ or ""  # else one is made, slowly
    plain = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True, kw_only=True)
    made: Any = plain(cls)  # Any: what follows is what a type checker is told by the decorator
    fields = dataclasses.fields(made)
    if hasattr(made, "__post_init__") or any(map(dataclasses.is_dataclass, cls.__bases__)):
        raise TypeError(f"{cls.__qualname__} is more than a value; make it a dataclass.")
    names = [field.name for field in fields]
    made.__init__ = _init(made, fields)
    made.__repr__ = _repr
    made.__eq__, made.__hash__ = _comparison(names)
    made.__setattr__ = made.__delattr__ = _refuse
    made.__getstate__, made.__setstate__ = _getstate, _setstate
    for own in ("__init__", "__eq__", "__hash__"):
        getattr(made, own).__qualname__ = f"{cls.__qualname__}.{own}"
    return made  # type: ignore[no-any-return]  # as above


def _init(made: Any, fields: tuple[dataclasses.Field[Any], ...]) -> Callable[..., None]:
    words, lines = ["self"], ["pass"]
    found: dict[str, Any] = {"_set": object.__setattr__}
    for field in fields:
        if field.default_factory is not dataclasses.MISSING:
            raise TypeError(f"{made.__qualname__}.{field.name} has a factory; write a dataclass.")
        word = field.name
        if field.default is not dataclasses.MISSING:
            found[f"_default_{word}"] = field.default
            word = f"{word}=_default_{word}"
        words += ["*", word] if len(words) == 1 else [word]
        lines.append(f"_set(self, '{field.name}', {field.name})")
    body = "; ".join(lines)
    exec(f"def __init__({', '.join(words)}): {body}", found)  # noqa: S102 - as dataclasses has it
    init: Callable[..., None] = found["__init__"]
    return init


def _comparison(names: list[str]) -> tuple[Callable[..., Any], Callable[..., int]]:
    key: Callable[[Any], Any] = attrgetter(*names) if names else type

    def __eq__(self: object, other: object) -> Any:  # noqa: N807 - Any: True, False or NotImplemented
        return key(self) == key(other) if type(other) is type(self) else NotImplemented

    def __hash__(self: object) -> int:  # noqa: N807 - becomes a method
        return hash(key(self))

    return __eq__, __hash__


def _repr(self: Any) -> str:
    inside = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self))
    return f"{type(self).__qualname__}({', '.join(inside)})"


def _refuse(_self: object, name: str, *_value: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot change field {name!r}")


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _setstate(self: Any, state: list[Any]) -> None:
    for field, content in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, content)
