"""Vanishing and exploding gradients, and their remedies, on a pure memory task.

The first step of a sequence is +1 or -1, noise follows, and after the last step the network predicts which it was
(after the problems of Hochreiter & Schmidhuber 1997 and Pascanu, Mikolov & Bengio 2013).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnnzoo.layers import LSTM, SimpleRNN
from rnnzoo.training.diagnostics import diagnose
from rnnzoo.training.penalty import JacobianPenalized
from rnnzoo.util.plots import curves, figure

STEPS, UNITS, BATCH, NOISE, RATE, CLIP, PENALTY = 80, 32, 64, 0.1, 0.02, 1.0, 1.0
UPDATES, EVERY = 600, 10
# Spectral radii of networks whose gradients vanish and explode; what the forget gates of the LSTM begin with.
SMALL, LARGE, REMEMBER = 0.8, 1.5, 4.0
# A loss from which on the first step counts as remembered.
_SOLVED = 0.1


class Demonstration(NamedTuple):
    """Findings of the demonstration.

    Args:
        findings: sentences.
        plots: the PNG files written.
    """

    findings: list[str]
    plots: list[Path]


class Trained(NamedTuple):
    """One network's training.

    Args:
        loss, norm: on one fixed batch, each `EVERY` updates; the norm of the gradient before clipping.
        by_time: |dL/dh[T - k]| after the training.
    """

    loss: list[float]
    norm: list[float]
    by_time: NDArray[Any]


def demonstrate(out: Path, updates: int = UPDATES, steps: int = STEPS) -> Demonstration:
    """Train the networks and plot them: `gradients-fresh.png` and `gradients-trained.png`.

    Args:
        out: a folder for the plots.
        updates: of each network.
        steps: of a sequence.
    """
    fresh = {name: _by_time(make(steps), steps) for name, make in _FRESH.items()}
    trained = {name: _train(recipe, updates, steps) for name, recipe in _RECIPES.items()}
    plots = [out / "gradients-fresh.png", out / "gradients-trained.png"]
    with figure(plots[0]) as (axis,):
        title = "Fresh weights: the gradient of the last step's loss"
        curves(axis, fresh, title=title, x="steps back in time", y="|dL/dh|")
    with figure(plots[1], 3) as (left, middle, right):
        every = f"update / {EVERY}"
        norms = {name: run.norm for name, run in trained.items()}
        curves(left, norms, title="Norm of the gradient (grey: where it is clipped)", x=every, y="norm", legend=False)
        left.axhline(CLIP, color="grey", lw=0.8)
        losses = {name: run.loss for name, run in trained.items()}
        middle.axhline(np.log(2), color="grey", lw=0.8)
        curves(middle, losses, title="Loss (grey: guessing)", x=every, y="cross-entropy", log=False, legend=False)
        middle.set_ylim(-0.02, 1.5)
        ends = {name: run.by_time for name, run in trained.items()}
        curves(
            right, ends, title="After training: back through time", x="steps back in time", y="|dL/dh|", legend=False
        )
        handles, labels = right.get_legend_handles_labels()
        left.figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return Demonstration(_findings(fresh, trained, steps), plots)


def network(kind: str, steps: int, radius: float = 1.0) -> keras.Model:
    """One recurrent layer that answers after the last step.

    Args:
        kind: `vanilla` (tanh) or `lstm`.
        steps: of a sequence.
        radius: the vanilla network's recurrent matrix is a random rotation times this.
    """
    keras.utils.set_random_seed(3)
    inputs = keras.Input((steps, 1), name="rows")
    if kind == "lstm":
        layer: Any = LSTM(UNITS, name="recurrent")
        answer = layer(inputs)
        bias = np.zeros(4 * UNITS, np.float32)
        # Forget gates that begin open, as long memories need them (Jozefowicz et al. 2015).
        bias[UNITS : 2 * UNITS] = REMEMBER
        layer.cell.bias.assign(bias)
    else:
        turned = keras.initializers.Orthogonal(gain=radius, seed=3)
        answer = SimpleRNN(UNITS, recurrent_initializer=turned, name="recurrent")(inputs)
    return keras.Model({"rows": inputs}, keras.layers.Dense(2, name="logits")(answer), name=kind)


def sequences(count: int, steps: int, seed: int) -> tuple[dict[str, NDArray[Any]], NDArray[Any], NDArray[Any]]:
    """Sequences (B, T, 1), what the first step showed as 0 or 1 (B,), and weights of one."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, count).astype(np.int32)
    rows = NOISE * rng.normal(size=(count, steps, 1)).astype(np.float32)
    rows[:, 0, 0] = 2 * targets - 1
    return {"rows": rows}, targets, np.ones(count, np.float32)


def _loss() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _by_time(model: keras.Model, steps: int) -> NDArray[Any]:
    return diagnose(model, sequences(BATCH, steps, 0), _loss()).by_time["recurrent"]


class _Recipe(NamedTuple):
    kind: str
    clip: float | None
    penalty: float = 0.0
    radius: float = 1.0


_FRESH: dict[str, Callable[[int], keras.Model]] = {
    "vanilla, spectral radius 0.8": lambda steps: network("vanilla", steps, SMALL),
    "vanilla, spectral radius 1.0": lambda steps: network("vanilla", steps, 1.0),
    "vanilla, spectral radius 1.5": lambda steps: network("vanilla", steps, LARGE),
    "LSTM": lambda steps: network("lstm", steps),
}
_RECIPES = {
    "vanilla, radius 0.8": _Recipe("vanilla", CLIP, radius=SMALL),
    "vanilla, radius 0.8, regularized": _Recipe("vanilla", CLIP, PENALTY, radius=SMALL),
    "vanilla, radius 1.5, not clipped": _Recipe("vanilla", None, radius=LARGE),
    "vanilla, radius 1.5, clipped": _Recipe("vanilla", CLIP, radius=LARGE),
    "LSTM": _Recipe("lstm", CLIP),
}


class _Watch(keras.callbacks.Callback):
    def __init__(self, steps: int):
        super().__init__()
        self._batch = tf.nest.map_structure(tf.constant, sequences(BATCH, steps, 1))
        self._loss = _loss()
        self._measure: Any = None
        self.loss: list[float] = []
        self.norm: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch % EVERY == 0:
            self._measure = self._measure or tf.function(self._both)
            loss, norm = self._measure()
            self.loss.append(float(loss))
            self.norm.append(float(norm))

    def _both(self) -> tuple[tf.Tensor, tf.Tensor]:
        inputs, targets, weights = self._batch
        with tf.GradientTape() as tape:
            loss = self._loss(targets, self.model(inputs), weights)
        return loss, tf.linalg.global_norm(tape.gradient(loss, self.model.trainable_variables))


def _train(recipe: _Recipe, updates: int, steps: int) -> Trained:
    model = network(recipe.kind, steps, recipe.radius)
    trained = JacobianPenalized(model, recipe.penalty) if recipe.penalty else model
    trained.compile(keras.optimizers.SGD(RATE, momentum=0.9, global_clipnorm=recipe.clip), loss=_loss())
    watch = _Watch(steps)
    numbers = tf.data.Dataset.from_generator(
        lambda: (sequences(BATCH, steps, 2 + i) for i in range(updates)),
        output_signature=(
            {"rows": tf.TensorSpec((BATCH, steps, 1))},
            tf.TensorSpec((BATCH,), tf.int32),
            tf.TensorSpec((BATCH,)),
        ),
    )
    trained.fit(numbers, steps_per_epoch=updates, shuffle=False, verbose=0, callbacks=[watch])
    return Trained(watch.loss, watch.norm, _by_time(model, steps))


def _findings(fresh: dict[str, NDArray[Any]], trained: dict[str, Trained], steps: int) -> list[str]:
    lines = [
        f"fresh, {name}: {steps - 1} steps back the gradient is {curve[-1] / curve[0]:.1e} of the last step's"
        for name, curve in fresh.items()
    ]
    for name, run in trained.items():
        jumps = f"norms of the gradient from {min(run.norm):.1e} to {max(run.norm):.1e}"
        lines.append(f"{name}: {jumps}; loss at the end {np.mean(run.loss[-5:]):.3f} (guessing: 0.693)")
    solved = [name for name, run in trained.items() if np.mean(run.loss[-5:]) < _SOLVED]
    failed = [name for name in trained if name not in solved]
    return [*lines, f"learned: {'; '.join(solved) or 'none'}", f"not learned: {'; '.join(failed) or 'none'}"]
