"""A regularizer that keeps the norm of gradients on their way back through time."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from rnnzoo.errors import ConfigError
from rnnzoo.training.probing import Probe, probe


class JacobianPenalized(keras.Model):
    """A model whose `fit` adds a regularizer against vanishing gradients (Pascanu, Mikolov & Bengio 2013).

        Omega = mean over steps of (|dE/dh[t+1] dh[t+1]/dh[t]| / |dE/dh[t+1]| - 1)^2        (equation 9)

    h are all states of a recurrent layer together. As in the paper (equations 10 and 11), Omega is differentiated with
    respect to the weights of the step only; the states and dE/dh are constants. The mean replaces the sum of the paper,
    so that the weight depends on neither length nor batch; steps without a gradient, such as padding, do not count.

    Args:
        model: functional; it shares its layers and weights.
        weight: of Omega, summed over the recurrent layers.

    Raises:
        ConfigError: no recurrent layer can be probed.
    """

    def __init__(self, model: keras.Model, weight: float):
        super().__init__({tensor.name: tensor for tensor in model.inputs}, model.output, name=model.name)
        probed = probe(model)
        if not probed.probes or probed.unseen:
            reason = f"cannot look into {', '.join(probed.unseen)}" if probed.unseen else "finds no recurrent layer"
            raise ConfigError(
                f"training.jacobian_penalty={weight} {reason}: set it to 0, or choose a model.cell "
                "and a topology whose layers run from zeros"
            )
        # Behind a function, Keras does not count the probed model's layers as this model's.
        self._probed = lambda: probed
        self._weight = weight

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        probed = self._probed()
        first = tf.shape(tf.nest.flatten(x)[0])
        pushes = probed.zeros(first[0], first[1])
        variables = self.trainable_weights
        with tf.GradientTape() as tape:
            tape.watch(pushes)
            outputs = probed.model({**x, **pushes}, training=True)
            predicted = outputs["output"]
            loss = self.compute_loss(x=x, y=y, y_pred=predicted, sample_weight=weights, training=True)
            scaled = self.optimizer.scale_loss(loss)
        gradients, back = tape.gradient(scaled, (variables, pushes))
        self._loss_tracker.update_state(loss, sample_weight=first[0])
        with tf.GradientTape() as tape:
            omega = sum(jacobian_penalty(p, outputs[p.name], back[p.input_name]) for p in probed.probes)
            omega = self.optimizer.scale_loss(self._weight * omega)
        more = tape.gradient(omega, variables)
        both = [a if b is None else a + b for a, b in zip(gradients, more, strict=True)]
        self.optimizer.apply_gradients(zip(both, variables, strict=True))
        return self.compute_metrics(x, y, predicted, weights)


def jacobian_penalty(probe: Probe, outputs: dict[str, Any], back: Any) -> Any:
    """Omega of one layer.

    Args:
        probe: the layer.
        outputs: `x` (B, T, D) and `states` (B, T, S), as the probed model gives them.
        back: dE/dh (B, T, S) at each step, a constant.
    """
    sizes = keras.tree.flatten(probe.cell.state_size)
    width = sum(sizes)
    back = tf.stop_gradient(tf.reshape(tf.cast(back[:, 1:], tf.float32), (-1, width)))
    before = tf.stop_gradient(tf.reshape(outputs["states"][:, :-1], (-1, width)))
    inputs = tf.stop_gradient(tf.reshape(outputs["x"][:, 1:], (-1, outputs["x"].shape[-1])))
    with tf.GradientTape() as tape:
        tape.watch(before)
        given = tf.split(before, sizes, axis=1)
        _, after = probe.cell(inputs, given if isinstance(probe.cell.state_size, list | tuple) else given[0])
        after = tf.cast(tf.concat(keras.tree.flatten(after), axis=1), tf.float32)
    carried = tf.cast(tape.gradient(after, before, output_gradients=back), tf.float32)
    # The norm has no derivative at zero, and a step without a gradient no ratio.
    size, kept = ops.sum(back**2, axis=1), ops.sum(carried**2, axis=1)
    counts = tf.cast((size > _TINY) & (kept > _TINY), tf.float32)
    ratio = ops.sqrt(ops.maximum(kept, _TINY)) / ops.sqrt(ops.maximum(size, _TINY))
    return ops.sum(counts * (ratio - 1.0) ** 2) / ops.maximum(ops.sum(counts), 1.0)


_TINY = 1e-30
