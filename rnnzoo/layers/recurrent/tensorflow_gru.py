"""Steps of the gated recurrent unit forward and back, for the TensorFlow backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from rnnzoo.layers.recurrent.tensorflow_loop import Tensors
from rnnzoo.layers.recurrent.tensorflow_steps import (
    Activation,
    apart,
    product_gradients,
    products,
    state_gradient,
    together,
)


@dataclass(frozen=True)
class GRUSteps:
    """u, r = gate(z + h R), n = act(z + r (h R + d)), h' = n + u (h - n): the reset after the product.

    Weights: R (U, U) of u, r, n, or one R (U, 3 U) for a z (B, 3 U); d (U) where `bias`, the others lie in z; with
    recurrent dropout three R, and their masks at the end.
    """

    activation: Activation
    gate: Activation
    bias: bool

    def prepare_backward(self, weights: Tensors) -> Tensors:
        matrices, masks = self._apart(weights)
        return *map(tf.transpose, matrices), *masks

    def _apart(self, weights: Tensors) -> tuple[Tensors, Tensors]:
        """The R, and the masks."""
        count = 3 if len(weights) >= 3 else 1
        return weights[:count], weights[count + self.bias :]

    def forward(self, z: Tensors, states: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
        h, (z_u, z_r, z_n) = states[0], apart(z, 3)
        matrices, masks = self._apart(weights)
        read_u, read_r, inner = apart(products(h, matrices, masks), 3)
        u, r = self.gate.value(z_u + read_u), self.gate.value(z_r + read_r)
        inner = inner + weights[len(matrices)] if self.bias else inner
        n = self.activation.value(z_n + r * inner)
        return (n + u * (h - n),), (u, r, n, inner)

    def factors(self, saved: Tensors, before: Tensors) -> Tensors:
        """Factors of d_h in d_h before the step, and in d of u, r, h R and z of n."""
        (u, r, n, inner), h = saved, before[0]
        new = self.activation.gradient(n, 1 - u)
        return u, self.gate.gradient(u, h - n), self.gate.gradient(r, new * inner), new * r, new

    def backward(self, gradients: Tensors, factors: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
        (d_h,), (u, *reads, new) = gradients, factors
        matrices, masks = (weights[:1], ()) if len(weights) == 1 else (weights[:3], weights[3:])
        d_reads = together(tuple(d_h * factor for factor in reads), matrices)
        return (state_gradient(d_reads, matrices, masks, d_h * u),), (*d_reads, d_h * new)

    def collect(
        self, terms: Tensors, saved: Callable[[int], tf.Tensor], before: tf.Tensor, weights: Tensors
    ) -> tuple[Tensors, Tensors]:
        *d_reads, d_n = terms
        matrices, masks = self._apart(weights)
        d_matrices = product_gradients(before, tuple(d_reads), masks)
        d_matrices, d_masks = d_matrices[: len(matrices)], d_matrices[len(matrices) :]
        d_u, d_r, d_inner = apart(d_reads, 3)
        d_z = together((d_u, d_r, d_n), matrices)
        d_bias = (tf.reduce_sum(d_inner, axis=(0, 1)),) if self.bias else ()
        return d_z, (*d_matrices, *d_bias, *d_masks)


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

    def factors(self, saved: Tensors, before: Tensors) -> Tensors:
        """u, r, and the factors of d_h in d of u and n, and of d of r h in d of r."""
        (u, r, n, _), h = saved, before[0]
        return u, r, self.gate.gradient(u, h - n), self.activation.gradient(n, 1 - u), self.gate.gradient(r, h)

    def backward(self, gradients: Tensors, factors: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
        (d_h,), (u, r, update, new, reset) = gradients, factors
        d_n = d_h * new
        d_reset = tf.matmul(d_n, weights[2])
        d_u, d_r = d_h * update, d_reset * reset
        return (tf.add_n([d_h * u, d_reset * r, *map(tf.matmul, (d_u, d_r), weights[:2])]),), (d_u, d_r, d_n)

    def collect(
        self, terms: Tensors, saved: Callable[[int], tf.Tensor], before: tf.Tensor, weights: Tensors
    ) -> tuple[Tensors, Tensors]:
        return terms, (*product_gradients(before, terms[:2]), *product_gradients(saved(3), terms[2:]))
