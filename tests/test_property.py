"""The promise: any cut of any input through any model of supported layers equals the offline model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from conftest import RUNTIMES, installed
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from keras import layers, ops
from test_conversion import Decay, randomize

import streaming

# Keras warns that its convolutions drop masks; that the stream does too is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:.*does not support masking", "ignore:.*mask attached to it")

FEATURES = 5
WIDTH = 4

BLOCKS = {
    "dense": lambda x: layers.Dense(WIDTH, activation="tanh")(x),
    "conv": lambda x: layers.Conv1D(WIDTH, 3, padding="causal", activation="relu")(x),
    "dilated": lambda x: layers.Conv1D(WIDTH, 2, padding="causal", dilation_rate=3)(x),
    "simple_rnn": lambda x: layers.SimpleRNN(WIDTH, return_sequences=True)(x),
    "lstm": lambda x: layers.LSTM(WIDTH, return_sequences=True)(x),
    "gru": lambda x: layers.GRU(WIDTH, return_sequences=True)(x),
    "gru_before": lambda x: layers.GRU(WIDTH, reset_after=False, return_sequences=True)(x),
    "cells": lambda x: layers.RNN([layers.GRUCell(3), layers.LSTMCell(WIDTH)], return_sequences=True)(x),
    "own_cell": lambda x: layers.RNN(Decay(WIDTH), return_sequences=True)(layers.Dense(WIDTH)(x)),
    "batch_norm": lambda x: layers.BatchNormalization()(x),
    "layer_norm": lambda x: layers.LayerNormalization()(x),
    "dropout": lambda x: layers.Dropout(0.5)(x),
    "softmax": lambda x: layers.Softmax()(x),
    "arithmetic": lambda x: ops.tanh(x * 0.5) + 1.0,
    "residual": lambda x: layers.Add()([x, layers.Dense(x.shape[-1])(x)]),
    "concatenate": lambda x: layers.Concatenate()([x, layers.GRU(2, return_sequences=True)(x)]),
}
HEADS = {
    "sequence": lambda x: layers.Dense(3)(x),
    "last": lambda x: layers.Dense(3)(layers.LSTM(WIDTH)(x)),
    "both": lambda x: [layers.Dense(2)(x), layers.GRU(3)(x)],
}


def build(blocks: list[str], head: str, embedded: bool) -> keras.Model:
    keras.utils.clear_session()
    source = keras.Input((None,), dtype="int32") if embedded else keras.Input((None, FEATURES))
    x = layers.Embedding(13, WIDTH, mask_zero=True)(source) if embedded else source
    for name in blocks:
        x = BLOCKS[name](x)
    return randomize(keras.Model(source, HEADS[head](x)), seed=len(blocks))


def run(stream: Any, x: np.ndarray, cuts: list[int]) -> list[np.ndarray]:
    pieces = [stream.feed(part) for part in np.split(x, sorted(cuts))] + [stream.finish()]
    if not isinstance(pieces[0], dict):
        return [np.concatenate(pieces)]
    return [np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]]


@settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    blocks=st.lists(st.sampled_from(sorted(BLOCKS)), min_size=2, max_size=6),
    head=st.sampled_from(sorted(HEADS)),
    embedded=st.booleans(),
    chunk=st.sampled_from([None, 3]),
    steps=st.integers(1, 20),
    data=st.data(),
)
def test_any_cut_equals_offline(
    blocks: list[str], head: str, embedded: bool, chunk: int | None, steps: int, data: Any
) -> None:
    model = build(blocks, head, embedded)
    generator = np.random.default_rng(steps)
    x = generator.integers(0, 13, steps) if embedded else generator.normal(size=(steps, FEATURES))
    x = x.astype("int32" if embedded else "float32")
    offline = [np.asarray(y)[0] for y in keras.tree.flatten(model(x[None], training=False))]
    cuts = [data.draw(st.lists(st.integers(0, steps), max_size=6)) for _ in range(2)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        streaming.convert(model, path, chunk=chunk, verify=False)
        for runtime in filter(installed, RUNTIMES):
            loaded = streaming.load(path, runtime=runtime)
            stream = loaded.create_stream()
            for cut in (*cuts, list(range(steps))):
                stream.reset()
                for got, expected, out in zip(run(stream, x, cut), offline, loaded.metadata.outputs, strict=True):
                    got = got[-1] if out.running else got
                    scale = max(1.0, np.abs(expected).max())
                    assert got.shape == expected.shape
                    assert np.abs(got - expected).max() <= 1e-5 * scale, (blocks, head, embedded, chunk, runtime, cut)
