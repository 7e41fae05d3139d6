"""Metrics offline and streamed: the same model gives the same figures."""

import keras
import numpy as np
import pytest

import streaming
from rnnzoo.data import Source
from rnnzoo.errors import DataError
from rnnzoo.tasks.classifier.config import ClassifierConfig, ClassifierRows, ClassifierWords
from rnnzoo.tasks.classifier.model import build_classifier
from rnnzoo.tasks.classifier.task import ClassifierTask
from rnnzoo.tasks.tagger.config import TaggerConfig
from rnnzoo.tasks.tagger.model import build_tagger
from rnnzoo.tasks.tagger.task import TaggerTask

CONFIG = ClassifierWords(dataset="own", inputs=("words",))


def tagging_data():
    rng = np.random.default_rng(0)
    rows = [
        ([str(w) for w in rng.choice(list("abcdef"), n)], [str(t) for t in rng.choice(list("XYZ"), n)])
        for n in rng.integers(1, 12, 30)
    ]
    return TaggerTask.from_source(Source("words-tags", {"train": rows[:20], "dev": rows[20:]}), CONFIG)


def intent_data():
    rng = np.random.default_rng(0)
    rows = [
        ([str(w) for w in rng.choice(list("abcdef"), n)], str(rng.choice(list("XYZ")))) for n in rng.integers(1, 12, 60)
    ]
    return ClassifierTask.from_source(Source("text-label", {"train": rows[:20], "dev": rows[20:]}), CONFIG)


def models(data):
    keras.utils.set_random_seed(0)
    if data.topology == "tagger":
        config = TaggerConfig(word_size=6, char_filters=0, affix_size=0, conv_units=8, units=8)
        return build_tagger(config, data.encoder)
    return build_classifier(ClassifierConfig(word_size=6, units=8), data.encoder)


@pytest.fixture(scope="module", params=["tagger", "classifier"])
def case(request, tmp_path_factory):
    data = tagging_data() if request.param == "tagger" else intent_data()
    model = models(data)
    path = tmp_path_factory.mktemp("evaluation") / "model.tflite"
    metadata = {"task": data.spec(data.config, data.encoder), "files": data.encoder.to_files()}
    streaming.convert(model, path, metadata=metadata)
    return data, model, streaming.load(path)


def test_accuracy_is_the_share_of_right_answers(case):
    data, model, _ = case
    right, count = 0, 0
    for words, label in data.examples("dev"):
        logits = model.predict_on_batch({"words": data.encoder.encode(words)["words"][None]})[0]
        answers = [data.labels[k] for k in np.atleast_1d(logits.argmax(axis=-1))]
        true = [label] if isinstance(label, str) else label
        right += sum(a == b for a, b in zip(answers, true, strict=True))
        count += len(true)
    found = data.evaluate(model, "dev", batch_size=4)
    assert found["accuracy"] == right / count
    assert found["count"] == count


def test_streamed_figures_equal_offline_figures(case):
    data, model, stream_model = case
    offline, streamed = data.evaluate(model, "dev"), data.evaluate_stream(stream_model, "dev")
    np.testing.assert_equal(streamed, offline)


def test_a_stream_that_is_never_reset_is_one_long_sequence(case):
    data, model, stream_model = case
    joined = np.concatenate([data.encoder.encode(words)["words"] for words, _ in data.examples("dev")])
    ends = np.cumsum([len(words) for words, _ in data.examples("dev")])
    if data.topology == "tagger":
        rows = np.split(model.predict_on_batch({"words": joined[None]})[0].argmax(axis=-1), ends[:-1])
        expected = data.score("dev", [[data.labels[k] for k in row] for row in rows])
    else:
        last = [model.predict_on_batch({"words": joined[None, :end]})[0].argmax() for end in ends]
        expected = data.score("dev", [data.labels[k] for k in last])
    np.testing.assert_equal(data.evaluate_stream(stream_model, "dev", reset=False), expected)


def test_a_model_for_another_task_is_refused(case):
    data, _, stream_model = case
    other = intent_data() if data.topology == "tagger" else tagging_data()
    with pytest.raises(DataError, match=f"needs a {other.topology}; the model is a {data.topology}"):
        other.evaluate_stream(stream_model, "dev")


def test_several_labels_are_scored_by_their_definition():
    rows = [(["a"], ["x", "y"]), (["b"], []), (["c"], ["y"])]
    config = ClassifierWords(dataset="own", inputs=("words",), multi_label=True)
    data = ClassifierTask.from_source(Source("text-labels", {"train": rows, "dev": rows}), config)
    found = data.score("dev", [["x"], ["y"], ["y"]])
    # x: one hit and nothing wrong; y: one hit, one missed, one too many.
    assert found == {"macro_f1": (1 + 0.5) / 2, "micro_f1": 2 * 2 / (2 * 2 + 2), "count": 3.0}
    arrays = data.encode(rows[0])
    np.testing.assert_array_equal(arrays["targets"], [1, 1])
    with pytest.raises(DataError, match=r"one label a sequence: say data\.multi_label=false"):
        ClassifierTask.from_source(Source("text-label", {"train": [(["a"], "x")]}), config)


def test_rows_of_numbers_are_classified_the_same_streamed(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        (rng.normal(3, 2, (rng.integers(3, 9), 2)).astype(np.float32), str(rng.choice(list("XY")))) for _ in range(40)
    ]
    config = ClassifierRows(dataset="own", columns=("left", "right"))
    data = ClassifierTask.from_source(Source("rows-label", {"train": rows[:20], "dev": rows[20:]}), config)
    scaled = np.concatenate([data.encode(row)["rows"] for row in rows[:20]])
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-5)
    keras.utils.set_random_seed(0)
    model = build_classifier(ClassifierConfig(cell="gru", units=8), data.encoder)
    metadata = {"task": data.spec(config, data.encoder), "files": data.encoder.to_files()}
    streaming.convert(model, tmp_path / "rows.tflite", metadata=metadata)
    streamed = data.evaluate_stream(streaming.load(tmp_path / "rows.tflite"), "dev")
    assert streamed == data.evaluate(model, "dev")
    again = ClassifierTask.read_encoder(data.encoder.to_files(), config)
    assert again == data.encoder
