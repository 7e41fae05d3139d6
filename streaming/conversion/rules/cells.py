"""Steps of recurrent cells inside a TFLite graph.

Keras's own cells are lowered to as few matmuls as possible; any other cell is called as it is. With one step per
invoke, [x, h] is concatenated for a single matmul; with more, the projections of all inputs of the chunk are one
matmul, and the recurrent weights are shared with the signatures of other chunk sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from streaming.conversion.rules.base import Env, expand_to, hold_states
from streaming.conversion.values import Chunk

Advance = Callable[[int | tf.Tensor, list[tf.Tensor]], tuple[tf.Tensor, list[tf.Tensor]]]


def stepper(cell: Any, inputs: Chunk, env: Env) -> Advance:
    """A function (index of the step, states) -> (output, new states) over the rows of a chunk."""
    kind = type(cell)
    if kind is layers.LSTMCell:
        return _lstm(cell, inputs, env)
    if kind is layers.GRUCell:
        return _gru(cell, inputs, env)
    if kind is layers.SimpleRNNCell:
        return _simple(cell, inputs, env)
    return _generic(cell, inputs)


def scan(
    advance: Advance,
    order: Iterable[int],
    states: list[tf.Tensor],
    keep: tf.Tensor,
    held: tf.Tensor | None = None,
    *,
    hold: bool = False,
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Runs a cell over steps of a chunk; returns its outputs in the order of the steps, and the last states.

    Args:
        advance: see `stepper`.
        order: the indices of the steps.
        states: those before the first step, (B, *shape) each.
        keep: boolean (B, T); where it is false, a step is masked or does not exist and holds the states.
        held: the output before the first step, zeros where it is None.
        hold: whether such a step repeats the output before it; else its output is zero.
    """
    outputs = []
    for index in order:
        output, new = advance(index, states)
        here = keep[:, index]
        states = hold_states(here, new, states)
        before = tf.zeros_like(output) if held is None or not hold else held
        held = tf.where(expand_to(here, output), output, before)
        outputs.append(held)
    return outputs, states


def _generic(cell: Any, inputs: Chunk) -> Advance:
    kwargs = {"training": False} if getattr(cell, "_call_has_training_arg", False) else {}

    def advance(index: int | tf.Tensor, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        structure = _nest(cell, states)
        output, new = cell(inputs.at(index), structure, **kwargs)
        return output, [tf.convert_to_tensor(item) for item in keras.tree.flatten(new)]

    return advance


def _nest(cell: Any, states: list[tf.Tensor]) -> Any:
    """Flat states in the structure that the cell takes: a list, for stacked cells a list for each."""
    if not isinstance(cell, layers.StackedRNNCells):
        return states
    nested, rest = [], states
    for inner in cell.cells:
        count = len(keras.tree.flatten(inner.state_size))
        part, rest = rest[:count], rest[count:]
        nested.append(part if keras.tree.is_nested(inner.state_size) else part[0])
    return nested


def _weights(cell: Any, env: Env) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """Kernel (D, n U), recurrent kernel (U, n U) and bias (n U)."""
    bias = None if cell.bias is None else env.weight(cell.bias)
    return env.weight(cell.kernel), env.weight(cell.recurrent_kernel), bias


def _matmul(x: tf.Tensor, kernel: NDArray[Any], bias: NDArray[Any] | None) -> tf.Tensor:
    product = tf.matmul(x, tf.constant(kernel))
    return product if bias is None else product + tf.constant(bias)


def _projector(
    inputs: Chunk, env: Env, kernel: NDArray[Any], recurrent: NDArray[Any], bias: NDArray[Any] | None
) -> Callable[[int | tf.Tensor, tf.Tensor], tf.Tensor]:
    """(index, h) -> x W + h R + b."""
    if env.fused and inputs.steps == 1:
        both = np.concatenate([kernel, recurrent], axis=0)
        return lambda index, h: _matmul(tf.concat([inputs.at(index), h], axis=-1), both, bias)
    projected = inputs.like(flat=_matmul(inputs.flat, kernel, bias))
    return lambda index, h: projected.at(index) + _matmul(h, recurrent, None)


def _simple(cell: Any, inputs: Chunk, env: Env) -> Advance:
    project = _projector(inputs, env, *_weights(cell, env))

    def advance(index: int | tf.Tensor, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        h = cell.activation(project(index, states[0]))
        return h, [h]

    return advance


def _lstm(cell: Any, inputs: Chunk, env: Env) -> Advance:
    project = _projector(inputs, env, *_weights(cell, env))
    gate = cell.recurrent_activation

    def advance(index: int | tf.Tensor, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        h, c = states
        # Four equal parts: XNNPACK takes no other split, and would hand every step back to the interpreter.
        i, f, candidate, o = tf.split(project(index, h), 4, axis=-1)
        c = gate(f) * c + gate(i) * cell.activation(candidate)
        h = gate(o) * cell.activation(c)
        return h, [h, c]

    return advance


def _gru(cell: Any, inputs: Chunk, env: Env) -> Advance:
    kernel, recurrent, bias = _weights(cell, env)
    units, gate = cell.units, cell.recurrent_activation
    input_bias, recurrent_bias = bias, None
    if cell.reset_after and bias is not None:
        # The biases of the gates add up; only the candidate's recurrent bias stays inside the reset.
        input_bias = np.concatenate([bias[0, : 2 * units] + bias[1, : 2 * units], bias[0, 2 * units :]])
        recurrent_bias = np.concatenate([np.zeros(2 * units, bias.dtype), bias[1, 2 * units :]])
    projected = inputs.like(flat=_matmul(inputs.flat, kernel, input_bias))

    def advance(index: int | tf.Tensor, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        h = states[0]
        x_z, x_r, x_candidate = tf.split(projected.at(index), 3, axis=-1)
        if cell.reset_after:
            h_z, h_r, h_candidate = tf.split(_matmul(h, recurrent, recurrent_bias), 3, axis=-1)
            z, r = gate(x_z + h_z), gate(x_r + h_r)
            candidate = x_candidate + r * h_candidate
        else:
            h_z, h_r = tf.split(_matmul(h, recurrent[:, : 2 * units], None), 2, axis=-1)
            z, r = gate(x_z + h_z), gate(x_r + h_r)
            candidate = x_candidate + _matmul(r * h, recurrent[:, 2 * units :], None)
        candidate = cell.activation(candidate)
        h = candidate + z * (h - candidate)
        return h, [h]

    return advance
