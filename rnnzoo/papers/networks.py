"""Small networks of one recurrent layer, as papers on memory train them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from rnnzoo.layers import GRU, LRU, LSTM, RNN, IndRNNCell, MinGRU, MinLSTM, SimpleRNN

KINDS = ("rnn", "irnn", "lstm", "gru", "indrnn", "lru", "mingru", "minlstm")


def recurrent_layer(kind: str, units: int, *, steps: int = 100, seed: int = 0, **options: Any) -> Any:
    """A recurrent layer with the start that its paper gives it.

    Args:
        kind: one of `KINDS`; `rnn` is tanh, `irnn` relu from the identity (Le et al. 2015).
        units: U.
        steps: over which it has to remember: the IndRNN's bound, 2^(1/T) (Li et al. 2018).
        seed: of its weights.
        options: such as `return_sequences`.
    """
    start = keras.initializers.GlorotUniform(seed=seed)
    if kind == "rnn":
        turned = keras.initializers.Orthogonal(seed=seed + 1)
        return SimpleRNN(units, kernel_initializer=start, recurrent_initializer=turned, **options)
    if kind == "irnn":
        small = keras.initializers.RandomNormal(stddev=0.001, seed=seed)
        same = keras.initializers.Identity()
        return SimpleRNN(units, "relu", kernel_initializer=small, recurrent_initializer=same, **options)
    if kind in ("lstm", "gru"):
        turned = keras.initializers.Orthogonal(seed=seed + 1)
        layer = LSTM if kind == "lstm" else GRU
        return layer(units, kernel_initializer=start, recurrent_initializer=turned, **options)
    if kind == "indrnn":
        # The last layer of the paper begins with weights that keep what they hold over all steps.
        least, most = 0.5 ** (1 / steps), 2.0 ** (1 / steps)
        begin = keras.initializers.RandomUniform(least, most, seed=seed + 1)
        cell = IndRNNCell(
            units, kernel_initializer=start, recurrent_initializer=begin, recurrent_constraint=_Bound(most)
        )
        return RNN(cell, **options)
    linear = {"lru": LRU, "mingru": MinGRU, "minlstm": MinLSTM}[kind]
    return linear(units, kernel_initializer=start, **options)


class _Bound(keras.constraints.Constraint):
    """|u| <= bound."""

    def __init__(self, bound: float):
        self.bound = bound

    def __call__(self, w: Any) -> Any:
        return keras.ops.clip(w, -self.bound, self.bound)


def open_gates(layer: Any, steps: int, seed: int = 0) -> None:
    """Biases of gates so that what an LSTM or GRU holds lasts about 1 to `steps` steps (Tallec & Ollivier 2018).

    The first LSTM had no forget gates: nothing was ever lost.

    Args:
        layer: an `LSTM` or `GRU`, built.
        steps: the longest time.
        seed: of the times, one for each unit.
    """
    units = layer.units
    kept = np.log(np.random.default_rng(seed).uniform(1.0, max(2.0, steps - 1.0), units)).astype(np.float32)
    bias = np.zeros(layer.cell.bias.shape, np.float32)
    if isinstance(layer, keras.layers.LSTM):
        bias[:units], bias[units : 2 * units] = -kept, kept
    else:
        # Keras's update gate is the share that is kept.
        bias[..., :units] = kept / len(bias) if bias.ndim == 2 else kept
    layer.cell.bias.assign(bias)


def answering(
    layer: Any, width: int, outputs: int, *, steps: int | None = None, activation: str | None = None, seed: int = 0
) -> keras.Model:
    """A layer over rows (B, T, D), and a dense one over what it gives.

    Args:
        layer: recurrent.
        width: D.
        outputs: of the dense layer.
        steps: T; None: any.
        activation: of the dense layer.
        seed: of its weights.
    """
    inputs = keras.Input((steps, width))
    dense = keras.layers.Dense(outputs, activation, kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 2))
    return keras.Model(inputs, dense(layer(inputs)))
