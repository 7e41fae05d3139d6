"""NAB's scoring rule against its definition, and its baseline against NumPy."""

import math

import numpy as np
import pytest

from rnnzoo.data.config import RowsConfig
from rnnzoo.data.mirror import find_mirror
from rnnzoo.data.source import read_source
from rnnzoo.tasks.anomaly_detector.scoring import (
    Profile,
    ScoredSeries,
    choose_threshold,
    nab_score,
    scaled_sigmoid,
    windowed_gaussian,
)


def scored(alarms, windows=((20, 29), (60, 69)), length=100, probation=10):
    scores = np.zeros(length)
    scores[list(alarms)] = 1
    return ScoredSeries(scores, np.array(windows).reshape(-1, 2), probation)


@pytest.mark.parametrize(
    # The values of the figure in the paper.
    ("position", "value"),
    [(-1.0, 0.98661), (-0.5, 0.84828), (0.0, 0.0), (0.5, -0.84828), (1.0, -0.98661), (3.5, -1.0)],
)
def test_the_sigmoid_has_the_published_values(position, value):
    assert scaled_sigmoid(position) == pytest.approx(value, abs=1e-5)


def test_nothing_is_worth_0_and_perfection_100():
    assert nab_score([scored([])], 0.5) == 0
    assert nab_score([scored([20, 60])], 0.5) == pytest.approx(100)
    # Of a window only the first alarm counts, and none does on probation.
    assert nab_score([scored([3, 20, 21, 29, 60, 64])], 0.5) == pytest.approx(100)


def test_late_alarms_and_false_ones_cost_what_the_definition_says():
    top = 2 / (1 + math.exp(-5)) - 1
    late = (2 / (1 + math.exp(-5 * 0.1)) - 1) / top
    assert nab_score([scored([29])], 0.5) == pytest.approx(100 * (late - 1 + 2) / 4)
    before = nab_score([scored([15])], 0.5)
    assert before == pytest.approx(100 * -0.11 / 4)
    soon = 0.11 * (2 / (1 + math.exp(5 * 2 / 9)) - 1)
    assert nab_score([scored([31])], 0.5) == pytest.approx(100 * soon / 4)
    assert before < nab_score([scored([31])], 0.5) < 0
    assert nab_score([scored([15])], 0.5, Profile(false_alarm=0.22)) == pytest.approx(2 * before)


def test_the_score_is_over_all_windows_of_all_series():
    series = [scored([20, 60]), scored([15], windows=())]
    assert nab_score(series, 0.5) == pytest.approx(100 * (2 - 0.11 + 2) / 4)
    choice = choose_threshold(series)
    assert (choice.threshold, choice.best) == (1.0, pytest.approx(nab_score(series, 1.0)))
    with pytest.raises(ValueError, match="no series has a window"):
        nab_score([scored([], windows=())], 0.5)


def test_a_threshold_is_judged_on_series_that_had_no_part_in_it():
    """Alarms at 0.9 are right in two series and false in the third: what each is worth by the choice of the others."""

    def leveled(right, wrong, window):
        scores = np.zeros(100)
        scores[[20, 60]], scores[80:85] = right, wrong
        return ScoredSeries(scores, np.array(window).reshape(-1, 2), 10)

    windows = ((20, 29), (60, 69))
    series = [leveled(0.9, 0.2, windows), leveled(0.9, 0.2, windows), leveled(0.3, 0.9, windows)]
    choice = choose_threshold(series)
    by_hand = 0.0
    for place, one in enumerate(series):
        others = [other for number, other in enumerate(series) if number != place]
        chosen = max((nab_score(others, threshold), threshold) for threshold in (0.2, 0.3, 0.9))[1]
        by_hand += nab_score([one], chosen)
    assert choice.left_out == pytest.approx(by_hand / 3)
    assert choice.left_out < choice.best


def test_the_baseline_is_the_tail_of_a_normal_distribution():
    values = np.random.default_rng(0).normal(5, 2, 7000)
    scores = windowed_gaussian(values)
    for i, (begin, end) in {1: (0, 1), 50: (0, 50), 6400: (0, 6400), 6499: (0, 6400), 6777: (300, 6700)}.items():
        past = values[begin:end]
        z = abs(values[i] - past.mean()) / max(past.std(), 1e-6)
        assert scores[i] == pytest.approx(1 - 0.5 * math.erfc(z / math.sqrt(2)), abs=1e-9)
    assert windowed_gaussian(np.ones(5)).max() == 0.5


@pytest.mark.slow
@pytest.mark.skipif(find_mirror() is None, reason="no mirror: RNNZOO_DATA_MIRROR names none")
def test_the_baseline_finds_something_in_the_real_series():
    source = read_source(RowsConfig(dataset="nab_known_cause"))
    series = [
        ScoredSeries(windowed_gaussian(values[:, 0]), about["windows"], about["probation"])
        for values, about in source.splits["test"]
    ]
    assert len(series) == 7
    choice = choose_threshold(series)
    assert 0 < choice.best < 100
    assert choice.left_out <= choice.best
