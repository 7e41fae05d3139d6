"""Experiments as YAML: typed, with dotted overrides, and errors that name the key."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union

import yaml

from rnnzoo.errors import ConfigError
from rnnzoo.tasks.discovery import current_name, data_config, data_inputs, model_config, task_names
from rnnzoo.util.ranges import Range, Seed
from rnnzoo.util.suggest import suggest

if typing.TYPE_CHECKING:
    from rnnzoo.data.config import DataConfig
    from rnnzoo.training.config import TrainingConfig

T = TypeVar("T")

# Characters of a configuration, and values in it with those that anchors repeat.
_MAX_TEXT, _MAX_ITEMS = 1 << 20, 100_000
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_SECTIONS = ("data", "model", "training")


@dataclass(frozen=True)
class ExperimentConfig:
    """The configuration of an experiment, which determines its training.

    Args:
        name: of the run and its bundle.
        topology: the name of the task; it decides the class of `model`.
        seed: of weights, batches and dropout.
        data: which data, and how words become numbers.
        model: sizes of the model.
        training: how it is trained.
    """

    name: str
    topology: str
    seed: int
    data: DataConfig
    model: Any
    training: TrainingConfig


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> ExperimentConfig:
    """Read an experiment.

    Args:
        path: a YAML file.
        overrides: `section.key=value`, the value in YAML; later ones win.

    Raises:
        ConfigError: the file is missing or no YAML, a key is unknown, a value has the wrong type.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text: expected a YAML file of an experiment") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path} ({error.strerror}): expected a YAML file of an experiment") from None
    return parse_config(text, str(path), overrides)


def parse_config(text: str, where: str, overrides: Iterable[str] = ()) -> ExperimentConfig:
    """The same from YAML text; `where` is its origin in errors."""
    return from_tree(*read_tree(text, where, overrides, "an experiment"))


def read_tree(text: str, where: str, overrides: Iterable[str], what: str) -> tuple[dict[str, Any], str, dict[str, str]]:
    """Nested dicts of a YAML file with overrides applied, its origin for errors, and which override set a key.

    Raises:
        ConfigError: it is no YAML of keys and values, or an override is malformed.
    """
    tree = _mapping(_yaml(text, where), what, where)
    origin: dict[str, str] = {}
    for override in overrides:
        _apply(tree, override, origin)
    return tree, where, origin


def build_section(kind: type[T], tree: Any, where: str, origin: Mapping[str, str], prefix: str = "") -> T:
    """A dataclass made of nested dicts, each value checked by its annotation.

    Args:
        kind: the dataclass.
        tree: keys and values.
        where, origin: as `read_tree` gives them.
        prefix: dotted key of the section in its file; empty for the whole file.

    Raises:
        ConfigError: a key is unknown or missing, or a value has the wrong type or is out of range.
    """
    return _Reader(where, origin).build(kind, tree, prefix)


def from_tree(tree: Mapping[str, Any], where: str, origin: Mapping[str, str] | None = None) -> ExperimentConfig:
    """The same from nested dicts; `origin` maps a dotted key to the override that set it."""
    from rnnzoo.training.config import TrainingConfig

    reader = _Reader(where, origin or {})
    reader.check_keys(ExperimentConfig, tree, "")
    if "name" not in tree:
        raise ConfigError(f"{where}: name is missing; say what the experiment is called")
    name, topology = reader.value(str, tree["name"], "name"), current_name(tree.get("topology"))
    if name in (".", "..") or not name.strip() or set(name) & set("/\\\0"):
        raise ConfigError(f"{reader.place('name')}: expected a name that a folder can have; received {name!r}")
    if topology not in task_names():
        raise ConfigError(
            f"{reader.place('topology')}: expected one of {', '.join(task_names())}; received {topology!r}"
        )
    given = {key: {} if tree.get(key) is None else tree[key] for key in _SECTIONS}
    kinds: dict[str, Any] = {
        "data": data_config(topology, _data_input(reader, topology, given["data"])),
        "model": model_config(topology),
        "training": TrainingConfig,
    }
    if isinstance(given["data"], Mapping):
        given["data"] = kinds["data"].current(given["data"])
    sections: dict[str, Any] = {key: reader.build(kinds[key], given[key], key) for key in _SECTIONS}
    return ExperimentConfig(
        name=name,
        topology=topology,
        seed=reader.value(Seed, tree.get("seed", 0), "seed"),
        **sections,
    )


def _data_input(reader: _Reader, topology: str, data: Any) -> str:
    known = data_inputs(topology)
    kind = data.get("input", known[0]) if isinstance(data, Mapping) else known[0]
    if kind not in known:
        raise ConfigError(f"{reader.place('data.input')}: expected one of {', '.join(known)}; received {kind!r}")
    return kind


def dump_config(config: ExperimentConfig) -> str:
    """YAML that `parse_config` turns into an equal configuration; every value is written, defaults too."""
    return yaml.safe_dump(_plain(dataclasses.asdict(config)), sort_keys=False, allow_unicode=True, width=100)


class _Reader:
    """Makes dataclasses of what YAML gives.

    Args:
        where: the file, for errors.
        origin: dotted key -> the override that has set it.
    """

    def __init__(self, where: str, origin: Mapping[str, str]):
        self.where, self.origin = where, origin

    def place(self, key: str) -> str:
        """Origin of a value: the override, or the file and key."""
        whole = key.partition("[")[0]
        override = next((text for name, text in self.origin.items() if f"{name}.".startswith(f"{whole}.")), None)
        return f"override {override!r}" if override else f"{self.where}: {key}"

    def check_keys(self, kind: type, tree: Mapping[Any, Any], prefix: str) -> None:
        known = [field.name for field in dataclasses.fields(kind)]
        for key in tree:
            if key not in known:
                full = f"{prefix}.{key}" if prefix else str(key)
                choices = [f"{prefix}.{name}" if prefix else name for name in known]
                raise ConfigError(f"{self.place(full)}: unknown key {full!r}; {suggest(full, choices)}")

    def build(self, kind: type[T], tree: Any, prefix: str) -> T:
        if not isinstance(tree, Mapping):
            raise self._wrong(prefix or kind.__name__, "a section of keys and values", tree)
        self.check_keys(kind, tree, prefix)
        hints = typing.get_type_hints(kind, include_extras=True)
        values = {}
        for field in dataclasses.fields(kind):  # type: ignore[arg-type]
            key = f"{prefix}.{field.name}" if prefix else field.name
            if field.name in tree:
                values[field.name] = self.value(hints[field.name], tree[field.name], key)
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                raise ConfigError(f"{self.where}: {key} is missing; give it a value")
        try:
            return kind(**values)
        except ConfigError as error:
            raise ConfigError(f"{self.where}: {error}") from None

    def value(self, hint: Any, value: Any, key: str) -> Any:
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if hint is Any:
            return value
        if origin is Annotated:
            checked = self.value(args[0], value, key)
            if wrong := next((item for item in args[1:] if isinstance(item, Range) and not item.holds(checked)), None):
                raise self._wrong(key, str(wrong), value)
            return checked
        if origin in (Union, types.UnionType):
            inner = [arg for arg in args if arg is not type(None)]
            return None if value is None else self.value(inner[0], value, key)
        if origin is Literal:
            if any(value == arg and type(value) is type(arg) for arg in args):
                return value
            raise self._wrong(key, f"one of {', '.join(map(str, args))}", value)
        if origin in (tuple, list):
            if not isinstance(value, list | tuple):
                raise self._wrong(key, "a list, such as [1, 2]", value)
            return origin(self.value(args[0], item, f"{key}[{i}]") for i, item in enumerate(value))
        if dataclasses.is_dataclass(hint):
            return self.build(typing.cast(type, hint), value, key)
        return self._scalar(hint, value, key)

    def _scalar(self, hint: Any, value: Any, key: str) -> Any:
        if hint is float:
            # YAML 1.1 reads `1e-3` as text: only with a point, and a sign after the e, it is a number there.
            if isinstance(value, int | float | str) and not isinstance(value, bool):
                with contextlib.suppress(ValueError, OverflowError):
                    if math.isfinite(number := float(value)):
                        return number
        elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
            return value
        raise self._wrong(key, _KINDS.get(hint, str(hint)), value)

    def _wrong(self, key: str, expected: str, value: Any) -> ConfigError:
        shown = f"{value!r}"[:60]
        return ConfigError(f"{self.place(key)}: expected {expected}; received {shown}. Change {key}")


def _yaml(text: str, where: str) -> Any:
    if len(text) > _MAX_TEXT:
        raise ConfigError(f"{where}: {len(text)} characters, at most {_MAX_TEXT} are a configuration; shorten it")
    try:
        tree = yaml.load(text, Loader=_Loader)
        if sum(1 for _ in itertools.islice(_items(tree), _MAX_ITEMS)) == _MAX_ITEMS:
            raise ConfigError(f"{where}: its anchors stand for {_MAX_ITEMS} values or more; write it without")
        return tree
    # A tag on a text that is none of its kind ends in errors of any class.
    except (
        yaml.YAMLError,
        RecursionError,
        ArithmeticError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:
        if isinstance(error, ConfigError):
            raise
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ConfigError(f"{where}{line}: not valid YAML ({problem}); mend or rewrite it") from None


def _items(value: Any) -> Iterator[Any]:
    """All values, those inside of others too."""
    yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _items(item)


class _Loader(yaml.SafeLoader):
    """The safe loader, with a key that comes twice an error; what looks like a date is text."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {name!r} comes twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:timestamp"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _mapping(tree: Any, what: str, where: str) -> dict[str, Any]:
    if not isinstance(tree, dict):
        raise ConfigError(f"{where}: expected the keys and values of {what}; received {type(tree).__name__}")
    return tree


def _apply(tree: dict[str, Any], override: str, origin: dict[str, str]) -> None:
    key, equals, text = override.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise ConfigError(f"override {override!r}: expected key=value, such as training.epochs=3")
    value = _yaml(text, f"override {override!r}")
    at = tree
    for i, part in enumerate(parts[:-1]):
        if at.get(part) is None:
            at[part] = {}
        at = at[part]
        if not isinstance(at, dict):
            known = ", ".join(_SECTIONS)
            raise ConfigError(f"override {override!r}: {'.'.join(parts[: i + 1])!r} is no section; sections: {known}")
    at[parts[-1]] = value
    origin[key] = override


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
