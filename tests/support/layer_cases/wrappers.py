"""The wrappers at inference, around the cells of Keras and of ours; what they do in training is in test_wrappers.py."""

import keras

from layer_cases import Case
from layer_cases.cells import gru, lstm, sigmoid
from rnnzoo.layers import (
    GRUCell,
    HighwayCell,
    LSTMCell,
    ResidualCell,
    VariationalDropoutCell,
    WeightDropoutCell,
    ZoneoutCell,
)


def residual(w, x, states):
    y, states = gru(w, x, states)
    return x + y, states


def highway(w, x, states):
    y, states = lstm(w, x, states)
    g = sigmoid(x @ w["gate_kernel"] + w["gate_bias"])
    return g * y + (1 - g) * x, states


def zoneout(w, x, states):
    h, c, *step = states  # on JAX the wrapper counts its steps
    _, new = lstm(w, x, [h, c])
    h, c = 0.05 * h + 0.95 * new[0], 0.5 * c + 0.5 * new[1]
    return h, [h, c, *step]


SQUARE = {"input_shape": (3, 7, 4)}
CASES = {
    "residual": Case(lambda: ResidualCell(keras.layers.GRUCell(4)), residual, settings=SQUARE),
    "highway": Case(lambda: HighwayCell(LSTMCell(4)), highway, settings=SQUARE),
    "zoneout": Case(lambda: ZoneoutCell(LSTMCell(4), (0.05, 0.5)), zoneout),
    "variational-dropout": Case(lambda: VariationalDropoutCell(GRUCell(4, recurrent_dropout=0.2), 0.3, 0.2), gru),
    "weight-dropout": Case(lambda: WeightDropoutCell(keras.layers.LSTMCell(4)), lstm),
    "wrappers-nested": Case(
        lambda: ResidualCell(VariationalDropoutCell(WeightDropoutCell(GRUCell(4)), 0.3)),
        residual,
        ("oracle", "gradient", "loop", "saving"),
        SQUARE,
    ),
}
