"""A user's own recordings, a folder for each label."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.config import AudioConfig, DataConfig
from rnnzoo.data.files.reading import by_content, read_table
from rnnzoo.data.source import SPLITS, Example, Splits, register_dataset
from rnnzoo.errors import DataError
from streaming.errors import StreamingError
from streaming.runtime.audio import SUFFIXES, read_audio

_TABLE = "transcripts.csv"
_SKIP = "; or leave bad files out (data.bad_files=skip)"


@register_dataset("speech:", "audio-text")
def read_speech(config: DataConfig) -> Splits:
    """`speech:FOLDER`: recordings, and `transcripts.csv` with the columns `file` and `text`, words with spaces between.

    A folder with `train`, `dev` and `test`, each with its own table, is taken as it is; else recordings are split by
    their content. Files as for `wav:`.
    """
    folder = Path(config.dataset.removeprefix("speech:"))
    if not (folder / "train").is_dir():
        return by_content(_transcribed(folder, config))
    if missing := [split for split in SPLITS if not (folder / split).is_dir()]:
        raise DataError(f"{folder} holds train, and no {' or '.join(missing)}: add it")
    return {split: _transcribed(folder / split, config) for split in SPLITS}


def _transcribed(folder: Path, config: DataConfig) -> Iterator[Example]:
    table = folder / _TABLE
    if not table.is_file():
        raise DataError(f"{table} is missing: expected a table with the columns file and text")
    rows = list(read_table(table, ("file", "text")))
    for number, row in rows:
        if not (folder / row["file"]).is_file():
            raise DataError(f"{table}, line {number}: {row['file']} is no file in {folder}; add it")
    texts = {folder / row["file"]: row["text"].strip() for _, row in rows}
    yield from ((samples, texts[path]) for path, samples in readable(list(texts), config))


@register_dataset("wav:", "audio-label")
def read_recordings(config: DataConfig) -> Splits:
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
    paths = [path for path in audio_files(folder) if path.parent != folder]
    for path, samples in readable(paths, config):
        yield samples, path.relative_to(folder).parts[0]


def readable(paths: Iterable[Path], config: DataConfig) -> Iterator[tuple[Path, NDArray[np.float32]]]:
    """Each file with its samples; with `data.bad_files: skip`, other files are listed at the end."""
    left_out = []
    for path in paths:
        try:
            yield path, read_recording(path, config)
        except DataError as error:
            if getattr(config, "bad_files", "refuse") != "skip":
                raise
            left_out.append(str(error).removesuffix(_SKIP))
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)


def audio_files(folder: Path) -> list[Path]:
    """The audio files in a folder and its subfolders, sorted, without hidden ones."""
    paths = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file())
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def read_recording(path: Path, config: DataConfig) -> NDArray[np.float32]:
    """A file at the sample rate of a configuration, (N,) of float32.

    Raises:
        DataError: it is no recording, or an empty one; it is named.
    """
    rate = getattr(config, "sample_rate", AudioConfig.sample_rate)
    try:
        samples = read_audio(path, rate, mono=True, resample=True)
    except (StreamingError, OSError) as error:
        # It names the file.
        raise DataError(f"{error}{'' if isinstance(error, OSError) else _SKIP}") from error
    if not len(samples):
        raise DataError(f"{path}: expected a recording; it holds no sample. Remove it{_SKIP}")
    return samples
