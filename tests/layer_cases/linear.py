"""The linear cells and their scans against their papers, one step in NumPy each."""

import numpy as np

from layer_cases import OPTION, Case
from rnnzoo.layers.linear import LRU, RGLRU, LRUCell, MinGRU, MinGRUCell, MinLSTM, MinLSTMCell, RGLRUCell

U = 4
# Features of the inputs of `check`.
D = 5


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


def lru(w, x, states):
    decay = np.exp(-np.exp(w["nu"]) + 1j * np.exp(w["theta"]))
    size = len(decay)
    b = w["kernel"][:, :size] + 1j * w["kernel"][:, size:]
    c = w["output_kernel"][:size] - 1j * w["output_kernel"][size:]
    h = decay * (states[0] + 1j * states[1]) + np.exp(w["gamma"]) * (x @ b)
    return (h @ c).real + x @ w["skip_kernel"] + w.get("bias", 0), [h.real, h.imag]


def rg_lru(w, x, states):
    r, i = np.split(sigmoid(affine(w, x)), 2, axis=-1)
    a = sigmoid(w["decay"]) ** (8 * r)
    h = a * states[0] + np.sqrt(1 - a**2) * i * x
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


def layer_cases(name, kind, step, sizes=(U,), units=U, **options):
    """A layer that returns sequences, one that returns its last output, and one backwards."""
    few = ("shape", "oracle", "gradient", "loop", "mask", "config")
    return {
        name: Case(lambda: kind(units, return_sequences=True, **options), over_time(step, *sizes)),
        f"{name}-last": Case(lambda: kind(units, **options), over_time(step, *sizes, last=True), few),
        f"{name}-backwards": Case(
            lambda: kind(units, return_sequences=True, go_backwards=True, recompute=True, **options),
            over_time(step, *sizes, backwards=True),
            OPTION,
        ),
    }


CASES = {
    "min-gru-cell": Case(lambda: MinGRUCell(U), min_gru),
    "min-gru-cell-no-bias": Case(lambda: MinGRUCell(U, use_bias=False), min_gru, OPTION),
    "min-lstm-cell": Case(lambda: MinLSTMCell(U), min_lstm),
    "lru-cell": Case(lambda: LRUCell(U), lru),
    "lru-cell-wide-no-bias": Case(lambda: LRUCell(U, state_units=6, use_bias=False), lru, OPTION),
    "rg-lru-cell": Case(lambda: RGLRUCell(D), rg_lru),
    "rg-lru-cell-no-bias": Case(lambda: RGLRUCell(D, use_bias=False), rg_lru, OPTION),
    **layer_cases("lru", LRU, lru, (U, U)),
    **layer_cases("rg-lru", RGLRU, rg_lru, (D,), D),
    **layer_cases("min-gru", MinGRU, min_gru),
    **layer_cases("min-lstm", MinLSTM, min_lstm),
}
