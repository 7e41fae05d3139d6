"""The cells against their papers, one step in NumPy each."""

from functools import partial

import numpy as np

from layer_cases import OPTION, Case
from rnnzoo.layers import (
    RNN,
    ElmanCell,
    FastGRNNCell,
    FastRNNCell,
    GRUCell,
    IndRNNCell,
    LayerNormGRUCell,
    LayerNormLSTMCell,
    LSTMCell,
)

U = 4


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def part(w, index):
    """The columns of gate number `index`."""
    return w[..., index * U : (index + 1) * U]


def elman(w, x, states, act=np.tanh):
    h = act(x @ w["kernel"] + states[0] @ w["recurrent_kernel"] + w.get("bias", 0))
    return h, [h]


def lstm(w, x, states, peepholes=False, projection=False, coupled=False, gate=sigmoid):
    h, c = states
    order = "fgo" if coupled else "ifgo"
    bias = w.get("bias", np.zeros(len(order) * U))
    pre = {
        name: x @ part(w["kernel"], k) + h @ part(w["recurrent_kernel"], k) + part(bias, k)
        for k, name in enumerate(order)
    }
    p = dict(zip([g for g in order if g != "g"], w["peephole"], strict=True)) if peepholes else {}
    f = gate(pre["f"] + p.get("f", 0) * c)
    i = 1 - f if coupled else gate(pre["i"] + p.get("i", 0) * c)
    new = f * c + i * np.tanh(pre["g"])
    h = gate(pre["o"] + p.get("o", 0) * new) * np.tanh(new)
    h = h @ w["projection_kernel"] if projection else h
    return h, [h, new]


def gru(w, x, states, reset_after=True):
    (h,) = states
    kernel, recurrent = w["kernel"], w["recurrent_kernel"]
    bias = w.get("bias", np.zeros((2, 3 * U)) if reset_after else np.zeros(3 * U))
    of_x, of_h = bias if reset_after else (bias, np.zeros(3 * U))
    z, r = (sigmoid(x @ part(kernel, k) + part(of_x, k) + h @ part(recurrent, k) + part(of_h, k)) for k in range(2))
    if reset_after:
        read = r * (h @ part(recurrent, 2) + part(of_h, 2))
    else:
        read = (r * h) @ part(recurrent, 2)
    g = np.tanh(x @ part(kernel, 2) + part(of_x, 2) + read)
    h = z * h + (1 - z) * g
    return h, [h]


def norm(x, gain, epsilon=1e-3):
    return gain * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)


def norm_lstm(w, x, states):
    h, c = states
    pre = norm(x @ w["kernel"], w["kernel_gain"]) + norm(h @ w["recurrent_kernel"], w["recurrent_gain"]) + w["bias"]
    i, f, g, o = (part(pre, k) for k in range(4))
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(norm(c, w["state_gain"]) + w["state_offset"])
    return h, [h, c]


def norm_gru(w, x, states):
    (h,) = states
    both, last = slice(0, 2 * U), slice(2 * U, None)
    of_x, of_h = x @ w["kernel"], h @ w["recurrent_kernel"]
    gates = norm(of_x[:, both], w["kernel_gain"][both]) + norm(of_h[:, both], w["recurrent_gain"][both])
    z, r = np.split(sigmoid(gates + w["bias"][both]), 2, axis=-1)
    read = norm(of_h[:, last], w["recurrent_gain"][last]) + w["recurrent_bias"]
    g = np.tanh(norm(of_x[:, last], w["kernel_gain"][last]) + w["bias"][last] + r * read)
    h = z * h + (1 - z) * g
    return h, [h]


def indrnn(w, x, states):
    h = relu(x @ w["kernel"] + w["recurrent_kernel"] * states[0] + w["bias"])
    return h, [h]


def fast_rnn(w, x, states):
    (h,) = states
    g = np.tanh(x @ w["kernel"] + h @ w["recurrent_kernel"] + w["bias"])
    h = sigmoid(w["alpha"]) * g + sigmoid(w["beta"]) * h
    return h, [h]


def fast_grnn(w, x, states):
    (h,) = states
    pre = x @ w["kernel"] + h @ w["recurrent_kernel"]
    z, g = sigmoid(pre + w["bias"][:U]), np.tanh(pre + w["bias"][U:])
    h = (sigmoid(w["zeta"]) * (1 - z) + sigmoid(w["nu"])) * g + z * h
    return h, [h]


def elman_over_time(w, x):
    rows, states = [], [np.zeros((len(x), U))]
    for t in range(x.shape[1]):
        row, states = elman(w, x[:, t], states)
        rows.append(row)
    return np.stack(rows, axis=1)


CASES = {
    "rnn": Case(lambda: RNN(ElmanCell(U), return_sequences=True), elman_over_time),
    "elman": Case(lambda: ElmanCell(U), elman),
    "elman-no-bias": Case(lambda: ElmanCell(U, use_bias=False), elman, OPTION),
    "irnn": Case(
        lambda: ElmanCell(U, activation="relu", recurrent_initializer="identity"), partial(elman, act=relu), OPTION
    ),
    "lstm": Case(lambda: LSTMCell(U), lstm),
    "lstm-no-bias": Case(lambda: LSTMCell(U, use_bias=False, unit_forget_bias=False), lstm, OPTION),
    "lstm-all": Case(
        lambda: LSTMCell(U, peepholes=True, projection=3, coupled=True),
        partial(lstm, peepholes=True, projection=True, coupled=True),
        (*OPTION, "streaming"),
    ),
    "lstm-peepholes": Case(lambda: LSTMCell(U, peepholes=True), partial(lstm, peepholes=True), OPTION),
    "lstm-coupled": Case(lambda: LSTMCell(U, coupled=True), partial(lstm, coupled=True), OPTION),
    "lstm-projection": Case(lambda: LSTMCell(U, projection=3), partial(lstm, projection=True), (*OPTION, "loop")),
    "gru": Case(lambda: GRUCell(U), gru),
    "gru-reset-before": Case(lambda: GRUCell(U, reset_after=False), partial(gru, reset_after=False), OPTION),
    "gru-no-bias": Case(lambda: GRUCell(U, use_bias=False), gru, OPTION),
    "layer-norm-lstm": Case(lambda: LayerNormLSTMCell(U), norm_lstm),
    "layer-norm-gru": Case(lambda: LayerNormGRUCell(U), norm_gru),
    "indrnn": Case(lambda: IndRNNCell(U), indrnn),
    "fast-rnn": Case(lambda: FastRNNCell(U), fast_rnn),
    "fast-grnn": Case(lambda: FastGRNNCell(U), fast_grnn),
}
