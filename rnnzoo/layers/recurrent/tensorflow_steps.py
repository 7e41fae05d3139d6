"""Steps forward and back of the recurrences, for the TensorFlow backend.

d_x is the gradient of the loss with respect to x throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from rnnzoo.layers.recurrent.tensorflow_loop import Tensors


@dataclass(frozen=True)
class Activation:
    """A function and its gradient, from the function's value y and the gradient d of y."""

    value: Callable[[tf.Tensor], tf.Tensor]
    gradient: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


_ACTIVATIONS = {
    keras.activations.tanh: Activation(tf.tanh, lambda y, d: tf.raw_ops.TanhGrad(y=y, dy=d)),
    keras.activations.sigmoid: Activation(tf.sigmoid, lambda y, d: tf.raw_ops.SigmoidGrad(y=y, dy=d)),
    keras.activations.relu: Activation(tf.nn.relu, lambda y, d: tf.raw_ops.ReluGrad(gradients=d, features=y)),
    keras.activations.linear: Activation(lambda x: x, lambda y, d: d),
}


def find_activation(function: Callable[..., object]) -> Activation | None:
    """The activation of a Keras function, None where its gradient does not follow from its value."""
    return _ACTIVATIONS.get(function)


def flat(x: tf.Tensor) -> tf.Tensor:
    """(T, B, U) as (T B, U)."""
    return tf.reshape(x, (-1, x.shape[-1]))


@dataclass(frozen=True)
class SimpleSteps:
    """h' = act(z + h R)."""

    activation: Activation

    def prepare(self, weights: Tensors) -> Tensors:
        return weights

    def prepare_backward(self, weights: Tensors) -> Tensors:
        return (tf.transpose(weights[0]),)

    def forward(self, z: tf.Tensor, states: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
        h = self.activation.value(z + tf.matmul(states[0], weights[0]))
        return (h,), (h,)

    def backward(
        self, gradients: Tensors, saved: Tensors, before: Tensors, weights: Tensors
    ) -> tuple[Tensors, tf.Tensor, Tensors]:
        d_z = self.activation.gradient(saved[0], gradients[0])
        return (tf.matmul(d_z, weights[0]),), d_z, ()

    def weight_gradients(
        self, z: tf.Tensor, terms: Tensors, saved: Callable[[int], tf.Tensor], before: tf.Tensor, weights: Tensors
    ) -> Tensors:
        return (tf.matmul(flat(before), flat(z), transpose_a=True),)


@dataclass(frozen=True)
class LSTMSteps:
    """i, f, o = gate(z + h R), g = act(z + h R); c' = f c + i g; h' = o act(c')."""

    activation: Activation
    gate: Activation

    def prepare(self, weights: Tensors) -> Tensors:
        return weights

    def prepare_backward(self, weights: Tensors) -> Tensors:
        return (tf.transpose(weights[0]),)

    def activate(self, z: tf.Tensor) -> Tensors:
        """i, f, g, o of their sums (B, 4 U)."""
        i, f, g, o = tf.split(z, 4, axis=1)
        return self.gate.value(i), self.gate.value(f), self.activation.value(g), self.gate.value(o)

    def gates_gradient(self, d_c: tf.Tensor, d_o: tf.Tensor, saved: Tensors, c: tf.Tensor) -> tf.Tensor:
        """The gradient of z, from those of c' and of o's part of z; c is the state before the step."""
        i, f, g = saved
        d_i, d_f = self.gate.gradient(i, d_c * g), self.gate.gradient(f, d_c * c)
        return tf.concat([d_i, d_f, self.activation.gradient(g, d_c * i), d_o], axis=1)

    def forward(self, z: tf.Tensor, states: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
        h, c = states
        i, f, g, o = self.activate(z + tf.matmul(h, weights[0]))
        c = f * c + i * g
        squashed = self.activation.value(c)
        return (o * squashed, c), (i, f, g, o, squashed)

    def backward(
        self, gradients: Tensors, saved: Tensors, before: Tensors, weights: Tensors
    ) -> tuple[Tensors, tf.Tensor, Tensors]:
        d_h, d_c = gradients
        i, f, g, o, squashed = saved
        d_c += self.activation.gradient(squashed, d_h * o)
        d_z = self.gates_gradient(d_c, self.gate.gradient(o, d_h * squashed), (i, f, g), before[1])
        return (tf.matmul(d_z, weights[0]), d_c * f), d_z, ()

    def weight_gradients(
        self, z: tf.Tensor, terms: Tensors, saved: Callable[[int], tf.Tensor], before: tf.Tensor, weights: Tensors
    ) -> Tensors:
        return (tf.matmul(flat(before), flat(z), transpose_a=True),)
