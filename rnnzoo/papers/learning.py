"""Training of small networks on batches that are made as they are needed, until a problem is solved."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from rnnzoo.training.penalty import JacobianPenalized

Draw = Callable[[int], tuple[Any, Any]]


@dataclass
class Learned:
    """A training that has ended.

    Args:
        updates: batches until the problem was solved, or all.
        solved: whether it was.
        diverged: whether the loss became no number.
        losses: mean of each `every` updates.
        norms: of the gradient before clipping, the largest of each `every` updates.
        scores: of `score`, after each `every` updates.
    """

    updates: int = 0
    solved: bool = False
    diverged: bool = False
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)


def train(
    model: keras.Model,
    draw: Draw,
    *,
    loss: Any,
    optimizer: keras.optimizers.Optimizer,
    updates: int,
    every: int = 100,
    score: Callable[[], float] | None = None,
    solved: Callable[[float], bool] | None = None,
    penalty: float = 0.0,
) -> Learned:
    """Train a model.

    Args:
        model: one input, one output.
        draw: batch x, y of the number of an update.
        loss: of y and the output, a Keras loss.
        optimizer: with its clipping.
        updates: at most.
        every: updates between two scores.
        score: measured on the model as it is.
        solved: whether a score ends the training.
        penalty: weight of the regularizer against vanishing gradients (`JacobianPenalized`); the norms are then 0.
    """
    step = _penalized_step(model, loss, optimizer, penalty) if penalty else _step(model, loss, optimizer)
    learned, sums = Learned(), [0.0, 0.0, 0]
    for update in range(updates):
        value, norm = map(float, step(*tf.nest.map_structure(tf.constant, tuple(draw(update)))))
        learned.updates = update + 1
        if not math.isfinite(value) or not math.isfinite(norm):
            learned.diverged = True
            return learned
        sums = [sums[0] + value, max(sums[1], norm), sums[2] + 1]
        if sums[2] == every or update + 1 == updates:
            learned.losses.append(sums[0] / sums[2])
            learned.norms.append(sums[1])
            sums = [0.0, 0.0, 0]
            if score is not None:
                learned.scores.append(score())
                learned.solved = solved is not None and solved(learned.scores[-1])
                if learned.solved:
                    break
    return learned


def _step(model: keras.Model, loss: Any, optimizer: keras.optimizers.Optimizer) -> Any:
    """One update: batch x, y to the loss and the norm of the gradient."""
    optimizer.build(model.trainable_variables)

    @tf.function(reduce_retracing=True)
    def step(x: Any, y: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return value, tf.linalg.global_norm(gradients)

    return step


def _penalized_step(model: keras.Model, loss: Any, optimizer: keras.optimizers.Optimizer, penalty: float) -> Any:
    """The same with the regularizer; its norm is not known outside of `JacobianPenalized`, and is 0 here."""
    trained = JacobianPenalized(model, penalty)
    trained.compile(optimizer, loss=loss)
    name = model.inputs[0].name

    def step(x: Any, y: Any) -> tuple[Any, float]:
        trained.reset_metrics()
        return trained.train_on_batch({name: x}, y, sample_weight=tf.ones(len(y))), 0.0

    return step


def predictor(model: keras.Model, batch: int = 256) -> Callable[[Any], Any]:
    """A function from an array to the outputs of a model, as NumPy, compiled once."""
    call = tf.function(model, reduce_retracing=True)

    def predict(x: Any) -> Any:
        parts = [call(tf.constant(x[start : start + batch])) for start in range(0, len(x), batch)]
        return tf.concat(parts, axis=0).numpy()

    return predict
