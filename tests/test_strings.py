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
from streaming.runtime.lookup import LookupTable

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
        (lambda: layers.Hashing(10), "go into Hashing"),
        (lambda: layers.StringLookup(vocabulary=WORDS, num_oov_indices=3), "num_oov_indices=3"),
    ],
)
def test_what_takes_strings_otherwise_is_named(convert: Any, layer: Any, message: str) -> None:
    words = keras.Input((None,), dtype="string")
    model = keras.Model(words, layers.GRU(3, return_sequences=True)(layers.Embedding(20, 4)(layer()(words))))
    with pytest.raises(NotStreamableError, match=message):
        convert(model)


def test_lines_are_words(convert: Any, tmp_path: Any, capsys: Any) -> None:
    _, path = convert(tagger())
    (tmp_path / "words.txt").write_text("the\ncaf\u00e9\n\n4\n", encoding="utf-8")
    assert main(["run", str(path), str(tmp_path / "words.txt")]) == 0
    assert capsys.readouterr().out.count('"value"') == 3


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"version": 2}', b'{"version": 1, "kind": "lookup", "words": {"a": -1}}']
)
def test_damaged_tables_are_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="no table of words"):
        LookupTable.from_bytes(content, "text/0.json")
