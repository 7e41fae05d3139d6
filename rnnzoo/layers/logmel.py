"""Log-mel features inside of the graph: a model that takes samples."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from rnnzoo.layers.refusals import OverSequences, positive, refused, shape_of
from streaming.errors import InputError
from streaming.runtime.audio import features


@keras.saving.register_keras_serializable(package="rnnzoo")
class LogMel(OverSequences, keras.layers.Layer):
    """log(max(energies in mel bands, epsilon)), as `streaming.runtime.audio.LogMel` defines them for the device.

        X[t] = DFT(hann * x[t * step : t * step + length]);   y[t] = log(max(|X[t]|^power M, epsilon))

    M are triangles on the mel scale as librosa and torchaudio define it (O'Shaughnessy 1987 "htk", Slaney 1998
    "slaney"). The transform is a strided convolution whose kernel is the windowed Fourier basis, so that it streams on
    raw samples: one row for each `frame_step` samples, as soon as its last sample is there.

    Args:
        sample_rate: samples a second.
        frame_length: samples of a frame.
        frame_step: samples between the beginnings of two frames.
        fft_length: length of the transform, `frame_length` or more.
        num_mels: bands M.
        low_hz, high_hz: where the first band begins and the last one ends; high_hz=None: half the sample rate.
        mel_scale: "htk" or "slaney".
        norm: "slaney" gives each triangle the same area; None the same height.
        power: 2 for energies, 1 for magnitudes.
        epsilon: smallest value that the logarithm sees.
        center: put frame t around sample t * frame_step, with half a frame of zeros at both ends, as librosa does
            with pad_mode="constant" where frame_length equals fft_length.

    Input: samples (B, N, 1). Output: (B, frames, num_mels), frames = (N - frame_length) // frame_step + 1.

    Raises:
        ValueError: a parameter is out of range, or the input has more than one channel or less than one frame.
    """

    def __init__(
        self,
        sample_rate: int = 16_000,
        frame_length: int = 400,
        frame_step: int = 160,
        fft_length: int = 512,
        num_mels: int = 40,
        low_hz: float = 20.0,
        high_hz: float | None = None,
        mel_scale: str = "htk",
        norm: str | None = None,
        power: float = 2.0,
        epsilon: float = 1e-6,
        center: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        positive(self, sample_rate=sample_rate, frame_length=frame_length, frame_step=frame_step)
        positive(self, fft_length=fft_length, num_mels=num_mels)
        high = sample_rate / 2 if high_hz is None else high_hz
        try:
            self.definition = features.LogMel(
                sample_rate, frame_length, frame_step, fft_length, num_mels, low_hz, high, mel_scale, norm, power,
                epsilon, center,
            )  # fmt: skip
        except InputError as error:
            raise refused(f"LogMel: {error}") from error
        if power not in (1, 2):
            raise refused(f"LogMel: expected power 1 or 2. Received: power={power}")
        filters = self.definition.filters()
        # Bins outside of all bands have no part in the result.
        self._bins = np.flatnonzero(filters.any(axis=1))
        shared = {"use_bias": False, "trainable": False, "dtype": self.dtype_policy}
        self.edge = keras.layers.ZeroPadding1D(frame_length // 2, name="edge") if center else None
        self.transform = keras.layers.Conv1D(
            2 * len(self._bins), frame_length, strides=frame_step, name="transform", **shared
        )
        self.bands = keras.layers.Dense(num_mels, name="bands", **shared)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if len(input_shape) != 3 or input_shape[-1] != 1:
            raise refused(f"LogMel: expected samples (B, N, 1). Received: input shape {tuple(input_shape)}")
        d = self.definition
        self.transform.build((None, None, 1))
        angles = 2 * np.pi * np.outer(np.arange(d.frame_length), self._bins) / d.fft_length
        basis = d.window()[:, None] * np.concatenate([np.cos(angles), -np.sin(angles)], axis=1)
        self.transform.kernel.assign(basis[:, None].astype("float32"))
        filters = d.filters()[self._bins]
        # Energies are summed over real and imaginary parts and over bins by one product.
        weights = np.concatenate([filters, filters]) if d.power == 2 else filters
        self.bands.build((None, None, len(weights)))
        self.bands.kernel.assign(weights.astype("float32"))

    def _fit_sequence(self, name: str, x: Any, mask: Any) -> None:
        super()._fit_sequence(name, x, mask)
        shape, frame = shape_of(x), self.definition.frame_length
        if self.edge is None and shape[1] is not None and shape[1] < frame:
            raise refused(
                f"LogMel: expected samples (B, N, 1), N of a frame's {frame} or more. Received: shape {shape}"
            )

    def call(self, x: Any) -> Any:
        x = x if self.edge is None else self.edge(x)
        parts = ops.square(self.transform(x))
        if self.definition.power == 1:
            count = len(self._bins)
            parts = ops.sqrt(parts[:, :, :count] + parts[:, :, count:])
        return ops.log(ops.maximum(self.bands(parts), self.definition.floor))

    def get_config(self) -> dict[str, Any]:
        d = self.definition
        names = ("sample_rate", "frame_length", "frame_step", "fft_length", "num_mels", "low_hz", "high_hz")
        own = {name: getattr(d, name) for name in (*names, "norm", "power", "center")}
        return {**super().get_config(), **own, "mel_scale": d.scale, "epsilon": d.floor}
