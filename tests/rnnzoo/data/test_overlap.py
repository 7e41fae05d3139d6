"""What is counted as seen in training, by hand."""

import numpy as np

from rnnzoo.data.overlap import Overlap, count_overlaps, read_overlaps, write_overlaps
from rnnzoo.data.source import Source


def test_inputs_and_texts_that_come_again_are_counted(tmp_path):
    pictures = [np.full((2, 2), value) for value in range(4)]
    train = [(pictures[0], ["a red box"]), (pictures[1], ["one more"]), (pictures[1], ["one more"])]
    dev = [(pictures[2], ["a red box"]), (pictures[0], ["new words"])]
    test = [(pictures[3], ["new words"]), (pictures[0].astype("float32"), ["a red"])]
    found = count_overlaps("mine", Source("image-captions", {"train": train, "dev": dev, "test": test}))
    assert found == [Overlap("mine", "dev", 2, 1, 1), Overlap("mine", "test", 2, 0, 0)]
    write_overlaps(tmp_path / "overlaps.csv", found)
    assert read_overlaps(tmp_path / "overlaps.csv") == {(row.dataset, row.split): row for row in found}
    assert read_overlaps(tmp_path / "none.csv") == {}


def test_texts_of_several_words_and_labels():
    train = [(["a", "b"], "X"), ("ein Satz", "a sentence")]
    test = [(["a", "b"], "X"), (["ab"], "X"), ("noch ein Satz", "a sentence")]
    (_, row) = count_overlaps("mine", Source("any", {"train": train, "dev": train[:1], "test": test}))
    # A label is in every split; a text that is written is not.
    assert (row.inputs, row.targets) == (1, 1)


def test_names_of_several_words_are_no_texts():
    plays = [("a line", "The Tempest"), ("another", "Richard II")]
    (_, row) = count_overlaps("mine", Source("styled-lines", {"train": plays, "dev": plays, "test": plays[:1]}))
    assert (row.inputs, row.targets) == (1, 0)
