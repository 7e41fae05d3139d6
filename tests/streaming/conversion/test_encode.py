"""Encoder-decoder and captioning models: one file with `encode` and `step`, exact for every source length."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from small_models import randomize

import streaming
from rnnzoo.layers import AttentionCell, AttentionDecoder, BahdanauAttention, LuongAttention
from streaming.runtime.decoding import beam_search, greedy

LONGEST, SOURCE, TARGET = 7, 12, 5

# Keras warns that its convolutions drop masks, and of a softmax over a source of one position.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not support masking", "ignore:.*mask attached to it", "ignore:.*You are using a softmax"
)


def translator(attention: str, masked: bool = True) -> keras.Model:
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    embedded = layers.Embedding(SOURCE, 6, mask_zero=masked)(source)
    encoded = layers.Bidirectional(layers.GRU(4, return_sequences=True))(embedded)
    states, *final = layers.LSTM(6, return_sequences=True, return_state=True)(encoded)
    decoded = layers.LSTM(6, return_sequences=True)(layers.Embedding(TARGET, 6)(target), initial_state=final)
    if attention == "additive":
        context = layers.AdditiveAttention()([decoded, states])
    elif attention == "dot":
        context = layers.Attention()([decoded, layers.Conv1D(6, 3, padding="same")(layers.Dense(6)(encoded))])
    elif attention == "heads":
        context = layers.MultiHeadAttention(2, 3)(decoded, states)
    else:
        context = decoded
    return randomize(keras.Model([source, target], layers.Dense(TARGET)(layers.Concatenate()([decoded, context]))))


@pytest.mark.parametrize("attention", ["none", "additive", "dot", "heads"])
@pytest.mark.parametrize("masked", [True, False])
def test_every_source_length_equals_offline(attention: str, masked: bool, convert: Any) -> None:
    model = translator(attention, masked)
    report, path = convert(model, encode=["source"], max_length=LONGEST, batch_sizes=(1, 3))
    assert report.max_abs_error < 1e-5
    assert set(report.signatures) == {"step", "step_b3", "encode"}
    stream = streaming.load(path).create_stream()
    generator = np.random.default_rng(1)
    for length in (1, 3, LONGEST):
        source = generator.integers(1, SOURCE, length).astype("int32")
        target = generator.integers(0, TARGET, 6).astype("int32")
        stream.reset()
        stream.encode(source)
        expected = model([source[None], target[None]])[0]
        np.testing.assert_allclose(stream.feed(target), expected, rtol=1e-5, atol=1e-5)


def test_on_every_runtime(runtime: str, convert: Any) -> None:
    model = translator("additive")
    _, path = convert(model, encode=["source"], max_length=LONGEST, verify=False)
    stream = streaming.load(path, runtime=runtime).create_stream()
    source, target = np.array([3, 0, 5, 1], "int32"), np.array([1, 2, 3], "int32")
    stream.encode({"source": source})
    np.testing.assert_allclose(stream.feed(target), model([source[None], target[None]])[0], rtol=1e-5, atol=1e-5)


def captioner() -> keras.Model:
    image, words = keras.Input((8, 8, 3), name="image"), keras.Input((None,), dtype="int32", name="words")
    features = layers.MaxPooling2D()(layers.Conv2D(6, 3, padding="same", activation="relu")(image))
    regions = layers.Reshape((16, 6))(features)
    start = layers.Dense(6)(layers.GlobalAveragePooling2D()(features))
    h = layers.GRU(6, return_sequences=True)(layers.Embedding(TARGET, 6)(words), initial_state=start)
    return randomize(keras.Model([image, words], layers.Dense(TARGET)(layers.AdditiveAttention()([h, regions]) + h)))


WEIGHTS = {
    "dot": lambda query, memory: layers.Attention()([query, memory], return_attention_scores=True),
    "additive": lambda query, memory: layers.AdditiveAttention()([query, memory], return_attention_scores=True),
    "Luong": lambda query, memory: LuongAttention("general")(query, memory, return_attention_scores=True),
    "Bahdanau": lambda query, memory: BahdanauAttention(5)(query, memory, return_attention_scores=True),
    "decoder": lambda query, memory: AttentionDecoder(
        AttentionCell(keras.layers.GRUCell(6), BahdanauAttention(5)), return_attention_scores=True
    )(query, memory),
}


def telling(attend: Any) -> keras.Model:
    """A model that gives the context and the weights of its attention to a masked source."""
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None, 3), name="target")
    memory = layers.GRU(6, return_sequences=True)(layers.Embedding(SOURCE, 6, mask_zero=True)(source))
    return randomize(keras.Model([source, target], attend(layers.GRU(6, return_sequences=True)(target), memory)))


@pytest.mark.parametrize(
    "attention",
    ["dot", "Bahdanau", *(pytest.param(n, marks=pytest.mark.slow) for n in ("additive", "Luong", "decoder"))],
)
def test_weights_of_attention_are_streamed(attention: str, convert: Any) -> None:
    model = telling(WEIGHTS[attention])
    report, path = convert(model, encode=["source"], max_length=LONGEST, chunk=2)
    assert report.max_abs_error < 1e-5
    loaded = streaming.load(path)
    name = list(loaded.output_spec)[1]
    assert loaded.output_spec[name].shape == (LONGEST,)
    generator = np.random.default_rng(1)
    for length in (2, 5, LONGEST):
        source = generator.integers(1, SOURCE, length).astype("int32")
        target = generator.normal(size=(5, 3)).astype("float32")
        stream = loaded.create_stream()
        stream.encode(source)
        fed, rest = stream.feed(target), stream.finish()
        got = np.concatenate([fed[name], rest[name]])
        np.testing.assert_allclose(got[:, :length], model([source[None], target[None]])[1][0], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(got[:, length:], 0)
        np.testing.assert_allclose(got.sum(axis=1), 1, rtol=1e-5)


def test_weights_that_cannot_be_streamed_are_refused(tmp_path: Any) -> None:
    def heads(query: Any, memory: Any) -> Any:
        return layers.MultiHeadAttention(2, 3, name="heads")(query, memory, return_attention_scores=True)

    def read(query: Any, memory: Any) -> Any:
        return keras.ops.max(WEIGHTS["dot"](query, memory)[1], axis=-1)

    for attend, match in (
        (heads, r"layer 'heads' .*heads before time.*use Attention"),
        (read, r"layer '(max|amax)\S*'.*reads weights of attention.*output of the model"),
    ):
        with pytest.raises(streaming.NotStreamableError, match=match):
            streaming.convert(telling(attend), tmp_path / "m.tflite", encode=["source"], max_length=LONGEST)
    x = keras.Input((None, 4))
    _, scores = layers.MultiHeadAttention(2, 3, name="past")(x, x, use_causal_mask=True, return_attention_scores=True)
    with pytest.raises(streaming.NotStreamableError, match=r"layer 'past' .*without return_attention_scores"):
        streaming.convert(keras.Model(x, scores), tmp_path / "m.tflite", attention_window=4)
    assert not list(tmp_path.iterdir())


def test_captioner_streams_words_from_an_image(convert: Any) -> None:
    model = captioner()
    report, path = convert(model, encode="image")
    assert report.max_abs_error < 1e-5
    generator = np.random.default_rng(0)
    image = generator.normal(size=(8, 8, 3)).astype("float32")
    words = np.array([0, 3, 2, 4], "int32")
    stream = streaming.load(path).create_stream()
    stream.encode(image)
    np.testing.assert_allclose(stream.feed(words), model([image[None], words[None]])[0], rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Any]:
    model = translator("additive")
    path = tmp_path_factory.mktemp("translator") / "m.tflite"
    streaming.convert(model, path, encode=["source"], max_length=LONGEST, batch_sizes=(1, 4))
    return model, streaming.load(path)


def encoded(model: Any, source: list[int]) -> Any:
    stream = model.create_stream()
    stream.encode(np.array(source, "int32"))
    return stream


@pytest.mark.slow
def test_streams_of_different_sources_step_together(loaded: Any) -> None:
    _, model = loaded
    sources = [[1, 2], [3], [4, 5, 6, 7, 8, 9, 10]]
    together = [encoded(model, source) for source in sources]
    alone = [encoded(model, source) for source in sources]
    for token in (1, 4, 2):
        x = np.array([token], "int32")
        rows = model.step_streams(together, [x] * 3)
        for row, stream in zip(rows, alone, strict=True):
            np.testing.assert_allclose(row, stream.step(x), rtol=1e-6, atol=1e-6)


def test_fork_save_and_restore_keep_the_source(loaded: Any) -> None:
    _, model = loaded
    stream = encoded(model, [1, 2, 3])
    x = np.array([2], "int32")
    stream.step(x)
    copies = [stream.fork(), model.restore(stream.save())]
    expected = stream.step(x)
    assert all(np.array_equal(copy.step(x), expected) for copy in copies)


def test_greedy_equals_the_offline_loop(loaded: Any) -> None:
    offline, model = loaded
    source = np.array([2, 7, 1], "int32")
    tokens = [1]
    for _ in range(6):
        logits = offline([source[None], np.array([tokens], "int32")])[0, -1]
        tokens.append(int(np.argmax(logits)))
    found = greedy(encoded(model, source.tolist()), start=1, end=0, max_steps=6)
    stop = tokens.index(0) if 0 in tokens else len(tokens)
    assert list(found.tokens) == tokens[1:stop]
    assert found.ended == (0 in tokens)


def test_a_wide_beam_finds_the_best_of_all_sequences(loaded: Any) -> None:
    offline, model = loaded
    source, steps = np.array([2, 7, 1], "int32"), 3
    best: dict[tuple[int, ...], float] = {}
    everything = list(itertools.product(range(TARGET), repeat=steps))
    given = np.array([[1, *tokens[:-1]] for tokens in everything], "int32")
    logits = np.asarray(offline([np.repeat(source[None], len(given), axis=0), given]), "float64")
    for tokens, logs in zip(everything, logits - np.log(np.exp(logits).sum(-1, keepdims=True)), strict=True):
        cut = tokens[: tokens.index(0) + 1] if 0 in tokens else tokens
        best[tuple(t for t in cut if t)] = sum(logs[i, t] for i, t in enumerate(cut))
    expected = max(best, key=lambda tokens: best[tokens])
    found = beam_search(encoded(model, source.tolist()), 1, 0, steps, width=TARGET**steps, length_penalty=0.0, n_best=3)
    assert found[0].tokens == expected
    assert found[0].log_probability == pytest.approx(best[expected], abs=1e-4)
    assert found[0].log_probability >= found[1].log_probability >= found[2].log_probability


def test_sources_that_do_not_fit_are_refused(loaded: Any) -> None:
    _, model = loaded
    stream = model.create_stream()
    x = np.array([1], "int32")
    with pytest.raises(streaming.StreamingError, match=r"has not seen its source; call encode\(\)"):
        stream.step(x)
    for wrong, match in (
        (np.arange(8, dtype="int32"), "has 8 positions, expected 1 to 7"),
        (np.zeros(0, "int32"), "has 0 positions"),
        (np.array([SOURCE], "int32"), "12"),
        ({"sauce": x}, r"encode takes \['source'\], got \['sauce'\]"),
        (np.ones((2, 2), "int32"), "shape"),
    ):
        with pytest.raises(streaming.InputError, match=match):
            stream.encode(wrong)
    stream.encode(x)
    with pytest.raises(streaming.StreamingError, match="has its source already"):
        stream.encode(x)


def test_models_that_cannot_be_encoded_are_refused(tmp_path: Any) -> None:
    model, path = translator("none"), tmp_path / "m.tflite"
    with pytest.raises(streaming.InputError, match="encode names 'sauce', expected inputs of the model among source"):
        streaming.convert(model, path, encode=["sauce"])
    with pytest.raises(streaming.InputError, match="give max_length"):
        streaming.convert(model, path, encode=["source"])
    source, target = keras.Input((None, 4), name="source"), keras.Input((None, 4), name="target")
    strided = layers.GRU(4)(layers.Conv1D(4, 3, strides=2)(source))
    h = layers.GRU(4, return_sequences=True)(target, initial_state=strided)
    with pytest.raises(streaming.NotStreamableError, match="conv1d"):
        streaming.convert(keras.Model([source, target], h), path, encode=["source"], max_length=9)
    assert not path.exists()
