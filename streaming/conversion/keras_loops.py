"""Keras's recurrent layers inside a TFLite graph: loops that hold each weight once, wherever they are called from.

Keras 3 traces a recurrent layer into lists of tensors, which TFLite's builtin operations lack. Inside `keras_loops`,
the layers RNN, LSTM, GRU, SimpleRNN, ConvLSTM and Bidirectional, alone or within TimeDistributed, nested models or
layers of one's own, trace into WHILE loops instead, with Keras's own treatment of masks, direction and states.
TimeDistributed folds time into the batch. For inference: dropout is idle, and a stateful layer begins from its
initial state.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from streaming.conversion.rules.base import Env, expand_to, hold_states
from streaming.conversion.rules.cells import stepper
from streaming.conversion.values import Chunk

# Up to so many steps are unrolled: a loop costs some microseconds to enter.
UNROLLED_STEPS = 4
# Outputs of longer sequences are collected in blocks: an iteration copies what it carries.
_BLOCKED_STEPS = 64


@contextlib.contextmanager
def keras_loops(env: Env) -> Iterator[None]:
    """Context in which calls of Keras's recurrent layers trace into loops; weights are read from `env`."""

    def rnn_call(
        self: Any, sequences: tf.Tensor, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        return _call_rnn(self, sequences, initial_state, mask, env)

    changes: list[tuple[type, str, Any]] = [
        (layers.RNN, "call", rnn_call),
        (layers.Bidirectional, "_can_attempt_fused_lstm", _never),
        (layers.Bidirectional, "_can_attempt_fused_gru", _never),
        (layers.TimeDistributed, "call", _call_time_distributed),
        (layers.MelSpectrogram, "_dbscale", _decibels),
    ]
    for kind in set(_subclasses(layers.Layer)):
        base = vars(kind).get("stream_as")
        if base in (layers.Bidirectional, layers.TimeDistributed):
            changes.append((kind, "call", base.call))
        elif isinstance(base, type) and issubclass(base, layers.RNN):
            changes.append((kind, "call", rnn_call))
    # A class without an attribute of its own gets one, which is taken away afterwards.
    before = [(kind, name, vars(kind).get(name)) for kind, name, _ in changes]
    try:
        for kind, name, value in changes:
            setattr(kind, name, value)
        yield
    finally:
        for kind, name, value in reversed(before):
            if value is None:
                delattr(kind, name)
            else:
                setattr(kind, name, value)


def _subclasses(kind: type) -> Iterator[type]:
    children: list[type] = kind.__subclasses__()
    for child in children:
        yield child
        yield from _subclasses(child)


def _never(self: Any, mask: Any, initial_state: Any = None) -> bool:
    return False


def _decibels(self: Any, inputs: tf.Tensor, scale: Any = layers.MelSpectrogram._dbscale) -> tf.Tensor:
    """Decibels relative to the loudest value of each sequence; Keras takes that of the batch, which mixes streams."""
    batch = inputs.shape[0] or 1  # unknown where only shapes are of interest
    return tf.concat([scale(self, row) for row in tf.split(inputs, batch)], axis=0)


def _call_time_distributed(self: Any, inputs: tf.Tensor, training: Any = None, mask: Any = None) -> tf.Tensor:
    """`TimeDistributed.call` with time folded into the batch instead of one call a step."""
    batch, steps = inputs.shape[0], inputs.shape[1]
    kwargs: dict[str, Any] = {"training": False} if self.layer._call_has_training_arg else {}
    if self.layer._call_has_mask_arg and mask is not None:
        kwargs["mask"] = tf.reshape(mask, (batch * steps, *mask.shape[2:]))
    output = self.layer.call(tf.reshape(inputs, (batch * steps, *inputs.shape[2:])), **kwargs)
    return tf.reshape(output, (batch, steps, *output.shape[1:]))


def _call_rnn(layer: Any, sequences: tf.Tensor, initial_state: Any, mask: Any, env: Env) -> Any:
    """`RNN.call` at inference: the output, or a tuple of the output and the states."""
    if initial_state is None:
        initial_state = layer.get_initial_state(batch_size=sequences.shape[0])
    structure = list(initial_state) if keras.tree.is_nested(initial_state) else [initial_state]
    states = [tf.cast(tf.convert_to_tensor(state), sequences.dtype) for state in keras.tree.flatten(structure)]
    if keras.tree.is_nested(mask):
        mask = keras.tree.flatten(mask)[0]
    outputs, last, states = scan(
        layer.cell,
        sequences,
        states,
        env,
        mask=mask,
        backwards=layer.go_backwards,
        zero_output=layer.zero_output_for_mask,
        collect=layer.return_sequences,
    )
    output = outputs if layer.return_sequences else last
    if not layer.return_state:
        return output
    return (output, *keras.tree.pack_sequence_as(structure, states))


def scan(
    cell: Any,
    x: tf.Tensor,
    states: list[tf.Tensor],
    env: Env,
    *,
    mask: tf.Tensor | None = None,
    backwards: bool = False,
    zero_output: bool = False,
    collect: bool = True,
    unroll: bool = False,
) -> tuple[tf.Tensor | None, tf.Tensor, list[tf.Tensor]]:
    """Run a cell over a whole sequence x (B, T, ...) of known sizes.

    Args:
        cell: a Keras cell; states: flat, (B, ...) each; mask: boolean (B, T), steps that hold state and output.
        backwards: from the last step to the first; outputs are then in that order, as Keras gives them.
        zero_output: the output of a masked step is zero instead of the one before; collect: keep all outputs.
        unroll: no loop, for calibration, which does not look inside of loops.

    Returns:
        Outputs (B, T, ...), None where they are not collected; the last output; the states after the last step.
    """
    if backwards:
        x = tf.reverse(x, [1])
        mask = None if mask is None else tf.reverse(mask, [1])
    steps = x.shape[1]
    held = None
    if mask is not None:
        mask = tf.cast(mask, tf.bool)
        row = tf.zeros((x.shape[0], *_output_shape(cell, x, states, env)), x.dtype)
        held = row if not zero_output else None
    block = _block(steps) if collect else steps
    if unroll or steps <= max(UNROLLED_STEPS, block if block == 1 else 0):
        return _unrolled(cell, x, mask, states, held, env, collect)
    if block == steps:
        return _loop(cell, x, mask, states, held, env, collect)
    whole, rest = divmod(steps, block)
    outputs, last, states, held = _blocks(cell, x, mask, states, held, env, block, whole)
    if rest:
        tail = x[:, whole * block :]
        over = None if mask is None else mask[:, whole * block :]
        more, last, states = _loop(cell, tail, over, states, held, env, True)
        outputs = tf.concat([outputs, more], axis=1)
    return outputs, last, states


def _block(steps: int) -> int:
    """Steps of a block: the divisor nearest to the square root, or the root where there is none near."""
    if steps <= _BLOCKED_STEPS:
        return steps
    root = math.isqrt(steps)
    near = [size for size in range(max(2, root // 2), 2 * root + 1) if steps % size == 0]
    return min(near, key=lambda size: abs(size - root), default=root)


def _step(cell: Any, x: tf.Tensor, mask: tf.Tensor | None, env: Env) -> Any:
    """(index, states, held) -> (output, states) of one step, masked as Keras masks."""
    local = Env(x.shape[0], x.shape[1], False, math.inf, {}, env.constants)
    advance = stepper(cell, Chunk(x.shape[0], x.shape[1], full=x), local)

    def one(index: Any, states: list[tf.Tensor], held: tf.Tensor | None) -> tuple[tf.Tensor, list[tf.Tensor]]:
        output, new = advance(index, states)
        if mask is None:
            return output, new
        here = tf.gather(mask, index, axis=1)
        output = tf.where(expand_to(here, output), output, tf.zeros_like(output) if held is None else held)
        return output, hold_states(here, new, states)

    return one


def _unrolled(cell: Any, x: Any, mask: Any, states: Any, held: Any, env: Env, collect: bool) -> Any:
    one, outputs = _step(cell, x, mask, env), []
    for index in range(x.shape[1]):
        output, states = one(index, states, held)
        held = None if held is None else output
        outputs.append(output)
    return tf.stack(outputs, axis=1) if collect else None, outputs[-1], states


def _loop(cell: Any, x: Any, mask: Any, states: Any, held: Any, env: Env, collect: bool) -> Any:
    """One loop over all steps. Outputs are shifted in from the end: TFLite has no arrays of tensors."""
    one, steps = _step(cell, x, mask, env), x.shape[1]
    shape = _output_shape(cell, x, states, env)
    kept = _unset(x, steps if collect else 1, math.prod(shape))

    def body(index: tf.Tensor, kept: tf.Tensor, states: Any, held: Any) -> Any:
        output, states = one(index, states, held[0] if held else None)
        row = tf.reshape(output, (output.shape[0], 1, -1))
        kept = tf.concat([kept[:, 1:], row], axis=1) if collect else row
        return index + 1, kept, states, [output] if held else []

    values = [tf.constant(0), kept, states, [] if held is None else [held]]
    _, kept, states, _ = tf.while_loop(lambda index, *_: index < steps, body, values, parallel_iterations=1)
    last = tf.reshape(kept[:, -1], (x.shape[0], *shape))
    return tf.reshape(kept, (x.shape[0], steps, *shape)) if collect else None, last, states


def _blocks(
    cell: Any, x: Any, mask: Any, states: Any, held: Any, env: Env, block: int, count: int
) -> tuple[tf.Tensor, tf.Tensor, Any, Any]:
    """A loop over blocks of steps, each of which is a loop: T outputs are moved once a block, not once a step."""
    shape = _output_shape(cell, x, states, env)
    kept = _unset(x, block * count, math.prod(shape))

    def part(value: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        blocks = tf.reshape(value[:, : block * count], (value.shape[0], count, block, *value.shape[2:]))
        return tf.gather(blocks, index, axis=1)

    def body(index: tf.Tensor, kept: tf.Tensor, states: Any, held: Any) -> Any:
        now = held[0] if held else None
        over = None if mask is None else part(mask, index)
        rows, last, states = _loop(cell, part(x, index), over, states, now, env, True)
        rows = tf.reshape(rows, (x.shape[0], block, -1))
        return index + 1, tf.concat([kept[:, block:], rows], axis=1), states, [last] if held else []

    values = [tf.constant(0), kept, states, [] if held is None else [held]]
    _, kept, states, held = tf.while_loop(lambda index, *_: index < count, body, values, parallel_iterations=1)
    last = tf.reshape(kept[:, -1], (x.shape[0], *shape))
    return tf.reshape(kept, (x.shape[0], block * count, *shape)), last, states, held[0] if held else None


def _unset(x: tf.Tensor, steps: int, width: int) -> tf.Tensor:
    """(B, steps, width) of no particular value, made at run time: T rows of zeros would be stored in the file.

    Rows are flat: TFLite cuts tensors of five axes at most.
    """
    seed = tf.reshape(tf.reshape(x, (x.shape[0], -1))[:, :1], (x.shape[0], 1, 1))
    return tf.tile(seed, [1, steps, width])


def _output_shape(cell: Any, x: tf.Tensor, states: list[tf.Tensor], env: Env) -> tuple[int, ...]:
    """Shape of an output of the cell without the batch axis; the step that tells is pruned from the graph."""
    return tuple(_step(cell, x, None, env)(0, states, None)[0].shape[1:])
