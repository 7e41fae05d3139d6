"""Sequences that papers measure memory with: answers worked out anew from the inputs, and the TFDS builders of them."""

import numpy as np
import pytest

from rnnzoo.data import RowsConfig, read_source
from rnnzoo.data.mirror import load_builder, rows
from rnnzoo.data.problems import memory, reber, structure
from rnnzoo.data.problems.chaos import mackey_glass
from rnnzoo.data.sets.optical_digits import pictures
from rnnzoo.errors import DataError


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def test_a_sum_is_that_of_the_two_marked_numbers(rng):
    x, y = memory.adding(rng, 50, 21)
    for row, target in zip(x, y, strict=True):
        first, second = np.flatnonzero(row[:, 1])
        assert first < 10 <= second
        assert target == pytest.approx([row[first, 0] + row[second, 0]])
    # What answering 1 costs, as the papers say.
    assert np.mean((memory.adding(rng, 20000, 10).y - 1) ** 2) == pytest.approx(1 / 6, rel=0.05)


@pytest.mark.parametrize("marks", [2, 3])
def test_the_order_of_the_marks_is_the_class(rng, marks):
    x, y = memory.temporal_order(rng, 200, 60, marks)
    for row, target in zip(x.argmax(-1), y, strict=True):
        places = np.flatnonzero(row >= 4)
        assert [place // 6 for place in places] == [1, 4, 7][:marks]
        assert int("".join(str(symbol - 4) for symbol in row[places]), 2) == target
    assert set(y) == set(range(2**marks))


@pytest.mark.parametrize("name", ["copying", "selective_copying"])
def test_symbols_are_copied_in_their_order(rng, name):
    x, y = memory.PROBLEMS[name](rng, 20, 30)
    for row, target in zip(x, y, strict=True):
        symbols = row[(row >= 1) & (row <= 8)]
        assert len(symbols) == 10
        assert list(target[-10:]) == list(symbols)
        assert not target[:-10].any()
    assert (x.shape[1], (x == 9).sum()) == ((50, 20) if name == "copying" else (40, 200))


def test_too_few_steps_are_refused_in_one_line(rng):
    for name, steps in (("adding", 1), ("temporal_order", 9), ("copying", 0), ("selective_copying", 9), ("recall", 0)):
        with pytest.raises(DataError, match=f"^{name}: expected at least .* steps; received {steps}$"):
            memory.PROBLEMS[name](rng, 2, steps)
    with pytest.raises(DataError, match="2 or 3 marks; received 4"):
        memory.temporal_order(rng, 2, 20, 4)


# State -> letter -> state, written anew from figure 2 of Hochreiter & Schmidhuber 1997.
REBER = {
    "start": {"B": "a"},
    "a": {"T": "b", "P": "c"},
    "b": {"S": "b", "X": "d"},
    "c": {"T": "c", "V": "e"},
    "d": {"X": "c", "S": "f"},
    "e": {"P": "d", "V": "f"},
    "f": {"E": "end"},
    "end": {},
}


def test_strings_of_the_grammar_and_what_may_follow(rng):
    for _ in range(200):
        string = reber.embedded_string(rng)
        legal = reber.legal_next(string)
        assert string[0] == "B"
        assert string[1] == string[-2]
        state, expected = "start", [{"T", "P"}, {"B"}]
        for letter in string[2:-2]:
            state = REBER[state][letter]
            expected.append(set(REBER[state]) or {string[1]})
        assert state == "end"
        assert legal == [*expected, {"E"}]
        assert reber.one_hot(string).argmax(-1).tolist() == [reber.LETTERS.index(letter) for letter in string]


@pytest.mark.parametrize("string", ["", "BTBE", "BTBTXSEPE", "BTBTSEPE", "BTBTTTE", "BTXTXSETE"])
def test_what_is_no_string_of_the_grammar_is_refused(string):
    with pytest.raises(ValueError, match="expected a string of the embedded Reber grammar"):
        reber.legal_next(string)


def test_structure_in_time(rng):
    bits = structure.temporal_xor(rng, 3000)
    assert (bits[2::3] == (bits[::3] != bits[1::3])).all()
    assert set(structure.syllables(rng, 200).replace("ba", "").replace("dii", "").replace("guuu", "")) == set()
    lines = structure.sentences(rng, 50)
    text, begins = structure.run_together(lines)
    words = [text[a:b] for a, b in zip(np.flatnonzero(begins), [*np.flatnonzero(begins)[1:], None], strict=True)]
    assert words == [word for line in lines for word in line]
    assert set(words) <= set(structure.lexicon())
    assert {word for word in structure.lexicon() if not structure.is_noun(word)} == set(
        "think sleep see chase move break smell smash eat".split()
    )


def test_the_chaotic_series_follows_its_equation(rng):
    x = mackey_glass(rng, 400)[:, 0].astype(float) + 0.95
    slope = (x[18:] - x[16:-2]) / 2
    late = x[:-18]
    expected = 0.2 * late / (1 + late**10) - 0.1 * x[17:-1]
    assert np.corrcoef(slope, expected)[0, 1] > 0.98
    assert x.std() > 0.15


def test_the_pictures_are_those_of_scikit_learn_in_the_builder_too(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_DATA_DIR", str(tmp_path))
    counts = {"train": 1297, "validation": 140, "test": 360}
    builder = load_builder("optical_digits")
    assert {str(split): info.num_examples for split, info in builder.info.splits.items()} == counts
    images, digits = pictures("test")
    made = list(rows("optical_digits", "test"))
    assert [row["digit"] for row in made] == digits.tolist()
    assert (np.array([row["pixels"] for row in made]) / 16 == images).all()


def test_problems_are_builders_and_those_with_a_label_data_sets(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_DATA_DIR", str(tmp_path))
    splits = read_source(RowsConfig(dataset="memory_problems/recall_20")).splits
    assert {name: len(examples) for name, examples in splits.items()} == {"train": 2000, "dev": 250, "test": 500}
    # Lag 20: the sign of the first row is the answer.
    assert all(str(int(x[0, 0] > 0)) == label and x.shape == (21, 2) for x, label in splits["test"])
    with pytest.raises(DataError, match=r"no problem with a label; did you mean 'memory_problems/recall_20'\?$"):
        read_source(RowsConfig(dataset="memory_problems/recall_21"))
    (first,) = list(rows("memory_problems/copying_20", "train"))[:1]
    assert np.array_equal(first["x"], memory.copying(np.random.default_rng(1), 2000, 20).x[0])
