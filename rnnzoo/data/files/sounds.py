"""Recordings by the name of a data set or a folder, without their labels: noise, and speech that is no keyword."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.config import AudioConfig
from rnnzoo.data.files.reading import by_content
from rnnzoo.data.files.recordings import audio_files, readable
from rnnzoo.data.source import SPLITS, known_datasets, read_source
from rnnzoo.errors import DataError
from rnnzoo.util.suggest import suggest


def read_sounds(name: str, config: AudioConfig) -> dict[str, list[NDArray[np.float32]]]:
    """The recordings of each split, (N,) of float32 at the sample rate of a configuration.

    Args:
        name: a data set of recordings, or a folder whose files, at any depth, are split by their content.
        config: the sample rate, and whether damaged files are left out.

    Raises:
        DataError: it is neither, holds no recordings, or one of them cannot be read.
    """
    folder = Path(name.removeprefix("wav:"))
    if folder.is_dir() and not (folder / "train").is_dir():
        splits = by_content((samples, "") for _, samples in readable(audio_files(folder), config))
        signals = {split: [samples for samples, _ in splits[split]] for split in SPLITS}
        if not signals["train"]:
            raise DataError(f"{folder} holds no recordings for training: put more WAV, FLAC or OGG files into it")
        return signals
    known = known_datasets()
    if not folder.is_dir() and not any(
        name == key or (key.endswith(("/", ":")) and name.startswith(key)) for key in known
    ):
        sounds = [key for key, kind in known.items() if kind == "audio-label"]
        raise DataError(f"{name!r} is no folder and no data set of recordings; {suggest(name, sounds)}")
    plain = AudioConfig(dataset=f"wav:{folder}" if folder.is_dir() else name, sample_rate=config.sample_rate)
    source = read_source(dataclasses.replace(plain, bad_files=config.bad_files))
    if not source.kind.startswith("audio-"):
        raise DataError(f"{name!r} holds {source.kind}, expected recordings; name another data set or folder")
    return {split: [samples for samples, _ in rows] for split, rows in source.splits.items()}
