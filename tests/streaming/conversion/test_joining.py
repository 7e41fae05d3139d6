"""Static steps before and after a sequence: a picture as the first word, a question after the text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import streaming


def captioner(join: Any, *, sequences: bool, delayed: bool = False) -> keras.Model:
    image, words = keras.Input((8,), name="image"), keras.Input((None,), dtype="int32", name="words")
    e = layers.Embedding(20, 8)(words)
    if delayed:
        e = layers.Conv1D(8, 3, padding="same")(e)
    joined = join(layers.Reshape((2, 8))(layers.Dense(16)(image)), e)
    return keras.Model([image, words], layers.LSTM(5, return_sequences=sequences)(joined))


JOINS = {
    "image first": lambda i, e: layers.Concatenate(axis=1)([i, e]),
    "words first": lambda i, e: ops.concatenate([e, i], axis=1),
    "both ends": lambda i, e: layers.Concatenate(axis=-2)([i, e, i[:, :1]]),
}


@pytest.mark.parametrize("name", JOINS)
@pytest.mark.parametrize(("sequences", "delayed", "chunk"), [(True, False, None), (False, True, 3)])
def test_static_steps_beside_a_sequence(name: str, sequences: bool, delayed: bool, chunk: Any, tmp_path: Path) -> None:
    model = captioner(JOINS[name], sequences=sequences, delayed=delayed)
    streaming.convert(model, tmp_path / "a.tflite", chunk=chunk, verify=False)
    loaded = streaming.load(tmp_path / "a.tflite")
    generator = np.random.default_rng(0)
    image = generator.standard_normal(8).astype("float32")
    stream = loaded.create_stream()
    for steps in (1, 2, 7):
        words = generator.integers(0, 20, steps).astype("int32")
        stream.reset()
        cut = steps // 2
        pieces = [stream.feed({"image": image, "words": part}) for part in (words[:cut], words[cut:])]
        rows = np.concatenate([*pieces, stream.finish()])
        wanted = np.asarray(model([np.stack([image] * 2), np.stack([words] * 2)]))[0]
        np.testing.assert_allclose(rows if sequences else rows[-1], wanted, atol=2e-6)


def test_two_sequences_one_after_the_other_are_refused(tmp_path: Path) -> None:
    x, y = keras.Input((None, 3), name="x"), keras.Input((None, 3), name="y")
    model = keras.Model([x, y], layers.LSTM(2)(layers.Concatenate(axis=1)([x, y])))
    with pytest.raises(streaming.NotStreamableError, match="joins two sequences one after the other"):
        streaming.convert(model, tmp_path / "a.tflite")


def test_the_remedy_for_a_shift_works(tmp_path: Path) -> None:
    x = keras.Input((None, 3))
    shifted = ops.concatenate([ops.zeros_like(x[:, :1]), x[:, :-1]], axis=1)
    model = keras.Model(x, shifted)
    remedy = r"a shift that begins with zeros is ops.pad\(x\[:, :-1\], \(\(0, 0\), \(1, 0\), \(0, 0\)\)\)"
    with pytest.raises(streaming.NotStreamableError, match=remedy):
        streaming.convert(model, tmp_path / "a.tflite")
    streaming.convert(keras.Model(x, ops.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0)))), tmp_path / "a.tflite")
    stream = streaming.load(tmp_path / "a.tflite").create_stream()
    rows = np.random.default_rng(0).standard_normal((6, 3)).astype("float32")
    np.testing.assert_array_equal(np.concatenate([stream.feed(rows), stream.finish()]), model(rows[None])[0])
