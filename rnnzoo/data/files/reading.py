"""A user's own files: found, split, and read line by line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from rnnzoo.data.files.splitting import assign_splits
from rnnzoo.data.source import SPLITS, Example, Splits
from rnnzoo.errors import DataError
from rnnzoo.util.suggest import suggest
from streaming.errors import InputError
from streaming.runtime.tables import read_header, records, split_cells, text_lines


def split_files(path: Path, suffixes: tuple[str, ...], read: Callable[[Path], Iterable[Example]]) -> Splits:
    """The splits of a file, or of a folder that holds `train`, `dev` and `test` with one of the suffixes.

    If there is only one file, or no `train`, a hash of its content decides the split of every example.

    Raises:
        DataError: there is no such file, or a folder holds `train` and not the others.
    """
    if path.is_file():
        return by_content(read(path))
    files = {file.stem: file for suffix in suffixes for file in sorted(path.glob(f"*{suffix}"))}
    if not files:
        raise DataError(f"{path} is no file and no folder with train{' or train'.join(suffixes)}: check it")
    if "train" not in files:
        return by_content(example for file in files.values() for example in read(file))
    if missing := [split for split in SPLITS if split not in files]:
        raise DataError(f"{path} holds train{files['train'].suffix}, and no {' or '.join(missing)}: add it")
    return {split: read(files[split]) for split in SPLITS}


def by_content(examples: Iterable[Example]) -> Splits:
    """Splits examples by the hash of the input: about eight of ten for training, one for development, one for the test.

    Equal inputs are in one split, and more files do not change the split of an example, unless there are too few
    examples for three splits.
    """
    rows = list(examples)
    contents = [repr_bytes(example[0]) for example in rows]
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for split, example in zip(assign_splits(contents, [""] * len(rows)), rows, strict=True):
        splits[split].append(example)
    return splits


def repr_bytes(value: object) -> bytes:
    """The bytes of an input that are hashed: the words of a text, the numbers of an array."""
    content = getattr(value, "tobytes", None)
    return content() if content is not None else repr(value).encode()


def read_lines(path: Path, encoding: str | None = None) -> Iterator[tuple[int, str]]:
    """Number and text of the lines of a file, without their ends.

    Args:
        path: of the file, compressed by gzip or not.
        encoding: None: UTF-8, or UTF-16 if there is a byte order mark.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    with reading(path), path.open("rb") as file:
        yield from text_lines(file, encoding)


def read_table(
    path: Path, columns: Sequence[str], encoding: str | None = None, filled: Sequence[str] | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """The first line's number, and the text by column, of every row of a table with a header.

    Args:
        path: of the file, with commas, semicolons or tabs.
        columns: required columns; others are ignored.
        encoding: as `read_lines` takes it.
        filled: columns that must not be empty; None: all of `columns`.

    Raises:
        DataError: a column is missing, a row has too few or too many, or nothing in one; file and line are named.
    """
    with reading(path), path.open("rb") as file:
        lines = text_lines(file, encoding)
        number, first = next(lines, (1, ""))
        header = read_header(first, True, columns)
        if missing := [name for name in columns if name not in header.names]:
            names = [name for name in header.names if name]
            raise InputError(
                f"line {number}: expected columns {' and '.join(columns)}; no {' or '.join(missing)} in {names}; "
                f"{suggest(missing[0], names)}"
            )
        # Where tabs separate, quotation marks are mostly part of the text.
        tabs = header.delimiter == "\t"
        for number, text in lines if tabs else records(lines):
            if not text.strip():
                continue
            try:
                cells = [_unquoted(cell) for cell in text.split("\t")] if tabs else split_cells(text, header.delimiter)
            except InputError as error:
                raise InputError(f"line {number}: {error}") from error
            if len(cells) != len(header.names):
                raise InputError(f"line {number}: expected {len(header.names)} columns, found {len(cells)}")
            row = dict(zip(header.names, cells, strict=True))
            for name in columns if filled is None else filled:
                if not row[name]:
                    raise InputError(f"line {number}: expected {name} with something in it; found ''")
            yield number, row


def _unquoted(cell: str) -> str:
    cell = cell.strip()
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        return cell[1:-1].replace('""', '"')
    return cell


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Context that adds the name of a file to its errors."""
    try:
        yield
    except (InputError, OSError) as error:
        raise DataError(f"{path}, {error}" if str(error).startswith("line ") else f"{path}: {error}") from error
