"""Encoder and decoder: the input to give whole is found, and attention may be written out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import streaming

LONGEST = 7


def translator(decoder: Any = None) -> keras.Model:
    source, target = keras.Input((None, 6), name="source"), keras.Input((None, 5), name="target")
    h, state = layers.GRU(4, return_sequences=True, return_state=True)(source)
    d = layers.GRU(4, return_sequences=True)(target, initial_state=state)
    return keras.Model([source, target], layers.Dense(3)(d) if decoder is None else decoder(d, h))


def dot_layer(d: Any, h: Any) -> Any:
    weights = layers.Activation("softmax")(layers.Dot(axes=[2, 2])([d, h]))
    return layers.Concatenate()([layers.Dot(axes=[2, 1])([weights, h]), d])


def matmul(d: Any, h: Any) -> Any:
    return ops.matmul(ops.softmax(ops.matmul(d, ops.transpose(h, (0, 2, 1))) / 2.0, axis=-1), h)


def einsum(d: Any, h: Any) -> Any:
    weights = ops.softmax(ops.einsum("bsf,btf->bst", h, d), axis=1)
    return ops.einsum("bst,bsf->btf", weights, h)


def additive(d: Any, h: Any) -> Any:
    both = layers.Dense(5)(ops.expand_dims(d, 2)) + ops.expand_dims(layers.Dense(5)(h), 1)
    weights = ops.softmax(layers.Dense(1)(ops.tanh(both)), axis=2)
    return [ops.sum(weights * ops.expand_dims(h, 1), axis=2), ops.squeeze(weights, -1)]


def gate_of_mean(d: Any, h: Any) -> Any:
    scores = ops.matmul(d, layers.Permute((2, 1))(h))
    return d * ops.mean(scores, axis=-1, keepdims=True) * ops.max(scores, axis=2, keepdims=True)


def check(model: keras.Model, path: Path) -> None:
    """A source shorter than the longest, streamed, against the model."""
    loaded = streaming.load(path)
    generator = np.random.default_rng(0)
    for positions in (2, 4, LONGEST):
        source = generator.standard_normal((positions, 6)).astype("float32")
        target = generator.standard_normal((9, 5)).astype("float32")
        stream = loaded.create_stream()
        stream.encode(source)
        rows = stream.feed(target)
        wanted = keras.tree.flatten(model([np.stack([source] * 2), np.stack([target] * 2)]))
        for got, value in zip(rows.values() if isinstance(rows, dict) else [rows], wanted, strict=True):
            value = np.asarray(value)[0]
            np.testing.assert_allclose(got[..., : value.shape[-1]], value, atol=2e-6)


def test_the_refusal_names_what_works(tmp_path: Path) -> None:
    model = translator()
    with pytest.raises(streaming.NotStreamableError, match=r"encode=\['source'\], max_length=N") as refusal:
        streaming.convert(model, tmp_path / "a.tflite")
    assert "\n" not in str(refusal.value)
    assert "'source' cannot come step by step" in str(refusal.value)
    streaming.convert(model, tmp_path / "a.tflite", encode=["source"], max_length=LONGEST)
    check(model, tmp_path / "a.tflite")


@pytest.mark.parametrize("decoder", [dot_layer, matmul, einsum, additive, gate_of_mean])
def test_max_length_alone_finds_the_source(decoder: Any, tmp_path: Path) -> None:
    model = translator(decoder)
    report = streaming.convert(model, tmp_path / "a.tflite", max_length=LONGEST)
    assert report.signatures["encode"] == (1, LONGEST)
    check(model, tmp_path / "a.tflite")


def test_states_taken_from_the_sequence_itself_stay_refused(tmp_path: Path) -> None:
    x = keras.Input((None, 6))
    _, *states = layers.LSTM(4, return_state=True)(x)
    model = keras.Model(x, layers.LSTM(4)(x, initial_state=states))
    with pytest.raises(streaming.NotStreamableError, match="initial state from the sequence itself") as refusal:
        streaming.convert(model, tmp_path / "a.tflite")
    assert "encode=" not in str(refusal.value)


def test_a_softmax_along_anything_else_of_scores_is_refused(tmp_path: Path) -> None:
    model = translator(lambda d, h: ops.matmul(ops.cumsum(ops.matmul(d, ops.transpose(h, (0, 2, 1))), axis=2), h))
    with pytest.raises(streaming.NotStreamableError, match=r"cumsum.*works along a source"):
        streaming.convert(model, tmp_path / "a.tflite", encode=["source"], max_length=LONGEST)
