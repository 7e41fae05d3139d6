"""Models of Keras 2 called layer by layer in Keras 3, as the nodes of their configuration say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from streaming.conversion.keras2 import operations
from streaming.conversion.keras2.layers import RECURRENT, class_name, layer_name, modern_layer
from streaming.errors import InputError, NotStreamableError

MODELS = ("Functional", "Model", "Sequential")
_CONSTANT = "_CONSTANT_VALUE"
MAX_DEPTH = 20


@dataclass
class Part:
    """A layer of the old model: its name, its class in the file and, unless it is an operation, its Keras 3 layer.

    parts: of a model inside the model.
    """

    name: str
    kind: str
    layer: Any = None
    parts: list[Part] = field(default_factory=list)


def build_model(entry: Mapping[str, Any], path: str, depth: int = 0) -> tuple[Any, list[Part]]:
    """Rebuilds a serialized model of Keras 2 in Keras 3, with its layers in the order of the file.

    Raises:
        NotStreamableError: a layer is a Lambda, of an unknown class, or an operation without a counterpart.
        InputError: the configuration is damaged, or the model is neither Sequential nor functional.
    """
    kind, config = entry.get("class_name"), entry["config"]
    if depth > MAX_DEPTH:
        raise InputError(f"the models of {path} are nested more than {MAX_DEPTH} deep; refused")
    if kind not in MODELS:
        raise NotStreamableError(
            f"{path} holds {kind}, a subclassed model of Keras 2, whose calls are code outside of the file; build it "
            "in Keras 3, load the weights with model.load_weights, and convert that model"
        )
    try:
        if kind == "Sequential":
            return _sequential(config, layer_name(entry), path, depth)
        return _functional(config, path, depth)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(
            f"the configuration of {path} is damaged ({type(error).__name__}: {error}); save the model again"
        ) from error


def _part(entry: Mapping[str, Any], path: str, depth: int) -> Part:
    kind = class_name(entry)
    if kind in MODELS:
        layer, parts = build_model(entry, path, depth + 1)
        return Part(layer_name(entry), kind, layer, parts)
    if kind in operations.KINDS:
        return Part(layer_name(entry), kind)
    return Part(layer_name(entry), kind, modern_layer(entry, path))


def _input(config: Mapping[str, Any], path: str) -> Any:
    if config.get("ragged") or config.get("sparse"):
        raise NotStreamableError(
            f"input {config.get('name')!r} of {path} is ragged or sparse; a stream takes dense rows: build the model "
            "with a dense Input and load its weights"
        )
    shape = config.get("batch_input_shape") or config.get("batch_shape")
    dtype = config.get("dtype") or "float32"
    return keras.Input(batch_shape=tuple(shape), dtype=dtype, name=config.get("name"))  # type: ignore[arg-type]


def _sequential(config: Any, name: str, path: str, depth: int) -> tuple[Any, list[Part]]:
    # The oldest files have the bare list of layers.
    entries = config if isinstance(config, list) else config["layers"]
    name = name if isinstance(config, list) else config.get("name", name)
    parts, layers = [], []
    for place, entry in enumerate(entries):
        settings = entry["config"]
        if class_name(entry) == "InputLayer":
            layers.append(_input(settings, path))
            continue
        if place == 0 and isinstance(settings, dict) and settings.get("batch_input_shape"):
            kinds = {"batch_input_shape": settings["batch_input_shape"], "dtype": _input_dtype(entry)}
            layers.append(_input(kinds, path))
        part = _part(entry, path, depth)
        if part.layer is None:
            raise InputError(f"{path}: {part.name!r} is no layer, but part of a Sequential; save the model again")
        parts.append(part)
        layers.append(part.layer)
    model = keras.Sequential(layers, name=name)
    if not model.built and not depth:
        raise InputError(f"{path} does not say the shape of its input; save the model after it was called on data")
    return model, parts


def _input_dtype(entry: Mapping[str, Any]) -> str:
    """Input of the first layer of a Sequential without an InputLayer."""
    dtype = entry["config"].get("dtype")
    return "int32" if class_name(entry) == "Embedding" else dtype if isinstance(dtype, str) else "float32"


def _functional(config: Mapping[str, Any], path: str, depth: int) -> tuple[Any, list[Part]]:
    graph = _Graph(path)
    _reserve(layer_name(entry) for entry in config["layers"])
    waiting: list[tuple[Part, Any]] = []
    parts = []
    for entry in config["layers"]:
        if class_name(entry) == "InputLayer":
            graph.outputs[layer_name(entry)] = [_input(entry["config"], path)]
            parts.append(Part(layer_name(entry), "InputLayer"))
            continue
        part = _part(entry, path, depth)
        parts.append(part)
        graph.add(part, entry)
        waiting += [(part, node) for node in entry["inbound_nodes"]]
    while waiting:
        left = []
        stuck = {part.name: 0 for part, _ in waiting}
        for part, node in waiting:
            # The calls of one layer keep their order: nodes are known by their number.
            if stuck[part.name] or not graph.is_ready(node):
                stuck[part.name] = 1
                left.append((part, node))
            else:
                graph.call(part, node)
        if len(left) == len(waiting):
            raise InputError(f"the layers of {path} wait for each other, {left[0][0].name!r} among them; save it again")
        waiting = left
    inputs = graph.tensors(config["input_layers"])
    outputs = graph.tensors(config["output_layers"])
    return keras.Model(_single(inputs), _single(outputs), name=config.get("name")), parts


def _reserve(names: Iterable[str]) -> None:
    """Keep Keras from giving operations that it adds itself, those of masks, the names of layers."""
    for name in names:
        prefix, _, number = name.rpartition("_")
        prefix, last = (prefix, int(number)) if number.isdecimal() and len(number) < 5 else (name, 0)
        while keras.backend.get_uid(prefix) <= last:
            pass


def _single(tensors: Any) -> Any:
    return tensors[0] if isinstance(tensors, list) and len(tensors) == 1 else tensors


class _Graph:
    """The tensors that calls have given so far, by layer and number of the call."""

    def __init__(self, path: str) -> None:
        self.outputs: dict[str, list[Any]] = {}
        self._path = path
        self._functions: dict[str, str] = {}
        self._first: dict[str, int] = {}

    def add(self, part: Part, entry: Mapping[str, Any]) -> None:
        """Note a layer that will be called."""
        self.outputs[part.name] = []
        if part.layer is None:
            self._functions[part.name] = str(entry["config"]["function"])
        # A model with inputs of its own has a call from when it was built.
        self._first[part.name] = int(part.kind in MODELS)

    def is_ready(self, node: Any) -> bool:
        """Whether all tensors that a call takes are there."""
        return all(self._find(reference) is not None for reference in self._references(node))

    def call(self, part: Part, node: Any) -> None:
        """Call a layer as a node says."""
        first, rest = self._arguments(node)
        if part.layer is None:
            function = self._functions[part.name]
            self.outputs[part.name].append(operations.apply(function, part.name, self._path, first, rest))
            return
        rest = {key: value for key, value in rest.items() if value is not None and key != "training"}
        if part.kind in RECURRENT and isinstance(first, list):
            first, rest["initial_state"] = first[0], first[1:]
        if part.kind in RECURRENT and "initial_state" in rest and "mask" not in rest:
            # Keras 3 loses the mask of the sequence here, Keras 2 did not.
            mask = getattr(first, "_keras_mask", None)
            rest |= {} if mask is None else {"mask": mask}
        self.outputs[part.name].append(part.layer(first, **rest))

    def tensors(self, references: Any) -> Any:
        """The tensors that references name, in the same structure."""
        if self._is_reference(references):
            return self._find(references)
        if isinstance(references, Mapping):
            return {key: self.tensors(value) for key, value in references.items()}
        return [self.tensors(item) for item in references]

    def _arguments(self, node: Any) -> tuple[Any, dict[str, Any]]:
        """The first argument of a call, which may be a structure of tensors, and the others by name."""
        keywords: dict[str, Any] = {}

        def read(item: Any) -> Any:
            if self._is_reference(item) or (isinstance(item, list) and item[:1] == [_CONSTANT]):
                if len(item) > 3:
                    keywords.update(item[3])
                return item[2] if item[0] == _CONSTANT else self._find(item)
            if isinstance(item, Mapping):
                return {key: read(value) for key, value in item.items()}
            return [read(value) for value in item]

        first = read(node)
        if isinstance(node, list) and not self._is_reference(node) and isinstance(first, list):
            first = _single(first)
        return first, {key: self._resolved(value) for key, value in keywords.items()}

    def _resolved(self, value: Any) -> Any:
        if self._is_reference(value):
            return self._find(value)
        if isinstance(value, list):
            return [self._resolved(item) for item in value]
        return value

    def _references(self, node: Any) -> list[Any]:
        if self._is_reference(node):
            return [node, *self._references(node[3] if len(node) > 3 else {})]
        items = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
        return [reference for item in items for reference in self._references(item)]

    def _is_reference(self, item: Any) -> bool:
        return (
            isinstance(item, list)
            and len(item) in (3, 4)
            and isinstance(item[0], str)
            and item[0] in self.outputs
            and type(item[1]) is type(item[2]) is int
        )

    def _find(self, reference: Any) -> Any:
        name, call, number = reference[:3]
        calls, place = self.outputs[name], call - self._first.get(name, 0)
        if not 0 <= place < len(calls):
            return None
        outputs = calls[place]
        if isinstance(outputs, Mapping):
            outputs = list(outputs.values())
        return outputs[number] if isinstance(outputs, list | tuple) else outputs
