"""Steps of the gated recurrent unit forward and back, for the TensorFlow backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from rnnzoo.layers.recurrent.tensorflow_loop import Tensors
from rnnzoo.layers.recurrent.tensorflow_steps import Activation, flat


@dataclass(frozen=True)
class GRUSteps:
    """u, r = gate(z + h R), n = act(z + r (h R + d)), h' = n + u (h - n): the reset after the product.

    Weights: R (U, 3 U) in the order u, r, n, and d (U) where the layer has biases; the others lie in z.
    """

    activation: Activation
    gate: Activation

    def prepare(self, weights: Tensors) -> Tensors:
        return weights

    def prepare_backward(self, weights: Tensors) -> Tensors:
        return (tf.transpose(weights[0]),)

    def forward(self, z: tf.Tensor, states: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
        h = states[0]
        units = h.shape[-1]
        read = tf.matmul(h, weights[0])
        gates = self.gate.value(z[:, : 2 * units] + read[:, : 2 * units])
        u, r = tf.split(gates, 2, axis=1)
        inner = read[:, 2 * units :]
        inner = inner + weights[1] if len(weights) > 1 else inner
        n = self.activation.value(z[:, 2 * units :] + r * inner)
        return (n + u * (h - n),), (u, r, n, inner)

    def backward(
        self, gradients: Tensors, saved: Tensors, before: Tensors, weights: Tensors
    ) -> tuple[Tensors, tf.Tensor, Tensors]:
        (d_h,), (u, r, n, inner) = gradients, saved
        kept = d_h * u
        d_u = self.gate.gradient(u, d_h * (before[0] - n))
        d_n = self.activation.gradient(n, d_h - kept)
        d_r = self.gate.gradient(r, d_n * inner)
        d_read = tf.concat([d_u, d_r, d_n * r], axis=1)
        return (kept + tf.matmul(d_read, weights[0]),), tf.concat([d_u, d_r, d_n], axis=1), (d_read,)

    def weight_gradients(
        self, z: tf.Tensor, terms: Tensors, saved: Callable[[int], tf.Tensor], before: tf.Tensor, weights: Tensors
    ) -> Tensors:
        d_read = flat(terms[0])
        d_kernel = tf.matmul(flat(before), d_read, transpose_a=True)
        if len(weights) == 1:
            return (d_kernel,)
        return d_kernel, tf.reduce_sum(d_read[:, 2 * before.shape[-1] :], axis=0)


@dataclass(frozen=True)
class ResetBeforeSteps:
    """u, r = gate(z + h R_ur), n = act(z + (r h) R_n), h' = n + u (h - n): the reset before the product.

    Weights: R (U, 3 U) in the order u, r, n.
    """

    activation: Activation
    gate: Activation

    def prepare(self, weights: Tensors) -> Tensors:
        units = weights[0].shape[0]
        return weights[0][:, : 2 * units], weights[0][:, 2 * units :]

    def prepare_backward(self, weights: Tensors) -> Tensors:
        gates, candidate = self.prepare(weights)
        return tf.transpose(gates), tf.transpose(candidate)

    def forward(self, z: tf.Tensor, states: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
        h = states[0]
        units = h.shape[-1]
        u, r = tf.split(self.gate.value(z[:, : 2 * units] + tf.matmul(h, weights[0])), 2, axis=1)
        reset = r * h
        n = self.activation.value(z[:, 2 * units :] + tf.matmul(reset, weights[1]))
        return (n + u * (h - n),), (u, r, n, reset)

    def backward(
        self, gradients: Tensors, saved: Tensors, before: Tensors, weights: Tensors
    ) -> tuple[Tensors, tf.Tensor, Tensors]:
        (d_h,), (u, r, n, _) = gradients, saved
        kept = d_h * u
        d_n = self.activation.gradient(n, d_h - kept)
        d_reset = tf.matmul(d_n, weights[1])
        d_u = self.gate.gradient(u, d_h * (before[0] - n))
        d_r = self.gate.gradient(r, d_reset * before[0])
        d_gates = tf.concat([d_u, d_r], axis=1)
        d_before = kept + d_reset * r + tf.matmul(d_gates, weights[0])
        return (d_before,), tf.concat([d_gates, d_n], axis=1), ()

    def weight_gradients(
        self, z: tf.Tensor, terms: Tensors, saved: Callable[[int], tf.Tensor], before: tf.Tensor, weights: Tensors
    ) -> Tensors:
        units, d_z = before.shape[-1], flat(z)
        d_gates = tf.matmul(flat(before), d_z[:, : 2 * units], transpose_a=True)
        d_candidate = tf.matmul(flat(saved(3)), d_z[:, 2 * units :], transpose_a=True)
        return (tf.concat([d_gates, d_candidate], axis=1),)
