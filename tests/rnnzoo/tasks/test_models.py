"""What the builders build: sizes, names, padding that changes nothing, contradictions that are refused."""

import dataclasses

import keras
import numpy as np
import pytest

import streaming
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.cells import CELLS
from rnnzoo.tasks.classifier.config import ClassifierConfig
from rnnzoo.tasks.classifier.model import build_classifier
from rnnzoo.tasks.one_to_one.config import OneToOneConfig
from rnnzoo.tasks.one_to_one.model import build_one_to_one
from rnnzoo.tasks.recurrent import recurrent_layer
from rnnzoo.tasks.tagger.config import TaggerConfig
from rnnzoo.tasks.tagger.model import build_tagger
from streaming.runtime.text import WordEncoder

SENTENCES = [["The", "dog", "barks", "."], ["A", "cat", "sleeps"]]
SMALL = TaggerConfig(word_size=6, char_size=4, char_filters=3, affix_size=2, conv_units=8, units=8)
TAGGERS = {
    "plain": SMALL,
    "deep": dataclasses.replace(SMALL, layers=2, cell="gru", project=7),
    "words only": dataclasses.replace(SMALL, char_filters=0, affix_size=0, context=0, lookahead=1),
    "both ways": dataclasses.replace(SMALL, bidirectional=True, lookahead=0),
}


@pytest.fixture(scope="module")
def encoder():
    return WordEncoder.fit(SENTENCES, ["X", "Y", "Z"], min_count=1, affix_min_count=1)


@pytest.mark.parametrize("name", TAGGERS)
def test_tagger_gives_a_row_of_logits_for_each_word(name, encoder):
    keras.utils.set_random_seed(0)
    model = build_tagger(TAGGERS[name], encoder)
    arrays = {key: value[None] for key, value in encoder.encode(SENTENCES[0]).items() if key in model.input}
    assert model.predict_on_batch(arrays).shape == (1, 4, 3)
    assert all(part.dtype == "int32" for part in model.inputs)


@pytest.mark.parametrize("name", ["plain", "deep", "words only"])
def test_padding_does_not_change_a_streamable_tagger(name, encoder):
    keras.utils.set_random_seed(0)
    model = build_tagger(TAGGERS[name], encoder)
    exact = {key: value[None] for key, value in encoder.encode(SENTENCES[0]).items() if key in model.input}
    padded = {key: np.pad(v, [(0, 0), (0, 5)] + [(0, 0)] * (v.ndim - 2)) for key, v in exact.items()}
    np.testing.assert_allclose(
        model.predict_on_batch(padded)[:, :4], model.predict_on_batch(exact), rtol=1e-5, atol=1e-6
    )


def test_tagger_sees_as_far_ahead_as_it_says(encoder):
    keras.utils.set_random_seed(0)
    model = build_tagger(SMALL, encoder)
    words = ["the", "dog", "barks", ".", "a", "cat", "sleeps"]
    changed = [*words[:5], "dog", "dog"]
    a, b = (
        model.predict_on_batch({key: value[None] for key, value in encoder.encode(w).items()})[0]
        for w in (words, changed)
    )
    np.testing.assert_array_equal(a[:3], b[:3])
    assert not np.allclose(a[3], b[3])


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_classifier_gives_one_row(cell, encoder):
    model = build_classifier(ClassifierConfig(word_size=5, units=4, layers=2, cell=cell), encoder)
    assert model.predict_on_batch({"words": np.array([[2, 3, 1]])}).shape == (1, 3)


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        (TaggerConfig, {"bidirectional": True}, r"model\.bidirectional.*model\.lookahead"),
        (TaggerConfig, {"cell": "elman"}, r"model\.cell.*lstm, gru.*'elman'"),
        (ClassifierConfig, {"cell": "elman"}, r"model\.cell.*lstm, gru.*'elman'"),
        (ClassifierConfig, {"cell": "min_gru", "recurrent_dropout": 0.2}, r"model\.recurrent_dropout"),
    ],
)
def test_contradictions_name_their_keys(kind, values, said):
    with pytest.raises(ConfigError, match=said):
        kind(**values)


def test_a_feed_forward_model_sees_one_word_at_a_time(encoder):
    model = build_one_to_one(OneToOneConfig(units=8, char_filters=4), encoder)
    words = ["the", "dog", "barks"]
    alone = [model.predict_on_batch({k: v[None] for k, v in encoder.encode([word]).items()})[0, 0] for word in words]
    together = model.predict_on_batch({k: v[None] for k, v in encoder.encode(words).items()})[0]
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_every_cell_that_a_configuration_names_streams(tmp_path):
    keras.utils.set_random_seed(0)
    x = y = keras.Input((None, 3))
    for cell in CELLS:
        y = recurrent_layer(cell, 8, name=cell)(y)
    model = keras.Model(x, y)
    path = tmp_path / "cells.tflite"
    streaming.convert(model, path, verify=False)
    stream = streaming.load(path).create_stream()
    sequence = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
    pieces = [stream.feed(sequence[:7]), stream.feed(sequence[7:]), stream.finish()]
    np.testing.assert_allclose(np.concatenate(pieces), model(sequence[None])[0], atol=1e-5)
