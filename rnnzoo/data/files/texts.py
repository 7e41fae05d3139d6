"""Reads a user's own texts: with labels, as CSV or JSON lines; with translations, as CSV; or as plain text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rnnzoo.data.config import DataConfig, WordsConfig
from rnnzoo.data.files.reading import read_lines, read_table, split_files
from rnnzoo.data.source import Example, Findings, Reading, Splits, register_dataset
from rnnzoo.errors import DataError
from streaming.runtime.tokenization import tokenize

# What an empty cell or 0 says of a label that has a column of its own, in lower case.
_NO = frozenset({"", "0", "0.0", "false", "no"})


@register_dataset("csv:", "text-label")
def read_csv(config: DataConfig) -> Reading:
    """`csv:FILE_OR_FOLDER`: a header with the columns `text` and `label`; other columns are ignored.

    `data.text` and `data.label` give other names. The separators are commas, semicolons or tabs.
    """
    return _labelled(config, "csv:", (".csv", ".tsv", ".csv.gz", ".tsv.gz"), csv_examples)


@register_dataset("jsonl:", "text-label")
def read_jsonl(config: DataConfig) -> Reading:
    """`jsonl:FILE_OR_FOLDER`: one object on each line, with `text` and `label`; other fields are ignored."""
    return _labelled(config, "jsonl:", (".jsonl", ".json", ".jsonl.gz"), jsonl_examples)


def _labelled(
    config: DataConfig,
    prefix: str,
    suffixes: tuple[str, ...],
    read: Callable[[Path, WordsConfig], Iterator[Example]],
) -> Reading:
    """Texts with labels; what is read of the training split ends after `data.max_words`."""
    words = config if isinstance(config, WordsConfig) else WordsConfig(dataset=config.dataset)
    path = Path(config.dataset.removeprefix(prefix))
    splits = {s: list(rows) for s, rows in split_files(path, suffixes, lambda file: read(file, words)).items()}
    shown, most = {"texts": f"{sum(map(len, splits.values())):,}"}, words.max_words
    if most is not None:
        shown["texts of train that are cut"] = f"{sum(len(text) > most for text, _ in splits['train']):,}"
        splits["train"] = [(text[:most], label) for text, label in splits["train"]]
    longest = max((len(text) for text, _ in splits["train"]), default=0)
    shown["words of the longest"] = f"{longest:,}"
    return Reading(splits, Findings(shown=shown), "text-labels" if words.multi_label else None)


@register_dataset("pairs:", "text-text")
def read_pairs(config: DataConfig) -> Splits:
    """`pairs:FILE_OR_FOLDER`: CSV with columns `source` and `target`; other columns are ignored."""

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
    """The text of a file of UTF-8, its line breaks as they are."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected text in UTF-8, and {error}") from error


def csv_examples(path: Path, config: WordsConfig) -> Iterator[Example]:
    """Words and label (or labels) of every row.

    Raises:
        DataError: a column is missing, or a row lacks its text or label; file and line are named.
    """
    columns = (config.text, *(config.labels or (config.label,)))
    filled = (config.text,) if config.multi_label else columns
    for number, row in read_table(path, columns, config.encoding, filled):
        if config.labels:
            labels: Any = [name for name in config.labels if row[name].lower() not in _NO]
        elif config.multi_label:
            parts = (label.strip() for label in row[config.label].split(config.label_separator))
            labels = [label for label in parts if label]
        else:
            labels = row[config.label]
        yield _words(row[config.text], path, number), labels


def jsonl_examples(path: Path, config: WordsConfig) -> Iterator[Example]:
    """Words and label of every line; with `data.multi_label` a list of labels.

    Raises:
        DataError: a line is no object with a text and a label; file and line are named.
    """
    for number, line in read_lines(path, config.encoding):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: expected a JSON object, and {error}") from error
        if not isinstance(record, dict):
            raise DataError(f"{path}, line {number}: expected a JSON object; found {type(record).__name__}")
        label = record.get(config.label)
        if config.multi_label:
            if not isinstance(label, list) or not all(isinstance(one, str) for one in label):
                raise DataError(
                    f"{path}, line {number}: expected {config.label} to be a list of labels; received {label!r}"
                )
        elif not isinstance(label, str) or not label.strip():
            raise DataError(f"{path}, line {number}: expected {config.label} with something in it; received {label!r}")
        text = record.get(config.text)
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{path}, line {number}: expected {config.text} with something in it; received {text!r}")
        yield _words(text, path, number), label.strip() if isinstance(label, str) else label


def _words(text: str, path: Path, line: int) -> list[str]:
    words = tokenize(text)
    if not words:
        raise DataError(f"{path}, line {line}: expected a text with a word; received {text!r}")
    return words
