"""Entities take the place of others of their type: the sentence around them and the tags stay right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rnnzoo.data.encoders.words import fit_words
from rnnzoo.errors import ConfigError, DataError
from rnnzoo.tasks.tagger.config import TaggedWordsConfig
from rnnzoo.tasks.tagger.entities import entities
from rnnzoo.tasks.tagger.swaps import read_gazetteer
from rnnzoo.tasks.tagger.task import TaggerTask

ROWS = [
    ("Ada Byron lives in New York City now".split(), "B-person I-person O O B-place I-place I-place O".split()),
    ("in Rome , Bob sang".split(), "O B-place O B-person O".split()),
    ("nobody came".split(), ["O", "O"]),
    ("Bob".split(), ["B-person"]),
]


def task(**options: object) -> TaggerTask:
    config = TaggedWordsConfig(dataset="", min_count=1, **options)  # type: ignore[arg-type]
    words = [*[words for words, _ in ROWS], "Rossi Li de la Cruz".split()]
    encoder = fit_words(words, {tag for _, tags in ROWS for tag in tags}, config)
    return TaggerTask(config, encoder, {"train": list(ROWS), "dev": [], "test": []})


def read(made: TaggerTask, row: dict[str, np.ndarray]) -> tuple[list[str], list[str]]:
    """Words, in lower case, and tags of encoded arrays."""
    vocabulary = made.encoder.words
    names = {vocabulary.id(word): word for word in vocabulary.entries}
    return [names[int(i)] for i in row["words"]], [made.labels[i] for i in row["targets"]]


def test_entities_come_from_the_training_split_and_all_else_stays() -> None:
    made = task(swap=1.0)
    known = {
        kind: {
            " ".join(words[begin:end]).lower() for words, tags in ROWS for k, begin, end in entities(tags) if k == kind
        }
        for kind in ("person", "place")
    }
    seen: dict[str, set[str]] = {"person": set(), "place": set()}
    for seed in range(40):
        for (words, tags), row in zip(ROWS, made.arrays("train"), strict=True):
            found, marks = read(made, made.augment(row, np.random.default_rng(seed)))
            assert len({len(array) for array in made.augment(row, np.random.default_rng(seed)).values()}) == 1
            outside = [word for word, tag in zip(found, marks, strict=True) if tag == "O"]
            assert outside == [word.lower() for word, tag in zip(words, tags, strict=True) if tag == "O"]
            assert [kind for kind, *_ in entities(marks)] == [kind for kind, *_ in entities(tags)]
            for kind, begin, end in entities(marks):
                seen[kind].add(" ".join(found[begin:end]))
    assert seen == known


def test_the_characters_of_an_entity_move_with_it() -> None:
    made = task(swap=1.0)
    encoded = {tuple(row["words"]): row for words, _ in ROWS for word in words for row in [made.encoder.encode([word])]}
    for seed in range(10):
        row = made.augment(made.arrays("train")[0], np.random.default_rng(seed))
        for i, word in enumerate(row["words"]):
            for name in ("chars", "affixes"):
                np.testing.assert_array_equal(row[name][i], encoded[(word,)][name][0])


def test_nothing_is_swapped_at_zero_and_some_by_its_share() -> None:
    row = task().arrays("train")[0]
    assert task().augment(row, np.random.default_rng(0)) is row
    made = task(swap=0.25)
    changed = [made.augment(made.arrays("train")[3], np.random.default_rng(seed)) for seed in range(800)]
    # Two of the three persons are "bob".
    assert np.mean([read(made, row)[0] != ["bob"] for row in changed]) == pytest.approx(0.25 / 3, abs=0.03)


def test_an_entry_of_a_list_takes_the_place_of_the_last_words(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Rossi\n\nde la Cruz\n", encoding="utf-8")
    made = task(swap=1.0, gazetteers=(f"person={tmp_path / 'names.txt'}",))
    found = set()
    for seed in range(60):
        words, tags = read(made, made.augment(made.arrays("train")[0], np.random.default_rng(seed)))
        ((_, begin, end),) = [entity for entity in entities(tags) if entity[0] == "person"]
        found.add(" ".join(words[begin:end]))
    assert found == {"ada rossi", "de la cruz", "ada byron", "bob"}


def test_several_lists_of_a_type_are_one(tmp_path: Path) -> None:
    for name in ("Rossi", "Li"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    made = task(swap=1.0, gazetteers=tuple(f"person={tmp_path / name}" for name in ("Rossi", "Li")))
    rows = [made.augment(made.arrays("train")[3], np.random.default_rng(seed)) for seed in range(60)]
    assert {" ".join(read(made, row)[0]) for row in rows} == {"rossi", "li", "bob", "ada byron"}


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "marked.txt").write_text("Rossi\n", encoding="utf-8-sig")
    config = TaggedWordsConfig(dataset="")
    assert read_gazetteer(str(tmp_path / "marked.txt"), config) == [["Rossi"]]


def test_tags_without_entities_are_refused() -> None:
    made = TaggerTask(
        TaggedWordsConfig(dataset="", swap=0.5), task().encoder, {"train": [(["a"], ["O"])], "dev": [], "test": []}
    )
    with pytest.raises(DataError, match="begins with B- or I-"):
        made.augment(made.arrays("train")[0], np.random.default_rng(0))


def test_bad_lists(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="TYPE=NAME"):
        task(swap=0.5, gazetteers=("names",))
    with pytest.raises(ConfigError, match=r"data\.swap=0\.5"):
        task(gazetteers=("person=names",))
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    (tmp_path / "one.txt").write_text("Li\n", encoding="utf-8")
    (tmp_path / "bytes.txt").write_bytes(b"Ren\xe9e\n")
    for entry, words in {
        f"person={tmp_path / 'gone.txt'}": "no file",
        f"person={tmp_path / 'bytes.txt'}": "UTF-8",
        f"person={tmp_path / 'empty.txt'}": "one a line",
        f"persons={tmp_path / 'one.txt'}": "did you mean 'person'",
    }.items():
        made = task(swap=1.0, gazetteers=(entry,))
        with pytest.raises(DataError, match=words):
            made.augment(made.arrays("train")[0], np.random.default_rng(0))
