"""Labelled examples as plain Python, from TFDS or from files of the user."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnzoo.data.mirror import load_builder
from rnnzoo.errors import DataError
from streaming.runtime.tokenization import tokenize

_UNIVERSAL = "universal_dependencies/"
_CONLL = "conll:"
_CLINC = "clinc_oos"
_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
OUT_OF_SCOPE = "out_of_scope"

Example = tuple[list[str], Any]


@dataclass(frozen=True)
class Source:
    """Examples of the splits `train`, `dev` and `test`: words with one label each, or one for all of them."""

    kind: str
    splits: dict[str, list[Example]]


def read_source(dataset: str, limit: int | None = None) -> Source:
    """Every split of a data set.

    Args:
        dataset: `universal_dependencies/...`, `clinc_oos` or `conll:FOLDER`.
        limit: at most so many examples a split.

    Raises:
        DataError: the data set is unknown, cannot be found, or is malformed.
    """
    if dataset.startswith(_UNIVERSAL):
        read, kind = _read_universal(dataset), "tagger"
    elif dataset.startswith(_CONLL):
        read, kind = _read_conll(Path(dataset[len(_CONLL) :])), "tagger"
    elif dataset == _CLINC:
        read, kind = _read_clinc(), "classifier"
    else:
        known = f"{_UNIVERSAL}TREEBANK, {_CLINC} or {_CONLL}FOLDER"
        raise DataError(f"unknown data set {dataset!r}: expected {known}")
    if limit is not None and limit < 1:
        raise DataError(f"data.limit is at least 1 example; received {limit}")
    splits = {split: examples[:limit] for split, examples in read.items()}
    for split, examples in splits.items():
        if not examples:
            raise DataError(f"split {split!r} of {dataset!r} holds no example")
    return Source(kind, splits)


def _read_universal(name: str) -> dict[str, list[Example]]:
    import tensorflow_datasets as tfds

    builder = load_builder(name)
    names = builder.info.features["upos"].feature.names

    def read(split: str) -> Iterator[Example]:
        for row in tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False)):
            # Ranges of words written as one ("don't") and copied words have no head and are no words.
            kept = [i for i, head in enumerate(row["head"]) if head != b"None"]
            if kept:
                words = [row["tokens"][i].decode() for i in kept]
                yield words, [names[row["upos"][i]] for i in kept]

    return {ours: list(read(_tfds_split(builder, theirs))) for ours, theirs in _SPLITS.items()}


def _tfds_split(builder: Any, split: str) -> str:
    if split in builder.info.splits:
        return split
    if split == "validation" and "dev" in builder.info.splits:
        return "dev"
    raise DataError(f"{builder.name} has no split {split!r}; it has {', '.join(builder.info.splits)}")


def _read_clinc() -> dict[str, list[Example]]:
    import tensorflow_datasets as tfds

    builder = load_builder(_CLINC)

    def read(split: str) -> Iterator[Example]:
        for name, label in ((split, None), (f"{split}_oos", OUT_OF_SCOPE)):
            for row in tfds.as_numpy(builder.as_dataset(split=name, shuffle_files=False)):
                yield tokenize(row["text"].decode()), label or row["intent_name"].decode()

    return {ours: list(read(theirs)) for ours, theirs in _SPLITS.items()}


def _read_conll(folder: Path) -> dict[str, list[Example]]:
    return {split: list(read_conllu(folder / f"{split}.conllu")) for split in _SPLITS}


def read_conllu(path: Path) -> Iterator[Example]:
    """Sentences of a CoNLL-U file: words (second column) and their tags (fourth).

    Raises:
        DataError: the file is missing or a line has too few columns.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist: expected a CoNLL-U file with words and tags")
    words: list[str] = []
    tags: list[str] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate([*file, "\n"], 1):
            columns = line.rstrip("\n").split("\t")
            if not line.strip():
                if words:
                    yield words, tags
                words, tags = [], []
            elif not line.startswith("#") and len(columns) < 4:
                raise DataError(f"{path}, line {number}: expected 4 columns or more, found {len(columns)}")
            elif columns[0].isdigit():
                words.append(columns[1])
                tags.append(columns[3])
