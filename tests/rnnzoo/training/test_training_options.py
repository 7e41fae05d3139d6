"""Schedules, patience, precision, logs, the origin of a NaN: each against its definition."""

import csv
import dataclasses
import math

import keras
import numpy as np
import pytest
from test_training import CONFIG, MODEL, TRAINING, build, sentences

from rnnzoo.data import Source
from rnnzoo.errors import ConfigError, DataError, Diverged
from rnnzoo.tasks.tagger.model import build_tagger
from rnnzoo.tasks.tagger.task import TaggerTask
from rnnzoo.training import TrainingConfig, fit
from rnnzoo.training.optimization import epochs_in_vain, make_optimizer, make_schedule, plateau_rate
from rnnzoo.training.parallel import split_batch
from rnnzoo.training.precision import precision
from rnnzoo.training.sampling import sampling_share

SHORT = dataclasses.replace(TRAINING, epochs=2, ema=None)


@pytest.fixture(scope="module")
def data():
    source = Source("words-tags", {"train": sentences(64, 0), "dev": sentences(20, 1), "test": sentences(20, 2)})
    return TaggerTask.from_source(source, CONFIG)


def test_exponential_and_inverse_square_root_rates():
    config = TrainingConfig(epochs=10, learning_rate=0.1, warmup=0.2, decay=0.5)
    rate = make_schedule(dataclasses.replace(config, schedule="exponential"), 5)
    np.testing.assert_allclose([rate(s) for s in (0, 5, 10, 15, 20)], [0, 0.05, 0.1, 0.05, 0.025], rtol=1e-6)
    rate = make_schedule(dataclasses.replace(config, schedule="inverse_sqrt"), 5)
    np.testing.assert_allclose([rate(s) for s in (5, 10, 40)], [0.05, 0.1, 0.1 * math.sqrt(10 / 40)], rtol=1e-6)


def test_a_plateau_lowers_the_rate_after_each_wait_in_vain():
    config = TrainingConfig(schedule="plateau", learning_rate=1.0, decay=0.5, plateau_patience=2)
    figures = [0.1, 0.2, 0.2, 0.1, 0.1, 0.1, 0.3]
    rates = [plateau_rate(config, figures[:n]) for n in range(len(figures) + 1)]
    assert rates == [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]
    assert [epochs_in_vain(figures[:n]) for n in (1, 2, 3, 6, 7)] == [0, 0, 1, 4, 0]


def test_values_and_norms_are_clipped():
    for option, expected in (({"clip_norm": 1.0}, [-0.6, -0.8]), ({"clip_norm": None, "clip_value": 3.5}, [-3, -3.5])):
        config = TrainingConfig(optimizer="sgd", schedule="constant", learning_rate=1.0, **option)
        weight = keras.Variable([0.0, 0.0])
        make_optimizer(config, 1).apply([keras.ops.array([3.0, 4.0])], [weight])
        np.testing.assert_allclose(weight, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "inverse_sigmoid"])
def test_the_share_of_own_guesses_grows_to_the_end(kind):
    config = TrainingConfig(scheduled_sampling=0.4, scheduled_sampling_schedule=kind)
    shares = [sampling_share(config, x) for x in np.linspace(0, 1, 11)]
    assert shares[0] == 0
    assert shares[-1] == pytest.approx(0.4)
    assert shares[5] == pytest.approx(0.2, abs=1e-3)
    assert sorted(shares) == shares


@pytest.mark.slow
def test_patience_ends_a_training_and_logs_have_every_epoch(data, tmp_path, capsys):
    still = dataclasses.replace(SHORT, epochs=9, patience=2, learning_rate=1e-9, schedule="constant")
    history = fit(build(data), data, still, seed=1, run_dir=tmp_path, logs=True)
    assert len(history["loss"]) == 3
    assert "stopped after epoch 3: val_accuracy was no better for 2 epochs" in capsys.readouterr().out
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == history["loss"]
    assert list((tmp_path / "tensorboard").glob("events.out.*"))


@pytest.mark.slow
def test_mixed_precision_trains_weights_in_float32(data, tmp_path):
    with precision("mixed_bfloat16"):
        model = build(data)
    assert keras.config.dtype_policy().name == "float32"
    assert model.get_layer("logits").compute_dtype == "bfloat16"
    history = fit(model, data, SHORT, seed=1, run_dir=tmp_path)
    assert history["loss"][-1] < history["loss"][0]
    assert {v.dtype for v in model.trainable_variables} == {"float32"}


@pytest.mark.slow
def test_the_origin_of_a_loss_that_is_no_number_is_named(data, tmp_path):
    config = dataclasses.replace(
        SHORT, optimizer="sgd", learning_rate=1e38, clip_norm=None, schedule="constant", snapshot_seconds=1e9
    )
    model = build(data)
    with pytest.raises(Diverged, match=r"epoch 1, batch \d.*first to be no number: the .* at step \d") as error:
        fit(model, data, config, seed=1, run_dir=tmp_path)
    assert f"the last good state is in {tmp_path}" in str(error.value)


def test_a_weight_that_is_no_number_is_the_origin(data, tmp_path):
    model = build(data)
    model.get_layer("logits").bias.assign([np.nan] * len(data.labels))
    with pytest.raises(Diverged, match=r"epoch 1, batch 1"):
        fit(model, data, SHORT, seed=1, run_dir=tmp_path)


def test_a_loss_that_overflows_has_finite_outputs_and_weights(data, tmp_path):
    model = build(data)
    # The difference of two scores is no number of 32 bits; each of them is.
    model.get_layer("logits").bias.assign([3e38] + [-3e38] * (len(data.labels) - 1))
    said = r"epoch 1, batch 1; first to be no number: the loss itself, of finite outputs, at step 1"
    with pytest.raises(Diverged, match=said):
        fit(model, data, SHORT, seed=1, run_dir=tmp_path)


def test_what_is_wrong_with_an_example_is_said_in_its_own_words(data, tmp_path, monkeypatch):
    def batches(split, *arguments):
        raise DataError(f"an example of {split} is too long: cut it")
        yield

    monkeypatch.setattr(data, "batches", batches)
    with pytest.raises(DataError, match=r"^an example of train is too long: cut it$"):
        fit(build(data), data, SHORT, seed=1, run_dir=tmp_path)


def test_labels_out_of_range_and_long_sequences_are_named(data, tmp_path, monkeypatch):
    longest = max(len(words) for words, _ in data.examples("train"))
    with pytest.raises(DataError, match=rf"has {longest} steps, more than training\.max_length={longest - 1}"):
        fit(build(data), data, dataclasses.replace(SHORT, max_length=longest - 1), seed=1, run_dir=tmp_path)
    with pytest.raises(ConfigError, match=r"training\.scheduled_sampling=0\.3 needs a decoder"):
        fit(build(data), data, dataclasses.replace(SHORT, scheduled_sampling=0.3), seed=1, run_dir=tmp_path)
    chain = build_tagger(dataclasses.replace(MODEL, head="crf"), data.encoder)
    with pytest.raises(ConfigError, match=r"training\.label_smoothing=0\.05 needs a loss over single labels"):
        fit(chain, data, SHORT, seed=1, run_dir=tmp_path)
    monkeypatch.setattr(TaggerTask, "number", lambda self, label: 7)
    wrong = TaggerTask(data.config, data.encoder, data.splits)
    with pytest.raises(DataError, match=r"example 1 of split 'train' has the label 7; the model has 4 outputs"):
        fit(build(data), wrong, SHORT, seed=1, run_dir=tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clip_value": 1.0}, r"training\.clip_value=1\.0 and training\.clip_norm=5\.0 contradict"),
        ({"decay": 0.0}, r"training\.decay is above 0"),
        ({"patience": 0}, r"training\.patience is at least 1"),
        ({"precision": "float8"}, r"training\.precision is one of float32, mixed_float16"),
        ({"scheduled_sampling": 2.0}, r"training\.scheduled_sampling is a share"),
        ({"jacobian_penalty": -1.0}, r"training\.jacobian_penalty is at least 0"),
    ],
)
def test_impossible_options_are_named(change, said):
    with pytest.raises(ConfigError, match=said):
        dataclasses.replace(TrainingConfig(), **change)


def test_the_mean_over_parts_is_the_mean_of_the_batch():
    rng = np.random.default_rng(0)
    inputs, targets = {"x": rng.normal(size=(5, 3))}, rng.normal(size=(5, 3))
    weights = rng.integers(0, 2, (5, 3)).astype(np.float32)
    parts = split_batch((inputs, targets, weights), 2)
    assert [len(part[1]) for part in parts] == [3, 3]
    means = [np.mean(w * (x["x"] - y) ** 2) for x, y, w in parts]
    np.testing.assert_allclose(np.mean(means), np.mean(weights * (inputs["x"] - targets) ** 2), rtol=1e-6)
