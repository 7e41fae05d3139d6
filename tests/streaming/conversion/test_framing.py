"""Signal front ends on raw samples: frames, spectra of every padding, and overlap-add, against the offline model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import streaming

LENGTH = 64


def overlap_add(x: Any) -> Any:
    """DTLN: frames of 16 every 4 samples, a matrix on each, and their sum where they overlap."""
    frames = layers.Dense(16)(ops.extract_sequences(x, 16, 4))
    parts = []
    for k in range(4):
        samples = layers.Reshape((-1,))(frames[:, :, 4 * k : 4 * (k + 1)])
        parts.append(ops.pad(samples, [[0, 0], [4 * k, 4 * (3 - k)]]))
    return parts[0] + parts[1] + parts[2] + parts[3]


def round_trip(x: Any) -> Any:
    real, imaginary = ops.rfft(ops.extract_sequences(x, 16, 8))
    return ops.irfft((real * 0.5, imaginary))


def mel(x: Any) -> Any:
    options = {"sequence_length": 8, "sequence_stride": 4, "fft_length": 16, "sampling_rate": 800, "min_freq": 20}
    spectrum = layers.MelSpectrogram(num_mel_bins=4, power_to_db=False, max_freq=400, **options)(x)
    return layers.Permute((2, 1))(ops.log(spectrum + 0.1))


SAMPLES = {
    "frames": lambda x: ops.extract_sequences(x, 8, 3),
    "grouped": lambda x: layers.Reshape((-1, 4))(x),
    "overlap-add": overlap_add,
    "rfft and back": round_trip,
    "stft": lambda x: ops.stft(x, 8, 4, 8, center=False)[1],
    "centred": lambda x: ops.stft(x, 6, 2, 8)[0],
    "mel": mel,
}
CHANNELS = {
    "same": lambda x: layers.STFTSpectrogram(mode="log", frame_length=8, frame_step=4, padding="same")(x),
    "same, real": lambda x: layers.STFTSpectrogram(mode="real", frame_length=6, frame_step=3, padding="same")(x),
    "valid": lambda x: layers.STFTSpectrogram(mode="psd", frame_length=10, frame_step=4, expand_dims=True)(x),
}


def check(model: keras.Model, path: Path, length: int = LENGTH) -> Any:
    report = streaming.convert(model, path, verify=False)
    stream = streaming.load(path).create_stream()
    x = np.random.default_rng(0).standard_normal((length, *model.inputs[0].shape[2:])).astype("float32")
    pieces = [stream.feed(x[a:b]) for a, b in ((0, 1), (1, 30), (30, length))]
    rows = np.concatenate([*pieces, stream.finish()])
    wanted = np.asarray(model(np.stack([x] * 2)))[0]
    assert rows.shape == wanted.shape
    np.testing.assert_allclose(rows, wanted, atol=3e-5)
    return report


@pytest.mark.parametrize("name", SAMPLES)
def test_samples(name: str, tmp_path: Path) -> None:
    x = keras.Input((None,))
    check(keras.Model(x, SAMPLES[name](x)), tmp_path / "a.tflite", 60 if name == "frames" else LENGTH)


@pytest.mark.parametrize("name", CHANNELS)
def test_spectrograms_of_every_padding(name: str, tmp_path: Path) -> None:
    x = keras.Input((None, 2))
    length = 60 if name == "same, real" else LENGTH
    check(keras.Model(x, CHANNELS[name](x)), tmp_path / "a.tflite", length)


def test_frames_of_25_ms_of_16_kHz_audio(tmp_path: Path) -> None:
    x = keras.Input((None, 1))
    spectrum = layers.STFTSpectrogram(mode="log", frame_length=400, frame_step=160, fft_length=512)(x)
    model = keras.Model(x, layers.GRU(4, return_sequences=True)(spectrum))
    assert check(model, tmp_path / "a.tflite", 1600).delay == 320


def test_decibels_against_the_whole_recording_are_refused(tmp_path: Path) -> None:
    x = keras.Input((None,))
    model = keras.Model(x, layers.Permute((2, 1))(layers.MelSpectrogram(fft_length=16, sequence_stride=4)(x)))
    with pytest.raises(streaming.NotStreamableError, match=r"loudest of the whole recording.*power_to_db=False"):
        streaming.convert(model, tmp_path / "a.tflite")


@pytest.mark.slow
def test_decibels_inside_a_window_are_those_of_each_stream(tmp_path: Path) -> None:
    """Keras takes the loudest value of the batch: streams, and the windows of the proof, must not meet in one."""
    x = keras.Input((256,))
    spectrum = layers.MelSpectrogram(fft_length=64, sequence_stride=32, num_mel_bins=4, sampling_rate=8000, top_db=30)
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(spectrum(x))))
    streaming.convert(model, tmp_path / "a.tflite", window=256, hop=64, batch_sizes=(1, 2))
    loaded = streaming.load(tmp_path / "a.tflite")
    sounds = np.random.default_rng(0).standard_normal((2, 384)).astype("float32")
    sounds[1] *= 1e-3
    streams = [loaded.create_stream() for _ in sounds]
    chunks = [loaded.step_streams(streams, sounds[:, begin : begin + 64]) for begin in range(0, 384, 64)]
    for sound, rows in zip(sounds, zip(*chunks, strict=True), strict=True):
        expected = [np.asarray(model(sound[None, begin : begin + 256]))[0] for begin in (0, 64, 128)]
        np.testing.assert_allclose(np.concatenate(rows), expected, rtol=1e-4, atol=1e-3)
