"""Streams of recordings, what is to be said of their frames, and a small spotter on real digits."""

import keras
import numpy as np
import pytest

import streaming
from rnnzoo.data import AudioConfig, Source
from rnnzoo.data.encoders.audio import AudioEncoder, Segment, compose, stretched
from rnnzoo.data.mirror import find_mirror
from rnnzoo.errors import DataError
from rnnzoo.registry.names import find_config
from rnnzoo.runs.building import build_model, load_task
from rnnzoo.runs.config import load_config
from rnnzoo.tasks.keyword_spotter.config import KeywordAudioConfig
from rnnzoo.tasks.keyword_spotter.task import KeywordSpotterTask

CONFIG = KeywordAudioConfig(dataset="own", window=16, pause=0.2)


def tones():
    rng = np.random.default_rng(0)
    rows = []
    for i in range(12):
        time = np.arange(rng.integers(1500, 2500)) / 8000
        rows.append((np.sin(2 * np.pi * (300 if i % 2 else 900) * time).astype(np.float32), "low" if i % 2 else "high"))
    return rows


@pytest.fixture(scope="module")
def problem():
    rows = tones()
    return KeywordSpotterTask.from_source(Source("audio-label", {"train": rows[:8], "dev": rows[8:]}), CONFIG)


def test_a_stream_holds_each_recording_where_it_says():
    clips = [np.full(100, value, np.float32) for value in (0.1, 0.2, 0.3)]
    still = AudioConfig(dataset="own", speed=0.0, white_noise=0.0, pause=0.05)
    signal, segments = compose(clips, [2, 0, 1], still, np.random.default_rng(0))
    covered = np.zeros(len(signal), bool)
    for segment in segments:
        part = signal[segment.begin : segment.end]
        # Loudness is drawn between a half and one and a half.
        np.testing.assert_allclose(part, part[0])
        assert 0.5 <= part[0] / clips[segment.number][0] <= 1.5
        covered[segment.begin : segment.end] = True
    assert not signal[~covered].any()
    assert [segment.number for segment in segments] == [2, 0, 1]


def test_faster_is_shorter_and_higher():
    time = np.arange(8000) / 8000
    fast = stretched(np.sin(2 * np.pi * 100 * time), 2.0)
    assert len(fast) == 4000
    assert np.abs(np.fft.rfft(fast)).argmax() == 100


def test_frames_are_labelled_by_what_has_been_heard(problem):
    # Frames end at 256 + 128 t samples. A keyword of 1,280 samples is known after 640, and for 0.2 s after its end.
    targets, weights = problem._aligned([(Segment(1024, 2304, 0), 2)], 40)
    ends = 256 + 128 * np.arange(40)
    np.testing.assert_array_equal(targets, np.where((ends > 1664) & (ends <= 2304 + 1600), 2, 0))
    np.testing.assert_array_equal(weights, np.where((ends > 1024) & (ends <= 1664), 0, 1))


def test_windows_of_a_pass_go_on_where_the_last_ended(problem):
    parts = [batch for _, batch in problem.batches("train", 2, np.random.default_rng(3))]
    assert len(parts) == problem.steps("train", 2)
    again = [batch for _, batch in problem.batches("train", 2, np.random.default_rng(3), skip=1)]
    np.testing.assert_array_equal(parts[1][0]["features"], again[0][0]["features"])
    assert {int(x) for _, targets, _ in parts for x in np.unique(targets)} == {0, 1, 2}


def test_the_encoder_comes_back(problem):
    encoder = problem.encoder
    assert AudioEncoder.from_files(encoder.to_files()) == encoder
    assert encoder.labels == ("_background_", "high", "low")
    rows = np.concatenate([encoder.definition(samples) for samples, _ in tones()[:8]])
    np.testing.assert_allclose(encoder.mean, rows.mean(axis=0), rtol=1e-4)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"high_hz": 5000.0}, "4000"),
        ({"fft_length": 100}, "fft_length"),
    ],
)
def test_impossible_features_are_named(fields, said):
    with pytest.raises(DataError, match=said):
        AudioEncoder.fit([tones()[0][0]], AudioConfig(dataset="own", **fields), ["x"])


@pytest.mark.skipif(find_mirror() is None, reason="no mirror: RNNZOO_DATA_MIRROR names none")
@pytest.mark.slow
def test_real_digits_train_convert_and_stream_the_same(tmp_path):
    small = ["data.limit=40", "data.negatives=[]", "data.noise=[]", "data.refractory=0.1", "data.threshold=0.4"]
    small += ["model.units=16", "model.layers=1", "model.conv_units=16", "training.epochs=1"]
    config = load_config(find_config("digits-kws-stream"), small)
    problem = load_task(config)
    model = build_model(config, problem.encoder)
    twin = problem.training_model(model, 2)
    twin.compile(keras.optimizers.Adam(0.01), loss=problem.loss(config.training), jit_compile=False)
    losses = twin.fit(
        problem.dataset("train", 2, training=True), epochs=6, shuffle=False, verbose=0, callbacks=problem.callbacks()
    ).history["loss"]
    assert losses[-1] < losses[0]
    model.set_weights(twin.get_weights())
    path = tmp_path / "digits.tflite"
    metadata = {"task": problem.spec(config.data, problem.encoder), "files": problem.encoder.to_files()}
    streaming.convert(model, path, metadata=metadata)
    assert problem.evaluate_stream(streaming.load(path), "dev") == problem.evaluate(model, "dev")
    assert [picture.name for picture in problem.draw(model, "dev", tmp_path)] == ["confusion.png"]
    spotter = streaming.pipeline(path)
    # What evaluation counts are the events of the task object.
    (trial,) = problem.trials("dev")["stream"]
    heard = problem.heard(problem.offline(model), trial)
    counted = sorted((time, episode.label) for episode in heard.episodes if (time := episode.event(0.4)) is not None)
    events = spotter.spot(trial.samples)
    assert events
    assert [event.label for event in events] == [problem.labels[label] for _, label in counted]
    np.testing.assert_allclose([event.time for event in events], [time for time, _ in counted], atol=1e-9)
    samples = problem.examples("dev")[0][0]
    # A fresh state hears 12 frames of silence first: 0.2 s are 12.5 frames.
    led = np.concatenate([np.zeros(12 * 128, "float32"), samples])
    session, logits = (
        spotter.session(),
        model.predict_on_batch({"features": problem.encoder.encode(led)["features"][None]})[0],
    )
    for block in np.array_split(samples, 7):
        session.feed(block)
    scores = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(list(session.scores.values()), scores[-spotter.window :].mean(axis=0), atol=1e-4)
