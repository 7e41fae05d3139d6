"""A user's own texts: with labels, as CSV or JSON lines; with translations, as CSV; and as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from rnnzoo.data.config import DataConfig
from rnnzoo.data.files.reading import read_lines, read_table, split_files
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.errors import DataError
from streaming.runtime.tokenization import tokenize

_FIELDS = ("text", "label")


@register_dataset("csv:", "text-label")
def read_csv(config: DataConfig) -> Splits:
    """`csv:FILE_OR_FOLDER`: columns `text` and `label`, named in the first row; other columns are left alone."""
    return split_files(Path(config.dataset.removeprefix("csv:")), (".csv",), csv_examples)


@register_dataset("jsonl:", "text-label")
def read_jsonl(config: DataConfig) -> Splits:
    """`jsonl:FILE_OR_FOLDER`: one object a line, with `text` and `label`; other fields are left alone."""
    return split_files(Path(config.dataset.removeprefix("jsonl:")), (".jsonl", ".json"), jsonl_examples)


@register_dataset("pairs:", "text-text")
def read_pairs(config: DataConfig) -> Splits:
    """`pairs:FILE_OR_FOLDER`: CSV with columns `source` and `target`; other columns are left alone."""

    def examples(path: Path) -> Iterator[Example]:
        return ((row["source"], row["target"]) for _, row in read_table(path, ("source", "target")))

    return split_files(Path(config.dataset.removeprefix("pairs:")), (".csv",), examples)


@register_dataset("text:", "text")
def read_text(config: DataConfig) -> Splits:
    """`text:FILE_OR_FOLDER`: running text; of a single file the last tenth is `test`, the tenth before it `dev`."""
    path = Path(config.dataset.removeprefix("text:"))
    if path.is_dir():
        return split_files(path, (".txt",), lambda file: [(_whole(file), None)])
    text = _whole(path)
    tenth = len(text) // 10
    parts = {"train": text[: -2 * tenth], "dev": text[-2 * tenth : -tenth], "test": text[-tenth:]}
    return {split: [(part, None)] if tenth else [] for split, part in parts.items()}


def _whole(path: Path) -> str:
    return "".join(line for _, line in read_lines(path))


def csv_examples(path: Path) -> Iterator[Example]:
    """Words and label of every row.

    Raises:
        DataError: a column is missing, or a row lacks its text or label; file and line are named.
    """
    for number, row in read_table(path, _FIELDS):
        yield _example(row, path, number)


def jsonl_examples(path: Path) -> Iterator[Example]:
    """Words and label of every line.

    Raises:
        DataError: a line is no object with a text and a label; file and line are named.
    """
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: expected a JSON object, and {error}") from error
        if not isinstance(found, dict):
            raise DataError(f"{path}, line {number}: expected a JSON object; found {type(found).__name__}")
        yield _example(found, path, number)


def _example(row: Mapping[str, object], path: Path, line: int) -> Example:
    for name in _FIELDS:
        if not isinstance(value := row.get(name), str) or not value.strip():
            raise DataError(f"{path}, line {line}: expected {name} with something in it; received {value!r}")
    words = tokenize(str(row["text"]))
    if not words:
        raise DataError(f"{path}, line {line}: expected a text with a word; received {row['text']!r}")
    return words, str(row["label"]).strip()
