"""Audio: log-mel features, audio files, sample rates, the ends of utterances; all in blocks of any size."""

from streaming.runtime.audio.endpoint import Endpointer
from streaming.runtime.audio.features import LogMel, LogMelStream, as_samples, hz_to_mel, mel_to_hz
from streaming.runtime.audio.files import (
    RAW_FORMATS,
    SUFFIXES,
    RawReader,
    Reader,
    SoundFileReader,
    at_rate,
    check_rate,
    open_audio,
    read_audio,
    read_wav,
)
from streaming.runtime.audio.inversion import griffin_lim, magnitudes
from streaming.runtime.audio.resampling import Resampler, resample
from streaming.runtime.audio.wav import WavReader, pcm, wav_bytes

__all__ = [
    "RAW_FORMATS",
    "SUFFIXES",
    "Endpointer",
    "LogMel",
    "LogMelStream",
    "RawReader",
    "Reader",
    "Resampler",
    "SoundFileReader",
    "WavReader",
    "as_samples",
    "at_rate",
    "check_rate",
    "griffin_lim",
    "hz_to_mel",
    "magnitudes",
    "mel_to_hz",
    "open_audio",
    "pcm",
    "read_audio",
    "read_wav",
    "resample",
    "wav_bytes",
]
