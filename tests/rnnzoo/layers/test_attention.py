"""Attention inside and outside of a decoder: weights, masks, states, and one file with `encode` and `step`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from small_models import randomize

import streaming
from rnnzoo.layers import AttentionCell, AttentionDecoder, BahdanauAttention, Bidirectional, LuongAttention

SOURCE, TARGET, LONGEST = 12, 9, 8
KINDS = {
    "bahdanau": (lambda: BahdanauAttention(7), "before"),
    "luong": (LuongAttention, "after"),
    "local-m": (lambda: LuongAttention(window=2), "after"),
    "local-p": (lambda: LuongAttention("concat", 5, window=2, predictive=True), "before"),
}


def decoder(kind: str, cell: Any = None, **options: Any) -> AttentionDecoder:
    make, attend = KINDS[kind]
    return AttentionDecoder(AttentionCell(cell or layers.LSTMCell(8), make(), attend=attend), **options)


def translator(kind: str, cell: Any = None) -> keras.Model:
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    embedded = layers.Embedding(SOURCE, 6, mask_zero=True)(source)
    memory, *_, last = Bidirectional(layers.GRU(4, return_sequences=True, return_state=True))(embedded)
    states = [layers.Dense(8, activation="tanh")(last) for _ in range(2)]
    words = layers.Embedding(TARGET, 5, mask_zero=True)(target)
    y = decoder(kind, cell)(words, memory, initial_state=states)
    return randomize(keras.Model([source, target], layers.Dense(TARGET)(y)))


@pytest.mark.parametrize("kind", ["bahdanau", "local-m"])
def test_a_translator_streams_from_an_encoded_source(kind: str, tmp_path: Any) -> None:
    model, path = translator(kind), tmp_path / "m.tflite"
    report = streaming.convert(model, path, encode=["source"], max_length=LONGEST, batch_sizes=(1, 2))
    assert report.max_abs_error < 1e-5
    stream = streaming.load(path).create_stream()
    for source in ([3], [3, 0, 5, 1], [1, 2, 3, 4, 5, 6, 7, 8]):
        target = np.array([1, 4, 0, 3, 2, 7], "int32")
        stream.reset()
        stream.encode(np.array(source, "int32"))
        expected = model([np.array([source]), target[None]])[0]
        np.testing.assert_allclose(stream.feed(target), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_keys_are_computed_once_a_source(tmp_path: Any) -> None:
    model, path = translator("bahdanau"), tmp_path / "m.tflite"
    report = streaming.convert(model, path, encode=["source"], max_length=LONGEST, verify=False)
    states, source = 8 + 8 + 1, LONGEST * (8 + 1) + LONGEST * (7 + 1) + LONGEST * (1 + 1) + 2 * 8
    # h, c and whether the stream has begun; then what `encode` hands over: memory, keys, mask and the initial state.
    assert report.state_bytes == 4 * (states + source)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_sum_to_one_and_none_is_given_to_what_is_masked(kind: str) -> None:
    rng = np.random.default_rng(0)
    x, memory = rng.normal(size=(3, 5, 4)).astype("float32"), rng.normal(size=(3, 6, 7)).astype("float32")
    mask = np.arange(6) < np.array([[6], [3], [0]])
    y, weights = decoder(kind, return_attention_scores=True)(x, memory, memory_mask=mask)
    weights = np.asarray(weights)
    assert weights.shape == (3, 5, 6)
    assert np.all(weights[~np.broadcast_to(mask[:, None], weights.shape)] == 0)
    if kind in ("bahdanau", "luong"):
        np.testing.assert_allclose(weights[:2].sum(-1), 1, rtol=1e-6)
    assert np.all(np.isfinite(np.asarray(y)))


@pytest.mark.parametrize("kind", KINDS)
def test_padding_of_source_and_target_changes_nothing(kind: str) -> None:
    rng = np.random.default_rng(1)
    x, memory = rng.normal(size=(1, 5, 4)).astype("float32"), rng.normal(size=(1, 4, 7)).astype("float32")
    layer = decoder(kind, return_state=True)
    expected = [np.asarray(v) for v in layer(x, memory)]
    padded = [np.concatenate([v, 9 * np.ones_like(v[:, :2])], axis=1) for v in (x, memory)]
    masks = {"inputs_mask": np.arange(7)[None] < 5, "memory_mask": np.arange(6)[None] < 4}
    got = [np.asarray(v) for v in layer(*padded, **masks)]
    np.testing.assert_allclose(got[0][:, :5], expected[0], rtol=1e-5, atol=1e-6)
    assert not got[0][:, 5:].any()
    for a, b in zip(got[1:], expected[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_stacked_cells_pieces_and_dropout() -> None:
    rng = np.random.default_rng(2)
    x, memory = rng.normal(size=(2, 6, 4)).astype("float32"), rng.normal(size=(2, 5, 7)).astype("float32")
    cells = layers.StackedRNNCells([layers.LSTMCell(3, dropout=0.5), layers.GRUCell(8, recurrent_dropout=0.5)])
    layer = decoder("luong", cells, return_state=True)
    whole = np.asarray(layer(x, memory)[0])
    first, *states = layer(x[:, :2], memory)
    rest = layer(x[:, 2:], memory, initial_state=states)[0]
    np.testing.assert_allclose(np.concatenate([first, rest], axis=1), whole, rtol=1e-5, atol=1e-6)
    assert not np.allclose(layer(x, memory, training=True)[0], whole)
    np.testing.assert_allclose(layer(x, memory)[0], whole)


@pytest.mark.slow
def test_learns_to_reverse_and_saves(tmp_path: Any) -> None:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    source = rng.integers(1, SOURCE, (256, 4))
    target = source[:, ::-1] % TARGET
    shifted = np.concatenate([np.ones((256, 1), int), target[:, :-1]], axis=1)
    s, t = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    memory = Bidirectional(layers.GRU(16, return_sequences=True))(layers.Embedding(SOURCE, 16)(s))
    y = decoder("bahdanau", layers.GRUCell(32))(layers.Embedding(SOURCE, 16)(t), memory)
    model = keras.Model([s, t], layers.Dense(TARGET)(y))
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False
    )
    losses = model.fit([source, shifted], target, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < 0.6 * losses[0]
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again([source, shifted]), model([source, shifted]))


def test_mistakes_are_named(tmp_path: Any) -> None:
    cell = AttentionCell(layers.GRUCell(8), BahdanauAttention(4))
    for make, match in (
        (lambda: LuongAttention("sum"), "'dot', 'general' or 'concat'"),
        (lambda: LuongAttention(predictive=True), "expected a window"),
        (lambda: LuongAttention("dot")(np.ones((1, 2, 3)), np.ones((1, 2, 4))), "widths 3 and 4"),
        (lambda: BahdanauAttention(4)(np.ones((1, 3)), np.ones((1, 2, 4))), r"query \(B, T, D\)"),
        (lambda: AttentionCell(layers.GRUCell(8), layers.Attention()), "BahdanauAttention or LuongAttention"),
        (lambda: AttentionCell(layers.GRUCell(8), BahdanauAttention(4), attend="within"), "'before' or 'after'"),
        (lambda: AttentionCell(layers.GRUCell(8), BahdanauAttention(4), units=3), "attend='after' only"),
        (lambda: AttentionDecoder(layers.GRUCell(8)), "expected an AttentionCell"),
    ):
        with pytest.raises(ValueError, match=match):
            make()
    x = keras.Input((None, 3))
    model = keras.Model(x, AttentionDecoder(cell)(x, layers.Dense(4)(x)))
    with pytest.raises(streaming.NotStreamableError, match="reads 'keys' as a whole at each step"):
        streaming.convert(model, tmp_path / "m.tflite")
