"""Layers that say themselves how they step: `stream_spec` and `stream_step`, documented in docs/custom-layers.md."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from streaming.conversion.rules.base import Env, Rule
from streaming.conversion.signals import Signal, StateSpec
from streaming.conversion.values import Chunk


class ProtocolRule(Rule):
    """Calls `layer.stream_step(x, valid, states)` with x (B, T, *shape), zeroed where it does not exist.

    A layer whose `stream_spec` says `identity` does nothing at inference and is left out.
    """

    identity = False

    def plan(self) -> Signal:
        layer, signals = self.call.op, self.call.signals
        if len(signals) != 1 or not signals[0].sequence:
            self.refuse("needs exactly one sequence as input to stream by stream_step", "call it on one (B, T, ...)")
        signal = signals[0]
        spec = layer.stream_spec(signal.offline_shape)
        unknown = sorted(set(spec) - {"states", "delay", "rate", "identity"})
        if unknown:
            self.refuse(f"has an unknown key {unknown[0]!r} in stream_spec", "use states, delay, rate and identity")
        self.identity = bool(spec.get("identity", False))
        if self.identity:
            return self.result(masked=signal.masked, quiet=signal.quiet, origin=signal.origin)
        if spec.get("rate", 1) != 1:
            self.refuse(f"changes the rate ({spec['rate']})", "let stream_step return one output a step")
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
        if signal.masked and delay:
            self.refuse("delays a masked sequence", "put it before the mask, or pass no mask")
        return self.result(timeline=timeline, masked=signal.masked and self.call.op.supports_masking)

    def step(self, env: Env, inputs: Chunk, **kwargs: Any) -> Chunk:
        if self.identity:
            return inputs
        signal = self.call.signals[0]
        valid = env.valid(self.valid_of[0]) if self.valid_of else None
        states = {name: env.read(self.key(name)) for name in self.states}
        output, _, new = self.call.op.stream_step(self.zeroed(env, inputs, signal), valid, states)
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
        return Chunk(env.batch, inputs.steps, full=output, mask=inputs.mask)


class DelayRule(Rule):
    """Holds a signal back by some steps, so that branches of different delay meet in step."""

    def plan(self) -> Signal:
        signal, steps = self.call.signals[0], self.call.kwargs["steps"]
        assert signal.timeline is not None
        dtype = signal.dtype if signal.dtype.startswith("int") else "float32"
        self.states["held"] = StateSpec((steps, *signal.shape), dtype)  # type: ignore[arg-type]
        if signal.masked:
            self.states["held_mask"] = StateSpec((steps,))
        return Signal(
            self.call.name,
            signal.shape,
            signal.dtype,
            signal.timeline.delayed(steps),
            running=signal.running,
            masked=signal.masked,
            quiet=signal.quiet,
        )

    def step(self, env: Env, inputs: Chunk, *, steps: int) -> Chunk:
        def delay(value: tf.Tensor, name: str) -> tf.Tensor:
            stored = env.read(self.key(name))
            line = tf.concat([stored, tf.cast(value, stored.dtype)], axis=1)
            env.write(self.key(name), line[:, inputs.steps :])
            return line[:, : inputs.steps]

        full = tf.cast(delay(inputs.full, "held"), inputs.full.dtype)
        mask = None if inputs.mask is None else delay(inputs.mask, "held_mask") > 0.5
        return Chunk(inputs.batch, inputs.steps, full=full, mask=mask)
