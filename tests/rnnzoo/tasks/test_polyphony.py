"""Chords, their likelihood, other keys, and a small model on real chorales."""

import keras
import numpy as np
import pytest

import streaming
from rnnzoo.data import Source
from rnnzoo.data.mirror import find_mirror
from rnnzoo.errors import ConfigError
from rnnzoo.registry.names import find_config
from rnnzoo.runs.building import build_model, load_task
from rnnzoo.runs.config import load_config
from rnnzoo.tasks.losses import SummedBinaryCrossEntropy
from rnnzoo.tasks.polyphony.config import PolyphonyData
from rnnzoo.tasks.polyphony.task import PolyphonyTask


def rolls():
    rng = np.random.default_rng(0)
    return [(np.pad((rng.random((n, 8)) < 0.3), ((0, 0), (2, 3))).astype(np.float32), None) for n in (5, 7, 9)]


@pytest.fixture(scope="module")
def problem():
    rows = rolls()
    config = PolyphonyData(dataset="own", transpose=5)
    return PolyphonyTask.from_source(Source("rolls", {"train": rows, "dev": rows[1:]}), config)


def test_the_likelihood_is_that_of_independent_notes(problem):
    rng = np.random.default_rng(1)
    given = [rng.uniform(0.05, 0.95, (len(roll) - 1, 13)) for roll, _ in problem.examples("dev")]
    total, steps = 0.0, 0
    for (roll, _), probabilities in zip(problem.examples("dev"), given, strict=True):
        for row, p in zip(roll[1:], probabilities, strict=True):
            total -= sum(np.log(q if on else 1 - q) for on, q in zip(row, p, strict=True))
            steps += 1
    figures = problem.score("dev", given)
    assert figures["nll"] == pytest.approx(total / steps)
    assert figures["count"] == steps
    true = np.concatenate([roll[1:] for roll, _ in problem.examples("dev")])
    loss = SummedBinaryCrossEntropy()(true[None], np.concatenate(given)[None].astype(np.float32))
    assert float(loss) == pytest.approx(total / steps, rel=1e-5)


def test_padding_weighs_nothing(problem):
    inputs, targets, weights = problem.collate(problem.arrays("train"))
    assert inputs["rows"].shape[:2] == weights.shape == targets.shape[:2]
    np.testing.assert_array_equal(weights.sum(axis=1), [4, 6, 8])


def test_another_key_moves_all_notes_alike(problem):
    rng, seen = np.random.default_rng(2), set()
    row = problem.arrays("train")[1]
    low = np.flatnonzero(np.concatenate([row["rows"], row["targets"]]).any(axis=0))[0]
    for _ in range(100):
        moved = problem.augment(row, rng)
        shift = int(np.flatnonzero(np.concatenate([moved["rows"], moved["targets"]]).any(axis=0))[0] - low)
        seen.add(shift)
        for name in ("rows", "targets"):
            assert moved[name].sum() == row[name].sum()
            np.testing.assert_array_equal(np.argwhere(moved[name]) - [0, shift], np.argwhere(row[name]))
    assert len(seen) > 3
    with pytest.raises(ConfigError, match="received -1"):
        PolyphonyData(dataset="own", transpose=-1)


@pytest.mark.skipif(find_mirror() is None, reason="no mirror: RNNZOO_DATA_MIRROR names none")
@pytest.mark.slow
def test_real_chorales_train_convert_and_stream_the_same(tmp_path):
    config = load_config(find_config("music-jsb"), ["model.units=32", "data.limit=24"])
    problem = load_task(config)
    model = build_model(config, problem.encoder)
    model.compile(keras.optimizers.Adam(0.02), loss=problem.loss(config.training), jit_compile=False)
    data = problem.dataset("train", 8, training=True)
    losses = model.fit(data, epochs=6, shuffle=False, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    path = tmp_path / "music.tflite"
    metadata = {"task": problem.spec(config.data, problem.encoder), "files": problem.encoder.to_files()}
    streaming.convert(model, path, metadata=metadata)
    offline = problem.evaluate(model, "dev")
    assert problem.evaluate_stream(streaming.load(path), "dev") == pytest.approx(offline, rel=1e-4)
    # Notes that never change would cost less than a coin for each.
    assert offline["nll"] < 88 * np.log(2)
    roll = problem.examples("dev")[0][0]
    forecast = streaming.pipeline(path).forecast(roll)
    np.testing.assert_allclose(forecast.values[0], model.predict_on_batch({"rows": roll[None]})[0, -1], atol=1e-5)
