"""A step of the C client against the bare invoke of LiteRT in C, and against `Stream.step` in Python, in turns."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

INPUTS, UNITS, ROUNDS = 64, 256, 5
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Print the tables."""
    import keras

    import streaming
    from benchmarks.timing import microseconds, table

    wheel = importlib.util.find_spec("ai_edge_litert")
    if shutil.which("cc") is None or wheel is None:
        sys.exit("benchmarks: clients needs a C compiler and ai-edge-litert")
    library = Path(next(iter(wheel.submodule_search_locations or []))) / "libLiteRt.so"
    with tempfile.TemporaryDirectory() as folder:
        program, lstm = Path(folder) / "bench", Path(folder) / "lstm.tflite"
        source = ROOT / "clients" / "c" / "tests" / "bench.c"
        subprocess.run(["cc", "-std=c11", "-O2", "-o", program, source, "-ldl", "-lm"], check=True)
        x = keras.Input((None, INPUTS))
        streaming.convert(keras.Model(x, keras.layers.LSTM(UNITS, return_sequences=True)(x)), lstm)
        digits = ROOT / "pretrained" / "digits-kws-stream" / "float32.tflite"
        for name, path in {"digits-kws": digits, f"LSTM-{UNITS}": lstm}.items():
            model = streaming.load(path)
            stream, info = model.create_stream(), model.metadata.inputs[0]
            frame = np.zeros((model.chunk, *info.shape), info.dtype)
            rounds: list[dict[str, float]] = []
            for _ in range(ROUNDS):
                environment = {**os.environ, "STREAMING_LITERT": str(library)}
                found = subprocess.run([program, path], capture_output=True, check=True, env=environment)
                times = json.loads(found.stdout)
                python = microseconds({"step": lambda s=stream, f=frame: s.step(f)}, rounds=3)  # type: ignore[misc]
                rounds.append({"C, invoke alone": times["invoke"], "C, step": times["step"], "Python": python["step"]})
            medians = {key: statistics.median(item[key] for item in rounds) for key in rounds[0]}
            print(table(f"{name}, one step", medians))
            print(f"  C step: {medians['C, step'] / medians['Python']:.2f} of Stream.step")


if __name__ == "__main__":
    main()
