"""Seconds, processor seconds and memory that conversions take, verification included, each model in a new process.

The 12-layer model has convolutions and LSTMs as recognizers of speech have; Keras's speech example is `ctc_asr` of
keras.io at its full size, five Bidirectional GRUs of 512 units, with eight steps of right context. The last row
converts a small model many times in one process: memory must not grow.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("float32", "float16", "dynamic")
WARM, REPEATS = 10, 40


def main() -> None:
    """Print a row a model and kind of file."""
    rows = [*(("twelve_layers", kind) for kind in KINDS), ("speech_example", "float32"), ("repeated", "float32")]
    print(f"  {'model':16} {'file':8} {'seconds':>8} {'processor':>10} {'memory':>8} {'file':>9}  max error")
    for row in rows:
        print(run(*row), end="", flush=True)


def run(name: str, kind: str) -> str:
    """The row of a model, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.convert", name, kind]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def measure(name: str, kind: str) -> str:
    """Convert one model in this process."""
    import streaming

    if name == "repeated":
        return repeated()
    model = {"twelve_layers": twelve_layers, "speech_example": speech_example}[name]()
    options: dict[str, Any] = {"lookahead": 8} if name == "speech_example" else {}
    with tempfile.TemporaryDirectory() as folder:
        begin, used = time.perf_counter(), time.process_time()
        quantize = None if kind == "float32" else kind
        report = streaming.convert(model, Path(folder) / "model.tflite", quantize=quantize, **options)
        seconds, used = time.perf_counter() - begin, time.process_time() - used
    size, memory = report.size_bytes / 1e6, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    cost = f"{seconds:6.1f} s {used:8.1f} s {memory:5.2f} GB {size:6.1f} MB"
    return f"  {name:16} {kind:8} {cost}  {report.max_abs_error:.2g}"


def repeated() -> str:
    """Memory of a process before and after many conversions."""
    import keras

    import streaming

    inputs = keras.Input((None, 8))
    model = keras.Model(inputs, keras.layers.LSTM(64)(inputs))
    sizes = []
    with tempfile.TemporaryDirectory() as folder:
        for count in range(WARM + REPEATS):
            streaming.convert(model, Path(folder) / "model.tflite")
            if count + 1 in (WARM, WARM + REPEATS):
                sizes.append(_resident())
    growth = (sizes[1] - sizes[0]) / REPEATS
    return f"  {REPEATS} conversions of an LSTM-64 after {WARM}: {growth / 1e3:+.0f} KB each"


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


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


def speech_example() -> Any:
    """The network of keras.io's `ctc_asr`: a spectrogram (T, 193), two convolutions, five Bidirectional GRUs."""
    import keras
    from keras import layers

    inputs = keras.Input((None, 193))
    x = layers.Reshape((-1, 193, 1))(inputs)
    for size, strides in (((11, 41), (2, 2)), ((11, 21), (1, 2))):
        x = layers.Conv2D(32, size, strides, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Reshape((-1, x.shape[-2] * x.shape[-1]))(x)
    for _ in range(5):
        x = layers.Bidirectional(layers.GRU(512, return_sequences=True))(x)
        x = layers.Dropout(0.5)(x)
    x = layers.Dropout(0.5)(layers.ReLU()(layers.Dense(1024)(x)))
    return keras.Model(inputs, layers.Dense(32, activation="softmax")(x))


if __name__ == "__main__":
    print(measure(*sys.argv[1:]))
