"""A user's own recordings, a folder for each label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rnnzoo.data.config import DataConfig
from rnnzoo.data.files.reading import by_content
from rnnzoo.data.source import SPLITS, Example, Splits, register_dataset
from rnnzoo.errors import DataError
from streaming.errors import StreamingError
from streaming.runtime.audio import read_wav


@register_dataset("wav:", "audio-label")
def read(config: DataConfig) -> Splits:
    """`wav:FOLDER`: `FOLDER/LABEL/*.wav`, or `FOLDER/train/LABEL/*.wav` and the same for `dev` and `test`."""
    folder, rate = Path(config.dataset.removeprefix("wav:")), getattr(config, "sample_rate", 8000)
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: expected a folder of WAV files for each label")
    if not (folder / "train").is_dir():
        return by_content(recordings(folder, rate))
    if missing := [split for split in SPLITS if not (folder / split).is_dir()]:
        raise DataError(f"{folder} holds train, and no {' or '.join(missing)}: add it")
    return {split: recordings(folder / split, rate) for split in SPLITS}


def recordings(folder: Path, sample_rate: int) -> Iterator[Example]:
    """Samples in -1 .. 1 and the label of every file.

    Raises:
        DataError: a file is no recording of this sample rate; it is named.
    """
    for path in sorted(folder.glob("*/*.wav")):
        try:
            samples = read_wav(path, sample_rate)
        except (StreamingError, OSError) as error:
            # It names the file.
            raise DataError(str(error)) from error
        if not len(samples):
            raise DataError(f"{path}: expected a recording; it holds no sample")
        yield samples, path.parent.name
