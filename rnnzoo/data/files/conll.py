"""A user's own CoNLL files: CoNLL-U, or a word and its tag on each line, among other columns or not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rnnzoo.data.config import DataConfig, WordsConfig
from rnnzoo.data.files.reading import read_lines, split_files
from rnnzoo.data.source import Example, Findings, Reading, register_dataset
from rnnzoo.errors import DataError

_SUFFIXES = (".conllu", ".conll", ".tsv", ".txt", ".bio", ".iob", ".iob2")
# Between documents of CoNLL-2003.
_DOCUMENT = "-DOCSTART-"
_MIN_COLUMNS, _MAX_COLUMNS = 2, 10
# Numbers of words: those of CoNLL-U may be ranges, or of words that are not written.
_NUMBER = re.compile(r"\d+([-.]\d+)?")


class _Layout(NamedTuple):
    """How the lines of a file are cut, how many columns there are, and which hold words and tags, from 0."""

    tabs: bool
    columns: int
    numbered: bool
    word: int
    tag: int


@register_dataset("conll:", "words-tags")
def read_conll(config: DataConfig) -> Reading:
    """`conll:FILE_OR_FOLDER`: a file, or a folder with `train`, `dev` and `test`; columns by tabs or spaces.

    Where words have numbers, as in CoNLL-U, the second column and the fourth; else the first and the last, unless
    `data.word_column` and `data.tag_column` name others.
    """
    words = config if isinstance(config, WordsConfig) else WordsConfig(dataset=config.dataset)
    path, shown = Path(config.dataset.removeprefix("conll:")), {}

    def sentences(file: Path) -> Iterator[Example]:
        last = None
        for last in _sentences(file, words):
            yield last[1]
        if last is not None:
            layout = last[0]
            shown["columns of words and tags"] = f"{layout.word + 1} and {layout.tag + 1} of {layout.columns}"

    splits = {split: list(rows) for split, rows in split_files(path, _SUFFIXES, sentences).items()}
    counts = {split: sum(len(row[0]) for row in rows) for split, rows in splits.items()}
    shown["words"] = ", ".join(f"{split} {count:,}" for split, count in counts.items())
    return Reading(splits, Findings(shown=shown))


def read_conllu(path: Path, config: WordsConfig | None = None) -> Iterator[Example]:
    """Sentences of a file: words and tags.

    Raises:
        DataError: the file is missing or a line has another number of columns than the first; file and line are named.
    """
    return (example for _, example in _sentences(path, config or WordsConfig(dataset=f"conll:{path}")))


def _sentences(path: Path, config: WordsConfig) -> Iterator[tuple[_Layout, Example]]:
    if not path.is_file():
        raise DataError(f"{path} does not exist: expected a CoNLL file with words and tags")
    layout: _Layout | None = None
    words: list[str] = []
    tags: list[str] = []
    for number, line in read_lines(path, config.encoding):
        if not line.strip() or line.startswith(_DOCUMENT):
            if layout is not None and words:
                yield layout, (words, tags)
            words, tags = [], []
            continue
        if _is_comment(line, layout):
            continue
        if layout is None:
            layout = _layout(line, path, number, config)
        cells = _cells(line, layout.tabs)
        if len(cells) != layout.columns:
            raise DataError(f"{path}, line {number}: expected {layout.columns} columns, found {len(cells)}")
        if layout.numbered and not cells[0].isdigit():
            if _NUMBER.fullmatch(cells[0]):
                continue
            raise DataError(f"{path}, line {number}: expected the number of a word; received {cells[0]!r}")
        word, tag = cells[layout.word], cells[layout.tag]
        if not (word and tag):
            raise DataError(f"{path}, line {number}: expected a word and its tag; received {cells}")
        words.append(word)
        tags.append(tag)
    if layout is not None and words:
        yield layout, (words, tags)


def _is_comment(line: str, layout: _Layout | None) -> bool:
    """A word may be the sign of a comment, where it has as many columns as the others."""
    if not line.startswith("#"):
        return False
    if layout is not None and not layout.tabs:
        return len(_cells(line, False)) != layout.columns
    return line.startswith("# ") or "\t" not in line


def _cells(line: str, tabs: bool) -> list[str]:
    # Some words are or hold unusual spaces: only those of ASCII separate.
    return line.split("\t") if tabs else [cell for cell in re.split(" +", line.strip(" ")) if cell]


def _layout(line: str, path: Path, number: int, config: WordsConfig) -> _Layout:
    """The layout of a file by its first line with a word."""
    tabs = "\t" in line
    cells = _cells(line, tabs)
    count = len(cells)
    if not _MIN_COLUMNS <= count <= _MAX_COLUMNS:
        raise DataError(
            f"{path}, line {number}: expected {_MIN_COLUMNS} to {_MAX_COLUMNS} columns by tabs or spaces, found {count}"
        )
    numbered = count > _MIN_COLUMNS and _NUMBER.fullmatch(cells[0]) is not None
    universal = path.suffix == ".conllu" or (numbered and count >= 4)
    if universal and count < 4:
        raise DataError(f"{path}, line {number}: expected 4 columns or more, found {count}")
    word, tag = (1, 3) if universal else (int(numbered), count - 1)
    for name, given in (("word_column", config.word_column), ("tag_column", config.tag_column)):
        if given is not None and given > count:
            raise DataError(f"{path}, line {number}: data.{name}={given}, and there are {count} columns; name one")
    word = word if config.word_column is None else config.word_column - 1
    tag = tag if config.tag_column is None else config.tag_column - 1
    return _Layout(tabs, count, numbered or universal, word, tag)
