"""Windows: a step beside Keras on the same window, what of it a step computes, and 800 steps of two LSTMs."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import microseconds, table


def main() -> None:
    """Print a table for each model."""
    import keras
    import tensorflow as tf

    import streaming

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        for name, model in {"keyword CNN": keyword_cnn(), "TCN": tcn("valid"), "LSTM": lstm(50)}.items():
            steps = model.inputs[0].shape[1]
            report = streaming.convert(model, path)
            whole = multiply_adds(model)
            stream = streaming.load(path).create_stream()
            rows = np.random.default_rng(0).standard_normal((steps, model.inputs[0].shape[2])).astype("float32")
            stream.feed(rows)
            compiled = tf.function(lambda x, model=model: model(x, training=False))
            window = tf.constant(rows[None])
            share = report.costs["step"].multiply_adds / whole
            print(
                table(
                    f"{name}, window of {steps}, hop 1: a step computes {share:.0%} of the window's multiply-adds",
                    microseconds(
                        {
                            "Stream.step": lambda stream=stream, rows=rows: stream.step(rows[:1]),
                            "Keras, tf.function": lambda compiled=compiled, window=window: compiled(window),
                            "Keras, model(window)": lambda model=model, window=window: model(window, training=False),
                            "Keras, predict_on_batch": lambda model=model, rows=rows: model.predict_on_batch(
                                rows[None]
                            ),
                        }
                    ),
                )
            )
            keras.backend.clear_session()
        _causal_twin(path)
        _long(path)


def keyword_cnn() -> Any:
    """Two valid convolutions, Flatten and Dense on 49 frames of 40 features."""
    import keras
    from keras import layers

    x = keras.Input((49, 40))
    y = layers.Conv1D(64, 5, activation="relu")(x)
    y = layers.Conv1D(64, 5, activation="relu")(y)
    return keras.Model(x, layers.Dense(12, activation="softmax")(layers.Flatten()(y)))


def tcn(padding: str, steps: int | None = 64) -> Any:
    """Dilated convolutions and a head on the last step."""
    import keras
    from keras import layers

    y = x = keras.Input((steps, 16))
    for dilation in (1, 2, 4, 8):
        y = layers.Conv1D(32, 3, dilation_rate=dilation, padding=padding, activation="relu")(y)
    return keras.Model(x, layers.Dense(4)(y[:, -1]))


def lstm(steps: int | None, units: int = 64, count: int = 1) -> Any:
    """LSTM layers and a head."""
    import keras
    from keras import layers

    y = x = keras.Input((steps, 16))
    for index in range(count):
        y = layers.LSTM(units, return_sequences=index + 1 < count)(y)
    return keras.Model(x, layers.Dense(4)(y))


def multiply_adds(model: Any) -> int:
    """Multiply-adds of the products of a model on one window."""
    import math

    count = 0
    for layer in model.layers:
        for weight in layer.weights:
            if len(weight.shape) < 2:
                continue
            places = layer.output.shape[1] if len(layer.output.shape) == 3 else 1
            if hasattr(layer, "cell"):
                places = layer.input.shape[1]
            count += places * math.prod(weight.shape)
    return count


def _causal_twin(path: Path) -> None:
    import streaming

    window = streaming.convert(tcn("valid"), path).costs["step"].multiply_adds
    carried = streaming.convert(tcn("causal", None), path).costs["step"].multiply_adds
    print(f"A TCN of valid convolutions in a window: {window:,} multiply-adds a step, its causal twin {carried:,}")


def _long(path: Path) -> None:
    import streaming

    carried = streaming.convert(lstm(None, 128, 2), path).size_bytes
    begin = time.perf_counter()
    report = streaming.convert(lstm(800, 128, 2), path)
    seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    stream = streaming.load(path).create_stream()
    loaded = time.perf_counter() - begin
    rows = np.random.default_rng(0).standard_normal((800, 16)).astype("float32")
    stream.feed(rows)
    times = microseconds({"step": lambda: stream.step(rows[:1])}, rounds=5)
    print(
        f"A window of 800 steps of two LSTMs of 128 units: converted in {seconds:.1f} s, file "
        f"{report.size_bytes / carried:.2f} of the carried one's, loaded in {loaded * 1e3:.0f} ms, "
        f"{times['step'] / 1e3:.1f} ms a row"
    )
