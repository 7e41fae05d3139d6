"""Tasks over rows of numbers, against the offline Keras model and plain NumPy."""

import itertools
import json
import math

import numpy as np
import pytest
from task_models import COLUMNS, LABELS, SCALER, forecaster_model, labels_file, save, tagger_of_rows

import streaming
from streaming.errors import ArtifactError, InputError
from streaming.runtime.decoding import sigmoid, softmax
from streaming.runtime.tasks import AnomalyDetector, Forecaster, SensorClassifier, SequenceTagger, TimedRows

ROWS = {"columns": list(COLUMNS), "scaler": SCALER}
FILES = {"labels.txt": labels_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("series")


@pytest.fixture(scope="module")
def tagging():
    return tagger_of_rows(2, 3)


@pytest.fixture(scope="module")
def classifying():
    return tagger_of_rows(2, 3, running=True)


@pytest.fixture(scope="module")
def pairs():
    return forecaster_model(2)


def data(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 2)) * [2.0, 4.0] + [1.0, -2.0]


def scaled(rows):
    return ((rows - [1.0, -2.0]) / [2.0, 4.0]).astype("float32")[None]


def pieces(rows, *sizes):
    return np.split(rows, np.cumsum(sizes))


def test_rows_are_tagged_as_by_the_offline_model(tagging, folder):
    task = {"kind": "sequence_tagger", **ROWS, "sample_rate": 4.0, "labels": 3}
    tagger = streaming.pipeline(save(tagging, folder, task, FILES))
    assert isinstance(tagger, SequenceTagger)
    rows = data(40)
    scores = softmax(np.asarray(tagging(scaled(rows)))[0])
    session = tagger.session()
    for _ in range(2):
        found = [event for piece in pieces(rows, 0, 7, 1, 20) for event in session.feed(piece)]
        assert len(found) == 39  # the model is one row late
        found += session.finish()
        assert [event.tag for event in found] == [LABELS[k] for k in scores.argmax(axis=1)]
        np.testing.assert_allclose([event.score for event in found], scores.max(axis=1), rtol=1e-4)
        assert [(event.row, event.time) for event in found] == [(t, t / 4) for t in range(40)]
    assert tagger.tag(np.zeros((0, 2))) == []


def test_a_chain_forbids_what_it_forbids(tagging, folder):
    forbidden = [[0, None, 0], [None, 0, 0], [0, 0, 0]]
    files = {**FILES, "transitions.json": json.dumps({"transitions": forbidden, "start": [0, 0, None]}).encode()}
    rows = data(9, 1)
    logits = np.asarray(tagging(scaled(rows)))[0]
    matrix = np.array([[-np.inf if x is None else x for x in row] for row in forbidden])
    best = max(
        (p for p in itertools.product(range(3), repeat=9) if p[0] != 2),
        key=lambda p: logits[range(9), p].sum() + sum(matrix[a, b] for a, b in itertools.pairwise(p)),
    )
    assert best != tuple(logits.argmax(axis=1))
    tagger = streaming.pipeline(save(tagging, folder, {"kind": "sequence_tagger", **ROWS}, files))
    found = tagger.tag(rows)
    assert [event.tag for event in found] == [LABELS[k] for k in best]
    np.testing.assert_allclose([e.score for e in found], softmax(logits)[range(9), best], rtol=1e-4)
    task = {"kind": "sequence_tagger", **ROWS, "viterbi_delay": 2}
    session = streaming.pipeline(save(tagging, folder, task, files)).session()
    counts = [len(session.feed(row[None])) for row in data(30, 2)]
    assert sum(counts) >= 30 - 1 - 2
    for wrong in (b"{", b"[]", b'{"transitions": [[0]]}', b'{"transitions": [["a", 0], [0, 0]]}', b'{"start": [0]}'):
        with pytest.raises(ArtifactError, match=r"transitions\.json"):
            streaming.pipeline(save(tagging, folder, task, {**FILES, "transitions.json": wrong}))


@pytest.mark.parametrize("several", [False, True])
def test_recordings_are_classified_as_by_the_offline_model(several, classifying, folder):
    task = {"kind": "classifier", "input": "rows", "multi_label": several, "threshold": 0.4, **ROWS}
    classifier = streaming.pipeline(save(classifying, folder, task, FILES))
    assert isinstance(classifier, SensorClassifier)
    rows = data(12, 3)
    expected = np.stack([np.asarray(classifying(scaled(rows[: n + 1])))[0] for n in range(12)])
    expected = sigmoid(expected) if several else softmax(expected)
    found = list(classifier.run(pieces(rows, 5, 1)))
    np.testing.assert_allclose([event.scores for event in found], expected, rtol=1e-4)
    last = classifier.classify(rows)
    assert last.label == LABELS[expected[-1].argmax()]
    held = tuple(label for label, score in zip(LABELS, expected[-1], strict=True) if score >= 0.4)
    assert last.labels == (held if several else ())
    with pytest.raises(InputError, match="more than 0 rows"):
        classifier.classify([])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((3, 3)), r"shape \(3, 3\), expected \(rows, 2\) \(heat, load\)"),
        (np.zeros(2), r"shape \(2,\)"),
        (np.array([[0.0, np.inf]]), "NaN or infinity"),
        (np.array([["a", "b"]]), "expected numbers"),
    ],
)
def test_wrong_rows_change_nothing(rows, message, tagging, folder):
    session = streaming.pipeline(save(tagging, folder, {"kind": "sequence_tagger", **ROWS}, FILES)).session()
    found = session.feed(data(5))
    with pytest.raises(InputError, match=message):
        session.feed(rows)
    found += session.feed(data(9)[5:]) + session.finish()
    expected = softmax(np.asarray(tagging(scaled(np.concatenate([data(5), data(9)[5:]]))))[0]).max(axis=1)
    np.testing.assert_allclose([event.score for event in found], expected, rtol=1e-4)


def test_forecasts_are_those_of_the_offline_model_in_its_units(folder):
    model = forecaster_model(6)
    task = {"kind": "forecaster", "horizon": 3, **ROWS}
    forecaster = streaming.pipeline(save(model, folder, task, {}))
    assert isinstance(forecaster, Forecaster)
    rows = data(20, 4)
    expected = np.asarray(model(scaled(rows)))[0].reshape(20, 3, 2) * [2.0, 4.0] + [1.0, -2.0]
    found = list(forecaster.run(pieces(rows, 3, 0, 9)))
    assert [event.row for event in found] == list(range(20))
    np.testing.assert_allclose([event.values for event in found], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(forecaster.forecast(rows).values, expected[-1], rtol=1e-4, atol=1e-4)
    assert found[0].quantiles == {}
    with pytest.raises(InputError, match="more than 0 rows"):
        forecaster.forecast(np.zeros((0, 2)))
    # One target of two, with three quantiles.
    task = {"kind": "forecaster", "horizon": 2, "targets": ["load"], "quantiles": [0.1, 0.4, 0.9], **ROWS}
    event = streaming.pipeline(save(model, folder, task, {})).forecast(rows)
    values = np.asarray(model(scaled(rows)))[0, -1].reshape(2, 1, 3) * 4.0 - 2.0
    np.testing.assert_allclose(event.values, values[..., 1], rtol=1e-4, atol=1e-4)
    for index, quantile in enumerate((0.1, 0.4, 0.9)):
        np.testing.assert_allclose(event.quantiles[quantile], values[..., index], rtol=1e-4, atol=1e-4)


def test_anomalies_follow_the_likelihood_of_the_errors(pairs, folder):
    model = pairs
    task = {"kind": "anomaly_detector", "short_window": 3, "long_window": 30, "warm_up": 10, "threshold": 0.99, **ROWS}
    detector = streaming.pipeline(save(model, folder, task, {}))
    assert isinstance(detector, AnomalyDetector)
    rows = data(100, 5)
    rows[70:73] += 40.0
    z = scaled(rows)[0]
    errors = np.sqrt(np.mean((z[1:] - np.asarray(model(z[None]))[0, :-1]) ** 2, axis=1))
    expected = [0.0]
    for n in range(1, 100):
        long, short = errors[max(0, n - 30) : n], errors[max(0, n - 3) : n]
        z_score = (short.mean() - long.mean()) / long.std() if n >= 10 else -np.inf
        expected.append(1 - 0.5 * math.erfc(z_score / math.sqrt(2)))
    session = detector.session()
    for _ in range(2):
        found = [event for piece in pieces(rows, 1, 13, 0, 50) for event in session.feed(piece)] + session.finish()
        np.testing.assert_allclose([event.error for event in found], [0, *errors], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose([event.score for event in found], expected, atol=1e-3)
        alarms = [event.row for event in found if event.alarm]
        assert alarms
        assert set(alarms) <= set(range(70, 76))
    assert [event.row for event in detector.detect(rows)] == list(range(100))


def test_the_first_rows_of_a_series_are_its_units_and_not_judged(pairs, folder):
    spec = {"short_window": 2, "long_window": 30, "warm_up": 10, "probation": 25, "threshold": 0.99}
    task = {"kind": "anomaly_detector", "columns": list(COLUMNS), **spec}
    detector = streaming.pipeline(save(pairs, folder, task, {}))
    for scale in (1.0, 1e4):
        rows = data(100, 6) * scale + 7 * scale
        rows[60, 0] += 50 * scale
        z = (rows - rows[:25].mean(axis=0)) / rows[:25].std(axis=0)
        forecasts = np.asarray(pairs(z[None].astype("float32")))[0]
        errors = np.sqrt(np.mean((z[1:] - forecasts[:-1]) ** 2, axis=1))
        session = detector.session()
        found = [event for piece in pieces(rows, 1, 23, 0, 4, 40) for event in session.feed(piece)]
        assert [event.row for event in found] == list(range(100))
        assert [event.error for event in found[:25]] == [0.0] * 25
        np.testing.assert_allclose([event.error for event in found[25:]], errors[24:], rtol=1e-3, atol=1e-4)
        long, short = errors[29:59], errors[57:59]
        score = 1 - 0.5 * math.erfc((short.mean() - long.mean()) / long.std() / math.sqrt(2))
        assert found[59].score == pytest.approx(score, abs=1e-3)
        assert found[60].alarm
        # Saved in the middle of the probation, another session goes on.
        first, second = detector.session(), detector.session()
        first.feed(rows[:10])
        second.restore(first.save())
        assert second.feed(rows[10:]) == found[10:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": None}, "columns"),
        ({"columns": ["heat"]}, "names 1 and scales 2"),
        ({"scaler": {"mean": [0, 0], "scale": [1, 0]}}, "no scale of 0"),
        ({"scaler": {"mean": [0], "scale": [1, 1]}}, "1 means and 2 scales"),
        ({"targets": ["cold"]}, "'cold'"),
        ({"horizon": 4}, "4 rows of 2 targets"),
        ({"quantiles": [0.9, 0.1]}, "in order"),
        ({"quantiles": [0.5, 1.0]}, "between 0 and 1"),
        ({"kind": "anomaly_detector", "long_window": 5}, "short_window < long_window"),
        ({"kind": "anomaly_detector", "threshold": 1.5}, "a probability"),
        ({"kind": "anomaly_detector", "probation": 9}, "not both"),
    ],
)
def test_wrong_descriptions_are_refused(change, message, pairs, folder):
    with pytest.raises(ArtifactError, match=message):
        streaming.pipeline(save(pairs, folder, {"kind": "forecaster", **ROWS, **change}, {}))


def test_a_late_model_detects_no_anomalies(tagging, folder):
    task = {"kind": "anomaly_detector", "columns": ["a", "b"], "targets": ["a"], "horizon": 3}
    with pytest.raises(ArtifactError, match="come late"):
        streaming.pipeline(save(tagging, folder, task, {}))


def held(rows, policy):
    """Rows without a gap, each column by itself; those before its first value are left out."""
    filled = rows.copy()
    for column in filled.T:
        known = np.flatnonzero(~np.isnan(column))
        if policy == "interpolate":
            column[known[0] :] = np.interp(np.arange(known[0], len(column)), known, column[known])
        else:
            for t in range(known[0] + 1, len(column)):
                column[t] = column[t - 1] if np.isnan(column[t]) else column[t]
    return filled[~np.isnan(filled).any(axis=1)]


def test_rows_with_times_are_brought_to_even_steps(tagging, folder):
    task = {"kind": "sequence_tagger", **ROWS, "time": "t", "missing": "hold", "resample": 2.0}
    tagger = streaming.pipeline(save(tagging, folder, task, FILES))
    rows, times = data(12, 4), np.array([0, 0.5, 2, 2.1, 3.9, 4, 9.5, 10, 11.9, 12, 13, 14])
    # The means of the rows in 0..2, 2..4, 4..6; those before are held in 6..8; then 8..10, 10..12, 12..14, 14..16.
    parts = [rows[:2], rows[2:5], rows[5:6], rows[5:6], rows[6:7], rows[7:9], rows[9:11], rows[11:]]
    expected = tagger.tag(np.stack([part.mean(axis=0) for part in parts]))
    dates = [f"1970-01-01T00:00:{time:06.3f}" for time in times]
    for given in (times, dates):
        session, found = tagger.session(), []
        for begin, end in ((0, 3), (3, 3), (3, 8), (8, 12)):
            found += session.feed(TimedRows(given[begin:end], rows[begin:end]))
            session = tagger.restore(session.save())
        found += session.finish()
        assert [event[:2] for event in found] == [event[:2] for event in expected]
        np.testing.assert_allclose([e.score for e in found], [e.score for e in expected], rtol=1e-5)
    session = tagger.session()
    named = {"load": rows[:, 1], "t": times, "heat": rows[:, 0]}
    assert [e.tag for e in (*session.feed(named), *session.finish())] == [e.tag for e in expected]
    # Rows without times are even steps already.
    assert session.feed(rows)[0].tag == tagger.tag(rows)[0].tag
    session.finish()
    session.feed(TimedRows([5.0], rows[:1]))
    for piece, message in (
        (TimedRows([4.0], rows[:1]), "row 1 of the piece is earlier than the one before it"),
        (TimedRows([6.0], rows[:2]), "there are 1 times for 2 rows"),
        (TimedRows(["noon"], rows[:1]), "expected times in seconds or ISO dates .* found 'noon'"),
    ):
        with pytest.raises(InputError, match=message):
            session.feed(piece)


@pytest.mark.parametrize("policy", ["drop", "hold", "interpolate"])
def test_missing_values_are_filled_on_the_device(tagging, folder, policy):
    task = {"kind": "sequence_tagger", **ROWS, "labels": 3}
    rows = data(40)
    rows[np.random.default_rng(1).random(rows.shape) < 0.2] = np.nan
    clean = rows[~np.isnan(rows).any(axis=1)] if policy == "drop" else held(rows, policy)
    expected = streaming.pipeline(save(tagging, folder, task, FILES)).tag(clean)
    tagger = streaming.pipeline(save(tagging, folder, task | {"missing": policy}, FILES))
    session = tagger.session()
    found = [event for piece in pieces(rows, 5, 9) for event in session.feed(piece)] + session.finish()
    assert [event.tag for event in found] == [event.tag for event in expected]
    np.testing.assert_allclose([event.score for event in found], [event.score for event in expected], atol=1e-6)
    # Saved in the middle of a gap, it goes on in another session.
    again = tagger.session()
    begun = [event for row in rows[:17] for event in again.feed(row[None])]
    resumed = tagger.restore(again.save())
    rest = [event for row in rows[17:] for event in resumed.feed(row[None])] + resumed.finish()
    assert [event.tag for event in begun + rest] == [event.tag for event in expected]


def test_a_mask_says_where_values_were_filled(folder):
    model = tagger_of_rows(4, 3, seed=2)
    scaler = {"mean": [1.0, -2.0, 0.0, 0.0], "scale": [2.0, 4.0, 1.0, 1.0]}
    task = {"kind": "sequence_tagger", "columns": list(COLUMNS), "scaler": scaler, "missing": "hold", "mask": True}
    rows = data(30)
    rows[5:9, 0] = rows[12, 1] = np.nan
    tagger = streaming.pipeline(save(model, folder, task, FILES))
    masked = np.concatenate([held(rows, "hold"), np.isnan(rows)], axis=1)
    offline = np.asarray(model(((masked - scaler["mean"]) / scaler["scale"]).astype("float32")[None]))[0]
    for given in (rows, masked):
        assert [event.tag for event in tagger.tag(given)] == [LABELS[k] for k in offline.argmax(-1)]
    with pytest.raises(InputError, match="rows hold infinity"):
        tagger.tag(np.full((1, 2), np.inf))
    for wrong, message in (
        ({"missing": "guess"}, "expected one of refuse, drop, hold, interpolate"),
        ({"missing": "drop"}, "mask goes with missing=hold or interpolate"),
        ({"resample": 1.0}, "and time name a column"),
    ):
        with pytest.raises(ArtifactError, match=message):
            streaming.pipeline(save(model, folder, task | wrong, FILES))
