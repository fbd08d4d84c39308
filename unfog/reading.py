"""JSON to dataclasses: what is known is checked, what is not known is left out, so that fields can be added."""

import dataclasses
import types
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from unfog.errors import UnexpectedAnswer

T = TypeVar("T")
RAW = "raw"
"""The field of a dataclass that takes the whole object as it came."""


def read(cls: type[T], data: object, where: str = "") -> T:
    """The dataclass from a JSON object.

    A field that is not there takes its default. Raises `UnexpectedAnswer` for one that has none, and for a value of
    another type. where: the JSON pointer of the object.
    """
    if not isinstance(data, Mapping):
        raise UnexpectedAnswer(f"the service's answer has no object at {where or 'its top'}")
    values: dict[str, Any] = {}
    kinds = get_type_hints(cls)
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # T is a dataclass; typing has no word for it
        if field.name == RAW:
            values[RAW] = dict(data)
        elif field.name in data:
            values[field.name] = _value(kinds[field.name], data[field.name], f"{where}/{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UnexpectedAnswer(f"the service's answer lacks {where}/{field.name}: is it an Unfog service?")
    return cls(**values)


def _value(kind: Any, data: object, where: str) -> object:
    """The value, if it is of that type: plain, dataclass, datetime, tuple[X, ...], dict[str, X] or a union."""
    options = get_args(kind) if get_origin(kind) in (types.UnionType, Union) else (kind,)
    if data is None and type(None) in options:
        return None
    kind = next(option for option in options if option is not type(None))
    origin = get_origin(kind) or kind
    if kind is Any or (origin in (str, int, bool) and type(data) is origin):
        return data
    if kind is float and type(data) in (int, float):
        return float(data)  # type: ignore[arg-type]
    if kind is datetime and isinstance(data, str):
        return _moment(data, where)
    if origin is tuple and isinstance(data, list):
        return tuple(_value(get_args(kind)[0], item, f"{where}/{k}") for k, item in enumerate(data))
    if origin is dict and isinstance(data, dict):
        return {name: _value(get_args(kind)[1], item, f"{where}/{name}") for name, item in data.items()}
    if dataclasses.is_dataclass(kind):
        return read(kind, data, where)  # type: ignore[arg-type]
    raise UnexpectedAnswer(f"the service's answer has {type(data).__name__} at {where}, where another type is due")


def _moment(text: str, where: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise UnexpectedAnswer(f"the service's answer has {text[:40]!r} at {where}, which is no time") from None
