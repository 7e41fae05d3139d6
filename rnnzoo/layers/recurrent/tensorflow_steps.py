"""Steps forward and back of the recurrences, for the TensorFlow backend.

d_x is the gradient of the loss with respect to x throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from rnnzoo.layers.recurrent.tensorflow_loop import Tensors


@dataclass(frozen=True)
class Activation:
    """A function and its gradient, from the function's value y and the gradient d of y; linear in d."""

    value: Callable[[tf.Tensor], tf.Tensor]
    gradient: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


_ACTIVATIONS = {
    keras.activations.tanh: Activation(tf.tanh, lambda y, d: tf.raw_ops.TanhGrad(y=y, dy=d)),
    keras.activations.sigmoid: Activation(tf.sigmoid, lambda y, d: tf.raw_ops.SigmoidGrad(y=y, dy=d)),
    keras.activations.relu: Activation(tf.nn.relu, lambda y, d: tf.raw_ops.ReluGrad(gradients=d, features=y)),
    keras.activations.linear: Activation(lambda x: x, lambda y, d: d),
}


def find_activation(function: Callable[..., object]) -> Activation | None:
    """The activation of a Keras function; None if its gradient is not a function of its value."""
    return _ACTIVATIONS.get(function)


def flat(x: tf.Tensor) -> tf.Tensor:
    """(T, B, U) as (T B, U)."""
    return tf.reshape(x, (-1, x.shape[-1]))


def products(h: tf.Tensor, weights: Tensors, masks: Tensors = ()) -> list[tf.Tensor]:
    """h R for each of the weights R (U, U); with recurrent dropout (m h) R, each with its mask m (B, U)."""
    if not masks:
        return [tf.matmul(h, weight) for weight in weights]
    return [tf.matmul(h * mask, weight) for mask, weight in zip(masks, weights, strict=True)]


def state_gradient(gradients: Tensors, transposed: Tensors, masks: Tensors = (), *others: tf.Tensor) -> tf.Tensor:
    """The gradient of h, from those of its products, and the other parts of it."""
    parts = list(map(tf.matmul, gradients, transposed))
    parts = [part * mask for part, mask in zip(parts, masks, strict=True)] if masks else parts
    return tf.add_n([*others, *parts])


def product_gradients(before: tf.Tensor, gradients: Tensors, masks: Tensors = ()) -> Tensors:
    """Gradients of weights (U, U), from those (T, B, U) of their products with `before` (T, B, U); of masks zeros."""
    read = [before * mask for mask in masks] or [before] * len(gradients)
    pairs = zip(read, gradients, strict=True)
    weights = [tf.matmul(flat(h), flat(d), transpose_a=True) for h, d in pairs]
    return *weights, *map(tf.zeros_like, masks)


def apart(sums: Sequence[tf.Tensor], count: int) -> Sequence[tf.Tensor]:
    """The (B, U) of each gate, from separate arrays or from one joined (B, count U)."""
    return sums if len(sums) == count else tf.split(sums[0], count, axis=-1)


def together(gradients: Tensors, weights: Tensors) -> Tensors:
    """The gradients (..., U) of the gates, joined if the weights are."""
    return gradients if len(weights) == len(gradients) else (tf.concat(gradients, axis=-1),)


@dataclass(frozen=True)
class SimpleSteps:
    """h' = act(z + h R). Weights: R, and with recurrent dropout its mask."""

    activation: Activation

    def prepare_backward(self, weights: Tensors) -> Tensors:
        return tf.transpose(weights[0]), *weights[1:]

    def forward(self, z: Tensors, states: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
        h = self.activation.value(z[0] + products(states[0], weights[:1], weights[1:])[0])
        return (h,), (h,)

    def factors(self, saved: Tensors, before: Tensors) -> Tensors:
        """Factor of d_h in d_z."""
        return (self.activation.gradient(saved[0], tf.ones_like(saved[0])),)

    def backward(self, gradients: Tensors, factors: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
        d_z = gradients[0] * factors[0]
        return (state_gradient((d_z,), weights[:1], weights[1:]),), (d_z,)

    def collect(
        self, terms: Tensors, saved: Callable[[int], tf.Tensor], before: tf.Tensor, weights: Tensors
    ) -> tuple[Tensors, Tensors]:
        return terms, product_gradients(before, terms, weights[1:])


@dataclass(frozen=True)
class LSTMSteps:
    """i, f, o = gate(z + h R), g = act(z + h R); c' = f c + i g; h' = o act(c').

    Weights: R (U, U) of i, f, g, o, or one R (U, 4 U) for a z (B, 4 U). With recurrent dropout four R, and their masks.
    """

    activation: Activation
    gate: Activation

    def prepare_backward(self, weights: Tensors) -> Tensors:
        return *map(tf.transpose, weights[:4]), *weights[4:]

    def activate(self, sums: Sequence[tf.Tensor]) -> Tensors:
        """i, f, g, o of their sums (B, U)."""
        i, f, g, o = sums
        return self.gate.value(i), self.gate.value(f), self.activation.value(g), self.gate.value(o)

    def forward(self, z: Tensors, states: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
        h, c = states
        sums = [item + read for item, read in zip(z, products(h, weights[:4], weights[4:]), strict=True)]
        i, f, g, o = self.activate(apart(sums, 4))
        c = f * c + i * g
        squashed = self.activation.value(c)
        # One array costs less to save than four.
        gates = (i, f, g, o) if len(z) == 4 else (tf.concat([i, f, g, o], axis=1),)
        return (o * squashed, c), (*gates, squashed)

    def factors(self, saved: Tensors, before: Tensors) -> Tensors:
        """Factors of d_h in d_c', of d_c' in d_c and in d_z of i, f, g, and of d_h in d_z of o."""
        (*gates, squashed), c = saved, before[1]
        i, f, g, o = apart(gates, 4)
        gate, activation = self.gate.gradient, self.activation.gradient
        return activation(squashed, o), f, gate(i, g), gate(f, c), activation(g, i), gate(o, squashed)

    def backward(self, gradients: Tensors, factors: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
        (d_h, d_c), (inner, f, *cell, out) = gradients, factors
        d_c += d_h * inner
        d_z = together((*(d_c * factor for factor in cell), d_h * out), weights[:4])
        return (state_gradient(d_z, weights[:4], weights[4:]), d_c * f), d_z

    def collect(
        self, terms: Tensors, saved: Callable[[int], tf.Tensor], before: tf.Tensor, weights: Tensors
    ) -> tuple[Tensors, Tensors]:
        return terms, product_gradients(before, terms, weights[4:])
