"""`streaming bench`: the time of a step and of the bare interpreter, throughput by batch, memory."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.runtime.metadata import InputInfo
from streaming.runtime.model import StreamingModel, load
from streaming.runtime.stream import Stream

_WARM_UP = 20


def run_benchmark(
    path: str | os.PathLike[str], steps: int = 2000, runtime: str = "auto", threads: int = 1
) -> dict[str, Any]:
    """Times of `Stream.step` and of the bare invoke in microseconds, steps a second by batch, memory in bytes.

    `model_bytes` is the memory that loading took, with interpreter and library; `state_bytes` is the state of a stream;
    `peak_bytes` is the peak memory of the whole process.
    """
    before, began = resident_bytes(), time.perf_counter()
    model = load(path, runtime, threads)
    loaded = time.perf_counter() - began
    model_bytes = max(0, resident_bytes() - before)
    generator = np.random.default_rng(0)
    x = random_chunk(model, generator)
    stream = _stream(model, generator)
    step = _times(lambda: stream.step(x), steps)
    bare = _times(_bare(model, 1), steps)
    return {
        "file": os.fspath(path),
        "runtime": model.runtime,
        "threads": threads,
        "steps": steps,
        "chunk": model.chunk,
        "load_ms": 1e3 * loaded,
        "step_us": _quantiles(step),
        "bare_invoke_us": _quantiles(bare),
        "throughput": [_throughput(model, size, generator, steps) for size in _sizes(model)],
        "model_bytes": model_bytes,
        "state_bytes": model.metadata.state_bytes,
        "peak_bytes": peak_bytes(),
    }


def random_chunk(model: StreamingModel, generator: np.random.Generator) -> Any:
    """One chunk: normal floats, integers within their range; a dict where the model has several inputs."""
    return _random(model.metadata.inputs, model.chunk, generator)


def _random(infos: Sequence[InputInfo], steps: int, generator: np.random.Generator) -> Any:
    def one(info: InputInfo) -> NDArray[Any]:
        tensor = info.graph
        shape = (steps, *tensor.shape) if info.time else tuple(tensor.shape)
        if np.dtype(tensor.dtype).kind == "f":
            return generator.standard_normal(shape).astype(tensor.dtype)
        low = info.low or 0
        return generator.integers(low, low + 2 if info.high is None else info.high, shape).astype(tensor.dtype)

    values = {info.name: one(info) for info in infos}
    return values if len(values) > 1 else next(iter(values.values()))


def _stream(model: StreamingModel, generator: np.random.Generator) -> Stream:
    """A stream that is ready to step: one that reads a source first has read the longest."""
    stream, encode = model.create_stream(), model.metadata.encode
    if encode is not None:
        stream.encode(_random(encode.inputs, encode.max_length, generator))
    return stream


def _sizes(model: StreamingModel) -> list[int]:
    return [1] if model.metadata.state == "internal" else model.batch_sizes


def _throughput(model: StreamingModel, streams: int, generator: np.random.Generator, steps: int) -> dict[str, Any]:
    many = [_stream(model, generator) for _ in range(streams)]
    inputs = [random_chunk(model, generator) for _ in many]
    advance = (lambda: many[0].step(inputs[0])) if streams == 1 else (lambda: model.step_streams(many, inputs))
    times = _times(advance, max(50, steps // streams))
    rate = streams * model.chunk * len(times) / times.sum() * 1e6
    p50 = _quantiles(times)["p50"]
    return {"streams": streams, "chunk": model.chunk, "p50_us": p50, "steps_per_second": float(rate)}


def _bare(model: StreamingModel, batch: int) -> Callable[[], Any]:
    """A function that invokes a signature and does nothing else, on inputs that stay zero."""
    interpreter = model.recipe.open()
    if "reset" in model.metadata.signatures:
        interpreter.get_signature_runner("reset")()
    runner = interpreter.get_signature_runner(model.recipe.signatures[batch, model.chunk])
    details = runner.get_input_details()
    zeros = {name: np.zeros(info["shape"], info["dtype"]) for name, info in details.items()}
    runner(**zeros)
    try:
        invoke, graph = runner._interpreter_wrapper.Invoke, runner._subgraph_index
    except AttributeError:
        return lambda: runner(**zeros)
    return lambda: invoke(graph)


def _times(call: Callable[[], Any], count: int) -> NDArray[Any]:
    """Microseconds of each call, after some that do not count."""
    for _ in range(_WARM_UP):
        call()
    times, clock = np.empty(count), time.perf_counter_ns
    for index in range(count):
        began = clock()
        call()
        times[index] = clock() - began
    return times / 1e3


def _quantiles(times: NDArray[Any]) -> dict[str, float]:
    values = np.percentile(times, (50, 99, 99.9))
    return {**dict(zip(("p50", "p99", "p99.9"), map(float, values), strict=True)), "mean": float(times.mean())}


def resident_bytes() -> int:
    """Resident memory of this process in bytes; 0 on systems other than Linux, which do not report it."""
    status = Path("/proc/self/status")
    match = re.search(r"VmRSS:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(match[1]) * 1024 if match else 0


def peak_bytes() -> int:
    """Peak memory of this process in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts into ru_maxrss what the parent had before exec
        match = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if match:
            return int(match[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
