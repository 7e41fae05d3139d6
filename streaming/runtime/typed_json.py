"""Dataclasses to and from parsed JSON, checked by their annotations and by the ranges of their numbers."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from streaming.errors import ArtifactError
from streaming.runtime import ranges


def from_plain(kind: type, data: Mapping[str, Any], where: str) -> Any:
    """A dataclass from parsed JSON, checked by its annotations; unknown keys are ignored.

    Raises:
        ArtifactError: a field is missing, of another type or out of range; `where` names the object in the error.
    """
    hints = typing.get_type_hints(kind)
    values = {}
    for item in dataclasses.fields(kind):
        if item.name in data:
            values[item.name] = _value(hints[item.name], data[item.name], f"{where}: {item.name}")
            ranges.check(kind, item.name, values[item.name], f"{where}: {item.name}")
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise ArtifactError(f"{where}: field {item.name!r} is missing; convert the model again")
    return kind(**values)


def to_plain(value: Any) -> Any:
    """A dataclass as dicts and lists, ready for `json.dumps`; a class with a `to_json` of its own decides itself."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if dataclasses.is_dataclass(value):
        return fields_of(value)
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def fields_of(value: Any, *, unset: bool = True) -> dict[str, Any]:
    """The fields of a dataclass by name; `unset`: also those that are None."""
    named = {item.name: to_plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    return {name: item for name, item in named.items() if unset or item is not None}


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if type(None) in args:
        return None if value is None else _value(next(a for a in args if a is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _wrong(where, "a list", value)
        return tuple(_value(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _wrong(where, "an object", value)
        return {str(k): _value(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _wrong(where, "an object", value)
        read = getattr(hint, "from_json", None)
        return read(value, where) if read else from_plain(typing.cast(type, hint), value, where)
    if hint is float and type(value) is int:
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise _wrong(where, hint.__name__, value)
    return value


def _wrong(where: str, expected: str, value: Any) -> ArtifactError:
    return ArtifactError(f"{where}: expected {expected}, got {type(value).__name__}; convert the model again")
