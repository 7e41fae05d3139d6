"""Layers that define their own step by `stream_spec` and `stream_step`; see docs/custom-layers.md."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from streaming.conversion.rules.base import Env, Rule
from streaming.conversion.signals import Signal, StateSpec
from streaming.conversion.values import Chunk, Static


class ProtocolRule(Rule):
    """Calls `layer.stream_step(x, valid, states)` with x (B, T, *shape), zeroed where it does not exist.

    Other tensors of the call, sequences beside x or a source that was given whole, follow by name. A layer whose
    `stream_spec` says `identity` does nothing at inference and is left out.
    """

    identity = False

    def plan(self) -> Any:
        layer, signals = self.call.op, self.call.signals
        if not signals or not signals[0].sequence or any(s.running for s in signals):
            self.refuse("needs a sequence as first input to stream by stream_step", "call it on one (B, T, ...)")
        others = self._others(self.call.args, self.call.kwargs)
        masks = {f"{name}_mask" for name in inspect.signature(layer.call).parameters}
        unknown = sorted(set(others) - masks - set(inspect.signature(layer.stream_step).parameters))
        sources = [s for s in signals if s.spread]
        several = len(self.call.results) > 1
        if unknown or (several and not (self._gives_weights() and sources)):
            what = f"the argument {unknown[0]!r}" if unknown else "several outputs"
            self.refuse(f"has {what}, which its stream_step has not", "call it on one sequence, for one output")
        signal = signals[0]
        for name, value in others.items():
            items = [item for item in keras.tree.flatten(value) if isinstance(item, Signal)]
            if name not in masks and any(item.timeline is not None for item in items):
                self.refuse(
                    f"reads {name!r} as a whole at each step", "name the input that it comes from in encode=..."
                )
        spec = layer.stream_spec(signal.offline_shape)
        unknown = sorted(set(spec) - {"states", "delay", "identity", "unquantized"})
        if unknown:
            self.refuse(
                f"has an unknown key {unknown[0]!r} in stream_spec",
                "use states, delay, identity and unquantized",
            )
        self.identity = bool(spec.get("identity", False))
        if self.identity:
            return self.result(quiet=signal.quiet, origin=signal.origin)
        if spec.get("unquantized", False):
            self.unquantized = list(layer.weights)
        delay = spec.get("delay", 0)
        if not isinstance(delay, int) or delay < 0:
            self.refuse(f"has delay {delay!r}", "give a whole number of steps, 0 or more")
        for name, state in spec.get("states", {}).items():
            self.states[name] = StateSpec(
                tuple(state["shape"]), state.get("dtype", "float32"), state.get("initial", 0.0)
            )
        assert signal.timeline is not None
        timeline = signal.timeline.delayed(delay)
        # A layer without memory cannot carry what does not exist into what does.
        if (self.states or delay) and timeline.first > 0:
            self.valid_of.append(signal.timeline)
        output = self.result(timeline=timeline)
        return [output, self.weights(1, sources[0])] if several else output

    def _gives_weights(self) -> bool:
        """Whether the call gives its output and weights (B, T, S) over a source."""
        given = self.call.kwargs.get("return_attention_scores", getattr(self.call.op, "return_attention_scores", False))
        return bool(given) and len(self.call.results) == 2

    def _others(self, args: Any, kwargs: Any) -> dict[str, Any]:
        """Arguments beside the first that hold tensors, by name; the Keras mask of the first is not one of them."""
        bound = inspect.signature(self.call.op.call).bind(*args, **kwargs).arguments
        tensors = (Signal, Chunk, Static)
        return {
            name: value
            for name, value in list(bound.items())[1:]
            if name != "mask" and any(isinstance(item, tensors) for item in keras.tree.flatten(value))
        }

    def _named(self, args: Any, kwargs: Any) -> dict[str, Any]:
        """The same as tensors; of a source that may be shorter, `<name>_mask` says which positions are real."""
        parameters = inspect.signature(self.call.op.stream_step).parameters
        bound = inspect.signature(self.call.op.call).bind(*args, **kwargs).arguments
        # Plain arguments that the step knows too; which of them are tensors is decided below.
        named = {name: v for name, v in list(bound.items())[1:] if name in parameters and v is not None}
        for name, value in self._others(args, kwargs).items():
            if name not in parameters:
                continue  # a mask: whether the layer heeds it is seen in the verification
            named[name] = keras.tree.map_structure(lambda item: item.full if isinstance(item, Chunk) else item, value)
        first = next(iter(inspect.signature(self.call.op.call).parameters))
        given, name = kwargs.get("mask"), "mask" if "mask" in parameters else f"{first}_mask"
        if isinstance(given, Chunk) and name in parameters:
            named[name] = given.full
        for name, value in list(named.items()):
            mask = f"{name}_mask"
            if isinstance(value, Static) and value.exists is not None and mask in parameters:
                given = named.get(mask)
                real = value.exists
                named[mask] = tf.logical_and(real, tf.cast(given.value, tf.bool)) if given is not None else real
        return keras.tree.map_structure(lambda item: item.value if isinstance(item, Static) else item, named)

    def step(self, env: Env, inputs: Chunk, *args: Any, **kwargs: Any) -> Any:
        if self.identity:
            return inputs
        signal = self.call.signals[0]
        named = self._named((inputs, *args), kwargs)
        valid = env.valid(self.valid_of[0]) if self.valid_of else None
        states = {name: env.read(self.key(name)) for name in self.states}
        output, _, new = self.call.op.stream_step(self.zeroed(env, inputs, signal), valid, states, **named)
        if set(new) != set(states):
            self.refuse(
                f"returned the states {sorted(new)} from stream_step, not the {sorted(states)} of stream_spec",
                "return every state, and no other",
            )
        for name, value in new.items():
            expected = (env.batch, *self.states[name].shape)
            if tuple(value.shape) != expected:
                self.refuse(
                    f"returned state {name!r} with shape {tuple(value.shape)} from stream_step, expected {expected}",
                    "keep the shape of stream_spec",
                )
            env.write(self.key(name), tf.cast(value, self.states[name].dtype))
        if len(keras.tree.flatten(output)) != len(self.call.results):
            self.refuse("returned fewer outputs from stream_step than from its call", "return the weights there too")
        return keras.tree.map_structure(lambda full: Chunk(env.batch, inputs.steps, full=full), output)


class DelayRule(Rule):
    """Holds a signal back by some steps, so that branches of different delay meet in step."""

    def plan(self) -> Signal:
        signal, steps = self.call.signals[0], self.call.kwargs["steps"]
        assert signal.timeline is not None
        self.hold("held", steps, signal)
        return replace(signal, name=self.call.name, timeline=signal.timeline.delayed(steps), origin=None)

    def step(self, env: Env, inputs: Chunk, *, steps: int) -> Chunk:
        return inputs.like(full=self.held_back(env, "held", inputs.full))
