"""Classical methods against what a hand can count, and `rnnzoo compare`."""

import numpy as np
import pytest
from zoo_runs import write_colours

from rnnzoo.cli import main
from rnnzoo.cli.show import print_rows
from rnnzoo.runs.compare import compare_runs
from rnnzoo.tasks.baselines import (
    FrequentTags,
    LabelNGrams,
    NaiveBayes,
    NearestMean,
    NearestText,
    NearestWindow,
    NGram,
    NoteChain,
    RidgeWords,
    peaks,
)


def test_words_have_their_most_frequent_tag_and_unknown_ones_that_of_their_ending():
    tags = FrequentTags([(["the", "walking", "dog"], ["D", "V", "N"]), (["the", "Walking"], ["D", "P"])] * 2)
    assert tags.tag(["the", "dog", "walking", "Walking"]) == ["D", "N", "V", "P"]
    assert tags.tag(["talking", "Talking"]) == ["V", "P"]  # of the ending and the case
    assert tags.tag(["Zurich"]) == ["P"]
    assert tags.tag(["", "??"]) == ["D", "D"]  # of all lower-case words


def test_naive_bayes_is_the_formula():
    texts = [["good", "film"], ["good", "good"], ["bad", "film"]]
    bayes = NaiveBayes(texts, np.array([[True], [True], [False]]))
    found = bayes.logits([["good", "new"], ["bad", "film"], []])
    prior = np.log((2 / 3) / (1 / 3))
    good = np.log((4 / 7) / (1 / 5))  # (3 + 1) of 4 + 3, (0 + 1) of 2 + 3
    bad, film = np.log((1 / 7) / (2 / 5)), np.log((2 / 7) / (2 / 5))
    np.testing.assert_allclose(found[:, 0], [prior + good, prior + bad + film, prior])


def test_ridge_regression_is_the_formula():
    texts, values = [["a", "b"], ["a"], ["b", "c"], []] * 5, [1.0, 0.5, -1.0, 0.3] * 5
    ridge = RidgeWords(texts, values, min_count=10, penalty=2.0)
    # "c" occurs five times only.
    x, y = np.array([[1, 1], [1, 0], [0, 1], [0, 0]] * 5, float), np.array(values)
    weights = np.linalg.inv(x.T @ x + 2 * np.eye(2)) @ x.T @ (y - y.mean())
    np.testing.assert_allclose(ridge.scores([["a", "c", "new"], ["b"]]), weights + y.mean())
    assert ridge.numbers == 3


def test_n_grams_of_a_label_are_those_of_its_sequences():
    grams = LabelNGrams([list("otto"), list("ottone"), list("abba"), list("anna")], ["O", "O", "A", "A"], order=3)
    assert [grams.label(list(name)) for name in ("ott", "aba", "otta", "nnab", "o", "xyz")][:5] == list("OAOAO")
    assert grams.name == "3-grams of each label"
    # A label that is frequent is no more probable for that.
    many = LabelNGrams([*[list("ab")] * 50, list("cd")], [*"X" * 50, "Y"], order=2)
    assert many.label(list("cd")) == "Y"


def test_the_nearest_window_looks_back():
    calm, busy = np.zeros((40, 2)), np.tile([[1.0, -1.0], [-1.0, 1.0]], (20, 1))
    rows, labels = np.concatenate([calm, busy]), ["sit"] * 40 + ["run"] * 40
    windows = NearestWindow([rows, rows[:3]], [labels, ["", "", ""]], window=8)
    found = windows.labels(rows)
    assert found[:40] == labels[:40]
    # Means are alike: only the deviation of the rows before tells.
    assert found[50:] == labels[50:]


def test_the_nearest_mean_counts_each_feature_by_its_spread():
    rng = np.random.default_rng(0)
    rows = [rng.normal((label, 100 * rng.normal()), 0.1, (9, 2)) for label in (0, 3) for _ in range(20)]
    means = NearestMean(rows, ["a"] * 20 + ["b"] * 20)
    assert means.labels([np.full((4, 2), (0.1, 50.0)), np.full((7, 2), (2.9, -50.0))]) == ["a", "b"]


def test_an_n_gram_is_a_distribution_and_witten_bells():
    tokens = np.array([0, 1, 0, 1, 0, 2])
    model = NGram(tokens, 4, order=2)
    uniform = 1 / 4
    of_one = [(c + 3 * uniform) / (6 + 3) for c in (3, 2, 1, 0)]
    after_0 = [(c + 2 * p) / (3 + 2) for c, p in zip((0, 2, 1, 0), of_one, strict=True)]
    found = [model.probabilities(np.array([0, token]))[0] for token in range(4)]
    np.testing.assert_allclose(found, after_0)
    after_3 = [model.probabilities(np.array([3, token]))[0] for token in range(4)]
    np.testing.assert_allclose(after_3, of_one)  # 3 has not been seen
    assert [sum(found), sum(after_3)] == pytest.approx([1, 1])
    assert model.probabilities(tokens).shape == (5,)
    # A longer context knows what comes: 2 after 1 0 twice in three.
    assert NGram(np.array([1, 0, 2] * 9), 3, order=3).probabilities(np.array([1, 0, 2]))[-1] > 0.85


def test_the_distribution_of_n_grams_is_that_of_their_probabilities():
    tokens = np.random.default_rng(0).integers(0, 5, 300)
    model, line = NGram(tokens, 6, order=4), np.array([2, 5, 1, 0, 3, 3, 1])
    expected = model.probabilities(line)
    for place in range(1, len(line)):
        chances = model.distribution(line[:place].tolist())
        assert chances.sum() == pytest.approx(1)
        assert chances[line[place]] == pytest.approx(expected[place - 1])


def test_the_nearest_text_shares_rare_words():
    memory = NearestText(["the dog sleeps", "the cat sleeps", "the the the the"])
    assert [memory.nearest(text) for text in ("A dog and the sun", "cat", "sleeps dog")] == [0, 1, 0]


def test_a_note_goes_on_as_it_has():
    roll = np.array([[1, 0], [1, 0], [0, 0], [1, 1], [1, 0]], float)
    found = NoteChain([roll]).probabilities(roll[:3])
    # Note 0: after silence it sounds in 1 of 1, after sound in 2 of 3; note 1: in 1 of 3, in 0 of 1.
    np.testing.assert_allclose(found, [[2 / 3, 1 / 3], [2 / 3, 1 / 3], [1, 1 / 3]])


def test_peaks_are_where_the_slopes_are_whatever_their_height():
    rate, beats = 250.0, np.array([200, 420, 610, 900])
    signal = np.random.default_rng(0).normal(0, 0.01, 1200)
    for at, height in zip(beats, (1.0, 0.8, 1.2, 0.7), strict=True):
        signal[at - 3 : at + 4] += height * np.hanning(7)
    found = peaks(signal, rate)
    assert len(found) == len(beats)
    assert np.abs(found - beats).max() < 0.08 * rate


@pytest.mark.slow
def test_runs_are_compared_with_each_other_and_with_what_needs_no_network(tmp_path, capsys):
    path = tmp_path / "colours.yaml"
    path.write_text(write_colours(tmp_path / "data"))
    assert main(["sweep", str(path), "model.cell=lstm,transformer", "--out", str(tmp_path / "sweep")]) == 0
    runs = sorted(p for p in (tmp_path / "sweep").iterdir() if p.is_dir())
    assert main(["compare", *map(str, runs)]) == 0
    out = capsys.readouterr().out
    assert "cell=transformer" in out
    assert "frequent" in out
    rows = compare_runs(runs)
    assert rows[0]["accuracy"] >= rows[1]["accuracy"] > rows[2]["accuracy"] > 0.2
    by_name = {row["model"].partition("-")[0]: row for row in rows}
    # Keys and values of 63 steps and their existence take more than the two vectors of an LSTM.
    assert by_name["cell=transformer"]["state_bytes"] - by_name["cell=lstm"]["state_bytes"] == 4 * (63 * 17 - 16)


def test_no_number_is_cut_where_there_is_little_room(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    row = {f"long_name_{i}": 1234567 + i for i in range(12)}
    print_rows([{"model": "a model whose name is long", **row}])
    out = capsys.readouterr().out
    assert all(f"{value:,}" in out for value in row.values())


def test_runs_of_other_data_are_not_compared(tmp_path, capsys):
    assert main(["compare", "tagger-en-ewt-stream", "intent-clinc"]) == 2
    said = capsys.readouterr().err
    assert "expected runs of one topology on one data set; received classifier on clinc_oos, tagger on" in said
    assert main(["compare", str(tmp_path)]) == 2
    assert "is no saved run" in capsys.readouterr().err
