"""Traces a plan to TensorFlow graphs: a function for each signature, weights frozen, states packed by dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from streaming.conversion.builtin_forms import builtin_forms
from streaming.conversion.plan import Plan, Step
from streaming.conversion.rules.base import Constants, Env, Rule
from streaming.conversion.signals import Signal, StateSpec
from streaming.conversion.tflite import LAYERS, mark_layer
from streaming.conversion.values import Chunk, Static
from streaming.runtime.metadata import FLAGS, StatePack, StateSlot


@dataclass(frozen=True)
class Layout:
    """Layout of the states in the packed tensors."""

    packs: tuple[StatePack, ...]
    slots: tuple[StateSlot, ...]
    initial: tuple[NDArray[Any], ...]


def layout(plan: Plan, taken: set[str], separate: bool = False) -> Layout:
    """Pack the states of a plan, under names that no input or output has: a tensor for each dtype or state."""
    packs: list[StatePack] = []
    slots: list[StateSlot] = []
    initial: list[NDArray[Any]] = []
    groups: dict[str, dict[str, StateSpec]] = {}
    for state, spec in sorted(plan.states.items(), key=lambda item: outside(item[1].dtype)):
        dtype = outside(spec.dtype)
        group = "state" if dtype == "float32" else f"state_{dtype}"
        groups.setdefault(f"{group}_{len(groups)}" if separate else group, {})[state] = spec
    for group, specs in groups.items():
        name, offset, values = _unused(group, taken), 0, []
        dtype = outside(next(iter(specs.values())).dtype)
        for state, spec in specs.items():
            slots.append(StateSlot(state, spec.shape, dtype, len(packs), offset))
            values.append(np.broadcast_to(np.asarray(spec.initial, dtype), spec.shape).ravel())
            offset += values[-1].size
        row = np.concatenate(values)
        file = f"initial/{name}.bin" if row.any() else None
        packs.append(StatePack(name, name, dtype, offset, file))
        initial.append(row)
    if plan.contexts:
        offset = 0
        for name, shape in context_shapes(plan).items():
            slots.append(StateSlot(name, shape, "float32", len(packs), offset))
            offset += int(np.prod(shape, dtype=int))
        packs.append(StatePack(_unused("context", taken), "", "float32", offset))
        initial.append(np.zeros(offset, "float32"))
    return Layout(tuple(packs), tuple(slots), tuple(initial))


def trace(
    plan: Plan,
    layout: Layout,
    valid: str | None,
    batch: int,
    chunk: int,
    fused: bool,
    loop_bytes: float,
    variables: dict[str, tf.Variable] | None = None,
    rows: bool = True,
) -> Any:
    """The concrete function of one signature: `batch` streams by `chunk` steps.

    fused, loop_bytes: as `Env` takes them.
    variables: what keeps the packed states inside the model, by pack; None: they are inputs and outputs.
    rows: whether outputs are computed; otherwise the function gives only the states.

    Variables that no quantization may round are inputs, by the names of `Plan.unquantized`; `tflite.convert` turns them
    into constants at the end.
    """
    specs: dict[str, tf.TensorSpec] = {}
    for name, signal in plan.inputs.items():
        shape = (batch, chunk, *signal.shape) if signal.timeline else (batch, *signal.shape)
        specs[name] = tf.TensorSpec(shape, outside(signal.dtype), name=name)
    if valid is not None:
        specs[valid] = tf.TensorSpec((batch, chunk), outside("bool"), name=valid)
    if variables is None:
        for pack in layout.packs:
            specs[pack.input] = tf.TensorSpec((batch, pack.size), pack.dtype, name=pack.input)
    constants = plan.unquantized
    for name, variable in constants.items():
        specs[name] = tf.TensorSpec(variable.shape, variable.dtype, name=name)
    weights = [(variable, variable.numpy()) for variable in plan.model.variables]

    @tf.function(autograph=False)
    def step(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        tensors |= {name: variable.read_value() for name, variable in (variables or {}).items()}
        # Constants made inside the trace become part of its graph; variables would stay outside the file.
        given = {id(variable): tensors.pop(name) for name, variable in constants.items()}
        frozen = Constants({id(variable): value for variable, value in weights}, given)
        mapping = [(variable, frozen.get(variable)) for variable, _ in weights]
        now = None if valid is None else inside(tensors[valid], "bool")
        states = _unpack(plan, layout, tensors)
        env = Env(batch, chunk, fused, loop_bytes, states, frozen, now, plan.clocks, rows)
        with keras.StatelessScope(state_mapping=mapping), builtin_forms():
            results = _run(plan, layout, env, tensors)
        for name, variable in (variables or {}).items():
            variable.assign(results.pop(name))
        return results or _done()

    return step.get_concrete_function(**specs)


def trace_reset(layout: Layout, variables: dict[str, tf.Variable]) -> Any:
    """The concrete function that sets states inside the model to their initial values."""

    @tf.function(autograph=False)
    def reset() -> dict[str, tf.Tensor]:
        for pack, row in zip(layout.packs, layout.initial, strict=True):
            variables[pack.input].assign(row[None])
        return _done()

    return reset.get_concrete_function()


def outside(dtype: str) -> str:
    """The dtype of an input or output of a signature: int32 for bool, which some runtimes do not take."""
    return FLAGS if dtype == "bool" else dtype


def inside(tensor: tf.Tensor, dtype: str) -> tf.Tensor:
    """An input of the signature, cast to the dtype that the model takes."""
    return tf.not_equal(tensor, 0) if dtype == "bool" else tensor


def _given(tensor: tf.Tensor) -> tf.Tensor:
    return tf.cast(tensor, FLAGS) if tensor.dtype == tf.bool else tf.identity(tensor)


def _done() -> dict[str, tf.Tensor]:
    return {"done": tf.constant(1, FLAGS)}


def _run(plan: Plan, layout: Layout, env: Env, tensors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    own = {id(tensor) for tensor in _captured()}
    graph = tf.compat.v1.get_default_graph()
    setattr(graph, LAYERS, [])
    values: dict[int, Any] = {}
    for name, signal in plan.inputs.items():
        tensor = inside(tensors[name], signal.dtype)
        moving = signal.timeline is not None
        values[id(signal)] = Chunk(env.batch, env.chunk, full=tensor) if moving else Static(tensor)
    for name, signal in plan.contexts.items():
        exists = env.read(f"{name}/valid") > 0.5 if signal.spread else None
        value = env.read(name)
        values[id(signal)] = Static(value > 0.5 if signal.dtype == "bool" else value, exists)
    for step in plan.steps:
        args, kwargs = step_values(step, values)
        outputs = step.rule.step(env, *args, **kwargs)
        _check_captures(step.rule, own)
        mark_layer(step.rule.call.name)
        for signal, value in zip(keras.tree.flatten(step.outputs), keras.tree.flatten(outputs), strict=True):
            values[id(signal)] = value
    if not env.rows:
        return _pack(layout, env)
    results = {name: _given(values[id(signal)].full) for name, signal in plan.outputs.items()}
    for name, mark in plan.marks.items():
        line = plan.outputs[name].timeline
        assert line is not None
        results[mark] = _given(env.valid(line))
    return {**results, **_pack(layout, env)}


def step_values(step: Step, values: dict[int, Any]) -> tuple[Any, Any]:
    """The arguments of a step, with the masks that it uses."""

    def value(item: Any) -> Any:
        if not isinstance(item, Signal):
            return item
        mask, operand = step.masks.get(id(item)), values[id(item)]
        if mask is None:
            return operand
        marks = values[id(mask)]
        return operand.under(marks.full if isinstance(marks, Chunk) else marks.value)

    return keras.tree.map_structure(value, (step.args, step.kwargs))


def _captured() -> list[Any]:
    graph = tf.compat.v1.get_default_graph()
    return [tensor for tensor, _ in getattr(graph, "captures", ())]


def _check_captures(rule: Rule, own: set[int]) -> None:
    """Refuse a layer that reads a variable which the model does not own: its value would stay outside the file."""
    for tensor in _captured():
        if tensor.dtype == tf.resource and id(tensor) not in own:
            rule.refuse(
                "reads a variable that the model does not track",
                "assign it to an attribute of the layer, or make it with add_weight",
            )


def context_shapes(plan: Plan) -> dict[str, tuple[int, ...]]:
    """Outputs of signature `encode` by slot: each context, and which positions of it are real."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, signal in plan.contexts.items():
        shapes[name] = signal.shape  # type: ignore[assignment]
        if signal.spread:
            shapes[f"{name}/valid"] = signal.shape[:1]  # type: ignore[assignment]
    return shapes


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _unpack(plan: Plan, layout: Layout, tensors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    states: dict[str, tf.Tensor] = {}
    for index, pack in enumerate(layout.packs):
        slots = [slot for slot in layout.slots if slot.pack == index]
        packed = tensors[pack.input]
        parts = [packed]
        if len(slots) > 1:
            # XNNPACK takes slices, and no split into unequal parts.
            parts = [tf.slice(packed, [0, slot.offset], [packed.shape[0], _size(slot)]) for slot in slots]
        for slot, part in zip(slots, parts, strict=True):
            part = part if len(slot.shape) == 1 else tf.reshape(part, (part.shape[0], *slot.shape))
            spec = plan.states.get(slot.name)
            states[slot.name] = part if spec is None else inside(part, spec.dtype)
    return states


def _pack(layout: Layout, env: Env) -> dict[str, tf.Tensor]:
    packed = {}
    for index, pack in enumerate(layout.packs):
        if not pack.output:
            continue
        parts = []
        for slot in (slot for slot in layout.slots if slot.pack == index):
            value = env.updates[slot.name]
            value = value if len(slot.shape) == 1 else tf.reshape(value, (env.batch, _size(slot)))
            parts.append(tf.cast(value, FLAGS) if value.dtype == tf.bool else value)
        packed[pack.output] = tf.concat(parts, axis=1) if len(parts) > 1 else tf.identity(parts[0])
    return packed


def _size(slot: StateSlot) -> int:
    return int(np.prod(slot.shape, dtype=int))
