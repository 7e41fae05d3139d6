"""Events from frames, their figures, and a small tagger of heart beats on the real record."""

import keras
import numpy as np
import pytest

import streaming
from rnnzoo.data import Source
from rnnzoo.data.encoders.signals import BACKGROUND, Event, SignalEncoder, frame_labels, match_events, read_events
from rnnzoo.data.mirror import find_mirror
from rnnzoo.errors import ConfigError, DataError
from rnnzoo.registry.names import find_config
from rnnzoo.runs.building import build_model, load_task
from rnnzoo.runs.config import load_config
from rnnzoo.tasks.sequence_tagger.config import SequenceTaggerConfig, SequenceTaggerData
from rnnzoo.tasks.sequence_tagger.model import build_sequence_tagger
from rnnzoo.tasks.sequence_tagger.task import SequenceTaggerTask
from streaming.errors import ArtifactError

CONFIG = SequenceTaggerData(dataset="own", sample_rate=100, frame=5, window=8, tolerance=0.05)


@pytest.fixture(scope="module")
def problem():
    signal = np.random.default_rng(0).normal(size=(1003, 2)).astype(np.float32)
    beats = [(at, "A" if at % 7 == 0 else "N") for at in range(40, 960, 60)]
    rows = [(signal, beats)]
    splits = {"train": rows, "dev": [(signal, [*beats, (990, "V")])]}
    return SequenceTaggerTask.from_source(Source("signal-events", splits), CONFIG)


def test_events_come_back_from_their_frames(problem):
    events = problem.examples("train")[0][1]
    targets = problem.arrays("train")[0]["targets"]
    found = read_events([problem.labels[k] for k in targets], [1.0] * len(targets), 5)
    assert [event.label for event in found] == [label for _, label in events]
    # A frame is five samples: its middle is at most two of them away.
    assert max(abs(event.at - at) for event, (at, _) in zip(found, events, strict=True)) <= 2.5


def test_a_run_takes_the_label_that_it_is_surest_of():
    tags = [BACKGROUND, "N", "A", "A", BACKGROUND, "N"]
    found = read_events(tags, [1, 0.9, 0.4, 0.4, 1, 1], 10)
    assert [event.label for event in found] == ["N", "N"]
    assert found[1].at - found[0].at == 30
    assert read_events([BACKGROUND] * 3, [1.0] * 3, 10) == []


def test_labels_come_after_their_event():
    np.testing.assert_array_equal(frame_labels([(9, 2)], 8, 4), [0, 0, 0, 0, 0, 2, 2, 2])


def test_each_event_is_found_once():
    true = [Event(100, "N"), Event(200, "N"), Event(300, "N")]
    found = [Event(90, "N"), Event(110, "N"), Event(215, "A"), Event(316, "N")]
    assert match_events(true, found, 15) == [(0, 0), (1, 2)]


def test_figures_are_those_counted_by_hand(problem):
    true = [Event(*event) for event in problem.examples("dev")[0][1]]
    # One is missed, one is too many, one has another label.
    found = [*true[1:3], Event(true[3].at, "V" if true[3].label == "N" else "N"), *true[4:], Event(1001, "N")]
    figures = problem.score("dev", [found])
    count = len(true)
    assert figures["sensitivity"] == pytest.approx((count - 1) / count)
    assert figures["precision"] == pytest.approx((count - 1) / count)
    assert figures["f1"] == pytest.approx((count - 1) / count)
    assert figures["label_accuracy"] == pytest.approx((count - 2) / (count - 1))
    assert figures["count_V"] == 1
    assert problem.score("dev", [[]])["f1"] == 0


def test_windows_go_on_where_the_last_ended(problem):
    parts = [batch for _, batch in problem.batches("dev", 3)]
    assert len(parts) == problem.steps("dev", 3)
    row = problem.arrays("dev")[0]
    length = len(parts) * 8
    for b in range(3):
        joined = np.concatenate([inputs["rows"][b] for inputs, _, _ in parts])
        np.testing.assert_array_equal(joined, row["rows"][b * length * 5 : (b + 1) * length * 5])
        labels = np.concatenate([targets[b] for _, targets, _ in parts])
        np.testing.assert_array_equal(labels, row["targets"][b * length : (b + 1) * length])
    again = [batch for _, batch in problem.batches("train", 3, np.random.default_rng(1), skip=1)]
    whole = [batch for _, batch in problem.batches("train", 3, np.random.default_rng(1))]
    np.testing.assert_array_equal(again[0][0]["rows"], whole[1][0]["rows"])


def test_a_rare_label_weighs_more(problem):
    labels = [label for _, label in problem.examples("train")[0][1]]
    _, (_, targets, weights) = next(problem.batches("train", 3))
    rare = problem.labels.index(min(set(labels), key=labels.count))
    share = max(labels.count("A"), labels.count("N")) / min(labels.count("A"), labels.count("N"))
    np.testing.assert_allclose(weights, np.where(targets == rare, np.sqrt(share), 1), rtol=1e-6)


def test_the_encoder_comes_back_or_says_what_is_missing(problem):
    files = problem.encoder.to_files()
    assert SignalEncoder.from_files(files) == problem.encoder
    with pytest.raises(ArtifactError, match=r"signal\.json"):
        SignalEncoder.from_files({name: data for name, data in files.items() if name != "signal.json"})


def test_what_cannot_be_is_named(problem):
    with pytest.raises(ConfigError, match="received 0 and 120"):
        SequenceTaggerData(dataset="own", sample_rate=100, frame=0)
    with pytest.raises(ConfigError, match="sample_rate"):
        SequenceTaggerData(dataset="own", sample_rate=0)
    with pytest.raises(DataError, match="200 frames, fewer than 64 rows"):
        problem.steps("train", 64)


def test_a_convolution_over_windows_tags_rows_without_a_recurrent_layer(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(rng.normal(size=(n, 2)).astype(np.float32), ["a", "b"] * (n // 2)) for n in (40, 30)]
    data = SequenceTaggerData(dataset="own", window=5)
    problem = SequenceTaggerTask.from_source(Source("rows-tags", {"train": rows, "dev": rows}), data)
    keras.utils.set_random_seed(0)
    model = build_sequence_tagger(SequenceTaggerConfig(frame_units=4, context=3, layers=0), problem.encoder)
    path = tmp_path / "window.tflite"
    metadata = {"task": problem.spec(data, problem.encoder), "files": problem.encoder.to_files()}
    assert streaming.convert(model, path, metadata=metadata).delay == 0
    assert problem.evaluate_stream(streaming.load(path), "dev") == pytest.approx(problem.evaluate(model, "dev"))
    # It looks at four rows, and at no others.
    given = problem.arrays("dev")[0]["rows"][None]
    changed = given.copy()
    changed[0, 10] += 1
    differ = np.abs(model.predict({"rows": changed}, verbose=0) - model.predict({"rows": given}, verbose=0)).max(-1)[0]
    assert set(np.flatnonzero(differ)) <= {10, 11, 12, 13}
    assert differ.max() > 0
    assert problem.baseline("dev").name == "nearest mean of windows"


@pytest.mark.slow
@pytest.mark.skipif(find_mirror() is None, reason="no mirror: RNNZOO_DATA_MIRROR names none")
def test_real_beats_train_convert_and_stream_the_same(tmp_path):
    config = load_config(find_config("ecg-beats-stream"), ["model.units=16", "data.window=60"])
    problem = load_task(config)
    model = build_model(config, problem.encoder)
    twin = problem.training_model(model, 16)
    twin.compile(keras.optimizers.Adam(0.01), loss=problem.loss(config.training), jit_compile=False)
    data = problem.dataset("train", 16, training=True)
    losses = twin.fit(data, epochs=2, shuffle=False, verbose=0, callbacks=problem.callbacks()).history["loss"]
    assert losses[-1] < losses[0]
    model.set_weights(twin.get_weights())
    path = tmp_path / "beats.tflite"
    metadata = {"task": problem.spec(config.data, problem.encoder), "files": problem.encoder.to_files()}
    streaming.convert(model, path, metadata=metadata)
    signal = problem.examples("dev")[0][0][:3607]
    task = streaming.pipeline(path)
    tagged, session = task.tag(signal), task.session()
    logits = model.predict_on_batch({"rows": problem.encoder.encode(signal)["rows"][None]})[0]
    assert [row.tag for row in tagged] == [problem.labels[k] for k in logits.argmax(axis=-1)]
    assert tagged[30].time == pytest.approx(1.0)
    pieces = [row for piece in np.array_split(signal, 11) for row in session.feed(piece)]
    assert [row.tag for row in (*pieces, *session.finish())] == [row.tag for row in tagged]
    assert problem.evaluate_stream(streaming.load(path), "dev") == pytest.approx(
        problem.evaluate(model, "dev"), nan_ok=True
    )
    assert [picture.name for picture in problem.draw(model, "dev", tmp_path)] == ["events.png"]
