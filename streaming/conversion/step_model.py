"""Models of one step, with their states as arguments and results: `y, h = model(x, h)`.

`step_model` wraps such a model in a model of sequences, whose layer calls it for each step and carries its states,
which begin at zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from streaming._compat import Functional, inputs_of, outputs_of
from streaming.conversion.graph import functional
from streaming.conversion.keras_loops import keras_loops
from streaming.conversion.plan import identifiers
from streaming.conversion.rules import register_rule
from streaming.conversion.rules.base import Env, Rule
from streaming.conversion.signals import Signal, StateSpec
from streaming.conversion.values import Chunk, Static
from streaming.errors import InputError


@dataclass(frozen=True)
class Port:
    """An input or output of the model of one step.

    shape: without the batch; squeezed: it has a leading time axis of size 1, which the rows of a stream do not have.
    """

    shape: tuple[int, ...]
    dtype: str
    squeezed: bool = False

    @property
    def features(self) -> tuple[int, ...]:
        """Shape of a row."""
        return self.shape[1:] if self.squeezed else self.shape


class StepByStep(keras.layers.Layer):
    """Calls a model of one step for each step of sequences; states: name of the input -> name of the output."""

    def __init__(self, model: Functional, states: Mapping[str, str], **options: Any) -> None:
        super().__init__(**options)
        self.model, self.states = model, dict(states)
        names = [tensor.name for tensor in model.inputs]
        self.inputs = {name: _port(tensor) for name, tensor in zip(names, model.inputs, strict=True)}
        self.outputs = {name: _port(tensor) for name, tensor in zip(_outputs(model), model.outputs, strict=True)}
        others = {name: port for name, port in self.inputs.items() if name not in states}
        single = {name: port for name, port in others.items() if port.squeezed}
        self.moving = single or others

    def call(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Sequences (B, T, ...) of the rows of each output, from sequences and from inputs without time."""
        first = inputs[next(iter(self.moving))]
        states = {name: tf.zeros((first.shape[0], *self.inputs[name].shape)) for name in self.states}
        rows = []
        for step in range(first.shape[1]):
            now = {name: value[:, step] if name in self.moving else value for name, value in inputs.items()}
            row, states = self.advance(now, states, getattr(self.model, "offline", self.model))
            rows.append(row)
        return {name: tf.stack([row[name] for row in rows], axis=1) for name in rows[0]}

    def advance(
        self, row: Mapping[str, Any], states: Mapping[str, Any], model: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Rows of the outputs (B, ...) and new states, of one step; model: that of the user, whose graph is called."""
        values = {**row, **states}
        tensors = [tf.reshape(values[name], (-1, *port.shape)) for name, port in self.inputs.items()]
        structure = keras.tree.pack_sequence_as(inputs_of(self.model), tensors)
        results = (model or self.model)(structure, training=False)
        outputs = dict(zip(self.outputs, keras.tree.flatten(results), strict=True))
        new = {name: outputs[output] for name, output in self.states.items()}
        rows = {
            name: tf.reshape(value, (-1, *self.outputs[name].features))
            for name, value in outputs.items()
            if name not in self.states.values()
        }
        return rows, new

    def compute_output_spec(self, inputs: dict[str, Any]) -> dict[str, keras.KerasTensor]:
        """Sequences of unknown length."""
        return {
            name: keras.KerasTensor((None, None, *port.features), port.dtype)
            for name, port in self.outputs.items()
            if name not in self.states.values()
        }


def step_model(model: Any, states: Mapping[str, str]) -> Functional:
    """The model of sequences for a model of one step.

    Raises:
        InputError: `states` names what is no input or output, or two that differ in shape; or every input is a state.
    """
    graph = functional(model)
    inputs, outputs = [tensor.name for tensor in graph.inputs], _outputs(graph)
    layer = StepByStep(graph, states, name=graph.name)
    for name, output in states.items():
        if name not in inputs or output not in outputs:
            raise InputError(
                f"states pairs {name!r} with {output!r}, expected an input of {', '.join(inputs)} with an output of "
                f"{', '.join(outputs)}"
            )
        if layer.inputs[name] != layer.outputs[output]:
            raise InputError(
                f"states pairs input {name!r} of shape {layer.inputs[name].shape} with output {output!r} of shape "
                f"{layer.outputs[output].shape}; pair those of equal shape and dtype"
            )
    if not layer.moving or len(set(states.values())) == len(outputs):
        raise InputError("states takes every input or every output of the model; leave that of the stream out")
    tensors = {
        name: keras.Input((None, *port.features) if name in layer.moving else port.shape, dtype=port.dtype, name=name)
        for name, port in layer.inputs.items()
        if name not in states
    }
    return keras.Model(tensors, layer(tensors), name=graph.name)


def likely_states(graph: Functional) -> dict[str, str]:
    """Inputs of a model of one step that look like states, with the outputs of their shape; empty for other models."""
    shapes = {tensor.name: tuple(tensor.shape) for tensor in graph.inputs}
    single = [name for name, shape in shapes.items() if len(shape) > 1 and shape[1] == 1]
    pairs: dict[str, str] = {}
    for name, shape in shapes.items():
        if name in single or None in shape[1:] or len(shape) < 2:
            continue
        alike = [o for o, t in zip(_outputs(graph), graph.outputs, strict=True) if tuple(t.shape) == shape]
        alike = [output for output in alike if output not in pairs.values()]
        if alike:  # of two alike, h is more likely to become h_next than c_next
            pairs[name] = next((output for output in alike if output.startswith(name)), alike[0])
    # The input of a cell has no time axis at all.
    fed = single or (len(pairs) < len(shapes) and all(len(shape) == 2 for shape in shapes.values()))
    return pairs if fed and not any(None in shape[1:] for shape in shapes.values()) else {}


def _outputs(graph: Functional) -> list[str]:
    """Names of the outputs; those of one layer, which have its name, are counted."""
    structure = outputs_of(graph)
    names = sorted(structure) if isinstance(structure, dict) else list(graph.output_names)
    return names if len(set(names)) == len(names) else identifiers(names)


def _port(tensor: keras.KerasTensor) -> Port:
    shape = tuple(tensor.shape[1:])
    if None in shape:
        raise InputError(
            f"{tensor.name!r} of the model of one step has the shape {tuple(tensor.shape)}; "
            "build it with keras.Input((1,)) or keras.Input((1, features)), for one step"
        )
    return Port(shape, keras.backend.standardize_dtype(tensor.dtype), len(shape) > 0 and shape[0] == 1)


@register_rule(StepByStep)
class StepByStepRule(Rule):
    """One call of the model a step."""

    def plan(self) -> dict[str, Signal]:
        layer = self.call.op
        for name in layer.states:
            port = layer.inputs[name]
            self.states[name] = StateSpec(port.shape, "float32" if port.dtype == "float32" else port.dtype)
        timeline = next(signal.timeline for signal in self.call.signals if signal.timeline)
        names = [name for name in layer.outputs if name not in layer.states.values()]
        return {
            name: Signal(self.call.name, layer.outputs[name].features, layer.outputs[name].dtype, timeline)
            for name in names
        }

    def step(self, env: Env, inputs: dict[str, Chunk | Static]) -> dict[str, Chunk]:
        layer = self.call.op
        states = {name: env.read(self.key(name)) for name in layer.states}
        rows = []
        first = inputs[next(iter(layer.moving))]
        assert isinstance(first, Chunk)
        with keras_loops(env):
            for step in range(first.steps):
                now = {n: x.rows[step] if isinstance(x, Chunk) else x.value for n, x in inputs.items()}
                row, states = layer.advance(now, states)
                rows.append(row)
        for name, value in states.items():
            env.write(self.key(name), value)
        return {name: first.like(rows=[row[name] for row in rows]) for name in rows[0]}


def table_limits(model: Functional) -> dict[str, int]:
    """Rows of the tables that the inputs of a model of one step index."""
    layer = next(layer for layer in model.layers if isinstance(layer, StepByStep))
    limits: dict[str, int] = {}
    for tensor in layer.model.inputs:
        for op in layer.model.operations:
            reads = any(t is tensor for node in op._inbound_nodes for t in node.input_tensors)
            if reads and isinstance(getattr(op, "input_dim", None), int):
                limits[tensor.name] = int(np.minimum(op.input_dim, limits.get(tensor.name, op.input_dim)))
    return {name: limit for name, limit in limits.items() if name in layer.moving}
