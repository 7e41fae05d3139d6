"""Decodes WAV files for builders of TFDS, in place of an unmaintained library that fails on Python 3.13."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.errors import DataError
from streaming.runtime.audio import WavReader


class AudioSegment:
    """The part of `pydub.AudioSegment` that TFDS calls, for WAV files of one channel of 16 bit."""

    channels = 1

    def __init__(self, samples: NDArray[np.float32]):
        self._samples = samples

    @classmethod
    def from_file(cls, file: IO[bytes], format: str | None = None) -> AudioSegment:
        """Read an open file.

        Raises:
            InputError: it is no WAV file of one channel.
            DataError: its samples have another width.
        """
        reader = WavReader(file)
        if reader.format.width != 2:
            raise DataError(f"expected 16-bit samples; found {8 * reader.format.width} bit")
        blocks = list(reader.blocks())
        joined = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
        return cls((joined * 32768).astype(np.int16))

    def get_array_of_samples(self) -> NDArray[np.float32]:
        """The samples, (N,) of int16."""
        return self._samples


@contextlib.contextmanager
def decoding_sound() -> Iterator[None]:
    """Context in which TFDS decodes WAV files by this module."""
    module: Any = types.ModuleType("pydub")
    module.AudioSegment = AudioSegment
    before = sys.modules.get("pydub")
    sys.modules["pydub"] = module
    try:
        yield
    finally:
        if before is None:
            sys.modules.pop("pydub", None)
        else:
            sys.modules["pydub"] = before
