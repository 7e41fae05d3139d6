"""Synthesizers: frames by the device against a roll-out of the offline Keras model, mistakes, `streaming run`."""

import io
import json
import sys

import keras
import numpy as np
import pytest
from keras import layers
from task_models import save

import streaming
from streaming.cli import main
from streaming.errors import ArtifactError, InputError
from streaming.runtime.audio import read_wav
from streaming.runtime.tasks import Speech, Synthesizer

MELS, MEAN, SCALE, FLOOR = 5, -3.0, 2.0, 0.2
TASK = {
    "kind": "synthesizer",
    "features": {
        "sample_rate": 8000,
        "frame_length": 128,
        "frame_step": 32,
        "fft_length": 128,
        "num_mels": MELS,
        "low_hz": 60.0,
        "high_hz": 3800.0,
    },
    "scaler": {"mean": [MEAN] * MELS, "scale": [SCALE] * MELS},
    "words": ["one", "two", "three"],
    "voices": ["anna", "ben"],
    "reduction": 2,
    "floor": FLOOR,
    "temperature": 0.6,
    "max_length": 11,
    "iterations": 3,
}


def speaking_model(outputs=2 * 2 * MELS + 1, given=5):
    keras.utils.set_random_seed(3)
    rows, about = keras.Input((None, MELS), name="rows"), keras.Input((None, given), name="given")
    x = layers.GRU(7, return_sequences=True)(layers.Concatenate()([rows, about]))
    return keras.Model({"rows": rows, "given": about}, layers.Dense(outputs)(x))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("speech")


@pytest.fixture(scope="module")
def speaker(folder):
    model = speaking_model()
    path = save(model, folder, TASK, {})
    return model, path, streaming.pipeline(path)


def rolled_out(model, word, voice, seed, temperature, most):
    """Features of a word, by the whole Keras model again for each step."""
    given = np.zeros(5)
    given[[TASK["words"].index(word), 3 + TASK["voices"].index(voice)]] = 1
    rows, found, rng = [np.zeros(MELS)], [], np.random.default_rng(seed)
    while len(found) < most:
        steps = {"rows": np.array([rows], np.float32), "given": np.array([[given] * len(rows)], np.float32)}
        output = np.asarray(model(steps))[0, -1].astype(np.float64)
        means, logs = output[:-1].reshape(2, 2, MELS)
        frames = means + np.sqrt(temperature) * (FLOOR + np.exp(logs)) * rng.standard_normal((2, MELS))
        found += list(frames)
        if output[-1] > 0:
            return np.array(found[:most]) * SCALE + MEAN, True
        rows.append(frames[-1])
    return np.array(found[:most]) * SCALE + MEAN, False


@pytest.mark.parametrize(("word", "voice"), [("one", "anna"), ("three", "ben")])
def test_frames_are_those_of_the_offline_model(speaker, word, voice):
    model, _, task = speaker
    assert isinstance(task, Synthesizer)
    for seed in range(3):
        rows, ended = rolled_out(model, word, voice, seed, 0.6, 11)
        found = task.frames(word, voice=voice, seed=seed)
        np.testing.assert_allclose(found.rows, rows, rtol=1e-4, atol=1e-4)
        assert found.ended == ended
    still = rolled_out(model, word, voice, 0, 0.0, 5)[0]
    np.testing.assert_allclose(task.frames(word, voice=voice, temperature=0, max_length=5).rows, still, atol=1e-4)


def test_a_text_is_its_words_with_pauses(speaker):
    task = speaker[2]
    speech = task.say("two  one", voice="ben", seed=4)
    parts = [task.signal(task.frames(w, voice="ben", seed=(4, i)).rows) for i, w in enumerate(("two", "one"))]
    np.testing.assert_array_equal(speech.samples, np.concatenate([parts[0], np.zeros(800, np.float32), parts[1]]))
    assert (speech.voice, speech.sample_rate, speech.seconds) == ("ben", 8000, len(speech.samples) / 8000)
    assert task.say("one").voice == "anna"
    session = task.session()
    (event,) = session.feed("one two")
    assert isinstance(event, Speech)
    np.testing.assert_array_equal(event.samples, task.say("one two").samples)
    assert (session.words, session.unknown, session.finish()) == (2, 0, [])


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("thre", {}, "no word 'thre'; did you mean 'three'? it has one, two, three"),
        ("one", {"voice": "bea"}, "no voice 'bea'; did you mean 'ben'?"),
        ("  ", {}, "the text holds no word"),
        ("one", {"temperature": -1}, "temperature is -1"),
        ("one", {"max_length": 0}, "max_length 0"),
    ],
)
def test_mistakes_are_one_line(speaker, text, options, message):
    with pytest.raises(InputError) as caught:
        speaker[2].say(text, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "change", "message"),
    [
        (speaking_model(outputs=20), {}, "gives 21 numbers without delay"),
        (speaking_model(given=6), {}, "Export the model anew"),
        (None, {"words": []}, "expected a word and a voice"),
        (None, {"reduction": 0}, "reduction"),
        (None, {"scaler": {"mean": [0], "scale": [1]}}, "a mean and a scale for each feature"),
        (None, {"floor": 0.0}, "floor"),
    ],
)
def test_a_file_that_contradicts_its_task_is_refused(speaker, folder, model, change, message):
    with pytest.raises(ArtifactError, match=message):
        streaming.pipeline(save(model or speaker[0], folder, {**TASK, **change}, {}))


def run(capsys, monkeypatch, path, *flags, stdin):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
    code = main(["run", str(path), *map(str, flags)])
    out, err = capsys.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], err


def test_streaming_run_writes_a_wav_file_a_line(speaker, capsys, monkeypatch, tmp_path):
    _, path, task = speaker
    flags = ["--out", tmp_path / "said", "--voice", "ben", "--seed", 2, "--temperature", 0.1]
    code, found, err = run(capsys, monkeypatch, path, *flags, stdin="one\n\ntwo three\n")
    assert (code, err) == (0, "")
    assert [(item["line"], item["text"], item["voice"]) for item in found] == [
        (1, "one", "ben"),
        (3, "two three", "ben"),
    ]
    for item in found:
        expected = task.say(item["text"], voice="ben", seed=2, temperature=0.1)
        np.testing.assert_allclose(read_wav(item["file"], 8000), expected.samples, atol=1e-4)
        assert "samples" not in item


@pytest.mark.parametrize(
    ("flags", "stdin", "message"),
    [
        ([], "one\n", "give a folder for its WAV files, --out DIR"),
        (["--out", "x", "--top-k", 3], "one\n", "--top-k does not go with this model, whose task is synthesizer"),
        (["--out", "x"], "one\nfive\n", "line 2: the model has no word 'five'"),
    ],
)
def test_mistakes_of_a_run_are_one_line(speaker, capsys, monkeypatch, tmp_path, flags, stdin, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, monkeypatch, speaker[1], *flags, stdin=stdin)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err
