"""What a training step costs in time and memory against the length of the sequences, and what a step of a stream costs.

Draws docs/cost-against-length.png.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

UNITS, HEADS, RATE, CORES = 64, 4, 0.01, 2
LENGTHS = tuple(4**k for k in range(4, 9))
ROUNDS, SECONDS = 30, 12.0
# Of a step, as the last one foretells: what would take more is left out.
LONGEST, LARGEST = 180.0, 6e9
# Of the streams: what attention remembers, and how many steps are many.
WINDOWS, LATE = (256, 4096), 20_000
PICTURE = Path(__file__).resolve().parents[1] / "docs" / "cost-against-length.png"

Figures = dict[str, dict[int, float]]


def main() -> None:
    """Print the tables, draw the picture."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(CORES)
    print(
        f"tensorflow {tf.__version__}, keras {keras.__version__}, Python {platform.python_version()}, {CORES} threads; "
        f"one sequence, {UNITS} inputs and units; forward, backward and update; best of {ROUNDS} at most, in turn"
    )
    memory = in_process_of_its_own()
    times = measure_times(memory)
    print(rows("milliseconds of a training step", times, 1e3), flush=True)
    print(rows("megabytes that it takes above the model", memory, 1e-6), flush=True)
    draw(times, memory)
    print(f"drawn: {PICTURE}", flush=True)
    print(streamed(), flush=True)


def contestants() -> dict[str, Callable[[], Any]]:
    """Makers of layers (1, T, UNITS) -> (1, T, UNITS)."""
    from rnnzoo.layers import LRU, LSTM, MLSTM, MinGRU

    return {
        "LSTM": functools.partial(LSTM, UNITS, return_sequences=True),
        "minGRU": functools.partial(MinGRU, UNITS, return_sequences=True),
        "LRU": functools.partial(LRU, UNITS, return_sequences=True),
        "mLSTM": functools.partial(MLSTM, UNITS, heads=HEADS, return_sequences=True),
        "Transformer": transformer,
    }


def transformer() -> Any:
    """A block of a causal Transformer (Vaswani et al. 2017): attention of four heads, then two dense layers."""
    import keras

    x = keras.Input((None, UNITS))
    y = keras.layers.LayerNormalization()(x)
    y = x + keras.layers.MultiHeadAttention(HEADS, UNITS // HEADS)(y, y, use_causal_mask=True)
    z = keras.layers.Dense(4 * UNITS, activation="relu")(keras.layers.LayerNormalization()(y))
    return keras.Model(x, y + keras.layers.Dense(UNITS)(z))


def training_step(layer: Any, x: np.ndarray) -> Callable[[], Any]:
    """Mean of the squared outputs as the loss, plain gradient descent."""
    import tensorflow as tf

    if not layer.built:
        layer.build(x.shape)
    weights = [variable.value for variable in layer.trainable_weights]

    @tf.function
    def step(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(layer(x, training=True)))
        for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign_sub(RATE * gradient)
        return loss

    inputs = tf.constant(x)
    traced = step.get_concrete_function(inputs)
    return lambda: traced(inputs).numpy()


def in_process_of_its_own() -> Figures:
    """What `measure_memory` finds where memory that is freed goes back: oneDNN's allocator keeps it."""
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}
    command = [sys.executable, "-m", "benchmarks.length", "memory"]
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=True, cwd=PICTURE.parents[1]
    )
    return {name: {int(steps): size for steps, size in line.items()} for name, line in json.loads(done.stdout).items()}


def measure_memory() -> Figures:
    """Bytes of a step: name -> length -> figure, without those that would take too much."""
    memory: Figures = {}
    for name, maker in contestants().items():
        memory[name] = {}
        for steps in LENGTHS:
            if foretold(memory[name]) < LARGEST:
                call = training_step(maker(), example(steps))
                # The first run prepares the graph.
                call()
                memory[name][steps] = peak(call)
    return memory


def measure_times(known: Figures) -> Figures:
    """Seconds of a step: name -> length -> figure, of the lengths whose memory is known."""
    times: Figures = {name: {} for name in known}
    for steps in LENGTHS:
        calls = {}
        for name, maker in contestants().items():
            if steps in known[name] and foretold(times[name]) < LONGEST:
                calls[name] = training_step(maker(), example(steps))
                calls[name]()
        for name, seconds in fastest(calls).items():
            times[name][steps] = seconds
        print(f"  {steps}: " + ", ".join(f"{name} {times[name][steps]:.3g} s" for name in calls), flush=True)
    return times


def example(steps: int) -> np.ndarray:
    """One sequence, (1, T, UNITS)."""
    return np.random.default_rng(0).normal(size=(1, steps, UNITS)).astype("float32")


def foretold(figures: dict[int, float]) -> float:
    """The next figure, if growth goes on as it did; zero where two are not known yet."""
    known = list(figures.values())
    return known[-1] ** 2 / known[-2] if len(known) > 1 else 0.0


def fastest(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Seconds of the fastest run of each, in turn; slow ones run less often."""
    least, spent = dict.fromkeys(calls, float("inf")), dict.fromkeys(calls, 0.0)
    for _ in range(ROUNDS):
        for name, call in calls.items():
            if spent[name] < SECONDS:
                begin = time.perf_counter()
                call()
                taken = time.perf_counter() - begin
                least[name], spent[name] = min(least[name], taken), spent[name] + taken
    return least


def peak(call: Callable[[], Any]) -> float:
    """Bytes that the process takes at most while it runs, above what it had before (Linux)."""
    # What was freed and not given back would hide what is taken.
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    call()
    return max(resident("VmHWM") - before, 1.0)


def resident(kind: str) -> float:
    """Bytes by the kernel's count."""
    (found,) = re.findall(rf"^{kind}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return float(found) * 1024


def rows(title: str, figures: Figures, scale: float) -> str:
    """A table: a row for each length, a column for each contestant."""
    lines = [title, "  " + "".join(f"{name:>14}" for name in ("length", *figures))]
    for steps in LENGTHS:
        cells = (f"{figures[name][steps] * scale:.1f}" if steps in figures[name] else "-" for name in figures)
        lines.append(f"  {steps:14,}" + "".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines)


def draw(times: Figures, memory: Figures) -> None:
    """Both tables as lines on logarithmic axes."""
    from rnnzoo.util.plots import COLOURS, figure

    with figure(PICTURE, columns=2) as axes:
        panels = ((times, 1e3, "milliseconds of a training step"), (memory, 1e-6, "megabytes of a training step"))
        for axis, (figures, scale, label) in zip(axes, panels, strict=True):
            for colour, (name, line) in zip(COLOURS, figures.items(), strict=False):
                axis.plot(list(line), [value * scale for value in line.values()], "o-", color=colour, label=name)
            axis.set(xscale="log", yscale="log", xlabel="steps of the sequence", ylabel=label)
            axis.set_xticks(LENGTHS, [f"{steps:,}" for steps in LENGTHS])
            axis.minorticks_off()
        axes[0].legend(frameon=False)


def streamed() -> str:
    """Microseconds of a step of the converted layers, at the beginning of a stream and after many steps."""
    import keras

    import streaming
    from benchmarks.timing import microseconds

    frame = np.random.default_rng(0).normal(size=(1, UNITS)).astype("float32")
    streams = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, maker in contestants().items():
            # Without a bound on what it remembers, attention has no stream.
            for window in WINDOWS if name == "Transformer" else (None,):
                x, path = keras.Input((None, UNITS)), Path(folder) / "layer.tflite"
                streaming.convert(keras.Model(x, maker()(x)), path, attention_window=window)
                key = f"{name}, {window} steps" if window else name
                streams[key] = streaming.load(path).create_stream()
    calls = {name: functools.partial(stream.step, frame) for name, stream in streams.items()}
    early = microseconds(calls, rounds=40, seconds=0.005, of=min)
    for stream in streams.values():
        stream.feed(np.repeat(frame, LATE, axis=0))
    late = microseconds(calls, rounds=40, seconds=0.005, of=min)
    lines = [f"microseconds of a step of a stream, at its beginning and after {LATE:,} steps"]
    lines += [f"  {name:24} {early[name]:8.1f} {late[name]:8.1f}" for name in early]
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:] == ["memory"]:
        print(json.dumps(measure_memory()))
    else:
        main()
