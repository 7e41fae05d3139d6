"""Run by test_backends.py in a process of its own backend: noisy cells and a scan learn, and infer the same twice."""

import keras
import numpy as np

from rnnzoo.layers import (
    GRUCell,
    LayerNormLSTMCell,
    LSTMCell,
    MinGRU,
    ResidualCell,
    VariationalDropoutCell,
    WeightDropoutCell,
    ZoneoutCell,
)


def cells():
    return [
        LSTMCell(8, dropout=0.1, recurrent_dropout=0.1),
        ResidualCell(VariationalDropoutCell(WeightDropoutCell(GRUCell(8), 0.2), 0.1, 0.1)),
        ZoneoutCell(LayerNormLSTMCell(8)),
    ]


def main():
    x = np.random.default_rng(0).standard_normal((16, 6, 8)).astype("float32")
    target = x.mean(axis=(1, 2))[:, None]
    scan = MinGRU(8, return_sequences=True)
    model = keras.Sequential([keras.Input((6, 8)), scan, keras.layers.RNN(cells()), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.02), "mse")
    before = model.evaluate(x, target, verbose=0)
    model.fit(x, target, epochs=15, verbose=0)
    after = model.evaluate(x, target, verbose=0)
    assert after < 0.7 * before, (before, after)
    np.testing.assert_array_equal(model.predict(x, verbose=0), model.predict(x, verbose=0))
    print(f"{keras.backend.backend()}: {before:.3g} -> {after:.3g}")


if __name__ == "__main__":
    main()
