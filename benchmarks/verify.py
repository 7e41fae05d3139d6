"""What verification of files costs: `load` and `step` with it against `trust=True`, in turns, in processor time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PRETRAINED = Path(__file__).resolve().parents[1] / "pretrained"
MODELS = ("digits-kws-stream/float32", "tagger-en-ewt-stream/int8", "forecast-etth1/float32")
LOADS, STEPS, ROUNDS = 5, 500, 15


def main() -> None:
    """Print the tables."""
    import numpy as np

    import streaming
    from benchmarks.timing import table
    from streaming.runtime import verifier

    for name in MODELS:
        path = PRETRAINED / f"{name}.tflite"

        def load(path: Path = path, **options: Any) -> Any:
            return streaming.load(path, **options)

        def first(path: Path = path) -> None:
            verifier.forget()
            streaming.load(path)

        calls = {"load, trust=True": lambda load=load: load(trust=True), "load, verified before": load}
        print(table(f"{name}, load", least({**calls, "load, first of a process": first}, LOADS)))
        streams = {trust: load(trust=trust).create_stream() for trust in (True, False)}
        inputs = streams[True].model.metadata.inputs
        x: Any = {info.name: np.zeros((streams[True].model.chunk, *info.shape), info.dtype) for info in inputs}
        x = x if len(x) > 1 else next(iter(x.values()))
        steps = {
            "step, trust=True": lambda streams=streams, x=x: streams[True].step(x),
            "step, verified": lambda streams=streams, x=x: streams[False].step(x),
        }
        print(table(f"{name}, step", least(steps, STEPS)))


def least(calls: dict[str, Callable[[], object]], count: int) -> dict[str, float]:
    """Microseconds of processor time of one call of each: the least of rounds of so many, in turns."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            began = time.process_time()
            for _ in range(count):
                call()
            samples[name].append((time.process_time() - began) / count * 1e6)
    return {name: min(times) for name, times in samples.items()}


if __name__ == "__main__":
    main()
