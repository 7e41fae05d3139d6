"""A user's own CoNLL files: CoNLL-U, or a word and its tag on each line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rnnzoo.data.config import DataConfig
from rnnzoo.data.files.reading import read_lines, split_files
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.errors import DataError


@register_dataset("conll:", "words-tags")
def read(config: DataConfig) -> Splits:
    """`conll:FILE_OR_FOLDER`: a file, or a folder with `train`, `dev` and `test`, of `.conllu`, `.conll` or `.tsv`."""
    path = Path(config.dataset.removeprefix("conll:"))
    return split_files(path, (".conllu", ".conll", ".tsv"), read_conllu)


def read_conllu(path: Path) -> Iterator[Example]:
    """Sentences of a file: words and tags, the second and fourth column, or the only two.

    Raises:
        DataError: the file is missing or a line has too few columns, or others than the first; file and line are named.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist: expected a CoNLL-U file with words and tags")
    words: list[str] = []
    tags: list[str] = []
    pairs: bool | None = None
    for number, line in read_lines(path):
        columns = line.rstrip("\r\n").split("\t")
        if not line.strip():
            if words:
                yield words, tags
            words, tags = [], []
            continue
        # A word of two columns may begin with the sign of a comment.
        if line.startswith("# ") or (line.startswith("#") and len(columns) == 1):
            continue
        if pairs is None:
            pairs = len(columns) == 2 and path.suffix != ".conllu"
        if len(columns) != 2 if pairs else len(columns) < 4:
            expected = "2 columns" if pairs else "4 columns or more"
            raise DataError(f"{path}, line {number}: expected {expected}, found {len(columns)}")
        if pairs and not all(columns):
            raise DataError(f"{path}, line {number}: expected a word and its tag; received {columns}")
        if pairs or columns[0].isdigit():
            words.append(columns[0 if pairs else 1])
            tags.append(columns[1 if pairs else 3])
    if words:
        yield words, tags
