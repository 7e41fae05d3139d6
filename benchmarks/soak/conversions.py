"""Conversions and loads in one process, a thousand in an hour: it does not grow, and each file gives the same."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.soak.verdict import Verdict

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
MOST = 1000


def main(seconds: float) -> None:
    """Convert, load and run until the time is over, or a thousand times."""
    import keras

    import streaming
    from benchmarks.serve import memory

    keras.utils.set_random_seed(0)
    x = keras.Input((None, 8))
    y = keras.layers.Conv1D(12, 3, padding="causal", activation="relu")(x)
    y = keras.layers.GRU(16, return_sequences=True)(y)
    model = keras.Model(x, keras.layers.Dense(4)(y))
    frames = np.random.default_rng(0).standard_normal((20, 8)).astype("float32")
    verdict, until, sizes, rows = Verdict(), time.monotonic() + seconds, [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        while time.monotonic() < until and verdict.counts["conversions and loads"] < MOST:
            streaming.convert(model, path)
            rows.append(streaming.load(path).create_stream().feed(frames))
            verdict.check(bool(np.array_equal(rows[0], rows[-1])), "a conversion gives other rows")
            del rows[1:]
            verdict.counts["conversions and loads"] += 1
            sizes.append(memory(os.getpid()))
    verdict.check_flat("memory of the process that converts", sizes)
    verdict.end()


if __name__ == "__main__":
    main(float(sys.argv[1]))
