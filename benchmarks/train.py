"""One training step of a recurrent layer: this project's against Keras, Keras under XLA, and PyTorch, on two cores."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np

BATCH, STEPS, INPUTS, RATE, CORES = 32, 100, 64, 0.01, 2
ROUNDS = 20
CASES = (
    ("LSTM", 256, False),
    ("GRU", 256, False),
    ("LSTM", 64, False),
    ("LSTM", 512, False),
    ("GRU", 64, False),
    ("GRU", 512, False),
    *((kind, units, True) for kind in ("LSTM", "GRU") for units in (64, 256, 512)),
)
# Steps of minGRU, against Keras's GRU of as many units.
LONG, UNITS = 1024, 256


def main() -> None:
    """Print a table for each layer, width and mask."""
    import keras
    import tensorflow as tf
    import torch

    from benchmarks.timing import table

    torch.set_num_threads(CORES)
    tf.config.threading.set_intra_op_parallelism_threads(CORES)
    print(
        f"tensorflow {tf.__version__}, keras {keras.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {CORES} threads; batch {BATCH}, {STEPS} steps, {INPUTS} inputs; "
        f"forward, backward and update; best of {ROUNDS}, in turn"
    )
    for kind, units, masked in CASES:
        title = f"{kind}-{units}{', masked' if masked else ''}: milliseconds a training step"
        print(table(title, fastest(contestants(kind, units, masked)), unit="ms"), flush=True)
    title = f"minGRU-{UNITS}, {LONG} steps: milliseconds a training step"
    print(table(title, fastest(scanned()), unit="ms"), flush=True)


def contestants(kind: str, units: int, masked: bool) -> dict[str, Callable[[], Any]]:
    """One training step in each library, compiled."""
    import keras

    import rnnzoo.layers

    generator = np.random.default_rng(0)
    x = generator.normal(size=(BATCH, STEPS, INPUTS)).astype("float32")
    lengths = generator.integers(STEPS // 2, STEPS + 1, BATCH) if masked else None
    calls = {
        "rnnzoo": keras_step(getattr(rnnzoo.layers, kind), units, x, lengths, False),
        "rnnzoo + XLA": keras_step(getattr(rnnzoo.layers, kind), units, x, lengths, True),
        "Keras": keras_step(getattr(keras.layers, kind), units, x, lengths, False),
        "Keras + XLA": keras_step(getattr(keras.layers, kind), units, x, lengths, True),
    }
    if not masked:  # PyTorch knows no mask: its packed sequences are another input.
        calls["PyTorch"] = torch_step(kind, units, x)
    return calls


def scanned() -> dict[str, Callable[[], Any]]:
    """minGRU, whose steps are all computed at once, and Keras's GRU."""
    import keras

    from rnnzoo.layers import MinGRU

    x = np.random.default_rng(0).normal(size=(BATCH, LONG, INPUTS)).astype("float32")
    kinds = {"rnnzoo MinGRU": MinGRU, "Keras GRU": keras.layers.GRU}
    return {name: keras_step(kind, UNITS, x, None, False) for name, kind in kinds.items()}


def keras_step(layer_class: Any, units: int, x: np.ndarray, lengths: Any, jit: bool) -> Callable[[], Any]:
    """Mean of the squared outputs as the loss, plain gradient descent."""
    import tensorflow as tf

    layer = layer_class(units, return_sequences=True)
    layer.build(x.shape)
    weights = [variable.value for variable in layer.trainable_weights]
    mask = None if lengths is None else tf.sequence_mask(lengths, x.shape[1])

    @tf.function(jit_compile=jit)
    def step(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(layer(x, mask=mask, training=True)))
        for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign_sub(RATE * gradient)
        return loss

    inputs = tf.constant(x)
    return lambda: step(inputs).numpy()


def torch_step(kind: str, units: int, x: np.ndarray) -> Callable[[], Any]:
    """The same in PyTorch."""
    import torch

    layer = getattr(torch.nn, kind)(INPUTS, units, batch_first=True)
    optimizer = torch.optim.SGD(layer.parameters(), RATE)
    inputs = torch.from_numpy(x)

    def step() -> float:
        optimizer.zero_grad()
        loss = layer(inputs)[0].square().mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def fastest(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Milliseconds of the fastest run of each, in turn, so that a busy machine is busy for all of them."""
    for call in calls.values():
        call()
        call()
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            least[name] = min(least[name], (time.perf_counter() - begin) * 1e3)
    return least
