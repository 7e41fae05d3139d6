"""Audio: log-mel features, WAV files, sample rates, the ends of utterances; all in blocks of any size."""

from streaming.runtime.audio.endpoint import Endpointer
from streaming.runtime.audio.features import LogMel, LogMelStream, as_samples, hz_to_mel, mel_to_hz
from streaming.runtime.audio.resampling import Resampler, resample
from streaming.runtime.audio.wav import WavReader, at_rate, check_rate, pcm, read_wav

__all__ = [
    "Endpointer",
    "LogMel",
    "LogMelStream",
    "Resampler",
    "WavReader",
    "as_samples",
    "at_rate",
    "check_rate",
    "hz_to_mel",
    "mel_to_hz",
    "pcm",
    "read_wav",
    "resample",
]
