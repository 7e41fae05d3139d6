"""Layers that treat every step alike: dense, activations, merging, normalization, and what is idle at inference."""

from __future__ import annotations

import functools
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from streaming.conversion.rules import register
from streaming.conversion.rules.base import Env, Rule, axes_of, chunks, static_values
from streaming.conversion.signals import Signal
from streaming.conversion.values import Chunk, Static


class PerStep(Rule):
    """Calls the operation on every step: on (B, T, ...) for sequences, on (B * T, ...) for running values."""

    flat_sequences = False  # the operation sees the last axis only, so that B and T may be folded

    def plan(self) -> Any:
        self.refuse_variables()
        self.check()
        signals = self.call.signals
        self.refuse_mixed_lengths()
        sequence = any(s.sequence for s in signals)
        if sequence:
            if len({len(s.shape) for s in signals if s.sequence}) > 1:
                shapes = [s.offline_shape for s in signals]
                self.refuse(f"meets shapes {shapes}, so that time would broadcast", "give them equal ranks")
            self.check_broadcast([s for s in signals if s.timeline is None])
        outputs = [self.result(i) for i in range(len(self.call.results))]
        return outputs if len(outputs) > 1 else outputs[0]

    def refuse_variables(self) -> None:
        """Refuse variables of TensorFlow among the arguments: the model does not know their values."""
        if any(isinstance(item, tf.Variable) for item in keras.tree.flatten((self.call.args, self.call.kwargs))):
            self.refuse(
                "reads a variable that the model does not track",
                "assign it to an attribute of the layer, or make it with add_weight",
            )

    def refuse_mixed_lengths(self) -> None:
        """Refuse a sequence together with a value that is known only at its end."""
        signals = self.call.signals
        if any(s.sequence for s in signals) and any(s.running for s in signals):
            self.refuse(
                "mixes a whole sequence with a value that is known only at its end",
                "return sequences, or bring in as an input what is known before",
            )

    def check(self) -> None:
        """Refuse options that mix time."""

    def check_broadcast(self, static: list[Signal]) -> None:
        """Refuse static inputs that would be broadcast along the time axis."""
        rank = max(len(s.offline_shape) for s in self.call.signals)
        for signal in static:
            shape = signal.offline_shape
            if (len(shape) == rank and shape[1] != 1) or (len(shape) == rank - 1 and rank > 2):
                self.refuse(
                    f"meets the static input {signal.name!r} of shape {shape} along the time axis",
                    "give that input a time axis of size 1",
                )

    def refuse_time_axis(self, axes: list[int] | None) -> None:
        """Refuse axes (None: all) that contain the batch or the time axis of the first signal."""
        signal = self.call.signals[0]
        rank = len(signal.offline_shape)
        first_free = 2 if signal.sequence else 1
        if axes is None or any(axis % rank < first_free for axis in axes):
            self.refuse(
                f"works along the time axis (axis {axes if axes is not None else 'None, all'})",
                "let it work along the feature axes",
            )

    def step(self, env: Env, *args: Any, **kwargs: Any) -> Any:
        moving = list(chunks((args, {k: v for k, v in kwargs.items() if k != "mask"})))
        sequence = any(signal.sequence for signal in self.call.signals)
        masked = "mask" in kwargs or any(chunk.mask is not None for chunk in moving)
        folded = not sequence or (self.flat_sequences and not masked and not any(static_values((args, kwargs))))

        def unwrap(item: Any) -> Any:
            if isinstance(item, Chunk):
                if folded:
                    return item.flat
                full = tf.identity(item.full) if item.mask is not None else item.full
                if item.mask is not None:
                    full._keras_mask = item.mask
                return full
            if isinstance(item, Static):
                return item.repeated(moving[0].steps) if folded and moving else item.value
            return item

        outputs = self.compute(*keras.tree.map_structure(unwrap, args), **keras.tree.map_structure(unwrap, kwargs))

        def wrap(value: tf.Tensor) -> Chunk | Static:
            if not moving:
                return Static(value)
            return moving[0].like(**{"flat" if folded else "full": value})

        return keras.tree.map_structure(wrap, outputs)

    def compute(self, *args: Any, **kwargs: Any) -> Any:
        """The operation itself, on tensors."""
        return self.call.op(*args, **kwargs)


@register(layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Rescaling, layers.Subtract, layers.Average)
class Elementwise(PerStep):
    """Element by element: sees no axis at all."""

    flat_sequences = True


@register(layers.Multiply, layers.Maximum, layers.Minimum)
class MaskedMerge(Elementwise):
    """Merging layers that leave out masked values."""

    heeds_masks = True


@register(layers.Add)
class Sum(Elementwise):
    """Adds operands with TensorFlow: by its shape, `keras.ops.add` takes an operand of one step for a bias."""

    def compute(self, *args: Any, **kwargs: Any) -> Any:
        return functools.reduce(tf.add, keras.tree.flatten((args, kwargs)))


@register(
    layers.Identity,
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.AlphaDropout,
    layers.ActivityRegularization,
)
class Idle(Rule):
    """Does nothing at inference."""

    def plan(self) -> Signal:
        signal = self.call.signals[0]
        return self.result(quiet=signal.quiet, origin=signal.origin)

    def step(self, env: Env, *args: Any, **kwargs: Any) -> Any:
        return args[0] if args else next(iter(kwargs.values()))


@register(layers.Dense, layers.EinsumDense)
class DenseRule(PerStep):
    """A matrix over the last axis."""

    def check(self) -> None:
        signal = self.call.signals[0]
        if signal.sequence and not signal.shape:
            self.refuse("multiplies along the time axis", "give its input a feature axis, (B, T, D)")
        if isinstance(self.call.op, layers.EinsumDense):
            inputs, rest = self.call.op.equation.replace(" ", "").split(",")
            weights, outputs = rest.split("->")
            time = inputs.replace("...", "")[1:2]
            if signal.sequence and ("..." in inputs or time in weights or outputs[1:2] != time):
                self.refuse("mixes or moves time in its equation", "keep time as the second letter, untouched")

    @property
    def flat_sequences(self) -> bool:  # type: ignore[override]
        return isinstance(self.call.op, layers.Dense)


@register(layers.Activation, layers.Softmax)
class ActivationRule(PerStep):
    """An activation; softmax and its kin look along an axis, which must not be time."""

    _along_axis = ("softmax", "log_softmax", "sparsemax")

    def check(self) -> None:
        layer, signal = self.call.op, self.call.signals[0]
        if isinstance(layer, layers.Softmax):
            self.refuse_time_axis(axes_of(layer))
        elif getattr(layer.activation, "__name__", "") == "glu":
            self.refuse(
                "halves the width, which Keras does not know of an activation",
                "call keras.activations.glu on the tensor itself",
            )
        elif getattr(layer.activation, "__name__", "") in self._along_axis and not signal.shape:
            self.refuse("works along the time axis", "give its input a feature axis, (B, T, D)")

    @property
    def flat_sequences(self) -> bool:  # type: ignore[override]
        return isinstance(self.call.op, layers.Activation)


@register(layers.PReLU)
class PReLURule(PerStep):
    """PReLU: its slopes must be shared over time."""

    def check(self) -> None:
        if self.call.signals[0].sequence and 1 not in (self.call.op.shared_axes or ()):
            self.refuse("has one slope per time step", "build it with shared_axes=[1]")


@register(layers.BatchNormalization, layers.LayerNormalization, layers.UnitNormalization, layers.RMSNormalization)
class NormalizationRule(PerStep):
    """Normalization over features; BatchNormalization is an affine map at inference."""

    drops_mask = True

    def check(self) -> None:
        self.refuse_time_axis(axes_of(self.call.op))


@register(layers.GroupNormalization)
class GroupNormalizationRule(PerStep):
    """Its moments run over every axis but batch and group, so it is exact only where there is no time axis."""

    def check(self) -> None:
        if any(signal.sequence for signal in self.call.signals):
            self.refuse("normalizes over time", "use LayerNormalization, which sees one step at a time")


@register(layers.Dot)
class DotRule(PerStep):
    """Products of values that have no time axis."""

    def check(self) -> None:
        if any(signal.sequence for signal in self.call.signals):
            self.refuse("multiplies along several axes, one of which is time", "use Multiply and a sum over features")


@register(layers.Concatenate)
class ConcatenateRule(PerStep):
    """Concatenation along a feature axis."""

    def check(self) -> None:
        self.refuse_time_axis([self.call.op.axis])

    @property
    def flat_sequences(self) -> bool:  # type: ignore[override]
        return self.call.op.axis == -1
