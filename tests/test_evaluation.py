"""Metrics offline and streamed: the same model gives the same figures."""

import keras
import numpy as np
import pytest

import streaming
from rnnzoo.data import DataConfig
from rnnzoo.data.sources import Source
from rnnzoo.data.task import from_source
from rnnzoo.errors import DataError
from rnnzoo.evaluation import evaluate, evaluate_stream
from rnnzoo.models import ClassifierConfig, TaggerConfig, build_classifier, build_tagger


def tagging_data():
    rng = np.random.default_rng(0)
    rows = [
        ([str(w) for w in rng.choice(list("abcdef"), n)], [str(t) for t in rng.choice(list("XYZ"), n)])
        for n in rng.integers(1, 12, 30)
    ]
    return from_source(Source("tagger", {"train": rows[:20], "dev": rows[20:]}), DataConfig(inputs=("words",)))


def intent_data():
    rng = np.random.default_rng(0)
    rows = [
        ([str(w) for w in rng.choice(list("abcdef"), n)], str(rng.choice(list("XYZ")))) for n in rng.integers(1, 12, 60)
    ]
    source = Source("classifier", {"train": rows[:20], "dev": rows[20:]})
    return from_source(source, DataConfig(inputs=("words",)))


def models(data):
    keras.utils.set_random_seed(0)
    if data.kind == "tagger":
        config = TaggerConfig(word_size=6, char_filters=0, affix_size=0, conv_units=8, units=8)
        return build_tagger(config, data.encoder)
    return build_classifier(ClassifierConfig(word_size=6, units=8), data.encoder)


@pytest.fixture(scope="module", params=["tagger", "classifier"])
def case(request, tmp_path_factory):
    data = tagging_data() if request.param == "tagger" else intent_data()
    model = models(data)
    path = tmp_path_factory.mktemp("evaluation") / "model.tflite"
    streaming.convert(model, path, metadata={"task": data.task, "files": data.encoder.to_files()})
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
    found = evaluate(model, data, "dev", batch_size=4)
    assert found["accuracy"] == right / count
    assert found["count"] == count


def test_streamed_figures_equal_offline_figures(case):
    data, model, stream_model = case
    offline, streamed = evaluate(model, data, "dev"), evaluate_stream(stream_model, data, "dev")
    np.testing.assert_equal(streamed, offline)


def test_a_model_for_another_task_is_refused(case):
    data, _, stream_model = case
    other = intent_data() if data.kind == "tagger" else tagging_data()
    with pytest.raises(DataError, match=f"needs a {other.kind}; the model is a {data.kind}"):
        evaluate_stream(stream_model, other, "dev")
