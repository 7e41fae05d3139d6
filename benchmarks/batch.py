"""64 streams of LSTM-256 (64 inputs, one thread): together or one by one, and what a step costs above its invoke."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

INPUTS, UNITS, STREAMS = 64, 256, 64
KINDS = {"float32": None, "int8": "dynamic"}


def main() -> None:
    """Print the tables."""
    from benchmarks.timing import microseconds, table

    with tempfile.TemporaryDirectory() as folder:
        models = load(Path(folder))
    frames = np.random.default_rng(0).normal(size=(STREAMS, 1, INPUTS)).astype("float32")
    rows = list(frames)
    calls: dict[str, Callable[[], Any]] = {}
    for kind in KINDS:
        model, inside = models[kind, "external"], models[kind, "internal"]
        streams = [[model.create_stream() for _ in range(STREAMS)] for _ in range(3)]
        calls[f"{kind}, invoke alone"] = bare_invoke(model, "step")
        calls[f"{kind}, Stream.step"] = functools.partial(model.create_stream().step, frames[0])
        calls[f"{kind}, invoke alone, state inside"] = bare_invoke(inside, "step")
        calls[f"{kind}, Stream.step, state inside"] = functools.partial(inside.create_stream().step, frames[0])
        calls[f"{kind}, {STREAMS} one by one"] = functools.partial(one_by_one, streams[0], rows)
        calls[f"{kind}, {STREAMS} by step_streams"] = functools.partial(model.step_streams, streams[1], rows)
        calls[f"{kind}, {STREAMS} by it, in one array"] = functools.partial(model.step_streams, streams[2], frames)
        calls[f"{kind}, invoke of {STREAMS} alone"] = bare_invoke(model, f"step_b{STREAMS}")
    times = microseconds(calls, rounds=60, seconds=0.01, of=min)
    print(table(f"LSTM-{UNITS}, {STREAMS} streams, through Python", times, base=f"float32, {STREAMS} one by one"))
    for kind in KINDS:
        report(kind, times)


def report(kind: str, times: Mapping[str, float]) -> None:
    """Print what the times of a kind say."""
    for where in ("", ", state inside"):
        above = times[f"{kind}, Stream.step{where}"] - times[f"{kind}, invoke alone{where}"]
        print(f"  {kind}{where}: a step takes {above:.1f} us more than its invoke")
    for how in ("by step_streams", "by it, in one array"):
        together = times[f"{kind}, {STREAMS} {how}"]
        gains = (f"{times[f'{k}, {STREAMS} one by one'] / together:.1f} times {k} one by one" for k in KINDS)
        print(f"  {kind}, {STREAMS} {how}: {', '.join(gains)}")


def load(folder: Path) -> dict[tuple[str, str], Any]:
    """The model by its kind of weights and where it keeps its state."""
    import keras

    import streaming

    x = keras.Input((None, INPUTS))
    model, models = keras.Model(x, keras.layers.LSTM(UNITS, return_sequences=True)(x)), {}
    for kind, quantize in KINDS.items():
        for state, sizes in (("external", (1, STREAMS)), ("internal", (1,))):
            path = folder / f"{kind}-{state}.tflite"
            streaming.convert(model, path, quantize=quantize, batch_sizes=sizes, state=state)
            models[kind, state] = streaming.load(path)
    return models


def one_by_one(streams: list[Any], frames: list[np.ndarray]) -> list[np.ndarray]:
    """A step of each stream."""
    return [stream.step(frame) for stream, frame in zip(streams, frames, strict=True)]


def bare_invoke(model: Any, signature: str) -> Callable[[], Any]:
    """The interpreter's run of a signature, without setting and getting tensors."""
    interpreter = model.recipe.open()
    runner = interpreter.get_signature_runner(signature)
    runner(**{name: np.zeros(item["shape"], item["dtype"]) for name, item in runner.get_input_details().items()})
    # Bound to the runner, so that the interpreter lives as long as the call.
    return lambda: runner._interpreter_wrapper.Invoke(runner._subgraph_index)


if __name__ == "__main__":
    main()
