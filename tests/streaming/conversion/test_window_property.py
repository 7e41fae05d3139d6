"""Windows of random graphs: any blocks x hop x cut x chunk x batch x state x padding x quantization x runtime."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from keras import layers, ops
from runtimes import RUNTIMES, installed
from small_models import randomize
from window_models import ends_of

import streaming

pytestmark = pytest.mark.filterwarnings("ignore:.*does not support masking", "ignore:.*mask attached to it")

STEPS, WIDTH = 9, 4

# Kept from step to step, computed anew, and what may be either, by its stride and the hop.
BLOCKS = {
    "dense": lambda x: layers.Dense(WIDTH, activation="tanh")(x),
    "valid": lambda x: layers.Conv1D(WIDTH, 2, activation="relu")(x),
    "strided": lambda x: layers.Conv1D(WIDTH, 2, strides=2)(x),
    "dilated": lambda x: layers.Conv1D(WIDTH, 2, dilation_rate=2)(x),
    "depthwise": lambda x: layers.DepthwiseConv1D(2, depth_multiplier=1)(x),
    "pool": lambda x: layers.MaxPooling1D(2, strides=1)(x),
    "same": lambda x: layers.Conv1D(WIDTH, 3, padding="same")(x),
    "causal": lambda x: layers.Conv1D(WIDTH, 3, padding="causal")(x),
    "bidirectional": lambda x: layers.Bidirectional(layers.GRU(2, return_sequences=True))(x),
    "backwards": lambda x: layers.SimpleRNN(WIDTH, return_sequences=True, go_backwards=True)(x),
    "attention": lambda x: layers.MultiHeadAttention(2, 2)(x, x),
    "group_norm": lambda x: layers.GroupNormalization(2)(layers.Dense(WIDTH)(x)),
    "batch_norm": lambda x: layers.BatchNormalization()(x),
    "residual": lambda x: layers.Add()([x, layers.Dense(x.shape[-1])(x)]),
    "mixed": lambda x: layers.Permute((2, 1))(layers.Dense(x.shape[1])(layers.Permute((2, 1))(x))),
    "masked": lambda x: layers.LSTM(WIDTH, return_sequences=True)(layers.Masking()(x)),
}
HEADS = {
    "flatten": lambda x: layers.Dense(2)(layers.Flatten()(x)),
    "last": lambda x: layers.GRU(3)(x),
    "pooling": lambda x: ops.sum(layers.Softmax(axis=1)(layers.Dense(1)(x)) * x, axis=1),
    "repeat": lambda x: layers.SimpleRNN(2, return_sequences=True)(layers.RepeatVector(3)(layers.GRU(3)(x))),
    "sequence": lambda x: layers.Dense(2)(x),
    "both": lambda x: [layers.Dense(2)(layers.Flatten()(x)), layers.GlobalMaxPooling1D()(x)],
}


def build(blocks: list[str], head: str) -> keras.Model:
    keras.utils.clear_session()
    x = source = keras.Input((STEPS, 3))
    for name in blocks:
        x = BLOCKS[name](x)
    return randomize(keras.Model(source, HEADS[head](x)), seed=len(blocks))


def expected(model: keras.Model, x: np.ndarray, hop: int, pad: str | None) -> list[np.ndarray]:
    rows = []
    for end in ends_of(len(x), hop, pad, STEPS):
        part = x[max(0, end - STEPS) : end]
        missing = (STEPS - len(part), 0) if pad == "pre" else (0, STEPS - len(part))
        rows.append(np.pad(part, [missing, (0, 0)]))
    outputs = keras.tree.flatten(model(np.stack([*rows, np.zeros((STEPS, 3), "float32")]), training=False))
    return [np.asarray(output)[:-1] for output in outputs]


def run(stream: Any, x: np.ndarray, cuts: list[int]) -> list[np.ndarray]:
    pieces = [*(stream.feed(part) for part in np.split(x, cuts)), stream.finish()]
    if not isinstance(pieces[0], dict):
        return [np.concatenate(pieces)]
    return [np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]]


def check(blocks: list[str], head: str, hop: int, chunks: int, pad: str | None, form: str, data: Any) -> None:
    options: dict[str, Any] = {"batch": {"batch_sizes": (1, 2)}, "internal": {"state": "internal"}}.get(form, {})
    if form in ("dynamic", "float16"):
        options["quantize"] = form
    assume(not ("masked" in blocks and head == "pooling"))  # Keras's Softmax layer takes no mask of steps
    model = build(blocks, head)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.tflite")
        streaming.convert(model, path, window=STEPS, hop=hop, pad=pad, chunk=chunks * hop, **options)
        content = path.read_bytes()
        steps = data.draw(st.integers(0, 3 * STEPS))
        x = np.random.default_rng(steps).normal(size=(steps, 3)).astype("float32")
        x[steps // 3 : steps // 2] = 0
        cuts = sorted(data.draw(st.lists(st.integers(0, steps), max_size=4)))
        wanted = expected(model, x, hop, pad)
        tolerance = 0.3 if "quantize" in options else 1e-5
        for runtime in filter(installed, RUNTIMES):
            path.write_bytes(content)
            loaded = streaming.load(path, runtime)
            for got, want in zip(run(loaded.create_stream(), x, cuts), wanted, strict=True):
                assert got.shape == want.shape, (runtime, got.shape, want.shape)
                scale = max(1.0, float(np.max(np.abs(want), initial=0)))
                np.testing.assert_allclose(got, want, atol=tolerance * scale)
        if form != "internal":
            together = [loaded.create_stream() for _ in range(2)]
            part = np.random.default_rng(1).normal(size=(2, loaded.chunk, 3)).astype("float32")
            alone = [loaded.create_stream().step(rows) for rows in part]
            for got, want in zip(loaded.step_streams(together, list(part)), alone, strict=True):
                keras.tree.map_structure(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want)


ARGUMENTS: dict[str, Any] = {
    "blocks": st.lists(st.sampled_from(sorted(BLOCKS)), max_size=3),
    "head": st.sampled_from(sorted(HEADS)),
    "hop": st.integers(1, STEPS + 2),
    "chunks": st.integers(1, 2),
    "pad": st.sampled_from([None, "pre", "post"]),
    "form": st.sampled_from(["plain", "batch", "internal", "dynamic", "float16"]),
    "data": st.data(),
}
COMMON: dict[str, Any] = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
    "phases": (Phase.explicit, Phase.generate),
}


@settings(max_examples=3, **COMMON)
@given(**ARGUMENTS)
def test_windows_of_random_graphs(blocks, head, hop, chunks, pad, form, data):
    check(blocks, head, hop, chunks, pad, form, data)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=200, **COMMON)
@given(**ARGUMENTS)
def test_windows_of_many_random_graphs(blocks, head, hop, chunks, pad, form, data):
    check(blocks, head, hop, chunks, pad, form, data)
