"""The swap-in layers: the same equations as the cells, over a whole sequence."""

from functools import partial

import numpy as np

from layer_cases import Case
from layer_cases.cells import U, elman, gru, lstm, norm_lstm, relu
from rnnzoo.layers import GRU, LSTM, LayerNormLSTM, SimpleRNN

# Keras sees to the rest, as it does for the layers that these replace.
OPTION = ("oracle", "gradient", "mask", "chunked")


def over(step, states, **options):
    """The oracle of a layer from that of its step: all outputs."""

    def oracle(weights, x):
        current, outputs = [np.zeros((len(x), U))] * states, []
        for t in range(x.shape[1]):
            y, current = step(weights, x[:, t], current, **options)
            outputs.append(y)
        return np.stack(outputs, axis=1)

    return oracle


def make(kind, **options):
    return partial(kind, U, return_sequences=True, **options)


CASES = {
    "SimpleRNN": Case(make(SimpleRNN), over(elman, 1)),
    "SimpleRNN-relu": Case(make(SimpleRNN, activation="relu"), over(elman, 1, act=relu), OPTION),
    "LSTM": Case(make(LSTM), over(lstm, 2)),
    "LSTM-no-bias": Case(make(LSTM, use_bias=False), over(lstm, 2), OPTION),
    "GRU": Case(make(GRU), over(gru, 1)),
    "GRU-reset-before": Case(make(GRU, reset_after=False), over(gru, 1, reset_after=False), OPTION),
    "GRU-no-bias": Case(make(GRU, use_bias=False), over(gru, 1), OPTION),
    "LayerNormLSTM": Case(make(LayerNormLSTM), over(norm_lstm, 2)),
}
