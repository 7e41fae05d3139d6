"""Layers on tensors whose first axis is not the batch alone: (B * T, ...), or (B * N, T, ...)."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from streaming.conversion.rules import register_role, rule_for
from streaming.conversion.rules.base import Call, Env, Rule
from streaming.conversion.rules.per_step import TriedPerStep
from streaming.conversion.signals import Signal, StateSpec, Timeline
from streaming.conversion.values import Chunk, Static


@register_role("moved")
class MovedRule(Rule):
    """The rule of a layer for such tensors: each step by itself, or N sequences for each stream."""

    any_layout = True

    def plan(self) -> Any:
        tried = TriedPerStep(self.call)
        if self._sequences() == 1:
            self._rule: Rule = tried
            return tried.plan()
        self._rule = _SeveralSequences(self.call)
        outputs = self._rule.plan()
        for name in ("states", "valid_of", "exact_if", "notes", "approximate"):
            setattr(self, name, getattr(self._rule, name))
        return outputs

    def _sequences(self) -> int:
        """Sequences that stand for one stream, where time is the second axis as in (B * N, T, ...); else 1."""
        return max(_sequences(signal) for signal in self.call.signals)

    def step(self, env: Env, *args: Any, **kwargs: Any) -> Any:
        return self._rule.step(env, *args, **kwargs)


def _sequences(signal: Signal) -> int:
    leading = 2 if signal.sequence else 1
    if signal.layout is None or 0 not in signal.layout[0] or (signal.sequence and signal.layout[1:2] != ((1,),)):
        return 1
    wide = [axis for axis in signal.layout[0] if axis != 0]
    rest = [axis for group in signal.layout[leading:] for axis in group]
    if not wide or (1 in wide and signal.sequence) or sorted(wide) != list(range(leading, leading + len(wide))):
        return 1
    if rest != list(range(leading + len(wide), leading + len(signal.shape))):
        return 1
    return math.prod(int(signal.shape[axis - leading] or 1) for axis in wide)


class _SeveralSequences(Rule):
    """The layer's own rule on N times as many streams; of each stream, N states are kept."""

    def plan(self) -> Any:
        sizes = {_sequences(signal) for signal in self.call.signals}
        if len(sizes) > 1:
            self.refuse(
                "takes several sequences for each stream together with one", "reshape them to one batch before it"
            )
        self._count = sizes.pop()
        self._inputs: dict[int, Signal] = {}

        def single(item: Any) -> Any:
            if not isinstance(item, Signal):
                return item
            if id(item) not in self._inputs:
                shape = item.offline_shape[2 if item.sequence else 1 :]
                self._inputs[id(item)] = dataclasses.replace(item, shape=shape, layout=None, origin=None)
            return self._inputs[id(item)]

        args, kwargs = keras.tree.map_structure(single, (self.call.args, self.call.kwargs))
        self._rule = rule_for(Call(self.call.op, self.call.name, args, kwargs, self.call.results, self.call.options))
        self._outputs = self._rule.plan()
        for name, spec in self._rule.states.items():
            initial = np.broadcast_to(np.asarray(spec.initial, spec.dtype), (self._count, *spec.shape))
            self.states[name] = StateSpec((self._count, *spec.shape), spec.dtype, initial)
        self.valid_of, self.exact_if = self._rule.valid_of, self._rule.exact_if
        self.notes, self.approximate = self._rule.notes, self._rule.approximate
        self._planned = keras.tree.map_structure(self._several, self._outputs)
        return self._planned

    def _several(self, signal: Signal) -> Signal:
        """The signal of all sequences for that of one."""
        first = next(item for item in self.call.signals if item.layout is not None)
        assert first.layout is not None
        before, after, group = _leading(first), _leading(signal), first.layout[0]
        sizes = [first.shape[axis - before] for axis in sorted(group) if axis]
        joined = tuple(axis - before + after if axis else 0 for axis in group)
        beside = range(after + len(sizes), after + len(sizes) + len(signal.shape))
        layout = (joined, *(((1,),) if signal.sequence else ()), *((axis,) for axis in beside))
        return dataclasses.replace(signal, shape=(*sizes, *signal.shape), layout=layout)

    def step(self, env: Env, *args: Any, **kwargs: Any) -> Any:
        count = self._count

        def apart(signal: Any, item: Any) -> Any:
            if not isinstance(signal, Signal):
                return item
            shape = self._inputs[id(signal)].shape
            if isinstance(item, Static):
                return Static(tf.reshape(item.value, (env.batch * count, *shape)))
            return _apart(item, count, shape)

        args, kwargs = keras.tree.map_structure(apart, (self.call.args, self.call.kwargs), (args, kwargs))
        inner = _SeveralEnv(env, self._rule, count)
        outputs = self._rule.step(inner, *args, **kwargs)
        for name, spec in self._rule.states.items():
            value = inner.updates[self._rule.key(name)]
            env.write(self.key(name), tf.reshape(value, (env.batch, count, *spec.shape)))

        def together(signal: Signal, item: Any) -> Any:
            if isinstance(item, Static):
                return Static(tf.reshape(item.value, (env.batch, *signal.shape)))
            return _together(item, count, signal.shape)

        return keras.tree.map_structure(together, self._planned, outputs)


class _SeveralEnv(Env):
    """The environment of N times as many streams."""

    def __init__(self, outer: Env, rule: Rule, count: int) -> None:
        states = {}
        for name, spec in rule.states.items():
            value = outer.read(rule.key(name))
            states[rule.key(name)] = tf.reshape(value, (outer.batch * count, *spec.shape))
        super().__init__(outer.batch * count, outer.chunk, False, outer.loop_bytes, states, outer.constants)
        self._outer, self._count = outer, count

    def valid(self, timeline: Timeline) -> tf.Tensor:
        valid = self._outer.valid(timeline)
        return tf.reshape(tf.tile(valid[:, None], [1, self._count, 1]), (self.batch, valid.shape[1]))


def _leading(signal: Signal) -> int:
    return 2 if signal.sequence else 1


def _apart(chunk: Chunk, count: int, shape: Any) -> Chunk:
    """(B, T, N, ...) as (B * N, T, ...)."""
    value = tf.reshape(chunk.full, (chunk.batch, chunk.steps, count, *shape))
    value = _swap(value) if chunk.steps > 1 else value
    return Chunk(chunk.batch * count, chunk.steps, full=tf.reshape(value, (chunk.batch * count, chunk.steps, *shape)))


def _together(chunk: Chunk, count: int, shape: Any) -> Chunk:
    """(B * N, T, ...) as (B, T, N, ...)."""
    batch = chunk.batch // count
    value = tf.reshape(chunk.full, (batch, count, chunk.steps, *chunk.full.shape[2:]))
    value = _swap(value) if chunk.steps > 1 else value
    return Chunk(batch, chunk.steps, full=tf.reshape(value, (batch, chunk.steps, *shape)))


def _swap(value: tf.Tensor) -> tf.Tensor:
    return tf.transpose(value, [0, 2, 1, *range(3, len(value.shape))])
