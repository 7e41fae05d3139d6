"""A user's own recordings, a folder for each label."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rnnzoo.data.config import AudioConfig, DataConfig
from rnnzoo.data.files.reading import by_content
from rnnzoo.data.source import SPLITS, Example, Splits, register_dataset
from rnnzoo.errors import DataError
from streaming.errors import StreamingError
from streaming.runtime.audio import SUFFIXES, read_audio


@register_dataset("wav:", "audio-label")
def read(config: DataConfig) -> Splits:
    """`wav:FOLDER`: `FOLDER/LABEL/*`, or `FOLDER/train/LABEL/*` and the same for `dev` and `test`.

    Files are WAV, FLAC or OGG, of any rate and number of channels: mixed down and resampled as the device does it.
    """
    folder = Path(config.dataset.removeprefix("wav:"))
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: expected a folder of WAV, FLAC or OGG files for each label")
    if not (folder / "train").is_dir():
        return by_content(recordings(folder, config))
    if missing := [split for split in SPLITS if not (folder / split).is_dir()]:
        raise DataError(f"{folder} holds train, and no {' or '.join(missing)}: add it")
    return {split: recordings(folder / split, config) for split in SPLITS}


def recordings(folder: Path, config: DataConfig) -> Iterator[Example]:
    """Samples in -1 .. 1 and the label of every file.

    Raises:
        DataError: a file is no recording, and `data.bad_files` is `refuse`; it is named.
    """
    left_out = []
    for path in audio_files(folder):
        if path.parent == folder:
            continue
        try:
            yield read_recording(path, config), path.relative_to(folder).parts[0]
        except DataError as error:
            if getattr(config, "bad_files", "refuse") != "skip":
                raise
            left_out.append(str(error))
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)


def audio_files(folder: Path) -> list[Path]:
    """The files of sound in a folder and the folders in it, sorted; hidden ones are left alone."""
    found = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file())
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def read_recording(path: Path, config: DataConfig) -> np.ndarray:
    """A file at the sample rate of a configuration, (N,) of float32.

    Raises:
        DataError: it is no recording, or an empty one; it is named.
    """
    rate = getattr(config, "sample_rate", AudioConfig.sample_rate)
    try:
        samples = read_audio(path, rate, mono=True, resample=True)
    except (StreamingError, OSError) as error:
        remedy = "" if isinstance(error, OSError) else "; or leave bad files out: data.bad_files=skip"
        # It names the file.
        raise DataError(f"{error}{remedy}") from error
    if not len(samples):
        raise DataError(f"{path}: expected a recording; it holds no sample. Remove it, or set data.bad_files=skip")
    return samples
