"""Anomalies in series by one model: windows of the rows on probation, and a small detector of real ones."""

import keras
import numpy as np
import pytest

import streaming
from rnnzoo.data import Source
from rnnzoo.data.mirror import find_mirror
from rnnzoo.errors import ConfigError, DataError
from rnnzoo.registry.names import find_config
from rnnzoo.runs.building import build_model, load_task
from rnnzoo.runs.config import load_config
from rnnzoo.tasks.anomaly_detector.config import AnomalyDetectorData
from rnnzoo.tasks.anomaly_detector.task import AnomalyDetectorTask
from rnnzoo.tasks.forecaster.config import ForecasterConfig
from rnnzoo.tasks.forecaster.model import build_forecaster

SIZES = {"context": 3, "window": 8, "probation": 20, "warm_up": 5, "long_window": 50}


def problem_of(**fields):
    rng = np.random.default_rng(0)
    series = []
    for number, scale in enumerate((1.0, 1e5)):
        values = (rng.normal(size=(120, 1)).cumsum(axis=0) * scale + 9 * scale).astype(np.float32)
        about = {"name": str(number), "probation": 60, "windows": np.array([[90, 100]])}
        series.append((values, about))
    splits = dict.fromkeys(("train", "dev", "test"), series)
    return AnomalyDetectorTask.from_source(
        Source("series-windows", splits), AnomalyDetectorData(dataset="own", **{**SIZES, **fields})
    )


def test_windows_hold_the_next_row_of_a_series_in_its_own_units():
    problem = problem_of()
    standard = []
    for values, _ in problem.examples("train"):
        first = values[:20].astype(np.float64)
        standard.append((values - first.mean()) / first.std())
    known = [row["rows"] for row in problem.arrays("train")]
    np.testing.assert_allclose(known, standard, rtol=1e-5, atol=1e-5)
    seen = {"train": [], "dev": []}
    for split in seen:
        for _, (inputs, targets, weights) in problem.batches(split, 3):
            np.testing.assert_array_equal(weights, np.tile([0, 0] + [1] * 6, (len(weights), 1)))
            for window, after in zip(inputs["rows"], targets, strict=True):
                places = [(n, a) for n in range(2) for a in range(112) if np.array_equal(known[n][a : a + 8], window)]
                ((number, begin),) = places
                np.testing.assert_array_equal(after[:, 0], known[number][begin + 1 : begin + 9])
                seen[split] += [(number, begin + t + 1) for t in range(2, 8)]
    # Forecast once each, and nothing after the probation of 60 rows; the last fifth of it is for development.
    for split, rows in seen.items():
        assert len(set(rows)) == len(rows), split
    assert max(row for _, row in seen["train"]) < 48 <= max(row for _, row in seen["dev"]) < 60


def test_a_linear_map_by_least_squares_knows_the_rows_of_the_training_alone():
    problem, config = problem_of(), ForecasterConfig(units=4, linear="least_squares")
    model = build_forecaster(config, problem.encoder)
    problem.begin(model, config)
    changes, ahead = [], []
    for row in problem.arrays("train"):
        rows = row["rows"][:48, 0].astype(np.float64)
        for t in range(2, 47):
            changes.append([rows[t - 1] - rows[t - 2], rows[t] - rows[t - 1]])
            ahead.append(rows[t + 1] - rows[t])
    best = np.linalg.lstsq(np.array(changes), np.array(ahead), rcond=None)[0]
    np.testing.assert_allclose(model.get_layer("linear").get_weights()[0].ravel(), best, rtol=1e-4, atol=1e-6)


def test_a_perfect_detector_gets_all_and_a_silent_one_nothing():
    problem = problem_of()
    errors = [np.ones(120), np.ones(120)]
    scores = np.zeros(120)
    scores[90] = 1
    figures = problem._figures("test", errors, [scores, scores])
    assert figures["nab_score"] == pytest.approx(100)
    assert figures["count"] == 120
    assert problem._figures("dev", errors, [scores, scores])["mse"] == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"context": 1}, "received 1, 8 and 20"), ({"probation": 0}, "at least 1 row"), ({"threshold": 1.0}, "1.0")],
)
def test_what_cannot_be_is_named(fields, said):
    with pytest.raises(ConfigError, match=said):
        problem_of(**fields)


def test_series_with_too_few_rows_are_named():
    with pytest.raises(DataError, match=r"series '0' has 60 rows on probation, data\.probation asks for 61"):
        problem_of(probation=61).steps("train", 1)
    with pytest.raises(DataError, match=r"data\.window=59"):
        problem_of(window=59).steps("train", 1)


@pytest.mark.slow
@pytest.mark.skipif(find_mirror() is None, reason="no mirror: RNNZOO_DATA_MIRROR names none")
def test_real_series_train_convert_and_stream_the_same(tmp_path):
    config = load_config(find_config("anomaly-nab"), ["model.units=4", "data.limit=1"])
    problem = load_task(config)
    model = build_model(config, problem.encoder)
    before = problem.evaluate(model, "dev")["mse"]
    model.compile(keras.optimizers.Adam(0.005), loss=problem.loss(config.training), jit_compile=False)
    model.fit(problem.dataset("train", 8, training=True), epochs=10, shuffle=False, verbose=0)
    assert problem.evaluate(model, "dev")["mse"] < before
    path = tmp_path / "detector.tflite"
    metadata = {"task": problem.spec(config.data, problem.encoder), "files": problem.encoder.to_files()}
    streaming.convert(model, path, metadata=metadata)
    offline = problem.evaluate(model, "test")
    streamed = problem.evaluate_stream(streaming.load(path), "test")
    assert streamed == pytest.approx(offline, rel=1e-3)
    assert offline["count"] > 5000
