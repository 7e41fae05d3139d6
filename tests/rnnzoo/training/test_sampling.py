"""Scheduled sampling: which tokens a decoder reads in training, and how its share grows."""

import dataclasses

import keras
import numpy as np
import pytest

from rnnzoo.data import Source
from rnnzoo.data.config import PairsConfig
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.translator.config import TranslatorConfig
from rnnzoo.tasks.translator.model import build_translator
from rnnzoo.tasks.translator.task import TranslatorTask
from rnnzoo.training import TrainingConfig, fit
from rnnzoo.training.parallel import Parallel
from rnnzoo.training.sampling import GuessFed
from streaming.runtime.codec import END, PAD, START
from streaming.runtime.tasks.texts import BANNED

WORDS = {"red": "rot", "blue": "blau", "cat": "Katze", "dog": "Hund"}
TRAINING = TrainingConfig(epochs=2, batch_size=16, learning_rate=0.02, scheduled_sampling=0.5, snapshot_seconds=0.0)


@pytest.fixture(scope="module", params=[None, 2], ids=["whole", "wait_k"])
def problem(request):
    rng = np.random.default_rng(0)
    chosen = [[str(word) for word in rng.choice(list(WORDS), rng.integers(1, 5))] for _ in range(90)]
    rows = [(" ".join(words), " ".join(WORDS[word] for word in words)) for words in chosen]
    config = PairsConfig(dataset="toy", level="words", max_length=7, wait_k=request.param)
    return TranslatorTask.from_source(Source("text-text", {"train": rows[:64], "dev": rows[64:]}), config)


def build(problem):
    keras.utils.set_random_seed(0)
    architecture = "luong" if problem.config.wait_k is None else "wait_k"
    small = TranslatorConfig(architecture=architecture, token_size=8, units=8, heads=2, dropout=0.2)
    return build_translator(small, problem.encoder)


def guess_fed(problem, rate):
    model = build(problem)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, 0.8, weight.shape) for weight in model.get_weights()])
    fed = GuessFed(model, problem.decoder_input, problem.never_guessed)
    fed.rate.assign(rate)
    return model, fed


def test_guesses_are_the_best_tokens_of_the_place_before(problem):
    model, fed = guess_fed(problem, 1.0)
    _, (x, *_) = next(problem.batches("dev", 16))
    found = fed.mixed(x)
    np.testing.assert_array_equal(found["source"], x["source"])
    logits, right, mixed = model.predict_on_batch(x), x["target"], np.asarray(found["target"])
    allowed = [number for number in range(logits.shape[-1]) if number not in (*BANNED, END)]
    for row, place in np.ndindex(right.shape):
        if right[row, place] in (PAD, START):
            assert mixed[row, place] == right[row, place]
        else:
            best = max(allowed, key=lambda number: logits[row, place - 1, number])
            assert mixed[row, place] == best
    assert (mixed != right).any()


def test_the_share_of_guesses_is_the_rate(problem):
    _, fed = guess_fed(problem, 0.0)
    _, (x, *_) = next(problem.batches("dev", 16))
    np.testing.assert_array_equal(fed.mixed(x)["target"], x["target"])
    many = {name: np.tile(array, (60, 1)) for name, array in x.items()}
    fed.rate.assign(1.0)
    differ = np.asarray(fed.mixed(many)["target"]) != many["target"]
    fed.rate.assign(0.3)
    drawn = np.asarray(fed.mixed(many)["target"]) != many["target"]
    assert drawn.sum() / differ.sum() == pytest.approx(0.3, abs=0.03)
    assert not (drawn & ~differ).any()


class Stop(keras.callbacks.Callback):
    """Interrupts at a step of the second epoch, and tells the rate of every step."""

    def __init__(self, step=None):
        super().__init__()
        self.step, self.rates = step, []

    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(float(self.model.rate.numpy()))
        if self.step == int(self.model.optimizer.iterations):
            raise KeyboardInterrupt


@pytest.mark.slow
def test_the_rate_rises_and_an_interrupted_training_ends_with_the_same_bits(problem, tmp_path):
    whole, steps = Stop(), problem.steps("train", TRAINING.batch_size) * TRAINING.epochs
    expected = build(problem)
    history = fit(expected, problem, TRAINING, seed=1, run_dir=tmp_path / "whole", callbacks=[whole])
    assert whole.rates == pytest.approx([0.5 * step / steps for step in range(steps)])
    with pytest.raises(KeyboardInterrupt):
        fit(build(problem), problem, TRAINING, seed=1, run_dir=tmp_path / "cut", callbacks=[Stop(steps - 2)])
    found = build(problem)
    again = fit(found, problem, TRAINING, seed=1, run_dir=tmp_path / "cut")
    assert again["loss"] == history["loss"]
    for a, b in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    plain = build(problem)
    fit(plain, problem, dataclasses.replace(TRAINING, scheduled_sampling=0.0), seed=1, run_dir=tmp_path / "plain")
    assert any((a != b).any() for a, b in zip(plain.get_weights(), expected.get_weights(), strict=True))


def test_contradictions_are_named(problem, tmp_path):
    with pytest.raises(ConfigError, match="scheduled_sampling contradict"):
        dataclasses.replace(TRAINING, jacobian_penalty=1.0)
    with pytest.raises(ConfigError, match=r"--strategy does not go with training\.scheduled_sampling"):
        fit(build(problem), problem, TRAINING, seed=1, run_dir=tmp_path, parallel=Parallel("mirrored"))
