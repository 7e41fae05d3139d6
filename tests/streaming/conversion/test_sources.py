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


def test_the_source_is_found(tmp_path: Path) -> None:
    model = translator()
    report = streaming.convert(model, tmp_path / "a.tflite")
    assert report.signatures["encode"] == (1, 128)
    assert any("Stream.encode: source, 128 positions at most (max_length)" in note for note in report.notes)
    check(model, tmp_path / "a.tflite")
    stream = streaming.load(tmp_path / "a.tflite").create_stream()
    with pytest.raises(streaming.InputError, match=r"129 positions, expected 1 to 128; .* larger max_length"):
        stream.encode(np.zeros((129, 6), "float32"))


@pytest.mark.slow
def test_a_source_of_another_fixed_length_is_found(tmp_path: Path) -> None:
    source, target = keras.Input((8, 6), name="source"), keras.Input((5, 5), name="target")
    _, state = layers.GRU(4, return_state=True)(source)
    model = keras.Model([source, target], layers.GRU(4, return_sequences=True)(target, initial_state=state))
    report = streaming.convert(model, tmp_path / "a.tflite")
    assert report.window is None
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((8, 6)).astype("float32"), generator.standard_normal((5, 5)).astype("float32")
    rows = streaming.load(tmp_path / "a.tflite").create_stream().feed({"source": x, "target": y})
    np.testing.assert_allclose(rows, model([x[None], y[None]])[0], atol=2e-6)


def test_a_source_of_a_running_value_is_named(tmp_path: Path) -> None:
    a, b = keras.Input((None, 6), name="a"), keras.Input((None, 6), name="b")
    pooled = layers.GlobalAveragePooling1D()(layers.MaxPooling1D(2)(layers.GRU(4, return_sequences=True)(a)))
    model = keras.Model([a, b], layers.Concatenate()([pooled, layers.GRU(4)(b)]))
    with pytest.raises(streaming.NotStreamableError, match=r"encode=\['b'\], max_length=N") as refusal:
        streaming.convert(model, tmp_path / "a.tflite")
    assert "\n" not in str(refusal.value)
    streaming.convert(model, tmp_path / "a.tflite", encode=["b"], max_length=LONGEST)


@pytest.mark.parametrize("calls", ["feed", "step", "batcher"])
def test_the_source_comes_with_the_steps(calls: str, tmp_path: Path) -> None:
    model = translator()
    streaming.convert(model, tmp_path / "a.tflite", encode=["source"], max_length=LONGEST, verify=False)
    loaded = streaming.load(tmp_path / "a.tflite")
    stream, generator = loaded.create_stream(), np.random.default_rng(0)
    x, y = generator.standard_normal((4, 6)).astype("float32"), generator.standard_normal((3, 5)).astype("float32")
    run = {"feed": stream.feed, "step": stream.step, "batcher": lambda x: loaded.batcher.submit(stream, x).result()}
    with pytest.raises(streaming.InputError, match="'target' has shape"):
        run[calls]({"source": x, "target": y[:1, :2]})
    with pytest.raises(streaming.StreamingError, match="has not seen its source"):
        stream.feed(y)  # a call that fails leaves the stream as it was
    rows = [run[calls]({"source": x, "target": y[:1]}), stream.feed(y[1:2])]
    again = loaded.restore(stream.save())
    for last in (stream, again):
        with pytest.raises(streaming.InputError, match="not the one that the stream began with"):
            last.feed({"source": x + 1, "target": y[2:]})
        got = np.concatenate([*rows, last.feed({"source": x, "target": y[2:]})])
        np.testing.assert_allclose(got, model([x[None], y[None]])[0], atol=2e-6)


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
