"""The linear cells and their scans against their papers, one step in NumPy each."""

import numpy as np

from layer_cases import OPTION, Case
from rnnzoo.layers.linear import MinGRU, MinGRUCell, MinLSTM, MinLSTMCell

U = 4


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def affine(w, x):
    return x @ w["kernel"] + w.get("bias", 0)


def min_gru(w, x, states):
    z, g = np.split(affine(w, x), 2, axis=-1)
    h = (1 - sigmoid(z)) * states[0] + sigmoid(z) * g
    return h, [h]


def min_lstm(w, x, states):
    f, i, g = np.split(affine(w, x), 3, axis=-1)
    f, i = sigmoid(f), sigmoid(i)
    h = f / (f + i) * states[0] + i / (f + i) * g
    return h, [h]


def over_time(step, *sizes, last=False, backwards=False):
    """The oracle of a layer from that of its cell's step, from states of zeros."""

    def oracle(w, x):
        states, rows = [np.zeros((len(x), size)) for size in sizes], []
        for t in reversed(range(x.shape[1])) if backwards else range(x.shape[1]):
            row, states = step(w, x[:, t], states)
            rows.append(row)
        return rows[-1] if last else np.stack(rows, axis=1)

    return oracle


def layer_cases(name, kind, step, sizes=(U,), **options):
    """A layer that returns sequences, one that returns its last output, and one backwards."""
    few = ("shape", "oracle", "gradient", "loop", "mask", "config")
    return {
        name: Case(lambda: kind(U, return_sequences=True, **options), over_time(step, *sizes)),
        f"{name}-last": Case(lambda: kind(U, **options), over_time(step, *sizes, last=True), few),
        f"{name}-backwards": Case(
            lambda: kind(U, return_sequences=True, go_backwards=True, recompute=True, **options),
            over_time(step, *sizes, backwards=True),
            OPTION,
        ),
    }


CASES = {
    "min-gru-cell": Case(lambda: MinGRUCell(U), min_gru),
    "min-gru-cell-no-bias": Case(lambda: MinGRUCell(U, use_bias=False), min_gru, OPTION),
    "min-lstm-cell": Case(lambda: MinLSTMCell(U), min_lstm),
    **layer_cases("min-gru", MinGRU, min_gru),
    **layer_cases("min-lstm", MinLSTM, min_lstm),
}
