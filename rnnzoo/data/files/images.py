"""Reads a user's own pictures and their captions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.config import DataConfig
from rnnzoo.data.files.reading import read_table, split_files
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.errors import DataError
from streaming.errors import StreamingError
from streaming.runtime.pictures import read_picture


@register_dataset("pictures:", "image-captions")
def read_pictures(config: DataConfig) -> Splits:
    """`pictures:FOLDER`: PNG and JPEG files, and `captions.csv` with columns `file` and `caption`.

    Instead of pictures there may be `.npy` files of features (positions, features), such as another network gives.
    A file on several lines has several captions. `train.csv`, `dev.csv` and `test.csv` are taken as they are.
    """
    folder = Path(config.dataset.removeprefix("pictures:"))
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: expected one of pictures, with captions.csv")
    one_size = not getattr(config, "size", ())
    return split_files(folder, (".csv",), lambda path: examples(path, one_size))


def examples(path: Path, one_size: bool) -> Iterator[Example]:
    """Pixels (H, W, 3), or features (S, D), and the captions of every file in a table; paths are relative to the table.

    Raises:
        DataError: a line has no file or caption, or a file is no picture, or of another size than the first one where
            all are to have `one_size`.
    """
    captions: dict[str, list[str]] = {}
    for _, row in read_table(path, ("file", "caption")):
        captions.setdefault(row["file"].strip(), []).append(row["caption"].strip())
    shape = None
    for name, said in captions.items():
        try:
            read_file = read_features if name.endswith(".npy") else read_picture
            picture = read_file(_inside(path.parent, name), shape)
        except (StreamingError, OSError) as error:
            raise DataError(f"{path}: {error}") from error
        shape = picture.shape if one_size else None
        yield picture, said


def _inside(folder: Path, name: str) -> Path:
    """A file of the folder or of one in it; raises DataError where the name leads elsewhere or to what is no file."""
    place, given = folder / name, Path(name)
    if given.is_absolute() or ".." in given.parts or (place.exists() and not place.is_file()):
        raise DataError(f"{folder / name} is no file in {folder}; name files that lie beside the table")
    return place


def read_features(path: Path, shape: tuple[int, ...] | None) -> NDArray[Any]:
    """An array (S, D) of float32.

    Args:
        path: of a `.npy` file.
        shape: that it must have; None: any.

    Raises:
        DataError: it holds something else.
        OSError: it cannot be read.
    """
    wanted = "an array of numbers (positions, features)" if shape is None else f"an array of shape {shape}"
    try:
        features = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, MemoryError) as error:
        raise DataError(f"{path}: expected {wanted} as numpy.save writes it, and {error}") from error
    if (
        features.ndim != 2
        or features.dtype.kind not in "fiu"
        or shape not in (None, features.shape)
        or not features.size
    ):
        raise DataError(f"{path}: expected {wanted}; received {features.dtype} of shape {features.shape}")
    if not np.isfinite(features).all():
        raise DataError(f"{path}: expected finite numbers; row {np.argwhere(~np.isfinite(features))[0][0]} has others")
    return features.astype(np.float32)
