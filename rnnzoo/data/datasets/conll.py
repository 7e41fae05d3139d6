"""A user's own CoNLL-U files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rnnzoo.data.config import DataConfig
from rnnzoo.data.datasets import SPLITS, Example, Splits, register_dataset
from rnnzoo.errors import DataError


@register_dataset("conll:", "words-tags")
def read(config: DataConfig) -> Splits:
    """`conll:FOLDER`, a folder with `train.conllu`, `dev.conllu` and `test.conllu`."""
    folder = Path(config.dataset.removeprefix("conll:"))
    return {split: read_conllu(folder / f"{split}.conllu") for split in SPLITS}


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
