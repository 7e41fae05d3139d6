"""Signature `encode`: computes, once, what the steps need of the inputs that are given whole, and packs it."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from streaming.conversion.builtin_forms import builtin_forms
from streaming.conversion.lower import Layout, context_shapes, inside, outside, step_values
from streaming.conversion.plan import Plan
from streaming.conversion.rules.base import Constants, Env
from streaming.conversion.values import Static
from streaming.errors import NotStreamableError
from streaming.runtime.metadata import EncodeInfo, InputInfo


def encode_info(plan: Plan) -> EncodeInfo | None:
    """Metadata of the signature, None where there is none."""
    if not plan.encoded:
        return None
    inputs = []
    for name, signal in plan.encoded.items():
        shape = signal.shape[1:] if signal.spread else signal.shape
        high = plan.id_limits.get(name)
        low = None if high is None else 0
        inputs.append(InputInfo(name, shape, signal.dtype, signal.spread, low, high))  # type: ignore[arg-type]
    valid = {name: f"{name}_valid" for name, signal in plan.encoded.items() if signal.spread}
    return EncodeInfo(tuple(inputs), valid, plan.max_length)


def trace_encode(plan: Plan, layout: Layout, loop_bytes: float) -> Any:
    """The concrete function of the signature, for one stream; loop_bytes: as `Env` takes it."""
    info = encode_info(plan)
    assert info is not None
    specs = {n: tf.TensorSpec((1, *signal.shape), outside(signal.dtype), name=n) for n, signal in plan.encoded.items()}
    specs |= {name: tf.TensorSpec((1, plan.max_length), outside("bool"), name=name) for name in info.valid.values()}
    weights = [(variable, variable.numpy()) for variable in plan.model.variables]

    @tf.function(autograph=False)
    def encode(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        frozen = Constants({id(variable): value for variable, value in weights})
        mapping = [(variable, frozen.get(variable)) for variable, _ in weights]
        env = Env(1, 1, False, loop_bytes, {}, frozen)
        with keras.StatelessScope(state_mapping=mapping), builtin_forms():
            return {layout.packs[-1].input: _run(plan, env, tensors, info.valid)}

    return encode.get_concrete_function(**specs)


def _run(plan: Plan, env: Env, tensors: dict[str, tf.Tensor], valid: dict[str, str]) -> tf.Tensor:
    values: dict[int, Static] = {}
    for name, signal in plan.encoded.items():
        exists = inside(tensors[valid[name]], "bool") if name in valid else None
        values[id(signal)] = Static(inside(tensors[name], signal.dtype), exists)
    for step in plan.whole:
        args, kwargs = step_values(step, values)
        outputs = step.rule.step(env, *args, **kwargs)
        for signal, value in zip(keras.tree.flatten(step.outputs), outputs, strict=True):
            values[id(signal)] = value
    parts = []
    for name, signal in plan.contexts.items():
        if signal.dtype not in ("float32", "bool"):
            raise NotStreamableError(f"context {name!r} is {signal.dtype}, expected float32 or bool; cast it")
        value = values[id(signal)]
        parts.append(tf.reshape(tf.cast(value.value, tf.float32), (1, -1)))
        if signal.spread:
            parts.append(tf.cast(value.exists, tf.float32))
    assert len(parts) == len(context_shapes(plan))
    return tf.concat(parts, axis=1)
