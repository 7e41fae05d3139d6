"""Words in, labels out: the encoder, the tokenizer, and the task objects over a model and over a stub."""

import json
import string
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import streaming
from rnnzoo.tasks.classifier.config import ClassifierConfig
from rnnzoo.tasks.classifier.model import build_classifier
from rnnzoo.tasks.tagger.config import TaggerConfig
from rnnzoo.tasks.tagger.model import build_tagger
from streaming.errors import ArtifactError, InputError
from streaming.runtime.tasks import Classifier, Tagger, pipeline, softmax, task_for
from streaming.runtime.text import AFFIXES, WordEncoder, affixes, word_shape
from streaming.runtime.tokenization import sentences, tokenize

SENTENCES = [["The", "dog", "barks", "."], ["A", "cat", "sleeps", "now"], ["the", "dog"]]


@pytest.fixture(scope="module")
def encoder():
    return WordEncoder.fit(SENTENCES, ["N", "V", "X"], min_count=1, affix_min_count=1, max_word_length=6)


def test_encoder_numbers_words_characters_and_affixes(encoder):
    arrays = encoder.encode(["The", "DOG", "unheard", "."])
    names = ("<pad>", "<unk>", *encoder.words.entries)
    assert [names[i] for i in arrays["words"]] == ["the", "dog", "<unk>", "."]
    chars = ("", "?", *encoder.chars.entries)
    # Of "unheard" the model sees three characters of either end; "u" never came in training.
    assert ["".join(chars[i] for i in row) for row in arrays["chars"]] == ["The", "???", "?nhard", "."]
    parts = ("<pad>", "<unk>", *encoder.affixes.entries)
    assert [parts[i] for i in arrays["affixes"][0]] == affixes("The")
    assert arrays["affixes"].shape == (4, AFFIXES)
    assert all(array.dtype == np.int32 for array in arrays.values())


def test_most_frequent_words_come_first(encoder):
    assert encoder.words.entries[:3] == ("dog", "the", ".")


def test_affixes_say_what_they_are():
    assert affixes("Walk-2020ing") == ["-1g", "-2ng", "-3ing", "-40ing", "+1w", "+2wa", "+3wal", "=Xx-dx"]
    assert word_shape("McDonald's") == "XxXx'x"
    assert word_shape("U.S.") == "X.X."


def test_encoder_survives_its_files(encoder):
    again = WordEncoder.from_files(encoder.to_files())
    assert again.labels == encoder.labels
    for name, array in encoder.encode(["The", "zebra", "é"]).items():
        np.testing.assert_array_equal(again.encode(["The", "zebra", "é"])[name], array)


def test_no_words_make_empty_arrays(encoder):
    assert {k: v.shape for k, v in encoder.encode([]).items()} == {
        "words": (0,),
        "chars": (0, 6),
        "affixes": (0, AFFIXES),
    }


@pytest.mark.parametrize("words", [[""], [3], ["fine", None]])
def test_what_is_no_word_is_refused(words, encoder):
    with pytest.raises(InputError, match="not empty"):
        encoder.encode(words)


@pytest.mark.parametrize(
    "change",
    [
        {"words.txt": None},
        {"features.json": b"{"},
        {"features.json": b"{}"},
        {"features.json": json.dumps({"inputs": ["pixels"], "max_word_length": 5}).encode()},
        {"words.txt": b"dog\ndog\n"},
        {"labels.txt": b"\xff\n"},
    ],
)
def test_damaged_files_are_refused(change, encoder):
    files = {k: v for k, v in {**encoder.to_files(), **change}.items() if v is not None}
    with pytest.raises((ArtifactError, InputError)):
        WordEncoder.from_files(files)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I don't know.", "I do n't know ."),
        ("I can’t!", "I ca n’t !"),
        ("John's dogs' food, we'll say", "John 's dogs ' food , we 'll say"),
        ("Mr. Smith's U.S. tour", "Mr. Smith 's U.S. tour"),
        ("See http://a.org/b?c=1, or x.y@z.org.", "See http://a.org/b?c=1 , or x.y@z.org ."),
        ("It cost $1,000.50 (about 20%)...", "It cost $ 1,000.50 ( about 20 % ) ..."),
        ("at 5:30 on 11/2/2000", "at 5:30 on 11/2/2000"),
        ("well-known and/or :-) wow!!!", "well - known and / or :-) wow !!!"),
        ('"I cannot," she said', '" I can not , " she said'),
        ("", ""),
    ],
)
def test_tokens_as_the_treebank_has_them(text, expected):
    assert tokenize(text) == expected.split()


def test_tokenizer_loses_nothing_but_white_space():
    rng = np.random.default_rng(0)
    symbols = np.array(list(string.printable + "é’“”—…ß中😀"))
    for _ in range(300):
        text = "".join(rng.choice(symbols, rng.integers(0, 30)))
        assert "".join(tokenize(text)) == "".join(text.split())


def test_sentences_end_where_they_end():
    text = 'Dr. No left the U.S. today. "Really?" he asked. Yes!\n\nno stop here\n\n3.5 is fine (I guess.) Go'
    assert [" ".join(s) for s in sentences(text)] == [
        "Dr. No left the U.S. today .",
        '" Really ? " he asked .',
        "Yes !",
        "no stop here",
        "3.5 is fine ( I guess . )",
        "Go",
    ]


class LateStream:
    """Echoes the word ids as labels, `delay` words late."""

    def __init__(self, delay):
        self.delay, self.held = delay, []

    def reset(self):
        self.held = []

    def feed(self, ids):
        self.held += list(ids)
        ready, self.held = self.held[: len(self.held) - self.delay], self.held[-self.delay :]
        return np.eye(3, dtype="float32")[ready] * 5

    def finish(self):
        ready, self.held = self.held, []
        return np.eye(3, dtype="float32")[ready].reshape(-1, 3) * 5


@pytest.fixture
def stub():
    encoder = WordEncoder.fit([["b", "b"]], ["none", "a", "b"], inputs=("words",), min_count=1)
    metadata = SimpleNamespace(task={"kind": "tagger"}, outputs=[SimpleNamespace(shape=(3,), dequantize=np.asarray)])
    return SimpleNamespace(files=encoder.to_files(), metadata=metadata, create_stream=lambda: LateStream(2), delay=2)


def test_each_word_keeps_its_tag_through_the_delay(stub):
    words = ["b", "x", "y", "b", "b"]
    taken, seen = [], []

    def source():
        for word in words:
            taken.append(word)
            yield word

    for tagged in task_for(stub).stream(source()):
        seen.append((tagged.word, tagged.tag, len(taken)))
    assert seen == [("b", "b", 3), ("x", "a", 4), ("y", "a", 5), ("b", "b", 5), ("b", "b", 5)]
    assert [(t.word, t.tag) for t in task_for(stub).tag(words)] == [(w, t) for w, t, _ in seen]
    assert task_for(stub).tag([]) == []
    assert list(task_for(stub).stream([])) == []


def test_models_without_a_known_task_are_refused(stub):
    for task in (None, {}, {"kind": "chess"}):
        stub.metadata.task = task
        with pytest.raises(ArtifactError, match="tagger, classifier"):
            task_for(stub)


def test_softmax_is_a_distribution():
    rows = np.array([[1000.0, 1000.0], [0.0, np.log(3)]])
    np.testing.assert_allclose(softmax(rows), [[0.5, 0.5], [0.25, 0.75]])
    assert softmax(np.zeros((0, 3))).shape == (0, 3)


def converted(model, encoder, kind, path):
    task = {"kind": kind, "labels": len(encoder.labels)}
    streaming.convert(model, path, metadata={"task": task, "files": encoder.to_files()})
    return pipeline(path)


def test_tagger_on_the_device_equals_the_model(encoder, tmp_path):
    keras.utils.set_random_seed(0)
    config = TaggerConfig(word_size=6, char_size=4, char_filters=3, affix_size=2, conv_units=8, units=8)
    model = build_tagger(config, encoder)
    tagger = converted(model, encoder, "tagger", tmp_path / "tagger.tflite")
    assert isinstance(tagger, Tagger)
    assert tagger.model.delay == 2
    for words in (["dog"], ["The", "zebra"], ["The", "dog", "barks", "at", "a", "cat", "."]):
        arrays = {name: array[None] for name, array in encoder.encode(words).items()}
        scores = softmax(model.predict_on_batch(arrays)[0])
        expected = [(w, encoder.labels[row.argmax()]) for w, row in zip(words, scores, strict=True)]
        for tagged in (tagger.tag(words), list(tagger.stream(words))):
            assert [(t.word, t.tag) for t in tagged] == expected
            np.testing.assert_allclose([t.score for t in tagged], scores.max(axis=-1), rtol=1e-5)
    texts = [[t.word for t in tagged] for tagged in tagger.tag_text("The dog barks. A cat sleeps")]
    assert texts == [["The", "dog", "barks", "."], ["A", "cat", "sleeps"]]


def test_classifier_on_the_device_equals_the_model_after_every_word(tmp_path):
    keras.utils.set_random_seed(0)
    encoder = WordEncoder.fit(SENTENCES, ["on", "off"], inputs=("words",), min_count=1)
    model = build_classifier(ClassifierConfig(word_size=6, units=8), encoder)
    classifier = converted(model, encoder, "classifier", tmp_path / "classifier.tflite")
    assert isinstance(classifier, Classifier)
    words = ["The", "dog", "sleeps"]
    ids = encoder.encode(words)["words"]
    expected = [softmax(model.predict_on_batch({"words": ids[None, : n + 1]})[0]) for n in range(3)]
    np.testing.assert_allclose([p.scores for p in classifier.stream(words)], expected, rtol=1e-4)
    answer = classifier.classify("The dog sleeps")
    assert answer.label == encoder.labels[int(expected[-1].argmax())]
    assert answer.score == pytest.approx(expected[-1].max(), rel=1e-4)
    with pytest.raises(InputError, match="at least one word"):
        classifier.classify("  ")
