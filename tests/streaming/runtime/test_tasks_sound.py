"""Audio tasks on the device against the offline Keras model, with smoothing, events and CTC written out in NumPy."""

import itertools
import types
from collections import deque

import keras
import numpy as np
import pytest
from keras import layers
from task_models import FEATURES, LABELS, RATE, labels_file, save, tagger_of_rows, tone

import streaming
from streaming.errors import ArtifactError, InputError
from streaming.runtime.audio import LogMel
from streaming.runtime.decoding import ctc_beam, softmax
from streaming.runtime.tasks import Keyword, KeywordSpotter, Token, Transcriber, Transcript, Utterance
from streaming.runtime.tasks.keyword_spotter import KeywordSpotterSession

SPOT = {"kind": "keyword_spotter", "sample_rate": RATE, "features": FEATURES, "background": ["quiet"], "threshold": 0.6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sound")


@pytest.fixture(scope="module")
def model():
    return tagger_of_rows(6, 3)


def signal(seed=0, seconds=2.0):
    """Noise that swells and falls, so that the labels change."""
    rng = np.random.default_rng(seed)
    count = int(seconds * RATE)
    return np.sin(np.arange(count) / 1500) ** 2 * 0.3 * rng.standard_normal(count)


def blocks(samples, seed):
    rng, begin = np.random.default_rng(seed), 0
    while begin < len(samples):
        size = int(rng.integers(0, 1200))
        yield samples[begin : begin + size]
        begin += size


def expected_keywords(logits, offset, smoothing, refractory, threshold=0.6, keywords=(1, 2), background=(0,)):
    """Moving average, the rows in which a label leads, cut into episodes at gaps; the first high row of each."""
    scores, found = softmax(logits), []
    smooth = np.array([scores[max(0, row - smoothing + 1) : row + 1].mean(axis=0) for row in range(len(scores))])
    for label in keywords:
        others = [k for k in keywords if k != label]
        leads = (smooth[:, [label]] > smooth[:, others]).all(axis=1) & (
            smooth[:, label] > smooth[:, list(background)].sum(axis=1)
        )
        rows = np.flatnonzero(leads)
        for episode in np.split(rows, np.flatnonzero(np.diff(rows) > max(1, round(refractory / 0.01))) + 1):
            high = [row for row in episode if smooth[row, label] >= threshold]
            if high:
                found.append((LABELS[label], smooth[high[0], label], offset + (high[0] * 80 + 200) / RATE))
    return sorted(found, key=lambda event: event[2])


@pytest.mark.parametrize(("smoothing", "refractory"), [(0.0, 0.0), (0.05, 0.0), (0.03, 0.3)])
def test_keywords_are_those_of_the_offline_model(smoothing, refractory, model, folder):
    path = save(
        model, folder, {**SPOT, "smoothing": smoothing, "refractory": refractory}, {"labels.txt": labels_file()}
    )
    spotter = streaming.pipeline(path)
    assert isinstance(spotter, KeywordSpotter)
    samples = signal()
    logits = np.asarray(model(LogMel(**FEATURES)(samples)[None]))[0]
    expected = expected_keywords(logits, 0.0, max(1, round(smoothing / 0.01)), refractory)
    assert expected
    session = spotter.session()
    for seed in range(2):  # the second signal begins at time 0 again
        found = [event for block in blocks(samples, seed) for event in session.feed(block)]
        found += session.finish()
        assert [event.label for event in found] == [label for label, _, _ in expected]
        np.testing.assert_allclose([event.score for event in found], [s for _, s, _ in expected], rtol=1e-4)
        np.testing.assert_allclose([event.time for event in found], [t for _, _, t in expected])
    assert [(event.label, event.time) for event in spotter.spot(samples)] == [(e.label, e.time) for e in found]


def test_scores_are_shown_while_one_listens(model, folder):
    spotter = streaming.pipeline(save(model, folder, {**SPOT, "smoothing": 0.03}, {"labels.txt": labels_file()}))
    session, samples = spotter.session(), signal()
    session.feed(samples)
    logits = np.asarray(model(LogMel(**FEATURES)(samples)[None]))[0]
    known = softmax(logits[: len(logits) - 1])[-3:].mean(axis=0)  # the model is one row late
    np.testing.assert_allclose(list(session.scores.values()), known, rtol=1e-4)
    assert tuple(session.scores) == LABELS


@pytest.mark.parametrize("lead", [0.0, 0.1])
def test_each_utterance_begins_with_a_fresh_state_after_its_lead(lead, model, folder):
    task = {**SPOT, "endpoint": {"silence": 0.2, "level": -30.0}, "refractory": 0.0, "lead": lead}
    spotter = streaming.pipeline(save(model, folder, task, {"labels.txt": labels_file()}))
    samples = np.concatenate([np.zeros(800), tone(0.5), np.zeros(3000), signal(1, 0.5), np.zeros(4000), tone(0.1)])
    # The tone ends at 4800, the noise at 11800 or a little before; 0.2 s later each utterance ends.
    session = spotter.session()
    found = [event for block in blocks(samples, 3) for event in session.feed(block)] + session.finish()
    utterances = [event for event in found if isinstance(event, Utterance)]
    ends = [round(event.end * RATE) for event in utterances]
    assert [round(event.begin * RATE) for event in utterances] == [0, *ends[:-1]]
    assert ends[0] == 4800 + 1600
    assert 11000 <= ends[1] - 1600 <= 11900
    assert ends[2] == len(samples)
    expected = []
    for event, (begin, end) in zip(utterances, itertools.pairwise([0, *ends]), strict=True):
        heard = np.concatenate([np.zeros(round(lead * RATE)), samples[begin:end]])
        logits = np.asarray(model(LogMel(**FEATURES)(heard)[None]))[0]
        assert event.label == LABELS[int(logits[-1].argmax())]
        assert event.score == pytest.approx(softmax(logits[-1]).max(), rel=1e-4)
        expected += [(label, time) for label, _, time in expected_keywords(logits, begin / RATE - lead, 1, 0.0)]
    keywords = [(event.label, event.time) for event in found if isinstance(event, Keyword)]
    assert [label for label, _ in keywords] == [label for label, _ in expected]
    np.testing.assert_allclose([time for _, time in keywords], [time for _, time in expected])


@pytest.mark.parametrize(
    ("more", "zeros", "first"),
    [
        ({}, 0, 40),
        ({"lead": 0.05}, 400, 40 - 400),
        ({"lead": 0.05, "frame_length": 100, "zeros": 337}, 337, 39 + 100 - 400),
    ],
)
def test_features_in_the_graph_take_samples(more, zeros, first, folder):
    """more: of the task; zeros: before the first sample; first: samples that the first row has heard."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((None, 1), name="samples")
    x = layers.Conv1D(4, 40, strides=40, activation="relu")(inputs)
    model = keras.Model(inputs, layers.Dense(3)(layers.GRU(4, return_sequences=True)(x)))
    task = {"kind": "keyword_spotter", "sample_rate": RATE, "threshold": 0.35, "refractory": 0.0, **more}
    spotter = streaming.pipeline(save(model, folder, task, {"labels.txt": labels_file()}))
    samples = signal(4, 0.5)
    heard = np.concatenate([np.zeros(zeros), samples]).astype("float32")
    scores = softmax(np.asarray(model(heard[None, :, None]))[0])
    session = spotter.session()
    found = [event for block in blocks(samples, 0) for event in session.feed(block)] + session.finish()
    # Without background each row's best label leads: an event begins each of its runs that gets high enough.
    best = scores.argmax(axis=1)
    runs = np.split(np.arange(len(best)), np.flatnonzero(np.diff(best)) + 1)
    rises = [next(t for t in run if scores[t].max() >= 0.35) for run in runs if scores[run].max() >= 0.35]
    assert rises
    assert [event.label for event in found] == [LABELS[best[t]] for t in rises]
    assert [event.sample for event in found] == [first + t * 40 for t in rises]
    np.testing.assert_allclose([event.time for event in found], [(first + t * 40) / RATE for t in rises])


def transcriber(folder, model, **more):
    task = {"kind": "transcriber", "sample_rate": RATE, "features": FEATURES, **more}
    return streaming.pipeline(save(model, folder, task, {"labels.txt": labels_file(("-", "one", "two"))}))


def test_text_is_that_of_the_offline_model(model, folder):
    samples = signal(5)
    logits = np.asarray(model(LogMel(**FEATURES)(samples)[None]))[0].astype("float64")
    task = transcriber(folder, model)
    assert isinstance(task, Transcriber)
    path = logits.argmax(axis=1)
    starts = [t for t in range(len(path)) if path[t] and (t == 0 or path[t] != path[t - 1])]
    words = [("-", "one", "two")[path[t]] for t in starts]
    assert len(set(words)) == 2
    session = task.session()
    found = [event for block in blocks(samples, 1) for event in session.feed(block)]
    assert session.partial == " ".join(words[: len(found)])
    found += session.finish()
    tokens = [event for event in found if isinstance(event, Token)]
    assert [token.text for token in tokens] == words
    np.testing.assert_allclose([token.time for token in tokens], [(t * 80 + 200) / RATE for t in starts])
    (last,) = (event for event in found if isinstance(event, Transcript))
    assert last.text == " ".join(words) == task.transcribe(samples)
    assert last.log_probability == pytest.approx(np.log(softmax(logits).max(axis=1)).sum(), rel=1e-3)
    assert (last.begin, last.end) == (0.0, 2.0)
    wide = transcriber(folder, model, width=8, joiner="")
    best = ctc_beam(logits, 0, width=8)[0]
    assert wide.transcribe(samples) == "".join(("-", "one", "two")[k] for k in best.tokens)
    assert list(wide.run([])) == []


def test_what_is_no_audio_changes_nothing(model, folder):
    session = transcriber(folder, model).session()
    samples = signal(6, 0.5)
    expected = session.feed(samples) + session.finish()
    found = list(session.feed(samples[:1000]))
    for wrong in (np.zeros((5, 2)), np.array([np.nan]), np.array(["a"])):
        with pytest.raises(InputError, match="audio"):
            session.feed(wrong)
    found += session.feed(samples[1000:])
    assert [event[0] for event in found + session.finish()] == [event[0] for event in expected]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_rate": None}, "sample_rate"),
        ({"sample_rate": 4000}, "sample_rate is 4000, that of the features 8000"),
        ({"threshold": 2}, "threshold is 2"),
        ({"threshold": "high"}, "expected float, got str"),
        ({"background": ["silence"]}, "'silence'"),
        ({"features": {**FEATURES, "num_mels": 7}}, "rows of 7 features"),
        ({"features": {**FEATURES, "scale": "bark"}}, "htk or slaney"),
        ({"features": 3}, "expected an object"),
        ({"endpoint": {"silence": 0}}, "endpoint is 0"),
        ({"labels": 4}, "names 3 labels, its task 4"),
        ({"smoothing": -1}, "smoothing is -1.0, expected 0.0 to"),
        ({"lead": -0.1}, r"lead is -0\.1, expected 0\.0 to"),
    ],
)
def test_wrong_descriptions_are_refused(change, message, model, folder):
    with pytest.raises(ArtifactError, match=message):
        streaming.pipeline(save(model, folder, {**SPOT, **change}, {"labels.txt": labels_file()}))


def test_missing_labels_and_a_wrong_blank_are_refused(model, folder):
    with pytest.raises(ArtifactError, match=r"needs labels\.txt"):
        streaming.pipeline(save(model, folder, SPOT, {}))
    with pytest.raises(ArtifactError, match="blank is 3"):
        transcriber(folder, model, blank=3)


@pytest.mark.parametrize("window", [1, 2, 12])
def test_smoothing_is_the_mean_of_the_last_rows_however_they_come(window):
    rows = np.random.default_rng(window).random((40, 3)).astype("float32")
    session = KeywordSpotterSession.__new__(KeywordSpotterSession)
    session._task, session._recent = types.SimpleNamespace(window=window), deque(maxlen=window)
    cuts = [0, 1, 1, 4, 5, 17, 30, 40]
    found = [session._smoothed(rows[begin:end]) for begin, end in itertools.pairwise(cuts) if end > begin]
    expected = [rows[max(0, index + 1 - window) : index + 1].mean(axis=0) for index in range(len(rows))]
    np.testing.assert_array_equal(np.concatenate(found), expected)
