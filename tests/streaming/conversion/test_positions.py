"""Layers that count the steps: position embeddings, sines of the position, causal masks built by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import streaming

ROWS = 12


class TokensAndPositions(layers.Layer):
    """Of the Keras transformer examples."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.place = layers.Embedding(30, 8), layers.Embedding(ROWS, 8)

    def call(self, x: Any) -> Any:
        return self.token(x) + self.place(ops.arange(0, ops.shape(x)[-1], 1))


class SlicedTable(layers.Layer):
    def build(self, shape: Any) -> None:
        self.table = self.add_weight(shape=(1, ROWS, shape[-1]), initializer="normal")

    def call(self, x: Any) -> Any:
        return x + self.table[:, : ops.shape(x)[1]]


class Sines(layers.Layer):
    def call(self, x: Any) -> Any:
        places = ops.cast(ops.arange(ops.shape(x)[1]), "float32")[:, None]
        angles = places / np.array([1.0, 1.0, 10.0, 10.0], "float32")
        return x + ops.expand_dims(ops.where(np.arange(4) % 2 == 0, ops.sin(angles), ops.cos(angles)), 0)


class Block(layers.Layer):
    """A miniature GPT's block, with the causal mask that it builds by hand."""

    def __init__(self, sees: int = 0) -> None:
        super().__init__()
        self.attention, self.norm, self.sees = layers.MultiHeadAttention(2, 4), layers.LayerNormalization(), sees

    def call(self, x: Any) -> Any:
        n = ops.shape(x)[1]
        i, j = ops.arange(n)[:, None], ops.arange(n)
        mask = ops.reshape(ops.cast(i >= j - self.sees, "bool"), (1, n, n))
        return self.norm(x + self.attention(x, x, attention_mask=mask))


def rows_and_model(model: keras.Model, x: np.ndarray, path: Path, **options: Any) -> tuple[np.ndarray, np.ndarray, Any]:
    report = streaming.convert(model, path, verify=False, **options)
    stream = streaming.load(path).create_stream()
    rows = np.concatenate([stream.feed(x[:3]), stream.feed(x[3:4]), stream.feed(x[4:]), stream.finish()])
    return rows, np.asarray(model(np.stack([x] * 2)))[0], report


def test_position_embeddings_and_a_causal_mask_by_hand(tmp_path: Path) -> None:
    ids = keras.Input((None,), dtype="int32")
    model = keras.Model(ids, Block()(Block()(TokensAndPositions()(ids))))
    x = np.random.default_rng(0).integers(0, 30, ROWS).astype("int32")
    rows, wanted, report = rows_and_model(model, x, tmp_path / "a.tflite", attention_window=ROWS)
    np.testing.assert_allclose(rows, wanted, atol=5e-6)
    assert any(f"knows {ROWS} positions" in note for note in report.notes)


@pytest.mark.parametrize("kind", [SlicedTable, Sines])
@pytest.mark.parametrize("chunk", [None, 4])
def test_tables_of_positions_behind_a_delay(kind: type[layers.Layer], chunk: int | None, tmp_path: Path) -> None:
    x = keras.Input((None, 3))
    model = keras.Model(x, kind()(layers.Conv1D(4, 3, padding="same")(x)))
    values = np.random.default_rng(1).standard_normal((ROWS, 3)).astype("float32")
    rows, wanted, _ = rows_and_model(model, values, tmp_path / "a.tflite", chunk=chunk)
    np.testing.assert_allclose(rows, wanted, atol=2e-6)


def test_a_bounded_window_is_measured_within_the_table(tmp_path: Path) -> None:
    ids = keras.Input((None,), dtype="int32")
    model = keras.Model(ids, Block()(TokensAndPositions()(ids)))
    report = streaming.convert(model, tmp_path / "a.tflite", attention_window=3)
    assert report.approximation is not None
    assert report.approximation.steps <= 4 * ROWS


def test_a_mask_that_shows_what_is_to_come_is_refused(tmp_path: Path) -> None:
    x = keras.Input((None, 8))
    with pytest.raises(streaming.NotStreamableError):
        streaming.convert(keras.Model(x, Block(sees=1)(x)), tmp_path / "a.tflite", attention_window=4)
