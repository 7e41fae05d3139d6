"""Steps of the layer-normalized LSTM forward and back, for the TensorFlow backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from rnnzoo.layers.recurrent.tensorflow_loop import Tensors
from rnnzoo.layers.recurrent.tensorflow_steps import LSTMSteps, flat


def standardize(x: tf.Tensor, epsilon: float) -> tuple[tf.Tensor, tf.Tensor]:
    """(x - mean) / deviation over the features, and 1 / deviation (..., 1), in float32 or wider."""
    # Half precision cannot hold the squares of what it can hold.
    x = tf.cast(x, tf.float64 if x.dtype == tf.float64 else tf.float32)
    centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
    scale = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True) + epsilon)
    return centred * scale, scale


def standardize_gradient(d: tf.Tensor, standard: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """The gradient of x, from that of its standardized value."""
    wide = tf.cast(d, standard.dtype)
    along = tf.reduce_mean(wide * standard, axis=-1, keepdims=True)
    return tf.cast(scale * (wide - tf.reduce_mean(wide, axis=-1, keepdims=True) - standard * along), d.dtype)


@dataclass(frozen=True)
class LayerNormLSTMSteps(LSTMSteps):
    """i, f, g, o = split(z + LN(h R; a)); c' = gate(f) c + gate(i) act(g); h' = gate(o) act(LN(c'; s) + b).

    The normalization is over all gates, so z (B, 4 U) is one array. Weights: R (U, 4 U), a (4 U), s (U), b (U).
    """

    epsilon: float

    def prepare_backward(self, weights: Tensors) -> Tensors:
        return tf.transpose(weights[0]), *weights[1:3]

    def forward(self, z: Tensors, states: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
        kernel, gain, state_gain, state_offset = weights
        read, read_scale = standardize(tf.matmul(states[0], kernel), self.epsilon)
        i, f, g, o = self.activate(tf.split(z[0] + tf.cast(read, gain.dtype) * gain, 4, axis=1))
        c = f * states[1] + i * g
        shown, shown_scale = standardize(c, self.epsilon)
        y = self.activation.value(tf.cast(shown, gain.dtype) * state_gain + state_offset)
        return (o * y, c), (i, f, g, o, y, read, read_scale, shown, shown_scale)

    def factors(self, saved: Tensors, before: Tensors) -> Tensors:
        """Those of the LSTM, with d_h in d of the normalized cell, and what the normalizations saved."""
        return *super().factors(saved[:5], before), *saved[5:]

    def backward(self, gradients: Tensors, factors: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
        d_h, d_c = gradients
        inner, f, *cell, out, read, read_scale, shown, shown_scale = factors
        transposed, gain, state_gain = weights
        d_normal = d_h * inner
        d_c += standardize_gradient(d_normal * state_gain, shown, shown_scale)
        d_z = tf.concat([*(d_c * factor for factor in cell), d_h * out], axis=1)
        d_read = standardize_gradient(d_z * gain, read, read_scale)
        return (tf.matmul(d_read, transposed), d_c * f), (d_z, d_read, d_normal)

    def collect(
        self, terms: Tensors, saved: Callable[[int], tf.Tensor], before: tf.Tensor, weights: Tensors
    ) -> tuple[Tensors, Tensors]:
        d_z, d_read, d_normal = map(flat, terms)
        read, shown = (tf.cast(flat(saved(place)), d_z.dtype) for place in (5, 7))
        return terms[:1], (
            tf.matmul(flat(before), d_read, transpose_a=True),
            tf.reduce_sum(d_z * read, axis=0),
            tf.reduce_sum(d_normal * shown, axis=0),
            tf.reduce_sum(d_normal, axis=0),
        )
