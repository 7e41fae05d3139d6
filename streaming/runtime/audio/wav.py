"""WAV files as blocks of samples."""

from __future__ import annotations

import os
import wave
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.audio.resampling import Resampler


class WavReader:
    """The samples of a WAV file or pipe, in blocks, as float32 between -1 and 1.

    Args:
        source: a path, or an open binary file; one that cannot seek will do.
        mono: take the mean of the channels of a file that has several.
        name: what errors call it; the path where None.

    Raises:
        InputError: it is no WAV file of 8, 16, 24 or 32 bit PCM, or has several channels and `mono` is not asked for.
        OSError: it cannot be read.
    """

    def __init__(self, source: str | os.PathLike[str] | IO[bytes], *, mono: bool = False, name: str | None = None):
        path = os.fspath(source) if isinstance(source, str | os.PathLike) else None
        self.name = name or path or "the stream"
        self._file = open(path, "rb") if path is not None else source  # noqa: SIM115 - close() closes it
        self._owned = path is not None
        try:
            self._wave = wave.Wave_read(self._file)  # type: ignore[arg-type]
            self._check(mono)
        except (wave.Error, EOFError, RuntimeError) as error:
            self.close()
            raise InputError(
                f"{self.name} is no WAV file of PCM samples ({str(error) or 'it ends early'}); convert it to 16-bit WAV"
            ) from error
        except InputError:
            self.close()
            raise

    @property
    def sample_rate(self) -> int:
        """Samples a second."""
        return int(self._wave.getframerate())

    def blocks(self, size: int = 1600) -> Iterator[NDArray[Any]]:
        """Blocks of up to `size` samples, (N,) of float32, as long as the file has some."""
        width, channels = self._wave.getsampwidth(), self._wave.getnchannels()
        while data := self._wave.readframes(size):
            whole = len(data) - len(data) % (width * channels)
            block = pcm(data[:whole], width).reshape(-1, channels)
            yield block[:, 0] if channels == 1 else block.mean(axis=1, dtype=np.float32)

    def close(self) -> None:
        """Close the file where it was given by its path."""
        if self._owned:
            self._file.close()  # type: ignore[union-attr]

    def __enter__(self) -> WavReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, mono: bool) -> None:
        width, channels, rate = self._wave.getsampwidth(), self._wave.getnchannels(), self._wave.getframerate()
        if width not in (1, 2, 3, 4) or rate < 1 or channels < 1:
            raise InputError(
                f"{self.name} has {8 * width}-bit samples in {channels} channels at {rate} Hz, expected 8 to 32 bit "
                "PCM; convert it to 16-bit WAV"
            )
        if channels > 1 and not mono:
            raise InputError(f"{self.name} has {channels} channels, expected 1; ask for mono to mix them down")


def read_wav(
    source: str | os.PathLike[str] | IO[bytes], sample_rate: int, *, mono: bool = False, resample: bool = False
) -> NDArray[Any]:
    """A whole file at a sample rate, (N,) of float32.

    Args:
        source: as for `WavReader`.
        sample_rate: that of the model.
        mono: mix several channels down.
        resample: change the rate where it differs.

    Raises:
        InputError: as `WavReader`, or the rate differs and `resample` is not asked for.
    """
    with WavReader(source, mono=mono) as reader:
        found = list(at_rate(reader, sample_rate, resample))
    return np.concatenate(found) if found else np.zeros(0, np.float32)


def at_rate(reader: WavReader, sample_rate: int, resample: bool, size: int = 1600) -> Iterator[NDArray[Any]]:
    """The blocks of a reader at a sample rate; raises as `read_wav`."""
    check_rate(reader.name, reader.sample_rate, sample_rate, resample)
    if reader.sample_rate == sample_rate:
        yield from reader.blocks(size)
        return
    resampler = Resampler(reader.sample_rate, sample_rate)
    for block in reader.blocks(size):
        yield resampler.feed(block).astype(np.float32)
    yield resampler.finish().astype(np.float32)


def check_rate(name: str, found: int, expected: int, resample: bool) -> None:
    """Raises InputError where the rates differ and `resample` is not asked for."""
    if found != expected and not resample:
        raise InputError(
            f"{name} has {found} samples a second, the model takes {expected}; record it at that rate, or ask for "
            "resampling (--resample)"
        )


def pcm(data: bytes, width: int) -> NDArray[Any]:
    """Little-endian PCM samples of `width` bytes as float32 between -1 and 1; those of one byte are unsigned."""
    if width == 1:
        return ((np.frombuffer(data, np.uint8).astype(np.int16) - 128) / np.float32(128)).astype(np.float32)
    if width == 3:
        # A zero byte below makes 32 bits of 24.
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        data, width = wide.tobytes(), 4
    samples = np.frombuffer(data, f"<i{width}")
    return (samples / float(1 << (8 * width - 1))).astype(np.float32)
