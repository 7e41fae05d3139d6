"""Audio files at the sample rate of a model: WAV by this package, FLAC and OGG by the library soundfile."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.audio.resampling import Resampler
from streaming.runtime.audio.wav import WavReader, check_channels, floats, mixed, pcm

# What files of these endings hold is audio.
SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus")
_MARKS = (b"fLaC", b"OggS")
# Formats of samples without a header, and the bytes of one.
RAW_FORMATS = {"u8": 1, "s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4, "f64le": 8}


class Reader(Protocol):
    """An open signal."""

    name: str

    @property
    def sample_rate(self) -> int:
        """Samples a second."""

    def blocks(self, size: int = 1600) -> Iterator[NDArray[Any]]:
        """Blocks of up to `size` samples, (N,) of float32."""

    def close(self) -> None:
        """Close the file, if the reader opened it."""

    def __enter__(self) -> Any: ...

    def __exit__(self, *_: object) -> None: ...


class SoundFileReader:
    """The samples of a FLAC or OGG file, in blocks, as float32, by libsndfile.

    Args:
        source: a path, or an open binary file; a file that cannot seek is first read completely.
        mono: take the mean of the channels of a file that has several.
        name: what errors call it; the path where None.

    Raises:
        InputError: the library is not installed, it is no such file, or has several channels and `mono` is not asked
            for.
        OSError: it cannot be read.
    """

    def __init__(self, source: str | os.PathLike[str] | IO[bytes], *, mono: bool = False, name: str | None = None):
        path = os.fspath(source) if isinstance(source, str | os.PathLike) else None
        self.name = name or path or "the stream"
        try:
            import soundfile
        except (ImportError, OSError) as error:
            # It raises OSError where the library that it wraps is missing.
            raise InputError(
                f"{self.name} is FLAC or OGG, which needs soundfile ({error}): pip install 'rnnzoo[audio]', or convert "
                "it to WAV"
            ) from error
        if path is None:
            file: Any = source
            if not file.seekable():
                file = io.BytesIO(file.read())
        else:
            # Opened here: what is missing is an OSError as for WAV files.
            file = open(path, "rb")  # noqa: SIM115 - close() closes it
        self._owned = file if path is not None else None
        self._error = soundfile.LibsndfileError
        try:
            self._file = soundfile.SoundFile(file)
            check_channels(self.name, self._file.channels, mono)
        except self._error as error:
            self.close()
            raise self._damaged(error) from error
        except InputError:
            self.close()
            raise

    @property
    def sample_rate(self) -> int:
        """Samples a second."""
        return int(self._file.samplerate)

    def blocks(self, size: int = 1600) -> Iterator[NDArray[Any]]:
        """Blocks of up to `size` samples, (N,) of float32; raises InputError where the file is damaged."""
        while True:
            try:
                block = self._file.read(size, dtype="float32", always_2d=True)
            except self._error as error:
                raise self._damaged(error) from error
            if not len(block):
                return
            yield mixed(block, self.name)

    def close(self) -> None:
        """Close the file where it was given by its path."""
        if self._owned is not None:
            self._owned.close()

    def __enter__(self) -> SoundFileReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _damaged(self, error: Exception) -> InputError:
        return InputError(f"{self.name} is no FLAC or OGG file ({error}); convert it to 16-bit WAV")


class RawReader:
    """Samples without a header, such as `arecord -t raw` and `ffmpeg -f s16le` write.

    Args:
        file: open, binary.
        form: one of `RAW_FORMATS`: little-endian, `u8` unsigned.
        sample_rate: samples a second.
        channels: interleaved; more than one are mixed down where `mono` is asked for.
        mono: take the mean of several channels.
        name: what errors call it.

    Raises:
        InputError: the format is unknown, or has several channels and `mono` is not asked for.
    """

    def __init__(
        self,
        file: IO[bytes],
        form: str,
        sample_rate: int,
        *,
        channels: int = 1,
        mono: bool = False,
        name: str = "the input",
    ):
        if form not in RAW_FORMATS or sample_rate < 1 or channels < 1:
            raise InputError(
                f"raw samples of {form!r} in {channels} channels at {sample_rate} Hz: expected one of "
                f"{', '.join(RAW_FORMATS)}, and 1 or more"
            )
        check_channels(name, channels, mono)
        self.name, self._file, self._form, self._channels, self._rate = name, file, form, channels, sample_rate

    @property
    def sample_rate(self) -> int:
        """Samples a second."""
        return self._rate

    def blocks(self, size: int = 1600) -> Iterator[NDArray[Any]]:
        """Blocks of up to `size` samples, (N,) of float32; a last sample that is cut short is dropped."""
        width = RAW_FORMATS[self._form]
        frame, held = width * self._channels, b""
        while data := self._file.read(size * frame - len(held)):
            held += data
            whole, held = held[: len(held) - len(held) % frame], held[len(held) - len(held) % frame :]
            if whole:
                decode = floats if self._form.startswith("f") else pcm
                yield mixed(decode(whole, width).reshape(-1, self._channels), self.name)

    def close(self) -> None:
        """Nothing was opened."""

    def __enter__(self) -> RawReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_audio(
    source: str | os.PathLike[str] | IO[bytes], *, mono: bool = False, name: str | None = None
) -> WavReader | SoundFileReader:
    """The reader of a file, chosen by its first bytes; arguments and errors as for `WavReader`."""
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            mark = file.read(4)
    elif hasattr(source, "peek"):
        mark = source.peek(4)[:4]
    elif source.seekable():
        mark = source.read(4)
        source.seek(-len(mark), os.SEEK_CUR)
    else:
        mark = b""
    kind = SoundFileReader if mark in _MARKS else WavReader
    return kind(source, mono=mono, name=name)


def read_audio(
    source: str | os.PathLike[str] | IO[bytes],
    sample_rate: int,
    *,
    mono: bool = False,
    resample: bool = False,
    name: str | None = None,
) -> NDArray[Any]:
    """A whole file at a sample rate, (N,) of float32.

    Args:
        source: a path, or an open binary file: WAV, FLAC or OGG.
        sample_rate: that of the model.
        mono: mix several channels down.
        resample: change the rate where it differs.
        name: what errors call it; the path where None.

    Raises:
        InputError: as `open_audio`, or the rate differs and `resample` is not asked for.
        OSError: it cannot be read.
    """
    with open_audio(source, mono=mono, name=name) as reader:
        blocks = list(at_rate(reader, sample_rate, resample, size=1 << 14))
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def read_wav(
    source: str | os.PathLike[str] | IO[bytes], sample_rate: int, *, mono: bool = False, resample: bool = False
) -> NDArray[Any]:
    """As `read_audio`, for WAV files alone."""
    with WavReader(source, mono=mono) as reader:
        blocks = list(at_rate(reader, sample_rate, resample, size=1 << 14))
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def at_rate(reader: Reader, sample_rate: int, resample: bool, size: int = 1600) -> Iterator[NDArray[Any]]:
    """The blocks of a reader at a sample rate; raises as `read_audio`."""
    check_rate(reader.name, reader.sample_rate, sample_rate, resample)
    if reader.sample_rate == sample_rate:
        yield from reader.blocks(size)
        return
    resampler = Resampler(reader.sample_rate, sample_rate)
    for block in reader.blocks(size):
        yield resampler.feed(block).astype(np.float32)
    yield resampler.finish().astype(np.float32)


def check_rate(name: str, actual: int, expected: int, resample: bool) -> None:
    """Raises InputError where the rates differ and `resample` is not asked for."""
    if actual != expected and not resample:
        raise InputError(
            f"{name} has {actual} samples a second, the model takes {expected}; record it at that rate, or ask for "
            "resampling (--resample)"
        )
