"""The parts of a layer around its loop: projections of the inputs, masks, layout of the results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from rnnzoo.layers.cells import LayerNormLSTMCell
from rnnzoo.layers.recurrent.tensorflow_gru import GRUSteps, ResetBeforeSteps
from rnnzoo.layers.recurrent.tensorflow_loop import Recurrence, Tensors, run_recurrence
from rnnzoo.layers.recurrent.tensorflow_normalized import LayerNormLSTMSteps, standardize
from rnnzoo.layers.recurrent.tensorflow_steps import Activation, LSTMSteps, SimpleSteps, find_activation

# Units up to which the gates of an LSTM are one product: above, products of their own keep two cores busy.
JOINED = 64


@dataclass(frozen=True)
class Plan:
    """Plan of a loop over a cell: the recurrence over what `read` (T B, D) -> (T B, U)s makes of all inputs at once."""

    recurrence: Recurrence
    weights: list[tf.Tensor]
    read: Callable[[tf.Tensor], Tensors]

    def project(self, x: tf.Tensor) -> Tensors:
        """Each z (T, B, U) of the inputs (T, B, D)."""
        batch = x.shape[1] or tf.shape(x)[1]
        return tuple(tf.reshape(z, (-1, batch, z.shape[-1])) for z in self.read(tf.reshape(x, (-1, x.shape[-1]))))


def find_plan(cell: Any) -> Plan | None:
    """The plan of a cell; None if its class or its activations are not supported."""
    names = ("activation", "recurrent_activation") if hasattr(cell, "recurrent_activation") else ("activation",)
    activations = [find_activation(getattr(cell, name)) for name in names]
    planner = _PLANNERS.get(type(cell))
    if planner is None or None in activations:
        return None
    return planner(cell, *activations)


def _plan_simple(cell: Any, activation: Activation) -> Plan:
    return Plan(SimpleSteps(activation), _gates(cell.recurrent_kernel, 1), _affine(cell, cell.bias, 1))


def _plan_lstm(cell: Any, activation: Activation, gate: Activation) -> Plan:
    parts = 1 if cell.units <= JOINED else 4
    return Plan(LSTMSteps(activation, gate), _gates(cell.recurrent_kernel, parts), _affine(cell, cell.bias, parts))


def _plan_gru(cell: Any, activation: Activation, gate: Activation) -> Plan:
    weights = _gates(cell.recurrent_kernel, 3)
    if not cell.reset_after:
        return Plan(ResetBeforeSteps(activation, gate), weights, _affine(cell, cell.bias, 3))
    bias = None
    if cell.bias is not None:
        # The biases of the gates add up; only the candidate's second one stays inside of the reset.
        first, second = tf.unstack(_weight(cell.bias))
        gates, candidate = tf.split(second, [2 * cell.units, cell.units])
        bias = first + tf.pad(gates, [[0, cell.units]])
        weights.append(candidate)
    return Plan(GRUSteps(activation, gate), weights, _affine(cell, bias, 3))


def _plan_normalized(cell: Any, activation: Activation, gate: Activation) -> Plan:
    names = ("recurrent_kernel", "recurrent_gain", "state_gain", "state_offset")
    gain, bias = _weight(cell.kernel_gain), cell.bias

    def read(x: tf.Tensor) -> Tensors:
        product = tf.matmul(x, _weight(cell.kernel))
        z = tf.cast(standardize(product, cell.epsilon)[0], product.dtype) * gain
        return (z if bias is None else tf.nn.bias_add(z, _weight(bias)),)

    recurrence = LayerNormLSTMSteps(activation, gate, cell.epsilon)
    return Plan(recurrence, [_weight(getattr(cell, name)) for name in names], read)


def _affine(cell: Any, bias: Any, count: int) -> Callable[[tf.Tensor], Tensors]:
    def read(x: tf.Tensor) -> Tensors:
        z = [tf.matmul(x, kernel) for kernel in _gates(cell.kernel, count)]
        if bias is None:
            return tuple(z)
        # The gradient of this operation sums over rows several times faster than that of a broadcast sum.
        return tuple(map(tf.nn.bias_add, z, _gates(bias, count)))

    return read


def _gates(variable: Any, count: int) -> list[tf.Tensor]:
    """The parts (..., U) of the gates."""
    return list(tf.split(_weight(variable), count, axis=-1))


def _weight(variable: Any) -> tf.Tensor:
    return tf.convert_to_tensor(variable)


_PLANNERS: dict[type, Callable[..., Plan]] = {
    keras.layers.SimpleRNNCell: _plan_simple,
    keras.layers.LSTMCell: _plan_lstm,
    keras.layers.GRUCell: _plan_gru,
    LayerNormLSTMCell: _plan_normalized,
}


def loop(
    layer: Any,
    plan: Plan,
    sequences: tf.Tensor,
    states: list[tf.Tensor],
    mask: tf.Tensor | None,
    training: bool,
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """Runs the loop; returns last output, outputs and states as `keras.layers.RNN.inner_loop` does."""
    x, cell = tf.convert_to_tensor(sequences), layer.cell
    if training and cell.dropout:
        x *= cell.get_dropout_mask(x[:, 0, :])[:, None, :]
    x = tf.transpose(x, (1, 0, 2))
    keep = None if mask is None else tf.transpose(mask)
    if layer.go_backwards:
        x = tf.reverse(x, [0])
        keep = None if keep is None else tf.reverse(keep, [0])
    outputs, last = run_recurrence(plan.recurrence, plan.project(x), states, plan.weights, keep)
    if keep is not None:
        outputs = outputs * tf.cast(_shown(keep, layer.zero_output_for_mask), outputs.dtype)[:, :, None]
    return outputs[-1], tf.transpose(outputs, (1, 0, 2)), list(last)


def _shown(keep: tf.Tensor, only_kept: bool) -> tf.Tensor:
    """Boolean (T, B), where an output is no zero: Keras gives zeros before the first step that counts."""
    return keep if only_kept else tf.cumsum(tf.cast(keep, tf.int32)) > 0
