"""When probabilities are events: the rule against its definition, and what must hold for any row of numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.errors import InputError
from streaming.runtime.decoding import EventRule

# Rows of probabilities of two backgrounds and three keywords.
BACKGROUND, KEYWORDS = (0, 1), (2, 3, 4)
ROWS = st.lists(
    st.lists(st.integers(0, 6), min_size=5, max_size=5).filter(any).map(lambda row: np.array(row) / sum(row)),
    max_size=40,
)


def events(rows, threshold, rest=3, keywords=KEYWORDS, background=BACKGROUND, multi_label=False):
    rule = EventRule(keywords, background, threshold, rest, multi_label=multi_label)
    return [(label, row) for row, smooth in enumerate(rows) for label in rule.feed(np.asarray(smooth))]


def episodes(rows, label, rest):
    """Runs of rows in which a label leads, joined over gaps of fewer than `rest` rows: by the definition."""
    found, last = [], None
    for number, row in enumerate(rows):
        others = max(row[k] for k in KEYWORDS if k != label)
        # Of keywords that are as probable the first leads.
        first = all(row[k] < row[label] for k in KEYWORDS if k < label)
        if row[label] >= others and first and row[label] > row[0] + row[1]:
            if last is None or number - last - 1 >= max(1, rest):
                found.append([])
            found[-1].append(number)
            last = number
    return found


@settings(deadline=None, max_examples=300)
@given(ROWS, st.integers(0, 4), st.sampled_from([0.2, 0.4, 0.5, 0.7, 0.9]))
def test_the_first_high_row_of_each_episode_is_an_event(rows, rest, threshold):
    expected = []
    for label in KEYWORDS:
        for episode in episodes(rows, label, rest):
            expected += [(label, row) for row in episode if rows[row][label] >= threshold][:1]
    assert sorted(events(rows, threshold, rest)) == sorted(expected)


@settings(deadline=None, max_examples=300)
@given(ROWS, st.integers(0, 4), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_recall_does_not_rise_with_the_threshold(rows, rest, one, other):
    low, high = min(one, other), max(one, other)
    few, many = events(rows, high, rest), events(rows, low, rest)
    for label in KEYWORDS:
        # By episode: one with an event at the higher threshold has one at the lower, no later.
        for episode in episodes(rows, label, rest):
            late = [row for k, row in few if k == label and row in episode]
            early = [row for k, row in many if k == label and row in episode]
            assert len(late) <= len(early) <= 1
            assert not late or early[0] <= late[0]


@settings(deadline=None, max_examples=100)
@given(ROWS, st.integers(0, 4), st.sampled_from([0.1, 0.5, 0.8]))
def test_any_number_of_background_labels_is_one_background(rows, rest, threshold):
    found = events(rows, threshold, rest)
    assert not {label for label, _ in found} & set(BACKGROUND)
    joined = [np.array([row[0] + row[1], *row[2:]]) for row in rows]
    assert [(label + 1, row) for label, row in events(joined, threshold, rest, (1, 2, 3), (0,))] == found


def test_an_event_does_not_swallow_another_keyword_that_stays():
    """Label 3 rises while label 2 rests, and is above the threshold long after: it was lost before."""
    row = {k: np.full(5, 0.02) for k in (0, 2, 3)}
    for k, values in row.items():
        values[k] = 0.92
    rows = [row[0]] * 3 + [row[2]] * 2 + [row[3]] * 30 + [row[0]] * 3
    assert events(rows, 0.6, rest=20) == [(2, 3), (3, 5)]


def test_a_label_comes_again_after_its_rest_only():
    on, off = np.array([0.1, 0, 0.9, 0, 0]), np.array([0.9, 0, 0.1, 0, 0])
    for gap, count in ((1, 1), (4, 1), (5, 2), (9, 2)):
        assert len(events([on] * 3 + [off] * gap + [on] * 3, 0.6, rest=5)) == count


def test_sigmoids_lead_each_for_itself():
    rows = [[0.1, 0, 0.9, 0.8, 0.2]] * 4
    assert events(rows, 0.7, multi_label=True) == [(2, 0), (3, 0)]
    assert events(rows, 0.15, multi_label=True) == [(2, 0), (3, 0), (4, 0)]


@pytest.mark.parametrize("wrong", [{"background": (2,)}, {"threshold": 1.0}, {"rest": -1}])
def test_rules_that_cannot_be_are_refused(wrong):
    given = {"keywords": KEYWORDS, "background": BACKGROUND, "threshold": 0.5, "rest": 1, **wrong}
    with pytest.raises(InputError, match="expected other labels in both"):
        EventRule(given["keywords"], given["background"], given["threshold"], given["rest"])


@settings(deadline=None, max_examples=200)
@given(ROWS, st.integers(0, 4), st.sampled_from([0.2, 0.5, 0.9]), st.booleans(), st.integers(1, 9))
def test_rows_at_once_are_rows_one_by_one(rows, rest, threshold, multi_label, size):
    rule = EventRule(KEYWORDS, BACKGROUND, threshold, rest, multi_label=multi_label)
    found = []
    for begin in range(0, len(rows), size):
        block = np.array(rows[begin : begin + size])
        found += [(label, begin + index) for index, label in rule.feed_rows(block)]
    assert found == events(rows, threshold, rest, multi_label=multi_label)
