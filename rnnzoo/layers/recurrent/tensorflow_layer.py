"""What a layer does around the loop: projections of the inputs, masks, the form of the results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from rnnzoo.layers.recurrent.tensorflow_loop import Recurrence, run
from rnnzoo.layers.recurrent.tensorflow_steps import LSTMSteps, SimpleSteps, find_activation


@dataclass(frozen=True)
class Plan:
    """How the loop runs a cell: z = x W + b for all steps, then the recurrence over z with weights of its own."""

    recurrence: Recurrence
    weights: list[tf.Tensor]
    kernel: tf.Tensor
    bias: tf.Tensor | None

    def project(self, x: tf.Tensor) -> tf.Tensor:
        """z (T, B, n U) of the inputs (T, B, D)."""
        z = tf.matmul(tf.reshape(x, (-1, x.shape[-1])), self.kernel)
        z = z if self.bias is None else z + self.bias
        return tf.reshape(z, (-1, x.shape[1] or tf.shape(x)[1], z.shape[-1]))


def find_plan(cell: Any) -> Plan | None:
    """The plan of a cell; None where its class or its activations have none."""
    planner = _PLANNERS.get(type(cell))
    return None if planner is None else planner(cell)


def _weight(variable: Any) -> tf.Tensor | None:
    return None if variable is None else tf.convert_to_tensor(variable)


def _plan_simple(cell: Any) -> Plan | None:
    activation = find_activation(cell.activation)
    if activation is None:
        return None
    return Plan(SimpleSteps(activation), [_weight(cell.recurrent_kernel)], _weight(cell.kernel), _weight(cell.bias))


def _plan_lstm(cell: Any) -> Plan | None:
    activation, gate = find_activation(cell.activation), find_activation(cell.recurrent_activation)
    if activation is None or gate is None:
        return None
    recurrence = LSTMSteps(activation, gate)
    return Plan(recurrence, [_weight(cell.recurrent_kernel)], _weight(cell.kernel), _weight(cell.bias))


_PLANNERS = {keras.layers.SimpleRNNCell: _plan_simple, keras.layers.LSTMCell: _plan_lstm}


def loop(
    layer: Any,
    plan: Plan,
    sequences: tf.Tensor,
    states: list[tf.Tensor],
    mask: tf.Tensor | None,
    training: bool,
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """What `keras.layers.RNN.inner_loop` returns: last output, outputs, states."""
    x, cell = tf.convert_to_tensor(sequences), layer.cell
    if training and cell.dropout:
        x *= cell.get_dropout_mask(x[:, 0, :])[:, None, :]
    x = tf.transpose(x, (1, 0, 2))
    keep = None if mask is None else tf.transpose(mask)
    if layer.go_backwards:
        x = tf.reverse(x, [0])
        keep = None if keep is None else tf.reverse(keep, [0])
    outputs, last = run(plan.recurrence, plan.project(x), states, plan.weights, keep)
    if keep is not None:
        outputs = outputs * tf.cast(_shown(keep, layer.zero_output_for_mask), outputs.dtype)[:, :, None]
    return outputs[-1], tf.transpose(outputs, (1, 0, 2)), list(last)


def _shown(keep: tf.Tensor, only_kept: bool) -> tf.Tensor:
    """Where an output (T, B) is no zero: Keras gives zeros before the first step that counts."""
    return keep if only_kept else tf.cumsum(tf.cast(keep, tf.int32)) > 0
