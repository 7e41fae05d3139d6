"""The linear cells and their scans against their papers, one step in NumPy each."""

from functools import partial

import numpy as np

from layer_cases import OPTION, Case
from rnnzoo.layers.linear import (
    LRU,
    MLSTM,
    QRNN,
    RGLRU,
    SRU,
    LRUCell,
    MinGRU,
    MinGRUCell,
    MinLSTM,
    MinLSTMCell,
    MLSTMCell,
    QRNNCell,
    RGLRUCell,
    SRUCell,
)

U = 4
FEW = ("oracle", "config")
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


def sru(w, x, states, highway_bias=0.0):
    candidate, f, r, *skip = np.split(x @ w["kernel"], w["kernel"].shape[1] // U, axis=-1)
    bias, see = w.get("bias", np.zeros((2, U))), w.get("peephole", np.zeros((2, U)))
    alpha = np.sqrt(1 + 2 * np.exp(highway_bias))
    f, r = (sigmoid(pre + see[k] * states[0] + bias[k]) for k, pre in enumerate((f, r)))
    c = f * states[0] + (1 - f) * candidate
    return r * c + (1 - r) * alpha * (skip[0] if skip else x), [c]


def qrnn(w, x, states, pooling="fo", act=np.tanh):
    """States: c, and the inputs before this one, the last one at the end."""
    c, *past = states
    # The cell begins with zeros, which are as wide as its own states are.
    window = [*(np.zeros_like(x) if p.shape != x.shape else p for p in past), x]
    pre = sum(x_k @ w_k for x_k, w_k in zip(window, w["kernel"], strict=True)) + w.get("bias", 0)
    z, *gates = (pre[:, k * U : (k + 1) * U] for k in range(1 + len(pooling)))
    gates = dict(zip(pooling, map(sigmoid, gates), strict=True))
    c = gates["f"] * c + gates.get("i", 1 - gates["f"]) * act(z)
    return gates.get("o", 1) * c, [c, *window[1:]]


def mlstm(w, x, states, heads=1, exponential=False):
    """Without the stabilizer, which float64 does not need for gates of this size."""
    size = (len(x), heads, U // heads)
    q, k, v, o = np.split(affine(w, x), 4, axis=-1)
    q, k, v = q.reshape(size), k.reshape(size) / np.sqrt(size[-1]), v.reshape(size)
    i, f = np.split(x @ w["gate_kernel"] + w.get("gate_bias", 0), 2, axis=-1)
    i, f = np.exp(i), np.exp(f) if exponential else sigmoid(f)
    n, memory = states[0].reshape(size), states[1].reshape(*size, size[-1])
    memory = f[..., None, None] * memory + i[..., None, None] * np.einsum("bhk,bhv->bhkv", k, v)
    n = f[..., None] * n + i[..., None] * k
    read = np.einsum("bhk,bhkv->bhv", q, memory)
    y = read / np.maximum(np.abs(np.sum(q * n, axis=-1, keepdims=True)), 1)
    return sigmoid(o) * y.reshape(len(x), U), [n.reshape(len(x), U), memory.reshape(len(x), -1), states[2]]


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
    "sru-cell": Case(lambda: SRUCell(U, highway_bias=-1.0), partial(sru, highway_bias=-1.0)),
    "sru-cell-as-wide": Case(lambda: SRUCell(U), sru, FEW, {"input_shape": (3, 7, U)}),
    "sru-cell-no-peepholes-no-bias": Case(lambda: SRUCell(U, peepholes=False, use_bias=False), sru, FEW),
    "qrnn-cell": Case(lambda: QRNNCell(U), qrnn),
    "qrnn-cell-f": Case(
        lambda: QRNNCell(U, window=1, pooling="f", activation="relu"),
        partial(qrnn, pooling="f", act=lambda x: np.maximum(x, 0)),
        FEW,
    ),
    "qrnn-cell-ifo-no-bias": Case(
        lambda: QRNNCell(U, window=3, pooling="ifo", use_bias=False), partial(qrnn, pooling="ifo"), FEW
    ),
    "mlstm-cell": Case(lambda: MLSTMCell(U), mlstm),
    "mlstm-cell-heads": Case(
        lambda: MLSTMCell(U, heads=2, forget_gate="exponential", use_bias=False),
        partial(mlstm, heads=2, exponential=True),
        FEW,
    ),
    "sru": Case(lambda: SRU(U, peepholes=False, return_sequences=True), over_time(sru, U)),
    "sru-peepholes": Case(lambda: SRU(U, return_sequences=True), over_time(sru, U), ("oracle", "loop")),
    "qrnn": Case(lambda: QRNN(U, return_sequences=True), over_time(qrnn, U, 3 * U)),
    "qrnn-wide": Case(
        lambda: QRNN(U, window=4, pooling="ifo", return_sequences=True),
        over_time(partial(qrnn, pooling="ifo"), U, 4 * U, 4 * U, 4 * U),
        ("oracle", "loop", "mask", "chunked"),
    ),
    "mlstm": Case(
        lambda: MLSTM(U, heads=2, return_sequences=True), over_time(partial(mlstm, heads=2), U, U * U // 2, 2)
    ),
    **layer_cases("lru", LRU, lru, (U, U)),
    **layer_cases("rg-lru", RGLRU, rg_lru, (D,), D),
    **layer_cases("min-gru", MinGRU, min_gru),
    **layer_cases("min-lstm", MinLSTM, min_lstm),
}
