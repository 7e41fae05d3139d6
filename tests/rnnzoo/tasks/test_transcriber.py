"""Strings of recordings, windows composed of them, word error rates, and a small transcriber on real digits."""

import itertools

import keras
import numpy as np
import pytest

import streaming
from rnnzoo.data import AudioConfig, DataConfig, Source
from rnnzoo.data.mirror import find_mirror
from rnnzoo.data.sets import digit_strings
from rnnzoo.errors import ConfigError, DataError
from rnnzoo.registry.names import find_config
from rnnzoo.runs.building import build_model, load_task
from rnnzoo.runs.config import load_config
from rnnzoo.tasks.transcriber.config import TranscriberConfig
from rnnzoo.tasks.transcriber.task import TranscriberTask, word_error_rate
from streaming.runtime.decoding import ctc_greedy

RATE = 8000


def tone(hertz, seconds):
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE).astype(np.float32)


def loudest(samples):
    """The frequency of a piece, in Hz."""
    return np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples)


def tones_of(config, seconds=0.2):
    """A problem whose words are frequencies of 400, 600 ... 2200 Hz."""
    rows = [(tone(hertz, seconds), str(hertz)) for hertz in range(400, 2400, 200)]
    dev = [(tone(400, 0.3), "400"), (tone(600, 0.5), "600 400"), (tone(800, 0.4), "unheard 800")]
    return TranscriberTask.from_source(Source("audio-text", {"train": rows, "dev": dev}), config)


STILL = AudioConfig(dataset="own", window=128, pause=0.2, speed=0.0, white_noise=0.0)


def test_strings_hold_only_the_recordings_of_their_split(monkeypatch):
    # Each recording is a tone that says its number, 0 to 11.
    def fakes():
        return [
            ((tone(300 + 200 * index, 0.3), digit), "someone", index) for digit in "0123456789" for index in range(12)
        ]

    monkeypatch.setattr(digit_strings, "recordings", fakes)
    splits = digit_strings.read_strings(DataConfig(dataset="spoken_digit_strings"))
    assert [len(splits[name]) for name in ("train", "dev", "test")] == [30, 100, 200]
    for name, numbers in (("dev", range(5, 9)), ("test", range(5))):
        heard = set()
        for samples, _ in splits[name]:
            blocks = np.split(samples[: len(samples) // 400 * 400], len(samples) // 400)
            heard |= {round((loudest(block) - 300) / 200) for block in blocks if np.abs(block).mean() > 0.3}
        assert heard == set(numbers)
        counts = {len(text.split()) for _, text in splits[name]}
        assert counts == {3, 4, 5, 6, 7}
        # Nothing but noise follows the last digit for 0.3 s.
        assert max(np.abs(samples[-2400:]).max() for samples, _ in splits[name]) < 0.1
    again = digit_strings.read_strings(DataConfig(dataset="spoken_digit_strings"))
    assert all(np.array_equal(a[0], b[0]) and a[1] == b[1] for a, b in zip(splits["test"], again["test"], strict=True))


def test_a_window_is_full_of_whole_recordings_that_its_text_names():
    problem = tones_of(STILL)
    rng = np.random.default_rng(0)
    for samples, text in (problem._composed(rng) for _ in range(20)):
        assert len(samples) == 127 * 128 + 256
        # A block of 10 ms that lies within one tone has all its power in one frequency.
        power = np.abs(np.fft.rfft(samples[: len(samples) // 80 * 80].reshape(-1, 80))) ** 2
        pure = power[power.max(axis=1) > np.maximum(0.999 * power.sum(axis=1), 1)]
        loud = (pure.argmax(axis=1) * 100).tolist()
        words = [int(word) for word, _ in itertools.groupby(text.split())]
        assert [hertz for hertz, _ in itertools.groupby(loud)] == words
        assert not samples[-2400:].any()
        # Pauses are at most 0.2 s: another recording would have to be cut.
        assert len(text.split()) >= (len(samples) - 2400) // (2 * 1600 + 1) - 1


def test_a_pass_is_composed_anew_and_goes_on_where_it_was_left():
    problem = tones_of(AudioConfig(dataset="own", window=64))
    first, other = ([b for _, b in problem.batches("train", 2, np.random.default_rng(seed))] for seed in (3, 4))
    assert len(first) == problem.steps("train", 2)
    rest = [b for _, b in problem.batches("train", 2, np.random.default_rng(3), skip=1)]
    np.testing.assert_array_equal(first[1][0]["features"], rest[0][0]["features"])
    np.testing.assert_array_equal(first[1][1], rest[0][1])
    assert not np.array_equal(first[0][0]["features"], other[0][0]["features"])
    assert first[0][0]["features"].shape == (2, 64, 40)


def test_recordings_of_dev_come_as_they_are():
    problem = tones_of(STILL)
    batches = [batch for _, batch in problem.batches("dev", 2)]
    assert problem.steps("dev", 2) == len(batches) == 2
    (_, targets, weights), (_, filled, less) = batches
    # Words are numbered in the order of their letters: 400, 600 and 800 are the last.
    np.testing.assert_array_equal(targets, [[8, 0], [9, 8]])
    np.testing.assert_array_equal(weights, [1, 1])
    # The word that no training recording has is no target; the first recording fills the batch up.
    np.testing.assert_array_equal(filled, [[10], [8]])
    np.testing.assert_array_equal(less, [1, 0])


def test_a_recording_that_no_window_holds_is_named():
    problem = tones_of(STILL, seconds=3)
    with pytest.raises(DataError, match=r"recording of 3.00 s .* data.window=128"):
        next(problem.batches("train", 2))


def test_word_error_rate_by_hand():
    # One is missing, one is too many, one is another: 3 of 6 words.
    assert word_error_rate(["1 3", "1 2 2", "5"], ["1 2 3", "1 2", "4"]) == pytest.approx(3 / 6)
    assert word_error_rate(["", "1"], ["1 2", "1"]) == pytest.approx(2 / 3)
    assert word_error_rate(["1 2 3 4"], ["9"]) == 4


def test_a_stride_that_skips_frames_is_refused():
    with pytest.raises(ConfigError, match=r"model.conv_width=3.*received 4"):
        TranscriberConfig(conv_width=3, stride=4)


@pytest.mark.skipif(find_mirror() is None, reason="no mirror: RNNZOO_DATA_MIRROR names none")
@pytest.mark.slow
def test_real_digits_train_convert_and_stream_the_same(tmp_path):
    small = ["data.limit=10", "data.window=200", "model.units=24", "model.layers=1", "model.conv_units=24"]
    config = load_config(find_config("asr-digits-stream"), small)
    problem = load_task(config)
    assert problem.labels == ("_blank_", *"0123456789")
    model = build_model(config, problem.encoder)
    twin = problem.training_model(model, 4)
    twin.compile(keras.optimizers.Adam(0.01), loss=problem.loss(config.training), jit_compile=False)
    losses = twin.fit(
        problem.dataset("train", 4, training=True), epochs=6, shuffle=False, verbose=0, callbacks=problem.callbacks()
    ).history["loss"]
    assert losses[-1] < losses[0] / 2
    model.set_weights(twin.get_weights())
    # So short a training hears little but blanks: with all labels as probable on the whole it writes more.
    samples, _ = problem.examples("dev")[0]
    features = problem.encoder.encode(samples)["features"][None]
    head = model.get_layer("logits")
    head.bias.assign_sub(model.predict_on_batch({"features": features}).mean(axis=(0, 1)))
    path = tmp_path / "digits.tflite"
    metadata = {"task": problem.spec(config.data, problem.encoder), "files": problem.encoder.to_files()}
    streaming.convert(model, path, metadata=metadata)
    offline, streamed = problem.evaluate(model, "dev"), problem.evaluate_stream(streaming.load(path), "dev")
    offline.pop("beam_word_error_rate")
    assert streamed == offline
    transcriber, logits = streaming.pipeline(path), model.predict_on_batch({"features": features})[0]
    expected = " ".join(problem.labels[token] for token in ctc_greedy(logits, 0))
    assert len(expected.split()) > 3
    assert transcriber.transcribe(samples) == expected
    *_, said = transcriber.run(np.array_split(samples, 9))
    assert said.text == expected
