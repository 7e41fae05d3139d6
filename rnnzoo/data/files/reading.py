"""A user's own files: found, split, and read line by line."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from rnnzoo.data.source import SPLITS, Example, Splits
from rnnzoo.errors import DataError


def split_files(path: Path, suffixes: tuple[str, ...], read: Callable[[Path], Iterable[Example]]) -> Splits:
    """The splits of a file, or of a folder that holds `train`, `dev` and `test` with one of the suffixes.

    Where there is one file only, or no `train`, every example falls by its own content into a split.

    Raises:
        DataError: there is no such file, or a folder holds `train` and not the others.
    """
    if path.is_file():
        return by_content(read(path))
    found = {file.stem: file for suffix in suffixes for file in sorted(path.glob(f"*{suffix}"))}
    if not found:
        raise DataError(f"{path} is no file and no folder with train{' or train'.join(suffixes)}: check it")
    if "train" not in found:
        return by_content(example for file in found.values() for example in read(file))
    if missing := [split for split in SPLITS if split not in found]:
        raise DataError(f"{path} holds train{found['train'].suffix}, and no {' or '.join(missing)}: add it")
    return {split: read(found[split]) for split in SPLITS}


def by_content(examples: Iterable[Example]) -> Splits:
    """Splits examples by the hash of the input: about eight of ten for training, one for development, one for the test.

    Equal inputs fall into one split, and more files change no example's split.
    """
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for example in examples:
        splits[split_of(repr_bytes(example[0]))].append(example)
    return splits


def split_of(content: bytes) -> str:
    """The split of some content."""
    place = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") % 10
    return {0: "dev", 1: "test"}.get(place, "train")


def repr_bytes(value: object) -> bytes:
    """The bytes of an input that are hashed: the words of a text, the numbers of an array."""
    content = getattr(value, "tobytes", None)
    return content() if content is not None else repr(value).encode()


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of the lines of a file of UTF-8.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(file, 1):
                yield number, line
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}, line {number + 1}: expected text in UTF-8, and {error}") from error


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Number of its last line and text by column of every row of a CSV file, whose first row names the columns.

    Args:
        path: of the file, in UTF-8.
        columns: those that must be there, with something in each row; others are left alone.

    Raises:
        DataError: a column is missing, a row has too few or too many, or nothing in one; file and line are named.
    """
    table = csv.reader((line for _, line in read_lines(path)), strict=True)
    try:
        names = [name.strip() for name in next(table, [])]
        if missing := [name for name in columns if name not in names]:
            wanted = " and ".join(columns)
            raise DataError(f"{path}, line 1: expected columns {wanted}; no {' or '.join(missing)} in {names}")
        for row in table:
            if not row:
                continue
            if len(row) != len(names):
                raise DataError(f"{path}, line {table.line_num}: expected {len(names)} columns, found {len(row)}")
            found = dict(zip(names, row, strict=True))
            for name in columns:
                if not found[name].strip():
                    raise DataError(f"{path}, line {table.line_num}: expected {name} with something in it; found ''")
            yield table.line_num, found
    except csv.Error as error:
        raise DataError(f"{path}, line {table.line_num}: expected CSV, and {error}") from error
