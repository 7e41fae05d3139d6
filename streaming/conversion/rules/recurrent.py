"""Recurrent layers: the cell takes one step at a time, its states are the states of the stream."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from streaming.conversion.rules import register
from streaming.conversion.rules.base import Env, Rule, chunks, expand_to, hold_states, static_values
from streaming.conversion.rules.cells import stepper, weight_bytes
from streaming.conversion.signals import Signal, StateSpec
from streaming.conversion.values import Chunk, Static


@register(
    layers.SimpleRNN, layers.LSTM, layers.GRU, layers.RNN, layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D
)
class RecurrentRule(Rule):
    """SimpleRNN, LSTM, GRU, and RNN over any cell or stack of cells.

    Masked steps hold the state and repeat the last output, as Keras does; positions before the start of a delayed
    sequence hold the state. A stateful layer starts from zeros, as after `reset_state`.
    """

    def plan(self) -> Any:
        layer, signal = self.call.op, self.call.signals[0]
        if not signal.sequence:
            self.refuse(
                "runs over something that is no sequence of the stream",
                "give it an input (B, T, D) of unknown length T, or name an input that is given whole in encode=...",
            )
        if layer.go_backwards:
            self.refuse("reads the sequence backwards, from its end", "train with go_backwards=False")
        others = [s for s in self.call.signals if s is not signal and s is not self._mask_signal()]
        if any(s.timeline is not None for s in others):
            self.refuse(
                "takes its initial state from the sequence itself", "let it start from zeros, or from a static input"
            )
        if others and (
            len(others) != len(keras.tree.flatten(layer.cell.state_size)) or "constants" in self.call.kwargs
        ):
            self.refuse("takes tensors beside its initial state", "pass initial_state alone")
        if others:
            self.states["started"] = StateSpec((1,))
        for index, value in enumerate(self._initial_states()):
            self.states[f"state{index}" if index or self._several else "state"] = StateSpec(
                value.shape, str(value.dtype), value
            )
        if signal.timeline and signal.timeline.first > 0:
            self.valid_of.append(signal.timeline)
        if self._mask_signal() is not None and not layer.zero_output_for_mask:
            self.states["output"] = StateSpec(tuple(self.call.results[0].shape[2 if layer.return_sequences else 1 :]))
        first = self.result() if layer.return_sequences else self._running(0)
        if not layer.return_state:
            return first
        return [first, *(self._running(index) for index in range(1, len(self.call.results)))]

    def _running(self, index: int) -> Signal:
        symbolic = self.call.results[index]
        dtype = keras.backend.standardize_dtype(symbolic.dtype)
        timeline = self.call.signals[0].timeline
        return Signal(self.call.name, tuple(symbolic.shape[1:]), dtype, timeline, running=True)

    def _mask_signal(self) -> Signal | None:
        positional = self.call.args[2] if len(self.call.args) > 2 else None
        return positional if isinstance(positional, Signal) else self.call.mask

    @property
    def _several(self) -> bool:
        return len(keras.tree.flatten(self.call.op.cell.state_size)) > 1

    def _initial_states(self) -> list[NDArray[Any]]:
        states = [
            keras.ops.convert_to_numpy(s) for s in keras.tree.flatten(self.call.op.get_initial_state(batch_size=1))
        ]
        given = self.call.kwargs.get("initial_state", self.call.args[1] if len(self.call.args) > 1 else None)
        constants = [item for item in keras.tree.flatten(given) if item is not None and not isinstance(item, Signal)]
        if constants:
            constants = [keras.ops.convert_to_numpy(getattr(item, "value", item)) for item in constants]
            if [item.shape[1:] for item in constants] != [state.shape[1:] for state in states] or any(
                np.ptp(item, axis=0).any() for item in constants
            ):
                self.refuse(
                    "begins from constants that differ between sequences, or from only some states",
                    "give the initial state of one sequence for each of its states",
                )
            states = [item.astype(state.dtype) for item, state in zip(constants, states, strict=True)]
        return [state[0] for state in states]

    def step(self, env: Env, inputs: Chunk | Static, *args: Any, mask: Chunk | None = None, **kwargs: Any) -> Any:
        assert isinstance(inputs, Chunk)
        layer = self.call.op
        names = [name for name in self.states if name.startswith("state")]
        states = [env.read(self.key(name)) for name in names]
        if "started" in self.states:
            first = [item.value for item in static_values((args, kwargs))]
            started = env.read(self.key("started"))
            states = [tf.where(expand_to(started[:, 0] > 0.5, s), s, g) for s, g in zip(states, first, strict=True)]
            env.write(self.key("started"), tf.ones_like(started))
        advance = stepper(layer.cell, inputs, env)
        given = mask if mask is not None else next(chunks(args), None)
        keep = None if given is None else given.full
        valid = env.valid(self.valid_of[0]) if self.valid_of else None
        held = env.read(self.key("output")) if "output" in self.states else None
        count = 1 + len(names) * layer.return_state

        def one(index: int | tf.Tensor, states: list[tf.Tensor], held: tf.Tensor | None) -> tuple[Any, Any, Any]:
            output, new = advance(index, states)
            if keep is not None:
                here = tf.cast(keep[:, index], tf.bool)
                quiet = tf.zeros_like(output) if held is None else held
                output = tf.where(expand_to(here, output), output, quiet)
                new = hold_states(here, new, states)
            if valid is not None:
                new = hold_states(valid[:, index], new, states)
                if held is not None:
                    output = tf.where(expand_to(valid[:, index], output), output, held)
            return [output, *new][:count], new, output if held is not None else None

        run = _loop if inputs.steps * weight_bytes(layer.cell) > env.loop_bytes else _unrolled
        forms, states, held = run(one, inputs, states, held)
        for name, state in zip(names, states, strict=True):
            env.write(self.key(name), state)
        if held is not None:
            env.write(self.key("output"), held)
        outputs = [inputs.like(**form) for form in forms]
        return outputs if layer.return_state else outputs[0]


def _unrolled(one: Any, inputs: Chunk, states: list[tf.Tensor], held: Any) -> tuple[list[dict[str, Any]], Any, Any]:
    """The steps one after the other: (each result as a form of a Chunk, states, held output)."""
    history = []
    for index in range(inputs.steps):
        row, states, held = one(index, states, held)
        history.append(row)
    return [{"rows": list(rows)} for rows in zip(*history, strict=True)], states, held


def _loop(one: Any, inputs: Chunk, states: list[tf.Tensor], held: Any) -> tuple[list[dict[str, Any]], Any, Any]:
    """The same with one copy of the weights. Results are shifted in from the end: TFLite has no arrays of tensors."""
    first, *_ = one(0, states, held)
    filled = [tf.zeros((inputs.batch, inputs.steps, *row.shape[1:]), row.dtype) for row in first]
    more = [] if held is None else [held]

    def body(index: tf.Tensor, filled: Any, states: Any, more: Any) -> Any:
        row, states, held = one(index, states, *more or [None])
        pairs = zip(filled, row, strict=True)
        filled = [tf.concat([old[:, 1:], new[:, None]], axis=1) for old, new in pairs]
        return index + 1, filled, states, more if held is None else [held]

    loop = [tf.constant(0), filled, states, more]
    _, filled, states, more = tf.while_loop(lambda index, *_: index < inputs.steps, body, loop, parallel_iterations=1)
    return [{"full": full} for full in filled], states, more[0] if more else None
