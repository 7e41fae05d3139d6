"""Samples from a microphone, by the library sounddevice (extra `microphone`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from streaming.errors import StreamingError


def blocks(sample_rate: int, size: int) -> Iterator[NDArray[Any]]:
    """Blocks of `size` samples of the default input, (size,) of float32, without end.

    Raises:
        StreamingError: the library or the device is missing, or does not record at that rate.
    """
    try:
        import sounddevice
    except (ModuleNotFoundError, OSError) as error:
        # It raises OSError where the library PortAudio is missing.
        raise StreamingError(
            f"the microphone needs sounddevice ({error}): pip install 'rnnzoo[microphone]', and PortAudio on Linux"
        ) from error
    try:
        with sounddevice.InputStream(samplerate=sample_rate, channels=1, dtype="float32", blocksize=size) as stream:
            while True:
                samples, _ = stream.read(size)
                yield samples[:, 0].copy()
    except sounddevice.PortAudioError as error:
        raise StreamingError(
            f"the microphone does not record at {sample_rate} samples a second ({error}); connect one, or "
            "give a WAV file"
        ) from error
