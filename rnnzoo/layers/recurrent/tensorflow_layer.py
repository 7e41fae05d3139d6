"""The parts of a layer around its loop: projections of the inputs, masks, layout of the results."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from rnnzoo.layers.cells import LayerNormLSTMCell
from rnnzoo.layers.recurrent.forms import PLAIN, Form, choose
from rnnzoo.layers.recurrent.tensorflow_gru import GRUSteps, ResetBeforeSteps
from rnnzoo.layers.recurrent.tensorflow_loop import Recurrence, Tensors, inside_xla, run_recurrence
from rnnzoo.layers.recurrent.tensorflow_normalized import LayerNormLSTMSteps, standardize
from rnnzoo.layers.recurrent.tensorflow_steps import Activation, LSTMSteps, SimpleSteps, find_activation
from streaming._compat.tensorflow import save_context

# Units up to which the gates are one product: above, products of their own keep two cores busy.
JOINED = 64


@dataclass(frozen=True)
class Plan:
    """Plan of a loop over a cell: the recurrence over what `read` (T B, D) -> (T B, U)s makes of all inputs at once."""

    recurrence: Recurrence
    weights: list[tf.Tensor]
    read: Callable[[tf.Tensor], Tensors]

    def project(self, x: tf.Tensor) -> Tensors:
        """Each z (T, B, U) of the inputs (T, B, D)."""
        # Stated sizes: half of a batch of one sequence has none, from which no size follows.
        steps, batch = (x.shape[axis] or tf.shape(x)[axis] for axis in (0, 1))
        return tuple(tf.reshape(z, (steps, batch, z.shape[-1])) for z in self.read(tf.reshape(x, (-1, x.shape[-1]))))


def find_plan(cell: Any, form: Form = PLAIN, dropped: bool = False) -> Plan | None:
    """The plan of a cell; None if its class, its activations or its recurrent dropout are not supported.

    Args:
        cell: of Keras or of this package.
        form: of its loop.
        dropped: each gate reads the state through a mask of its own; these masks are further weights.
    """
    if dropped and (type(cell) is LayerNormLSTMCell or not getattr(cell, "reset_after", True)):
        return None
    names = ("activation", "recurrent_activation") if hasattr(cell, "recurrent_activation") else ("activation",)
    activations = [find_activation(getattr(cell, name)) for name in names]
    planner = _PLANNERS.get(type(cell))
    if planner is None or None in activations:
        return None
    # Parts of a batch keep the cores busy, and XLA joins the gates' other operations too.
    joined = not dropped and (cell.units <= JOINED or (form.compiled and form.parts > 1))
    return planner(cell, joined, *activations)


def _plan_simple(cell: Any, joined: bool, activation: Activation) -> Plan:
    return Plan(SimpleSteps(activation), _gates(cell.recurrent_kernel, 1), _affine(cell, cell.bias, 1))


def _plan_lstm(cell: Any, joined: bool, activation: Activation, gate: Activation) -> Plan:
    parts = 1 if joined else 4
    return Plan(LSTMSteps(activation, gate), _gates(cell.recurrent_kernel, parts), _affine(cell, cell.bias, parts))


def _plan_gru(cell: Any, joined: bool, activation: Activation, gate: Activation) -> Plan:
    if not cell.reset_after:
        weights = _gates(cell.recurrent_kernel, 3)
        return Plan(ResetBeforeSteps(activation, gate), weights, _affine(cell, cell.bias, 3))
    parts, bias = 1 if joined else 3, None
    weights = _gates(cell.recurrent_kernel, parts)
    if cell.bias is not None:
        # The biases of the gates add up; only the candidate's second one stays inside of the reset.
        first, second = tf.unstack(_weight(cell.bias))
        gates, candidate = tf.split(second, [2 * cell.units, cell.units])
        bias = first + tf.pad(gates, [[0, cell.units]])
        weights.append(candidate)
    return Plan(GRUSteps(activation, gate, bias is not None), weights, _affine(cell, bias, parts))


def _plan_normalized(cell: Any, joined: bool, activation: Activation, gate: Activation) -> Plan:
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
    layer: Any, sequences: tf.Tensor, states: list[tf.Tensor], mask: tf.Tensor | None, training: bool
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]] | None:
    """Runs the loop; returns last output, outputs and states as `keras.layers.RNN.inner_loop` does.

    None if the class of the cell or its activations are not supported.
    """
    x, cell = tf.convert_to_tensor(sequences), layer.cell
    form = find_form(layer, x, mask is not None, training)
    dropped = bool(training and cell.recurrent_dropout)
    plan = find_plan(cell, form, dropped)
    if plan is None:
        return None
    if training and cell.dropout:
        x *= cell.get_dropout_mask(x[:, 0, :])[:, None, :]
    # One mask for each gate, for all steps.
    masks = tf.nest.flatten(cell.get_recurrent_dropout_mask(states[0])) if dropped else []
    run = partial(_run, layer, plan, form.compiled)
    if form.parts == 1:
        return run(x, states, masks, mask)
    batch = x.shape[0] or tf.shape(x)[0]
    bounds = [batch * part // form.parts for part in range(form.parts + 1)]
    slices = [slice(*pair) for pair in itertools.pairwise(bounds)]
    results = [
        run(x[each], [s[each] for s in states], [m[each] for m in masks], None if mask is None else mask[each])
        for each in slices
    ]
    last, outputs, final = zip(*results, strict=True)
    return tf.concat(last, 0), tf.concat(outputs, 0), [tf.concat(parts, 0) for parts in zip(*final, strict=True)]


def find_form(layer: Any, x: tf.Tensor, masked: bool, training: bool) -> Form:
    """The form of the loop for these shapes: what the table says, as far as it can be used here.

    XLA compiles a loop once for each shape. It is therefore taken only for training, and only where the number of
    steps is known when the graph is built.
    """
    if not training or tf.executing_eagerly() or inside_xla() or x.dtype != tf.float32 or _other_devices():
        return PLAIN
    fixed = x.shape[1] is not None and not save_context.in_save_context()
    form = choose(type(layer).__name__, masked, layer.units, x.shape[0], compiled=fixed)
    return PLAIN if form.parts > 1 and (x.shape[0] == 1 or _one_thread()) else form


def _one_thread() -> bool:
    """Whether nothing can run beside anything else."""
    threads = tf.config.threading.get_inter_op_parallelism_threads() or os.environ.get("TF_NUM_INTEROP_THREADS")
    return str(threads) == "1" or os.cpu_count() == 1


def _run(
    layer: Any,
    plan: Plan,
    compiled: bool,
    x: tf.Tensor,
    states: list[tf.Tensor],
    masks: list[tf.Tensor],
    mask: tf.Tensor | None,
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    x = tf.transpose(x, (1, 0, 2))
    keep = None if mask is None else tf.transpose(mask)
    if layer.go_backwards:
        x = tf.reverse(x, [0])
        keep = None if keep is None else tf.reverse(keep, [0])
    weights = [*plan.weights, *masks]
    outputs, last = run_recurrence(plan.recurrence, plan.project(x), states, weights, keep, compiled)
    if keep is not None:
        outputs = outputs * tf.cast(_shown(keep, layer.zero_output_for_mask), outputs.dtype)[:, :, None]
    return outputs[-1], tf.transpose(outputs, (1, 0, 2)), list(last)


def _other_devices() -> bool:
    """Whether the layer may run elsewhere than on this machine's processor, on which the table was measured."""
    return tf.distribute.has_strategy() or bool(tf.config.list_logical_devices("GPU"))


def _shown(keep: tf.Tensor, only_kept: bool) -> tf.Tensor:
    """Boolean (T, B), where an output is no zero: Keras gives zeros before the first step that counts."""
    return keep if only_kept else tf.cumsum(tf.cast(keep, tf.int32)) > 0
