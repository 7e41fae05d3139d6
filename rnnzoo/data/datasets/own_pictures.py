"""A user's own pictures and what is said of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rnnzoo.data.config import DataConfig
from rnnzoo.data.datasets import Example, Splits, register_dataset
from rnnzoo.data.own import read_table, split_files
from rnnzoo.errors import DataError
from streaming.errors import StreamingError
from streaming.runtime.pictures import read_picture


@register_dataset("pictures:", "image-captions")
def read(config: DataConfig) -> Splits:
    """`pictures:FOLDER`: PNG and JPEG files of one size, and `captions.csv` with columns `file` and `caption`.

    A file on several lines has several captions. `train.csv`, `dev.csv` and `test.csv` are taken as they are.
    """
    folder = Path(config.dataset.removeprefix("pictures:"))
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: expected one of pictures, with captions.csv")
    return split_files(folder, (".csv",), examples)


def examples(path: Path) -> Iterator[Example]:
    """Pixels (H, W, 3) and the captions of every picture that a table names, beside which it lies.

    Raises:
        DataError: a line has no file or caption, or a file is no picture or of another size than the first one.
    """
    captions: dict[str, list[str]] = {}
    for _, row in read_table(path, ("file", "caption")):
        captions.setdefault(row["file"].strip(), []).append(row["caption"].strip())
    shape = None
    for name, said in captions.items():
        try:
            picture = read_picture(path.parent / name, shape)
        except (StreamingError, OSError) as error:
            raise DataError(f"{path}: {error}") from error
        shape = picture.shape
        yield picture, said
