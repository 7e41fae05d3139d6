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


def weight_bytes(cell: Any) -> int:
    """Size of the weights of a cell in float32."""
    return 4 * sum(int(np.prod(weight.shape)) for weight in cell.weights)


class _Weights:
    """Kernel (D, n U), recurrent kernel (U, n U) and bias (n U) of a cell, as constants of the graph."""

    def __init__(self, cell: Any, env: Env) -> None:
        self._cell, self._env = cell, env
        self.bias = None if cell.bias is None else env.constant(cell.bias)

    @property
    def kernel(self) -> tf.Tensor:
        return self._env.constant(self._cell.kernel)

    @property
    def recurrent(self) -> tf.Tensor:
        return self._env.constant(self._cell.recurrent_kernel)

    def value(self, name: str) -> NDArray[Any]:
        """The numbers of `kernel`, `recurrent_kernel` or `bias`."""
        return self._env.weight(getattr(self._cell, name))

    def derived(self, name: str, make: Callable[[], NDArray[Any]]) -> tf.Tensor:
        """A constant that is computed from the weights."""
        return self._env.derived(self._cell.kernel, name, make)


def _matmul(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None) -> tf.Tensor:
    product = tf.matmul(x, kernel)
    return product if bias is None else product + bias


def _projector(inputs: Chunk, env: Env, weights: _Weights) -> Callable[[int | tf.Tensor, tf.Tensor], tf.Tensor]:
    """(index, h) -> x W + h R + b."""
    if env.fused and inputs.steps == 1:
        names = ("kernel", "recurrent_kernel")
        both = weights.derived("both", lambda: np.concatenate([weights.value(name) for name in names], axis=0))
        return lambda index, h: _matmul(tf.concat([inputs.at(index), h], axis=-1), both, weights.bias)
    projected = inputs.like(flat=_matmul(inputs.flat, weights.kernel, weights.bias))
    return lambda index, h: projected.at(index) + _matmul(h, weights.recurrent, None)


def _simple(cell: Any, inputs: Chunk, env: Env) -> Advance:
    project = _projector(inputs, env, _Weights(cell, env))

    def advance(index: int | tf.Tensor, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        h = cell.activation(project(index, states[0]))
        return h, [h]

    return advance


def _lstm(cell: Any, inputs: Chunk, env: Env) -> Advance:
    project = _projector(inputs, env, _Weights(cell, env))
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
    weights = _Weights(cell, env)
    units, gate = cell.units, cell.recurrent_activation
    input_bias, recurrent_bias = weights.bias, None
    if cell.reset_after and weights.bias is not None:
        # The biases of the gates add up; only the candidate's recurrent bias stays inside the reset.
        bias = weights.value("bias")
        gates = bias[0, : 2 * units] + bias[1, : 2 * units]
        input_bias = weights.derived("input_bias", lambda: np.concatenate([gates, bias[0, 2 * units :]]))
        quiet = np.zeros_like(gates)
        recurrent_bias = weights.derived("recurrent_bias", lambda: np.concatenate([quiet, bias[1, 2 * units :]]))
    projected = inputs.like(flat=_matmul(inputs.flat, weights.kernel, input_bias))

    def part(name: str, columns: slice) -> tf.Tensor:
        return weights.derived(name, lambda: weights.value("recurrent_kernel")[:, columns])

    def advance(index: int | tf.Tensor, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        h = states[0]
        x_z, x_r, x_candidate = tf.split(projected.at(index), 3, axis=-1)
        if cell.reset_after:
            h_z, h_r, h_candidate = tf.split(_matmul(h, weights.recurrent, recurrent_bias), 3, axis=-1)
            z, r = gate(x_z + h_z), gate(x_r + h_r)
            candidate = x_candidate + r * h_candidate
        else:
            h_z, h_r = tf.split(_matmul(h, part("gates", slice(None, 2 * units)), None), 2, axis=-1)
            z, r = gate(x_z + h_z), gate(x_r + h_r)
            candidate = x_candidate + _matmul(r * h, part("candidate", slice(2 * units, None)), None)
        candidate = cell.activation(candidate)
        h = candidate + z * (h - candidate)
        return h, [h]

    return advance
