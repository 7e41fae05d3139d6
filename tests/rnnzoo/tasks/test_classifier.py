"""Classifiers of strokes and of rare labels: changes in training, weights, and accuracy by the part that was seen."""

import keras
import numpy as np
import pytest

import streaming
from rnnzoo.data import Source
from rnnzoo.data.encoders.rows import RowEncoder
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.classifier.augmenting import augmented, paced
from rnnzoo.tasks.classifier.config import ClassifierConfig, ClassifierRows, ClassifierWords
from rnnzoo.tasks.classifier.model import build_classifier
from rnnzoo.tasks.classifier.task import ClassifierTask
from rnnzoo.tasks.evaluation import predict_whole
from rnnzoo.tasks.losses import BalancedAccuracy

COLUMNS = ("dx", "dy", "x", "y", "lift")
POINTS = np.array([[0, 0], [10, 0], [20, 0], [20, 50], [20, 60]], float)
LIFTS = np.array([0, 0, 1, 0, 1.0])


def strokes(**options):
    return ClassifierRows(dataset="own", columns=COLUMNS, planes=COLUMNS[:4], **options)


def drawn(points=POINTS, lifts=LIFTS):
    return np.c_[np.diff(points, axis=0, prepend=points[:1]), points, lifts].astype(np.float32)


@pytest.fixture(scope="module")
def pen():
    config = strokes(rotate=20, stretch=0.3, pace=0.5)
    return config, RowEncoder.fit([drawn()], config)


def test_a_turned_drawing_stays_one(pen):
    config, encoder = pen
    changed = augmented(encoder.encode(drawn())["rows"], config, encoder, np.random.default_rng(0))
    rows = changed * encoder.scale + encoder.mean
    np.testing.assert_allclose(np.cumsum(rows[:, :2], axis=0), rows[:, 2:4], atol=1e-4)
    np.testing.assert_allclose(rows[:, 4], LIFTS, atol=1e-6)
    # One linear map of all points, which is no more than was asked for.
    change, *_ = np.linalg.lstsq(POINTS, rows[:, 2:4], rcond=None)
    np.testing.assert_allclose(POINTS @ change, rows[:, 2:4], atol=1e-3)
    turn = np.degrees(np.arctan2(change[0, 1], change[0, 0]))
    assert 0.01 < np.abs(change - np.eye(2)).max() < 0.8
    assert abs(turn) <= 20
    assert 0.7 <= np.linalg.norm(change[0]) <= 1.3


@pytest.mark.parametrize(("early", "share"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_a_share_of_the_batches_ends_early_and_all_rows_of_one_alike(early, share):
    config = ClassifierRows(dataset="own", columns=("x",), early=early)
    rows = [(np.arange(40, dtype="f4")[:, None] + i, str(i % 2)) for i in range(3)]
    task = ClassifierTask(config, RowEncoder.fit([given for given, _ in rows], config, ("0", "1")), {"train": rows})
    batch, rng = task.arrays("train"), np.random.default_rng(1)
    counts = []
    for _ in range(400):
        changed = [row["rows"] for row in task.augment_batch(batch, rng)]
        counts.append(len(changed[0]))
        for row, given in zip(changed, batch, strict=True):
            np.testing.assert_array_equal(row, given["rows"][: counts[-1]])
    assert np.mean(np.array(counts) < 40) == pytest.approx(share, abs=0.08)
    low, high = (10, 12) if early else (40, 40)
    assert low <= min(counts) <= high


@pytest.mark.parametrize("factor", [0.6, 1.0, 2.0])
def test_a_pace_leaves_path_and_lifts(pen, factor):
    config, encoder = pen
    rows = paced(encoder.encode(drawn())["rows"], factor, config, encoder) * encoder.scale + encoder.mean
    assert len(rows) == round(5 * factor)
    np.testing.assert_allclose(rows[:, 2:4], np.cumsum(rows[:, :2], axis=0), atol=1e-4)
    np.testing.assert_allclose(rows[-1, 2:], [20, 60, 1], atol=1e-4)
    assert np.round(rows[:, 4]).sum() == 2
    # No row lies within the jump of the lifted pen, from (20, 0) to (20, 50).
    assert not ((rows[:, 3] > 1) & (rows[:, 3] < 49)).any()
    if factor == 1:
        np.testing.assert_allclose(rows, drawn(), atol=1e-4)


def test_options_of_strokes_that_do_not_go_together_are_one_line():
    with pytest.raises(ConfigError, match=r"data\.planes has pairs of data\.columns, x before y; 'z' is no column"):
        ClassifierRows(dataset="own", columns=COLUMNS, planes=("x", "z"))
    with pytest.raises(ConfigError, match="change columns in a plane: name them"):
        ClassifierRows(dataset="own", columns=COLUMNS, rotate=5)
    with pytest.raises(ConfigError, match=r"data\.pace needs data\.planes of movements and places"):
        ClassifierRows(dataset="own", columns=COLUMNS, planes=("x", "y"), pace=0.5)
    with pytest.raises(ConfigError, match=r"data\.shares lie between 0 and 1"):
        ClassifierRows(dataset="own", shares=(0.5, 1.0))


@pytest.mark.slow
def test_accuracy_by_the_part_seen_is_that_of_the_beginnings(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(drawn(np.cumsum(rng.normal(size=(n, 2)), axis=0), np.zeros(n)), str(n % 2)) for n in (5, 5, 8, 9, 12, 6)]
    config = strokes(shares=(0.5,))
    problem = ClassifierTask.from_source(Source("rows-label", {"train": rows, "dev": rows}), config)
    keras.utils.set_random_seed(2)
    model = build_classifier(ClassifierConfig(units=6), problem.encoder)
    halves = [(given[: round(len(given) / 2)], label) for given, label in rows]
    by_hand = [
        problem.labels[int(np.argmax(predict_whole(model, **problem.encoder.encode(given))))] == label
        for given, label in halves
    ]
    figures = problem.evaluate(model, "dev")
    assert figures["accuracy_after_50_percent"] == np.mean(by_hand)
    path = tmp_path / "pen.tflite"
    metadata = {"task": problem.spec(config, problem.encoder), "files": problem.encoder.to_files()}
    streaming.convert(model, path, metadata=metadata)
    assert problem.evaluate_stream(streaming.load(path), "dev") == pytest.approx(figures)


def test_labels_are_balanced_by_their_frequency():
    rows = [(["a", "b"], "often")] * 9 + [(["c"], "seldom")]
    source = Source("text-label", {"train": rows, "dev": [*rows, (["d"], "new")]})
    problem = ClassifierTask.from_source(source, ClassifierWords(dataset="own", balance=1.0, min_count=1))
    weights = [float(row["weights"]) for row in problem.arrays("train")]
    assert weights == pytest.approx([10 / 18] * 9 + [5])
    assert float(problem.arrays("dev")[-1]["weights"]) == 0
    assert problem.monitor == "val_balanced_accuracy"
    few = Source("text-label", {"train": rows[:9]})
    part = ClassifierTask.from_source(few, problem.config, encoder=problem.encoder)
    assert [float(row["weights"]) for row in part.arrays("train")] == [1] * 9
    found = problem.score("train", ["often"] * 10)
    assert (found["balanced_accuracy"], found["accuracy"]) == (0.5, 0.9)
    metric = BalancedAccuracy(3)
    metric.update_state([0, 0, 0, 1], np.eye(3)[[0, 0, 1, 1]], [1.0, 0.5, 2.0, 0.1])
    metric.update_state([2], np.eye(3)[[0]], [0.0])
    assert float(metric.result()) == pytest.approx((2 / 3 + 1) / 2)
