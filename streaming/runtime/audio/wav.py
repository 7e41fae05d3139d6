"""WAV files as blocks of samples."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_CODECS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 0x11: "IMA ADPCM", 0x50: "MPEG", 0x55: "MP3"}
# What a writer that cannot seek back says of the size of its samples.
_ENDLESS = (0, 0xFFFFFFFF)
_MAX_CHANNELS, _MAX_HEADER = 1024, 1 << 20


class WavFormat(NamedTuple):
    """Codec (1 PCM, 3 float), channels, samples a second, and bytes of a sample."""

    codec: int
    channels: int
    sample_rate: int
    width: int


class WavReader:
    """The samples of a WAV file or pipe, in blocks, as float32; those of whole numbers between -1 and 1.

    PCM of 8, 16, 24 or 32 bit and floats of 32 or 64 bit are read, with a plain or an extensible header (Microsoft,
    "Multiple Channel Audio Data and WAVE Files"), also of RF64 files.

    Args:
        source: a path, or an open binary file; one that cannot seek will do.
        mono: take the mean of the channels of a file that has several.
        name: what errors call it; the path where None.

    Raises:
        InputError: it is no such WAV file, or has several channels and `mono` is not asked for.
        OSError: it cannot be read.
    """

    def __init__(self, source: str | os.PathLike[str] | IO[bytes], *, mono: bool = False, name: str | None = None):
        path = os.fspath(source) if isinstance(source, str | os.PathLike) else None
        self.name = name or path or "the stream"
        self._file: IO[bytes] = open(path, "rb") if path is not None else source  # type: ignore[assignment]  # noqa: SIM115 - close() closes it
        self._owned = path is not None
        try:
            self.format, self._left = self._header()
            check_channels(self.name, self.format.channels, mono)
        except InputError:
            self.close()
            raise

    @property
    def sample_rate(self) -> int:
        """Samples a second."""
        return self.format.sample_rate

    def blocks(self, size: int = 1600) -> Iterator[NDArray[Any]]:
        """Blocks of up to `size` samples, (N,) of float32, as long as the file has some.

        Raises:
            InputError: a sample is no finite number.
        """
        frame = self.format.width * self.format.channels
        while data := self._take(size * frame):
            whole = data[: len(data) - len(data) % frame]
            if not whole:
                return
            decode = floats if self.format.codec == _FLOAT else pcm
            yield mixed(decode(whole, self.format.width).reshape(-1, self.format.channels), self.name)

    def close(self) -> None:
        """Close the file where it was given by its path."""
        if self._owned:
            self._file.close()

    def __enter__(self) -> WavReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, count: int) -> bytes:
        """Up to so many bytes of samples; fewer only at the end."""
        wanted = count if self._left is None else min(count, self._left)
        parts = []
        while wanted and (part := self._file.read(wanted)):
            parts.append(part)
            wanted -= len(part)
            self._left = None if self._left is None else self._left - len(part)
        return b"".join(parts)

    def _header(self) -> tuple[WavFormat, int | None]:
        """The format, and the bytes of samples that follow; None where the header does not know them."""
        head = self._exactly(12)
        if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
            raise self._none("it does not begin with RIFF and WAVE")
        wav_format: WavFormat | None = None
        while True:
            name, size = (part := self._exactly(8))[:4], int.from_bytes(part[4:], "little")
            if name == b"data":
                if wav_format is None:
                    raise self._none("samples come before their format")
                return wav_format, None if size in _ENDLESS else size
            if size > _MAX_HEADER:
                raise self._none(f"its part {name!r} has {size} bytes before any sample")
            content = self._exactly(size + size % 2)
            if name == b"fmt ":
                wav_format = self._format(content)

    def _format(self, content: bytes) -> WavFormat:
        if len(content) < 16:
            raise self._none("its format is cut short")
        codec, channels, rate, align = (
            int.from_bytes(content[begin:end], "little") for begin, end in ((0, 2), (2, 4), (4, 8), (12, 14))
        )
        if codec == _EXTENSIBLE and len(content) >= 26:
            codec = int.from_bytes(content[24:26], "little")
        width = align // channels if channels else 0
        if codec not in (_PCM, _FLOAT):
            raise self._none(f"unknown format: {codec}{f', {_CODECS[codec]}' if codec in _CODECS else ''}")
        widths = (1, 2, 3, 4) if codec == _PCM else (4, 8)
        if width not in widths or rate < 1 or not 1 <= channels <= _MAX_CHANNELS:
            raise InputError(
                f"{self.name} has {8 * width}-bit samples in {channels} channels at {rate} Hz, expected 8 to 32 bit "
                "PCM or 32 or 64 bit floats; convert it to 16-bit WAV"
            )
        return WavFormat(codec, channels, rate, width)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._file.read(count - len(data))
            if not part:
                raise self._none("it ends early")
            data += part
        return data

    def _none(self, why: str) -> InputError:
        return InputError(f"{self.name} is no WAV file of PCM samples ({why}); convert it to 16-bit WAV")


def mixed(samples: NDArray[Any], name: str) -> NDArray[Any]:
    """The mean of the channels of samples (N, channels), (N,) of float32.

    Raises:
        InputError: a sample is no finite number.
    """
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise InputError(f"{name} holds NaN or infinity, expected finite samples; export it anew")
    return mono


def check_channels(name: str, channels: int, mono: bool) -> None:
    """Raises InputError where there are several channels and `mono` is not asked for."""
    if channels > 1 and not mono:
        raise InputError(f"{name} has {channels} channels, expected 1; ask for mono to mix them down (--mono)")


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


def floats(data: bytes, width: int) -> NDArray[Any]:
    """Little-endian floats of `width` bytes as float32."""
    return np.frombuffer(data, f"<f{width}").astype(np.float32)


def wav_bytes(samples: NDArray[Any], sample_rate: int) -> bytes:
    """Samples (N,) between -1 and 1 as a WAV file of one channel and 16 bit; louder ones are clipped."""
    data = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    wav_format = _PCM, 1, sample_rate, 2 * sample_rate, 2, 16
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, *wav_format, b"data", len(data)
    )
    return head + data
