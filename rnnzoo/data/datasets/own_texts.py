"""A user's own texts and their labels: CSV, or JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from rnnzoo.data.config import DataConfig
from rnnzoo.data.datasets import Example, Splits, register_dataset
from rnnzoo.data.own import read_lines, split_files
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


def csv_examples(path: Path) -> Iterator[Example]:
    """Words and label of every row.

    Raises:
        DataError: a column is missing, or a row lacks its text or label; file and line are named.
    """
    table = csv.reader((line for _, line in read_lines(path)), strict=True)
    try:
        names = [name.strip() for name in next(table, [])]
        if missing := [name for name in _FIELDS if name not in names]:
            raise DataError(f"{path}, line 1: expected columns text and label; no {' or '.join(missing)} in {names}")
        for row in table:
            if not row:
                continue
            if len(row) != len(names):
                raise DataError(f"{path}, line {table.line_num}: expected {len(names)} columns, found {len(row)}")
            yield _example(dict(zip(names, row, strict=True)), path, table.line_num)
    except csv.Error as error:
        raise DataError(f"{path}, line {table.line_num}: expected CSV, and {error}") from error


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


def _example(row: dict[str, object], path: Path, line: int) -> Example:
    for name in _FIELDS:
        if not isinstance(value := row.get(name), str) or not value.strip():
            raise DataError(f"{path}, line {line}: expected {name} with something in it; received {value!r}")
    words = tokenize(str(row["text"]))
    if not words:
        raise DataError(f"{path}, line {line}: expected a text with a word; received {row['text']!r}")
    return words, str(row["label"]).strip()
