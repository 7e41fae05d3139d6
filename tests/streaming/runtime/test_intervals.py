"""Intervals of forecasts that adapt on the device, against the equation in plain Python loops."""

import math

import keras
import numpy as np
import pytest
from task_models import COLUMNS, SCALER, save, tagger_of_rows

import streaming
from streaming.errors import ArtifactError
from streaming.runtime.tasks.intervals import AdaptiveIntervals
from streaming.runtime.tasks.schema import IntervalsSpec

HORIZON, COVERAGE, RATE = 3, 0.8, 0.25
QUANTILES = [0.1, 0.4, 0.9]
TASK = {
    "kind": "forecaster",
    "columns": list(COLUMNS),
    "scaler": SCALER,
    "targets": ["load"],
    "horizon": HORIZON,
    "quantiles": QUANTILES,
}
ADAPTIVE = TASK | {"intervals": {"coverage": COVERAGE, "rate": RATE}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("intervals")


def forecasting(inputs, x):
    """A model of rising quantiles around what it makes of x."""
    spread = keras.initializers.Constant([-1.5, 0.0, 0.7] * HORIZON)
    kernel = keras.initializers.RandomNormal(stddev=0.3)
    return keras.Model(
        inputs, keras.layers.Dense(len(QUANTILES) * HORIZON, bias_initializer=spread, kernel_initializer=kernel)(x)
    )


def recurrent(width):
    keras.utils.set_random_seed(2)
    inputs = keras.Input((None, width))
    return forecasting(inputs, keras.layers.GRU(5, return_sequences=True)(inputs))


@pytest.fixture(scope="module")
def model():
    return recurrent(2)


def data(count, gaps=0.0):
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((count, 2)) * [2.0, 4.0] + [1.0, -2.0]
    rows[1:][rng.random((count - 1, 2)) < gaps] = np.nan
    return rows


def adapted(plain, rows, first=0):
    """The quantiles (n, H, Q) given for those of the model, rows (T, 2), the first forecast being after row `first`."""
    thetas, given = [0.0] * HORIZON, []
    for row in range(len(rows)):
        value = rows[row, 1]
        for ahead in range(1, HORIZON + 1):
            made = row - ahead - first
            if made < 0 or math.isnan(value):
                continue
            low, *_, high = given[made][ahead - 1]
            error = 0 if low <= value <= high else 1
            thetas[ahead - 1] += RATE * (error - (1 - COVERAGE))
        if row >= first:
            of_model = plain[row - first]
            given.append(
                [[q[1] + math.exp(th) * (x - q[1]) for x in q] for th, q in zip(thetas, of_model, strict=True)]
            )
    assert max(map(abs, thetas)) < 5
    return np.array(given)


def quantiles(events):
    return np.array([[event.quantiles[q][:, 0] for q in QUANTILES] for event in events]).swapaxes(1, 2)


def fed(session, rows, *cuts):
    return [event for piece in np.split(rows, cuts) for event in session.feed(piece)]


@pytest.mark.parametrize("policy", ["refuse", "hold", "interpolate"])
def test_widths_follow_the_equation_and_gaps_do_not_count(model, folder, policy):
    rows = data(60, 0.0 if policy == "refuse" else 0.2)
    fixed = streaming.pipeline(save(model, folder, TASK | {"missing": policy}, {}))
    expected = adapted(quantiles(fixed.run([rows])), rows)
    assert np.ptp(expected[..., 2] - expected[..., 0]) > 1
    forecaster = streaming.pipeline(save(model, folder, ADAPTIVE | {"missing": policy}, {}))
    session = forecaster.session()
    for _ in range(2):  # finish begins a new series
        found = fed(session, rows, 1, 2, 30) + session.finish()
        assert [event.row for event in found] == list(range(60))
        np.testing.assert_allclose(quantiles(found), expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal([event.values for event in found], [event.quantiles[0.4] for event in found])
    # A session that was saved and restored goes on with the widths, bit for bit.
    begun = fed(session, rows[:25], 4)
    resumed = forecaster.restore(session.save())
    rest = fed(resumed, rows[25:], 1, 7) + resumed.finish()
    np.testing.assert_array_equal(quantiles(begun + rest), quantiles(found))


def test_rows_that_are_filled_already_say_by_their_masks_what_was_missing(folder):
    rows = data(40, 0.2)
    masked = {"missing": "hold", "mask": True, "scaler": {"mean": [1, -2, 0, 0], "scale": [2, 4, 1, 1]}}
    forecaster = streaming.pipeline(save(recurrent(4), folder, ADAPTIVE | masked, {}))
    filled = rows.copy()
    for t in range(1, len(rows)):
        filled[t] = np.where(np.isnan(rows[t]), filled[t - 1], rows[t])
    both = np.concatenate([filled, np.isnan(rows)], axis=1)
    np.testing.assert_array_equal(quantiles(forecaster.run([rows])), quantiles(forecaster.run([both])))


def test_forecasts_of_a_window_begin_when_it_is_full(folder):
    keras.utils.set_random_seed(5)
    inputs = keras.Input((4, 2))
    model = forecasting(inputs, keras.layers.Flatten()(inputs))
    rows = data(30)
    paths = [folder / "fixed.tflite", folder / "adaptive.tflite"]
    for path, task in zip(paths, (TASK, ADAPTIVE), strict=True):
        streaming.convert(model, path, window=4, metadata={"task": task})
    fixed, forecaster = map(streaming.pipeline, paths)
    session = forecaster.session()
    found = fed(session, rows, 2, 3, 9) + session.finish()
    assert len(found) == 27
    expected = adapted(quantiles(fixed.run([rows])), rows, first=3)
    np.testing.assert_allclose(quantiles(found), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("narrow", [0.3, 3.0])
def test_the_share_of_values_inside_approaches_the_coverage(narrow):
    rng = np.random.default_rng(0)
    intervals = AdaptiveIntervals(IntervalsSpec(0.9, 0.02), (4, 1, 3), 1)
    # Of a normal distribution with deviation 1 that the model takes for one with deviation `narrow`.
    forecast = np.tile(narrow * np.array([-1.645, 0.0, 1.645]), (4, 1, 1))
    given, values = [], rng.standard_normal(6000)
    for value in values:
        intervals.observe(np.array([value]), np.array([False]))
        given.append(intervals.adapt(forecast)[:, 0])
    for ahead in range(1, 5):
        bounds = np.array(given)[2000:-ahead, ahead - 1]
        inside = (values[2000 + ahead :] >= bounds[:, 0]) & (values[2000 + ahead :] <= bounds[:, 2])
        assert inside.mean() == pytest.approx(0.9, abs=0.01)
        assert np.median(bounds[:, 2]) == pytest.approx(1.645, rel=0.15)


def test_a_value_that_no_width_reaches_leaves_all_numbers_finite():
    intervals = AdaptiveIntervals(IntervalsSpec(0.5, 1.0), (1, 1, 3), 1)
    for _ in range(2000):
        intervals.observe(np.array([1.0]), np.array([False]))
        given = intervals.adapt(np.zeros((1, 1, 3)))
    assert given.tolist() == [[[0.0, 0.0, 0.0]]]
    assert intervals.adapt(np.array([[[-1.0, 0.0, 1.0]]]))[0, 0, 2] == pytest.approx(math.exp(5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intervals": {"coverage": 1.0, "rate": 0.1}}, r"coverage is 1\.0, expected a share between 0 and 1"),
        ({"intervals": {"coverage": 0.0, "rate": 0.1}}, r"coverage is 0\.0, expected a share between 0 and 1"),
        ({"intervals": {"coverage": 0.9, "rate": 0.0}}, r"rate is 0\.0, expected more than 0"),
        ({"intervals": {"coverage": 0.9, "rate": -0.1}}, r"rate is -0\.1, expected 0\.0 to 1\.0"),
        ({"intervals": {"coverage": 0.9}}, "'rate' is missing"),
        ({"quantiles": [0.1, 0.5], "horizon": 9, "targets": ["heat"]}, "on both sides"),
        ({"horizon": 2050}, "at most 4194304"),
        ({"kind": "anomaly_detector"}, "an anomaly detector has no intervals"),
    ],
)
def test_wrong_descriptions_are_refused(change, message, model, folder):
    with pytest.raises(ArtifactError, match=message) as caught:
        streaming.pipeline(save(model, folder, ADAPTIVE | change, {}))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_late_model_has_no_intervals_that_adapt(folder):
    late = tagger_of_rows(2, HORIZON * len(QUANTILES))
    with pytest.raises(ArtifactError, match="come late"):
        streaming.pipeline(save(late, folder, ADAPTIVE, {}))
