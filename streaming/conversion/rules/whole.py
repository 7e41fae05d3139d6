"""Calls that see a whole source at once, before the stream starts: the encoder of a translator or captioner.

A source of variable length is at the beginning of S = max_length positions; a boolean mask says which are real. The
other positions never affect a real one: recurrent layers hold their state there, convolutions see zeros, and a custom
layer whose `call` takes a `mask` is given it.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from streaming.conversion.keras_loops import keras_loops, scan
from streaming.conversion.rules import kind_of
from streaming.conversion.rules.base import Call, Env, Rule, expand_to
from streaming.conversion.signals import Signal, Timeline
from streaming.conversion.values import Static

_RECURRENT = (layers.SimpleRNN, layers.LSTM, layers.GRU, layers.RNN)
_POOLING = (layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D)


def whole_signal(name: str, features: Any, dtype: str, length: int, **changes: Any) -> Signal:
    """A signal of `encode`; length: its S positions, 0 where it has no source axis."""
    shape = (length, *features) if length else tuple(features)
    return Signal(name, shape, dtype, None, whole=True, spread=bool(length), **changes)


class WholeRule(Rule):
    """One call of the encoder."""

    _signals: list[Signal]

    def plan(self) -> Any:
        spread = [signal for signal in self.call.signals if signal.spread]
        if spread:
            self._check()
        results = []
        for symbolic in self.call.results:
            shape = tuple(symbolic.shape)
            along = len(shape) > 1 and shape[1] is None
            features = shape[2:] if along else shape[1:]
            if any(size is None for size in features):
                self.refuse(f"has an output of shape {shape} in the encoder", "give every other axis a fixed size")
            length = spread[0].shape[0] if along else 0
            dtype = keras.backend.standardize_dtype(symbolic.dtype)
            results.append(whole_signal(self.call.name, features, dtype, int(length or 0)))
        self._signals = results
        return results if len(results) > 1 else results[0]

    def _check(self) -> None:
        """Refuse what would let positions behind the end of a source reach real ones."""
        op = self.call.op
        kind = kind_of(op)
        if kind in (*_RECURRENT, *_POOLING):
            return
        if kind is layers.Bidirectional and kind_of(op.forward_layer) in _RECURRENT:
            return
        if kind is layers.Conv1D and op.strides == (1,) and op.padding in ("same", "causal"):
            return
        if _takes_mask(op):
            return
        from streaming.conversion.rules import rule_for
        from streaming.conversion.rules.embedding import EmbeddingRule
        from streaming.conversion.rules.pointwise import Idle, PerStep
        from streaming.conversion.rules.reshaping import ReshapeRule
        from streaming.conversion.rules.shaping import MaskingRule, TimeDistributedRule

        # As a step by step layer it must not look along the source either.
        rule = rule_for(self._as_sequence())
        made = keras.tree.flatten(rule.plan())
        moved = any(signal.layout is not None or not signal.sequence for signal in made)
        if moved or not isinstance(
            rule, PerStep | Idle | EmbeddingRule | MaskingRule | ReshapeRule | TimeDistributedRule
        ):
            self.refuse(
                "looks along the source in the encoder",
                "use recurrent layers, Conv1D without strides, or a layer of your own whose call takes a mask",
            )

    def _as_sequence(self) -> Call:
        made: dict[int, Signal] = {}

        def sequence(item: Any) -> Any:
            if not isinstance(item, Signal) or not item.spread:
                return item
            return made.setdefault(id(item), Signal(item.name, item.shape[1:], item.dtype, Timeline()))

        args, kwargs = keras.tree.map_structure(sequence, (self.call.args, self.call.kwargs))
        return Call(self.call.op, self.call.name, args, kwargs, self.call.results, self.call.options)

    def step(self, env: Env, *args: Any, **kwargs: Any) -> Any:
        op = self.call.op
        values = [item for item in keras.tree.flatten((args, kwargs)) if isinstance(item, Static)]
        exists = next((item.exists for item in values if item.exists is not None), None)
        if exists is None:
            with keras_loops(env):
                return [Static(value) for value in keras.tree.flatten(op(*_plain(args), **_plain(kwargs)))]
        first, given = args[0], kwargs.get("mask")
        keep = exists
        if isinstance(given, Static):
            keep = tf.logical_and(exists, tf.cast(given.value, tf.bool))
        if kind_of(op) in _RECURRENT:
            initial = [item.value for item in values if item is not args[0] and item is not given]
            outputs = _recurrent(op, first.value, keep, env, initial)
        elif kind_of(op) is layers.Bidirectional:
            outputs = _bidirectional(op, first.value, keep, env)
        elif type(op) in _POOLING:
            outputs = _pool(op, first.value, exists, keep)
        else:
            if type(op) is layers.Conv1D:
                args = (Static(_where(exists, first.value)), *args[1:])
            elif _takes_mask(op):
                kwargs = {**kwargs, "mask": keep}
            outputs = op(*_plain(args), **_plain(kwargs))
        pairs = zip(keras.tree.flatten(outputs), self._signals, strict=True)
        return [Static(value, exists) if signal.spread else Static(value) for value, signal in pairs]


def _takes_mask(op: Any) -> bool:
    """Whether a layer of one's own can be told which positions are real; that it heeds them is seen in verification."""
    return hasattr(op, "stream_step") and "mask" in inspect.signature(op.call).parameters


def _plain(structure: Any) -> Any:
    """Tensors in place of statics, with their Keras masks."""

    def tensor(item: Any) -> Any:
        if not isinstance(item, Static):
            return item
        if item.mask is None:
            return item.value
        value = tf.identity(item.value)
        value._keras_mask = item.mask
        return value

    return keras.tree.map_structure(tensor, structure)


def _where(exists: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    return tf.where(expand_to(exists, value), value, tf.zeros_like(value))


def _scan(
    layer: Any, x: tf.Tensor, keep: tf.Tensor, env: Env, initial: list[tf.Tensor], backwards: bool
) -> tuple[tf.Tensor | None, tf.Tensor, list[tf.Tensor]]:
    """Outputs (B, S, ...) in the order of the source, the last one computed, and the states after it."""
    states = initial or [
        tf.convert_to_tensor(state) for state in keras.tree.flatten(layer.get_initial_state(batch_size=env.batch))
    ]
    outputs, last, states = scan(
        layer.cell,
        x,
        states,
        env,
        mask=keep,
        backwards=backwards,
        zero_output=layer.zero_output_for_mask,
        collect=layer.return_sequences,
        unroll=math.isinf(env.loop_bytes),
    )
    return tf.reverse(outputs, [1]) if backwards and outputs is not None else outputs, last, states


def _recurrent(layer: Any, x: tf.Tensor, keep: tf.Tensor, env: Env, initial: list[tf.Tensor]) -> Any:
    outputs, last, states = _scan(layer, x, keep, env, initial, layer.go_backwards)
    if layer.return_sequences and layer.go_backwards:
        raise TypeError("a backward layer of an encoder returns its sequence reversed")
    result = outputs if layer.return_sequences else last
    return [result, *states] if layer.return_state else result


def _bidirectional(layer: Any, x: tf.Tensor, keep: tf.Tensor, env: Env) -> Any:
    ahead, last_ahead, states_ahead = _scan(layer.forward_layer, x, keep, env, [], False)
    back, last_back, states_back = _scan(layer.backward_layer, x, keep, env, [], True)
    if layer.return_sequences:
        assert ahead is not None
        assert back is not None
        a, b = ahead, back
    else:
        a, b = last_ahead, last_back
    merged = {
        "concat": lambda: tf.concat([a, b], axis=-1),
        "sum": lambda: a + b,
        "ave": lambda: (a + b) / 2,
        "mul": lambda: a * b,
        None: lambda: [a, b],
    }[layer.merge_mode]()
    if not layer.return_state:
        return merged
    return [*(merged if isinstance(merged, list) else [merged]), *states_ahead, *states_back]


def _pool(layer: Any, x: tf.Tensor, exists: tf.Tensor, keep: tf.Tensor) -> tf.Tensor:
    if isinstance(layer, layers.GlobalMaxPooling1D):
        lowest = tf.fill(x.shape, float(tf.float32.min))
        return tf.reduce_max(tf.where(expand_to(exists, x), x, lowest), axis=1)
    count = tf.reduce_sum(tf.cast(keep, tf.float32), axis=1, keepdims=True)
    return tf.reduce_sum(_where(keep, x), axis=1) / count
