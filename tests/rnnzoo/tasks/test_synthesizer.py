"""Speech: recordings as steps of frames, the loss against the figure, alignments, what is drawn and heard."""

import numpy as np
import pytest

import streaming
from rnnzoo.data.source import Source
from rnnzoo.errors import DataError
from rnnzoo.tasks.losses import FramesLoss
from rnnzoo.tasks.synthesizer.config import SpeechConfig, SynthesizerConfig
from rnnzoo.tasks.synthesizer.distance import mel_distances, stretched
from rnnzoo.tasks.synthesizer.model import build_synthesizer
from rnnzoo.tasks.synthesizer.task import SynthesizerTask
from streaming.runtime.decoding.frames import FrameDensity

RNG = np.random.default_rng(5)


def recordings(count):
    """Tones of different lengths, two words by two voices."""
    made = []
    for i in range(count):
        word, voice = "ab"[i % 2], "xy"[i // 2 % 2]
        time = np.arange(RNG.integers(700, 1100)) / 8000
        tone = np.sin(2 * np.pi * (400 if word == "a" else 1500) * time) * (0.3 if voice == "x" else 0.1)
        made.append(((tone + 0.001 * RNG.standard_normal(len(time))).astype(np.float32), (word, voice)))
    return made


@pytest.fixture(scope="module")
def made():
    config = SpeechConfig(dataset="tones", num_mels=8, draws=2, max_length=9, iterations=2, frame_noise=0.5)
    splits = {"train": recordings(12), "dev": recordings(8), "test": recordings(8)}
    task = SynthesizerTask.from_source(Source("audio-voice", splits), config, seed=1)
    return task, build_synthesizer(SynthesizerConfig(prenet=6, given=3, units=8), task.encoder)


def test_a_recording_is_steps_of_frames_after_the_last_frame(made):
    task, _ = made
    samples, about = task.examples("train")[1]
    assert about == ("b", "x")
    for length in (256 + 64 * 6, 256 + 64 * 7):
        frames = task.encoder.encode(samples[:length])
        row = task.encode((samples[:length], about))
        steps = -(-len(frames) // 2)
        targets = row["targets"][:, :-1].reshape(steps * 2, 8)
        np.testing.assert_array_equal(targets[: len(frames)], frames)
        np.testing.assert_array_equal(targets[-1], frames[-1])
        np.testing.assert_array_equal(row["rows"][0], np.zeros(8))
        np.testing.assert_array_equal(row["rows"][1:], frames[1 : 2 * steps - 2 : 2])
        assert row["targets"][:, -1].tolist() == [0] * (steps - 1) + [1]
        assert row["given"].tolist() == [[0, 1, 1, 0]] * steps
    with pytest.raises(DataError, match="has 99 samples, fewer than the frame of 256"):
        task.encode((samples[:99], about))
    noisy = task.augment(row, np.random.default_rng(0))["rows"] - row["rows"]
    assert noisy.std() == pytest.approx(0.5, rel=0.3)


def normal(value, centre, deviation):
    return np.exp(-((value - centre) ** 2) / (2 * deviation**2)) / np.sqrt(2 * np.pi) / deviation


def test_the_clock_counts_the_steps_whatever_is_said_and_is_not_trained(made):
    _, model = made
    clock = model.get_layer("clock")
    assert not clock.trainable_weights
    given = RNG.normal(size=(2, 50, clock.input.shape[-1])).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(clock(given))[..., 0], np.tile(np.arange(1, 51) / 32, (2, 1)))
    # Where the last frame and the state say nothing, two steps still differ by the time.
    rows = np.zeros((1, 400, model.input["rows"].shape[-1]), np.float32)
    words = np.tile(np.eye(given.shape[-1], dtype=np.float32)[:1], (1, 400, 1))
    late = np.asarray(model({"rows": rows, "given": words}))[0, -2:]
    assert np.abs(late[1] - late[0]).max() > 1e-4


def test_the_loss_is_the_density_of_normal_distributions_and_of_ends():
    outputs, targets = RNG.normal(size=(2, 3, 9)).astype(np.float32), RNG.normal(size=(2, 3, 5)).astype(np.float32)
    targets[..., -1] = [[0, 0, 1], [0, 1, 0]]
    losses = np.asarray(FramesLoss(0.2, reduction=None)(targets, outputs))
    for b in range(2):
        for t in range(3):
            centres, deviations = outputs[b, t, :4], 0.2 + np.exp(outputs[b, t, 4:8])
            chances = [normal(*part) for part in zip(targets[b, t, :4], centres, deviations, strict=True)]
            stop = 1 / (1 + np.exp(-outputs[b, t, 8]))
            end = stop if targets[b, t, 4] else 1 - stop
            assert losses[b, t] == pytest.approx(-np.mean(np.log(chances)) - np.log(end), rel=1e-5)
            density = FrameDensity.read(outputs[b, t], 2, 0.2)
            whole = density.log_density(targets[b, t, :4].reshape(2, 2))
            assert whole == pytest.approx(np.sum(np.log(chances)), rel=1e-5)
            assert density.ends == (stop > 0.5)
    draws = np.array([density.draw(np.random.default_rng(i), 0.25) for i in range(4000)])
    np.testing.assert_allclose(draws.mean(axis=0), density.means, atol=0.2)
    np.testing.assert_allclose(draws.std(axis=0), density.deviations / 2, rtol=0.06)


def warped(one, other):
    """The least sum of costs, by trying each way: a diagonal step counts twice."""

    def best(i, j):
        cost = np.sqrt(np.mean((one[i] - other[j]) ** 2))
        if i == j == 0:
            return 2 * cost
        ways = [best(i - 1, j - 1) + 2 * cost] if i and j else []
        ways += [best(i - 1, j) + cost] if i else []
        ways += [best(i, j - 1) + cost] if j else []
        return min(ways)

    return best(len(one) - 1, len(other) - 1) / (len(one) + len(other)) * 10 / np.log(10)


def test_distances_are_those_of_the_best_of_all_alignments():
    one, others = RNG.normal(size=(4, 3)), [RNG.normal(size=(n, 3)) for n in (1, 3, 6)]
    np.testing.assert_allclose(mel_distances(one, others), [warped(one, other) for other in others], rtol=1e-9)
    # A sound that is held is no other sound, and one that is a factor of ten stronger is 10 dB away.
    held = np.repeat(one, [1, 3, 2, 1], axis=0)
    np.testing.assert_allclose(mel_distances(held, [one]), [0], atol=1e-6)
    np.testing.assert_allclose(mel_distances(held[1:4], [held[1:3] + np.log(10)]), [10], rtol=1e-9)
    np.testing.assert_allclose(stretched(np.array([[0.0], [2.0]]), 5)[:, 0], [0, 0.5, 1, 1.5, 2])


def test_a_stream_says_and_measures_what_the_keras_model_does(made, tmp_path):
    task, model = made
    offline = task.evaluate(model, "dev")
    assert offline["count"] == 2 * 2 * 2
    assert "understood" not in offline
    path = tmp_path / "tones.tflite"
    metadata = {"task": task.spec(task.config, task.encoder), "files": task.encoder.to_files()}
    streaming.convert(model, path, metadata=metadata)
    streamed = task.evaluate_stream(streaming.load(path), "dev")
    assert streamed == pytest.approx(offline, rel=1e-4)


class Listener:
    """Hears what is loud, and an `a` where the tone is low."""

    sample_rate, labels = 8000, ("a", "b")

    def spot(self, samples):
        if np.abs(samples).max() < 0.05:
            return []
        crossings = np.mean(np.diff(np.sign(samples[:600])) != 0)
        return [type("Event", (), {"label": "a" if crossings < 0.25 else "b"})]


def test_a_mean_recording_is_understood_and_near_its_own_word(made):
    task, model = made
    task.__dict__["_spotter"] = Listener()
    try:
        figures, beside = task.baseline("dev").figures, task.evaluate(model, "dev")
    finally:
        del task.__dict__["_spotter"]
    assert figures["understood"] == beside["true_understood"] == 1
    assert (
        figures["mel_distance"]
        < 6
        < task._distance("dev", [("b", v, r[0]) for (w, v), r in task.recordings("train").items() if w == "a"])
    )
    assert beside["true_mel_distance"] < 6
    # An untrained model says nothing that can be understood well.
    assert beside["understood"] < 1
    assert beside["mel_distance"] > 6
