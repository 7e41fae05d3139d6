"""Models that begin with a StringLookup: streams take strings, and give what the model gives for them."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import streaming
from streaming.cli import main
from streaming.errors import ArtifactError, InputError, NotStreamableError
from streaming.runtime.hashing import fingerprint64, siphash24
from streaming.runtime.lookup import HashTable, LookupTable, TextTable, read_table

WORDS = ["the", "caf\u00e9", "The", "\u4f60\u597d", "a b"]


def tagger(**options: Any) -> Any:
    keras.utils.set_random_seed(0)
    words = keras.Input((None,), dtype="string", name="words")
    lookup = layers.StringLookup(vocabulary=WORDS, **options)
    x = layers.Embedding(lookup.vocabulary_size(), 4, mask_zero="mask_token" in options)(lookup(words))
    return keras.Model(words, layers.Dense(3)(layers.GRU(5, return_sequences=True)(x)))


@pytest.mark.parametrize("options", [{}, {"mask_token": "", "num_oov_indices": 1}, {"oov_token": "<?>"}])
def test_strings_give_what_the_model_gives(convert: Any, options: dict[str, Any]) -> None:
    model = tagger(**options)
    report, path = convert(model, batch_sizes=(1, 2))
    assert report.max_abs_error < 1e-5
    text = ["the", "unknown", "caf\u00e9", "", "The", "cafe\u0301", "\u4f60\u597d", "[UNK]", "<?>", "a b", "the "]
    expected = np.asarray(model(tf.constant([text]))[0])
    loaded = streaming.load(path)
    stream = loaded.create_stream()
    for given in (np.array(text, object), np.array(text), text, np.array([word.encode() for word in text], object)):
        np.testing.assert_allclose(stream.feed(given), expected, atol=1e-5)
        stream.reset()
    steps = [stream.step([word]) for word in text]
    np.testing.assert_allclose(np.concatenate(steps), expected, atol=1e-5)
    both = [loaded.create_stream() for _ in range(2)]
    rows = [loaded.step_streams(both, [[a], [b]])[0] for a, b in zip(text, reversed(text), strict=True)]
    np.testing.assert_allclose(np.concatenate(rows), expected, atol=1e-5)


def test_numbers_stand_beside_strings(convert: Any, tmp_path: Any, capsys: Any) -> None:
    words, numbers = keras.Input((None,), dtype="string", name="words"), keras.Input((None, 2), name="numbers")
    embedded = layers.Embedding(6, 4)(layers.StringLookup(vocabulary=WORDS)(words))
    y = layers.LSTM(3, return_sequences=True)(layers.Concatenate()([embedded, numbers]))
    model = keras.Model({"words": words, "numbers": numbers}, y)
    _, path = convert(model)
    rows = np.random.default_rng(0).normal(size=(3, 2)).astype("float32")
    text = np.array(["The", "x", "a b"], object)
    expected = model({"words": tf.constant([text.tolist()]), "numbers": tf.constant(rows[None])})[0]
    found = streaming.load(path).create_stream().feed({"words": text, "numbers": rows})
    np.testing.assert_allclose(found, expected, atol=1e-5)
    lines = [json.dumps({"words": word, "numbers": row.tolist()}) for word, row in zip(text, rows, strict=True)]
    (tmp_path / "lines.txt").write_text("\n".join(lines))
    assert main(["run", str(path), str(tmp_path / "lines.txt")]) == 0
    values = [json.loads(line)["value"] for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_allclose(values, expected, atol=1e-5)


def test_without_a_place_for_unknown_words_they_are_named(convert: Any) -> None:
    _, path = convert(tagger(num_oov_indices=0))
    stream = streaming.load(path).create_stream()
    with pytest.raises(InputError, match="'dog', which is none of the 5 words"):
        stream.feed(["the", "dog"])
    with pytest.raises(InputError, match="holds 3, expected strings"):
        stream.feed(np.array(["the", 3], object))
    assert stream.position == 0


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: layers.Hashing(10, output_mode="one_hot"), "output_mode='one_hot'"),
        (lambda: layers.StringLookup(vocabulary=WORDS, invert=True), "invert=True"),
        (lambda: layers.Lambda(lambda x: x, output_shape=lambda shape: shape), "go into Lambda"),
    ],
)
def test_what_takes_strings_otherwise_is_named(convert: Any, layer: Any, message: str) -> None:
    words = keras.Input((None,), dtype="string")
    model = keras.Model(words, layers.Identity()(layer()(words)))
    with pytest.raises(NotStreamableError, match=message):
        convert(model)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.Hashing(20),
        lambda: layers.Hashing(20, mask_value="a", salt=[3, 5]),
        lambda: layers.Hashing(7, salt=3),
        lambda: layers.StringLookup(vocabulary=WORDS, num_oov_indices=4),
        lambda: layers.StringLookup(vocabulary=WORDS, num_oov_indices=4, mask_token=""),
    ],
)
def test_hashed_words_give_what_the_model_gives(convert: Any, layer: Any) -> None:
    keras.utils.set_random_seed(0)
    words = keras.Input((None,), dtype="string")
    model = keras.Model(words, layers.GRU(3, return_sequences=True)(layers.Embedding(20, 4)(layer()(words))))
    _, path = convert(model)
    text = ["a", "the", "dog", "caf\u00e9", "", *("x" * size for size in (4, 9, 17, 33, 65, 130))]
    expected = np.asarray(model(tf.constant([text]))[0])
    np.testing.assert_allclose(streaming.load(path).create_stream().feed(text), expected, atol=1e-5)


def test_hashes_are_those_of_tensorflow() -> None:
    generator = np.random.default_rng(0)
    texts = [generator.integers(0, 256, size, "uint8").tobytes() for size in (*range(140), 191, 192, 193, 256, 1000)]
    bins, key = 2**62 - 57, [12345678901234567, 987654321]
    fast = tf.strings.to_hash_bucket_fast(texts, bins).numpy().tolist()
    strong = tf.strings.to_hash_bucket_strong(texts, bins, key).numpy().tolist()
    assert [fingerprint64(text) % bins for text in texts] == fast
    assert [siphash24(text, (key[0], key[1])) % bins for text in texts] == strong


TEXTS = ["The quick brown fox!", "time", "no such word; time flies", "the quick " * 5]


def classifier(middle: Any, **options: Any) -> Any:
    keras.utils.set_random_seed(0)
    vectorizer = layers.TextVectorization(30, **options)
    vectorizer.adapt(["the quick brown fox", "time flies like an arrow", "caf\u00e9 \u4f60\u597d"])
    text = keras.Input((1,), dtype="string", name="text")
    x = layers.Embedding(40, 4, mask_zero=True)(vectorizer(text))
    return keras.Model(text, layers.Dense(2)(middle(x)))


def last_rows(path: Any, texts: list[str]) -> list[np.ndarray]:
    streams = [(streaming.load(path).create_stream(), text) for text in texts]
    return [np.concatenate([stream.feed([text]), stream.finish()])[-1] for stream, text in streams]


def offline(model: Any, texts: list[str]) -> list[np.ndarray]:
    return [np.asarray(model(tf.constant([[text]])))[0] for text in texts]


@pytest.mark.parametrize("options", [{}, {"split": "character", "standardize": "lower"}, {"standardize": None}])
def test_tokens_of_texts_are_steps_of_a_carried_model(convert: Any, options: dict[str, Any]) -> None:
    model = classifier(layers.GRU(3), **options)
    _, path = convert(model)
    np.testing.assert_allclose(last_rows(path, TEXTS), offline(model, TEXTS), atol=1e-5)
    stream = streaming.load(path).create_stream()
    assert stream.model.input_spec["text"].dtype == "string"
    if not options:
        assert len(stream.feed("The quick, brown")) == 3
        assert len(stream.feed(["--", ""])) == 0
        np.testing.assert_allclose(stream.step("fox!")[-1], offline(model, TEXTS[:1])[0], atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "asked"),
    [
        ({"output_sequence_length": 4}, {}),
        ({"output_sequence_length": 6, "ngrams": 2}, {}),
        ({}, {}),
        ({"ngrams": 2}, {}),
        ({}, {"max_length": 12}),
        ({"ngrams": (1, 3)}, {"max_length": 20}),
    ],
)
def test_texts_are_steps_where_they_have_a_length(convert: Any, layer: Any, asked: Any) -> None:
    model = classifier(layers.Bidirectional(layers.GRU(3)), **layer)
    report, path = convert(model, **asked)
    assert report.window == 1
    np.testing.assert_allclose(last_rows(path, TEXTS), offline(model, TEXTS), atol=1e-5)
    together = streaming.load(path).create_stream().feed(TEXTS)
    np.testing.assert_allclose(together, offline(model, TEXTS), atol=1e-5)
    if "output_sequence_length" not in layer:
        length = asked.get("max_length", 128)
        assert f"each step takes a text of at most {length} tokens (max_length)" in report.notes
        with pytest.raises(InputError, match="larger max_length"):
            last_rows(path, ["time " * 130])


@pytest.mark.slow
def test_windows_of_tokens_answer_word_by_word(convert: Any) -> None:
    model = classifier(layers.Bidirectional(layers.GRU(3)), output_sequence_length=5)
    _, path = convert(model, window=5, pad="post")
    rows = streaming.load(path).create_stream().feed("the quick brown")
    np.testing.assert_allclose(rows, offline(model, ["the", "the quick", "the quick brown"]), atol=1e-5)


@pytest.mark.slow
def test_subclassed_models_take_texts(convert: Any) -> None:
    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner = classifier(layers.Bidirectional(layers.GRU(3)), output_sequence_length=4)
            self.text, self.table = self.inner.layers[1:3]
            self.memory, self.head = self.inner.layers[3:5]

        def call(self, x: Any) -> Any:
            return self.head(self.memory(self.table(self.text(x))))

    keras.utils.set_random_seed(0)
    model = Model()
    model(tf.constant([["the fox"]]))
    _, path = convert(model)
    np.testing.assert_allclose(last_rows(path, TEXTS), offline(model, TEXTS), atol=1e-5)


@pytest.mark.parametrize(
    ("middle", "layer", "asked", "message"),
    [
        (lambda: layers.GRU(3), {"output_sequence_length": 4}, {"max_length": 4}, "have a length"),
        (lambda: layers.GRU(3), {"standardize": lambda x: x}, {}, "a function as standardize"),
        (lambda: layers.GRU(3), {"ngrams": 2}, {"window": 5}, "ngrams of the whole text"),
    ],
)
def test_texts_that_no_stream_takes_are_named(convert: Any, middle: Any, layer: Any, asked: Any, message: str) -> None:
    with pytest.raises((NotStreamableError, InputError), match=message):
        convert(classifier(middle(), **layer), **asked)


@pytest.mark.slow
def test_zeros_behind_a_text_that_the_model_sees_are_refused(convert: Any) -> None:
    vectorizer = layers.TextVectorization(vocabulary=["time", "flies"])
    text = keras.Input((1,), dtype="string")
    y = layers.Bidirectional(layers.GRU(3))(layers.Embedding(4, 3)(vectorizer(text)))
    for asked in ({"max_length": 9}, {}):
        with pytest.raises(NotStreamableError, match="mask_zero=True"):
            convert(keras.Model(text, y), **asked)


@pytest.mark.parametrize("table", [LookupTable({"a": 1}, 0), HashTable(4), TextTable(LookupTable({"a": 1}, 0))])
def test_what_is_no_text_is_named(table: Any) -> None:
    assert len(table.ids(np.array(["\udc80"], object), "x", np.int64)) == 1  # a byte that is no UTF-8
    with pytest.raises(InputError, match="half of a surrogate pair"):
        table.ids(np.array(["a", "\ud800"], object), "x", np.int64)


def test_an_unknown_text_is_shown_in_one_short_line() -> None:
    with pytest.raises(InputError) as caught:
        LookupTable({"a": 1}, None).ids(np.array(["x\n" * 9999], object), "x", np.int64)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_lines_are_words(convert: Any, tmp_path: Any, capsys: Any) -> None:
    _, path = convert(tagger())
    (tmp_path / "words.txt").write_text("the\ncaf\u00e9\n\n4\n", encoding="utf-8")
    assert main(["run", str(path), str(tmp_path / "words.txt")]) == 0
    assert capsys.readouterr().out.count('"value"') == 3


_TEXT = TextTable(LookupTable({"a": 1}, 0), length=3).to_bytes()
DAMAGED = [
    _TEXT.replace(b'"length": 3', b'"length": 1e9'),
    _TEXT.replace(b"whitespace", b"colon"),
    _TEXT.replace(b'"cut": true', b'"cut": 1'),
    HashTable(4).to_bytes().replace(b"4", b"0"),
    HashTable(4).to_bytes().replace(b'"key": null', b'"key": [1]'),
    HashTable(4).to_bytes().replace(b'"masked": null', b'"masked": "\\ud800"'),
    _TEXT.replace(b'"ngrams": null', b'"ngrams": [1000000]'),
    _TEXT.replace(b'"ngrams": null', b'"ngrams": [' + b"1, " * 99 + b"1]"),
    LookupTable({"a": 1}, None, 2**31 - 2, HashTable(4)).to_bytes(),
]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"version": 2}', b'{"version": 1, "kind": "lookup", "words": {"a": -1}}', *DAMAGED]
)
def test_damaged_tables_are_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="no table of words"):
        read_table(content, "text/0.json")
