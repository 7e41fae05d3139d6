"""Windows of a series, naive forecasts, quantiles, and a small forecaster of a real transformer."""

import math
from statistics import NormalDist

import keras
import numpy as np
import pytest

import streaming
from rnnzoo.data import Source
from rnnzoo.data.encoders.series import SeriesEncoder
from rnnzoo.data.mirror import find_mirror
from rnnzoo.errors import ConfigError, DataError
from rnnzoo.registry.names import find_config
from rnnzoo.runs.building import build_model, load_task
from rnnzoo.runs.config import load_config
from rnnzoo.tasks.forecaster.config import ForecasterConfig, ForecasterData, IntervalsConfig
from rnnzoo.tasks.forecaster.model import build_forecaster, least_squares
from rnnzoo.tasks.forecaster.task import ForecasterTask
from rnnzoo.tasks.losses import ForecastLoss
from streaming.errors import ArtifactError

SIZES = {"context": 8, "horizon": 5, "window": 12, "season": 4}


def problem_of(**fields):
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(200, 2)).cumsum(axis=0) * [1, 10] + [3, -50]).astype(np.float32)
    splits = {"train": [(values[:120], 0)], "dev": [(values[:160], 120)], "test": [(values, 160)]}
    return ForecasterTask.from_source(Source("series", splits), ForecasterData(dataset="own", **SIZES, **fields))


def test_windows_hold_the_rows_that_follow_each_row():
    problem = problem_of()
    rows = problem.arrays("train")[0]["rows"]
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-5)
    seen = 0
    for chosen, (inputs, targets, weights) in problem.batches("train", 4, np.random.default_rng(1)):
        for a, window, ahead in zip(chosen, inputs["rows"], targets, strict=True):
            for t in range(12):
                np.testing.assert_array_equal(window[t], rows[a + t])
                np.testing.assert_array_equal(ahead[t], rows[a + t + 1 : a + t + 6])
        np.testing.assert_array_equal(weights, np.tile([0] * 7 + [1] * 5, (len(chosen), 1)))
        seen += 1
    assert seen == problem.steps("train", 4)


def test_naive_forecasts_cover_all_windows_of_the_split():
    problem = problem_of()
    rows = problem.arrays("test")[0]["rows"].astype(np.float64)
    ends = range(160, 200 - 5 + 1)
    last = [np.mean((rows[e : e + 5] - rows[e - 1]) ** 2) for e in ends]
    seasonal = [np.mean([(rows[e + h] - rows[e + h - 4 * (1 + h // 4)]) ** 2 for h in range(5)]) for e in ends]
    right = np.stack([rows[e : e + 5] for e in ends])
    known = problem.arrays("train")[0]["rows"].astype(np.float64)
    steps = [np.mean([abs(column[t] - column[t - 4]) for t in range(4, len(column))]) for column in known.T]

    def scaled(forecast):
        wrong = np.mean([[np.abs(rows[e + h] - forecast(e, h)) for h in range(5)] for e in ends], axis=(0, 1))
        return np.mean(wrong / steps)

    figures = problem.score("test", right + 0.5)
    assert figures == pytest.approx(
        {
            "mse": 0.25,
            "mae": 0.5,
            "mase": np.mean([0.5 / step for step in steps]),
            "last_value_mse": np.mean(last),
            "seasonal_mse": np.mean(seasonal),
            "last_value_mase": scaled(lambda e, h: rows[e - 1]),
            "seasonal_mase": scaled(lambda e, h: rows[e + h - 4 * (1 + h // 4)]),
            "count": len(ends),
        },
        rel=1e-5,
    )


def test_coverage_is_the_share_between_the_outer_quantiles():
    problem = problem_of(quantiles=(0.1, 0.5, 0.9))
    rows = problem.arrays("test")[0]["rows"]
    right = np.stack([rows[e : e + 5] for e in range(160, 200 - 5 + 1)])[..., None]
    outputs = right + np.array([-1.0, 0.0, 1.0])
    # Of the first of five hours the interval lies above, of the second below; its bounds belong to it.
    outputs[:, 0] += 1.5
    outputs[:, 1] -= 1.5
    outputs[:, 2] += 1.0
    assert problem.score("test", outputs)["coverage"] == pytest.approx(3 / 5)


@pytest.mark.parametrize("quantiles", [(), (0.1, 0.5, 0.9)])
def test_an_untrained_forecaster_repeats_the_last_row_in_every_quantile(quantiles, tmp_path):
    problem = problem_of(quantiles=quantiles)
    model = build_forecaster(ForecasterConfig(units=4), problem.encoder)
    figures = problem.evaluate(model, "test")
    assert figures["mse"] == pytest.approx(figures["last_value_mse"], rel=1e-5)
    path = tmp_path / "naive.tflite"
    metadata = {"task": problem.spec(problem.config, problem.encoder), "files": problem.encoder.to_files()}
    streaming.convert(model, path, metadata=metadata)
    assert problem.evaluate_stream(streaming.load(path), "test") == pytest.approx(figures, rel=1e-4)
    values = problem.examples("test")[0][0]
    forecast = streaming.pipeline(path).forecast(values)
    np.testing.assert_allclose(forecast.values, np.tile(values[-1], (5, 1)), rtol=1e-4)
    assert tuple(forecast.quantiles) == quantiles
    assert [picture.name for picture in problem.draw(model, "test", tmp_path)] == ["forecast.png"]


def test_evaluation_of_a_stream_counts_the_intervals_that_its_users_get(tmp_path):
    problem = problem_of(quantiles=(0.1, 0.5, 0.9), intervals=IntervalsConfig(coverage=0.8, rate=0.1))
    model = build_forecaster(ForecasterConfig(units=4), problem.encoder)
    # Too narrow intervals around the last row: (horizon, columns, quantiles).
    kernel, bias = model.get_layer("correction").get_weights()
    model.get_layer("correction").set_weights([kernel, np.add(bias.reshape(5, 2, 3), [-0.01, 0, 0.01]).ravel()])
    path = tmp_path / "adaptive.tflite"
    spec = problem.spec(problem.config, problem.encoder)
    assert spec.to_json()["intervals"] == {"coverage": 0.8, "rate": 0.1}
    streaming.convert(model, path, metadata={"task": spec, "files": problem.encoder.to_files()})
    figures, offline = problem.evaluate_stream(streaming.load(path), "test"), problem.evaluate(model, "test")
    # The split and the 8 rows before it, as one series; the first forecast that counts is that of row 160.
    rows = problem.examples("test")[0][0][152:]
    events = streaming.pipeline(path).session().feed(rows)[7:]
    inside = [
        (event.quantiles[0.1] <= rows[event.row + 1 :][:5]) & (rows[event.row + 1 :][:5] <= event.quantiles[0.9])
        for event in events
        if event.row + 5 < len(rows)
    ]
    assert figures["count"] == offline["count"] == len(inside) == 36
    assert figures["coverage"] == pytest.approx(np.mean(inside), abs=1e-9)
    assert figures["coverage"] > offline["coverage"] + 0.1
    assert figures["mase"] == pytest.approx(offline["mase"], rel=1e-4)


def test_a_series_that_moves_moves_its_forecast_along():
    problem = problem_of()
    keras.utils.set_random_seed(0)
    model = build_forecaster(ForecasterConfig(units=4, reads="changes"), problem.encoder)
    rng = np.random.default_rng(2)
    # The weights of the differences are no weights to be trained.
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    rows = problem.arrays("dev")[0]["rows"][None]
    moved = rows + np.array([3.0, -2.0], np.float32)
    shift = np.array(model({"rows": moved})) - np.array(model({"rows": rows}))
    # The first row is a change from 0, which fades.
    far = shift[:, 120:]
    np.testing.assert_allclose(far, np.broadcast_to([3.0, -2.0], far.shape), atol=1e-3)


def test_the_linear_part_is_the_equation():
    problem = problem_of()
    model = build_forecaster(ForecasterConfig(units=4), problem.encoder)
    rng = np.random.default_rng(3)
    w = rng.normal(size=(7, 5))
    model.get_layer("linear").set_weights([w[:, None, None, :], np.zeros(5)])
    x = rng.normal(size=(1, 9, 2)).astype(np.float32)
    expected = x[0, -1] + np.einsum("kh,kd->hd", w, np.diff(x[0], axis=0)[-7:])
    np.testing.assert_allclose(model.predict_on_batch({"rows": x})[0, -1], expected, rtol=1e-4, atol=1e-5)


def test_a_training_begins_with_the_least_squares_of_all_columns_where_asked(tmp_path):
    problem = problem_of()
    model = build_forecaster(ForecasterConfig(units=4), problem.encoder)
    problem.begin(model, ForecasterConfig(units=4))
    assert not model.get_layer("linear").get_weights()[0].any()
    problem.begin(model, ForecasterConfig(units=4, linear="least_squares"))
    rows = problem.arrays("train")[0]["rows"].astype(np.float64)
    changes, ahead = [], []
    for column in rows.T:
        for t in range(7, len(rows) - 5):
            changes.append(column[t - 6 : t + 1] - column[t - 7 : t])
            ahead.append(column[t + 1 : t + 6] - column[t])
    best = np.linalg.lstsq(np.array(changes), np.array(ahead), rcond=None)[0]
    kernel, bias = model.get_layer("linear").get_weights()
    np.testing.assert_allclose(kernel[:, 0, 0], best, rtol=1e-4, atol=1e-5)
    assert not bias.any()
    # What the model forecasts from the last row with all its context is what the equation says.
    said = model.predict_on_batch({"rows": rows[None, :8].astype(np.float32)})[0, -1]
    np.testing.assert_allclose(said, rows[7] + best.T @ np.diff(rows[:8], axis=0), rtol=1e-3, atol=1e-4)


def test_series_that_are_too_short_or_never_change_tell_a_linear_map_nothing():
    assert not least_squares([np.ones((40, 2)), np.arange(9.0)[:, None]], context=8, horizon=5).any()


@pytest.mark.parametrize("quantiles", [(), (0.1, 0.9)])
def test_columns_apart_are_read_by_one_lstm_each(quantiles, tmp_path):
    problem = problem_of(quantiles=quantiles)
    model = build_forecaster(
        ForecasterConfig(cell="lstm", units=4, layers=2, reads="changes", columns="apart"), problem.encoder
    )
    rng = np.random.default_rng(5)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    rows = problem.arrays("dev")[0]["rows"][:30]
    linear, correction = model.get_layer("linear"), model.get_layer("correction").get_weights()
    expected = np.zeros((30, 5, 2, max(1, len(quantiles))))
    for column, x in enumerate(rows.T.astype(np.float64)):
        changes = np.diff(x, prepend=0)
        before = np.pad(changes, (6, 0))
        w, b = linear.get_weights()
        y = changes[:, None]
        for layer in ("recurrent_0", "recurrent_1"):
            y = lstm(model.get_layer(layer).get_weights(), y)
        said = (y @ correction[0] + correction[1]).reshape(30, 5, -1)
        for t in range(30):
            expected[t, :, column] = (x[t] + before[t : t + 7] @ w[:, 0, 0] + b)[:, None] + said[t]
    found = model.predict_on_batch({"rows": rows[None]})[0]
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-4)
    streaming.convert(model, tmp_path / "apart.tflite")
    stream = streaming.load(tmp_path / "apart.tflite").create_stream()
    np.testing.assert_allclose(stream.feed(rows).reshape(expected.shape), expected, rtol=1e-4, atol=1e-4)


def lstm(weights, rows):
    """Hochreiter & Schmidhuber (1997) with forget gates, as Keras lays it out: input, forget, candidate, output."""
    kernel, recurrent, bias = weights
    h = c = np.zeros(recurrent.shape[1])
    found = []
    for x in rows:
        i, f, g, o = np.split(x @ kernel[0] + h @ recurrent[0] + bias, 4)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        found.append(h)
    return np.array(found)


def test_the_ranked_probability_score_is_that_of_the_distribution():
    """Of a normal distribution around a forecast that is 0.7 deviations off (Gneiting & Raftery 2007, equation 21)."""
    shares = tuple(float(q) for q in np.arange(1, 100) / 100)
    problem = problem_of(quantiles=shares)
    rows, normal = problem.arrays("test")[0]["rows"], NormalDist()
    right = np.stack([rows[e : e + 5] for e in range(160, 200 - 5 + 1)])
    outputs = right[..., None] - 0.7 + np.array([normal.inv_cdf(q) for q in shares])
    expected = 0.7 * (2 * normal.cdf(0.7) - 1) + 2 * normal.pdf(0.7) - 1 / math.sqrt(math.pi)
    assert problem.score("test", outputs)["crps"] == pytest.approx(expected, rel=0.02)


def test_the_pinball_loss_is_least_at_the_quantile():
    y = np.random.default_rng(4).normal(size=(1, 1, 4000, 1)).astype(np.float32)
    loss = ForecastLoss((0.9,))
    costs = {z: float(loss(y, np.full((1, 1, 4000, 1, 1), z, np.float32))) for z in np.arange(0.5, 2.5, 0.05)}
    assert min(costs, key=lambda z: costs[z]) == pytest.approx(np.quantile(y, 0.9), abs=0.06)
    assert float(ForecastLoss()(y, np.zeros_like(y))) == pytest.approx(np.mean(y**2), rel=1e-5)


def test_the_encoder_comes_back_or_says_what_is_missing():
    encoder = problem_of(quantiles=(0.5,)).encoder
    assert SeriesEncoder.from_files(encoder.to_files()) == encoder
    with pytest.raises(ArtifactError, match=r"series\.json"):
        SeriesEncoder.from_files({**encoder.to_files(), "series.json": b"{}"})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"quantiles": (0.9, 0.1)}, r"0\.9, 0\.1"),
        ({"context": 1}, "received 1,"),
        ({"season": 97}, "and 97"),
        ({"intervals": IntervalsConfig(coverage=0.9, rate=0.1)}, "on both sides"),
        ({"quantiles": (0.1, 0.9), "intervals": IntervalsConfig(coverage=0.9, rate=0.1)}, "on both sides"),
    ],
)
def test_what_cannot_be_is_named(fields, said):
    with pytest.raises(ConfigError, match=said):
        ForecasterData(dataset="own", **fields)


@pytest.mark.parametrize(("coverage", "rate"), [(0.0, 0.1), (1.0, 0.1), (0.9, 0.0), (0.9, -1.0), (0.9, 2.0)])
def test_intervals_that_cannot_adapt_are_one_line_of_yaml(coverage, rate):
    path = find_config("weather-nyc")
    with pytest.raises(ConfigError, match=f"above 0, at most 1; received {coverage} and {rate}") as caught:
        load_config(path, [f"data.intervals.coverage={coverage}", f"data.intervals.rate={rate}"])
    assert "\n" not in str(caught.value)


def test_a_series_that_is_too_short_is_named():
    config = ForecasterData(dataset="own", **{**SIZES, "window": 150})
    rows = [(np.zeros((120, 2), np.float32), 0)]
    problem = ForecasterTask.from_source(Source("series", {"train": rows}), config)
    with pytest.raises(DataError, match=r"data\.window=150"):
        problem.steps("train", 1)


@pytest.mark.slow
@pytest.mark.skipif(find_mirror() is None, reason="no mirror: RNNZOO_DATA_MIRROR names none")
def test_a_real_transformer_trains_converts_and_streams_the_same(tmp_path):
    config = load_config(find_config("forecast-etth1"), ["model.units=8"])
    problem = load_task(config)
    model = build_model(config, problem.encoder)
    before = problem.evaluate(model, "dev")
    # The usual number of windows of four months, 96 hours ahead.
    assert before["count"] == 2785
    assert before["mse"] == pytest.approx(before["last_value_mse"], rel=1e-5)
    model.compile(keras.optimizers.Adam(0.005), loss=problem.loss(config.training), jit_compile=False)
    losses = model.fit(problem.dataset("train", 8, training=True), epochs=3, shuffle=False, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    path = tmp_path / "transformer.tflite"
    metadata = {"task": problem.spec(config.data, problem.encoder), "files": problem.encoder.to_files()}
    streaming.convert(model, path, metadata=metadata)
    rows = problem.examples("dev")[0][0][-300:]
    session = streaming.pipeline(path).session()
    found = [event for piece in np.array_split(rows, 7) for event in session.feed(piece)][-1]
    offline = model.predict_on_batch({"rows": problem.encoder.encode(rows)["rows"][None]})[0, -1]
    np.testing.assert_allclose(problem.encoder.encode(found.values)["rows"], offline, atol=1e-3)
