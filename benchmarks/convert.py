"""Seconds that a conversion of a 12-layer model takes, verification included."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Print a row a kind of file."""
    import streaming

    model = twelve_layers()
    print(f"Conversion of {len(model.layers) - 1} layers, {model.count_params():,} parameters, with its verification")
    for kind in (None, "float16", "dynamic"):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            report = streaming.convert(model, Path(folder) / "model.tflite", quantize=kind)
            seconds = time.perf_counter() - begin
        print(f"  {kind or 'float32':10} {seconds:6.1f} s  max error {report.max_abs_error:.2g}")


def twelve_layers() -> Any:
    """Convolutions with normalization, a stack of LSTMs and a head, as recognizers of speech have."""
    import keras
    from keras import layers

    x = inputs = keras.Input((None, 64))
    for width in (96, 128):
        x = layers.Conv1D(width, 5, padding="causal")(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
    for _ in range(3):
        x = layers.LSTM(256, return_sequences=True)(x)
    x = layers.LayerNormalization()(x)
    x = layers.Dense(128, activation="gelu")(x)
    return keras.Model(inputs, layers.Dense(40, activation="softmax")(x))
