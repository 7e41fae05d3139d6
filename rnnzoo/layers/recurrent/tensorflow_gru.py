"""Steps of the gated recurrent unit forward and back, for the TensorFlow backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from rnnzoo.layers.recurrent.tensorflow_loop import Tensors
from rnnzoo.layers.recurrent.tensorflow_steps import Activation, product_gradients


@dataclass(frozen=True)
class GRUSteps:
    """u, r = gate(z + h R), n = act(z + r (h R + d)), h' = n + u (h - n): the reset after the product.

    Weights: R (U, U) of u, r, n, and d (U) where the layer has biases; the others lie in z.
    """

    activation: Activation
    gate: Activation

    def prepare_backward(self, weights: Tensors) -> Tensors:
        return tuple(map(tf.transpose, weights[:3]))

    def forward(self, z: Tensors, states: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
        h = states[0]
        read_u, read_r, inner = (tf.matmul(h, weight) for weight in weights[:3])
        u, r = self.gate.value(z[0] + read_u), self.gate.value(z[1] + read_r)
        inner = inner + weights[3] if len(weights) > 3 else inner
        n = self.activation.value(z[2] + r * inner)
        return (n + u * (h - n),), (u, r, n, inner)

    def backward(
        self, gradients: Tensors, saved: Tensors, before: Tensors, weights: Tensors
    ) -> tuple[Tensors, Tensors]:
        (d_h,), (u, r, n, inner) = gradients, saved
        kept = d_h * u
        d_u = self.gate.gradient(u, d_h * (before[0] - n))
        d_n = self.activation.gradient(n, d_h - kept)
        d_r = self.gate.gradient(r, d_n * inner)
        d_inner = d_n * r
        return (tf.add_n([kept, *map(tf.matmul, (d_u, d_r, d_inner), weights)]),), (d_u, d_r, d_n, d_inner)

    def collect(
        self, terms: Tensors, saved: Callable[[int], tf.Tensor], before: tf.Tensor, weights: Tensors
    ) -> tuple[Tensors, Tensors]:
        d_u, d_r, d_n, d_inner = terms
        d_weights = product_gradients(before, (d_u, d_r, d_inner))
        return (d_u, d_r, d_n), d_weights if len(weights) == 3 else (*d_weights, tf.reduce_sum(d_inner, axis=(0, 1)))


@dataclass(frozen=True)
class ResetBeforeSteps:
    """u, r = gate(z + h R), n = act(z + (r h) R), h' = n + u (h - n): the reset before the product.

    Weights: R (U, U) of u, r, n.
    """

    activation: Activation
    gate: Activation

    def prepare_backward(self, weights: Tensors) -> Tensors:
        return tuple(map(tf.transpose, weights))

    def forward(self, z: Tensors, states: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
        h = states[0]
        u, r = (self.gate.value(item + tf.matmul(h, weight)) for item, weight in zip(z[:2], weights[:2], strict=True))
        reset = r * h
        n = self.activation.value(z[2] + tf.matmul(reset, weights[2]))
        return (n + u * (h - n),), (u, r, n, reset)

    def backward(
        self, gradients: Tensors, saved: Tensors, before: Tensors, weights: Tensors
    ) -> tuple[Tensors, Tensors]:
        (d_h,), (u, r, n, _) = gradients, saved
        kept = d_h * u
        d_n = self.activation.gradient(n, d_h - kept)
        d_reset = tf.matmul(d_n, weights[2])
        d_u = self.gate.gradient(u, d_h * (before[0] - n))
        d_r = self.gate.gradient(r, d_reset * before[0])
        return (tf.add_n([kept, d_reset * r, *map(tf.matmul, (d_u, d_r), weights[:2])]),), (d_u, d_r, d_n)

    def collect(
        self, terms: Tensors, saved: Callable[[int], tf.Tensor], before: tf.Tensor, weights: Tensors
    ) -> tuple[Tensors, Tensors]:
        return terms, (*product_gradients(before, terms[:2]), *product_gradients(saved(3), terms[2:]))
