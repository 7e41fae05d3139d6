"""The front end of an audio model in its graph: rows of samples to log-mel features, by products of small matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from rnnzoo.layers.refusals import OverSequences, refused
from streaming.errors import InputError
from streaming.runtime.audio import LogMel


@keras.saving.register_keras_serializable(package="rnnzoo")
class LogMelFrontEnd(OverSequences, keras.layers.Layer):
    """Log-mel features of a signal that comes in rows of one hop: (B, T, S) -> (B, T, M), S = `frame_step`.

    Row t is the feature of the last `frame_length` samples after hop t, with silence before the first sample:

        y[t] = log(max(|DFT(hann * x[(t + 1) S - frame_length : (t + 1) S])|^2 M, floor))

    as `streaming.runtime.audio.LogMel` defines it. The transform is split in two (Cooley and Tukey 1965): with
    F = P Q and n = Q a + b, k = p + P q

        X[p + P q] = sum_b W_Q^(b q) W_F^(b p) sum_a x[a, b] W_P^(a p),    W_N = exp(-2 pi i / N)

    which takes about F (P + 4 Q) multiplications in place of F^2, and weights that fit into a cache. Of p those up to
    P / 2 are enough, as the signal is real. Streamed, the state is the samples that later rows still need.

    Args:
        definition: of the features, a `LogMel` or its fields.

    Raises:
        ValueError: the features are centred or not energies, or a row is not one hop.
    """

    sequence_shape = "(B, T, S)"

    def __init__(self, definition: LogMel | dict[str, Any], **kwargs: Any):
        super().__init__(**kwargs)
        try:
            self.definition = definition if isinstance(definition, LogMel) else LogMel(**definition)
        except InputError as error:
            raise refused(f"LogMelFrontEnd: {error}") from error
        d = self.definition
        if d.center or d.power != 2:
            raise refused(
                "LogMelFrontEnd: expected energies (power=2) of frames that end with their last sample (center=False). "
                f"Received: power={d.power}, center={d.center}"
            )
        self._first = _factor(d)
        self._columns = d.fft_length // self._first
        # Samples that a row sees: whole columns of the first transform, with zeros of the window before the frame.
        self._size = -(-d.frame_length // self._columns) * self._columns
        self._kept = max(0, self._size - d.frame_step)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if input_shape[-1] != self.definition.frame_step:
            raise refused(
                f"LogMelFrontEnd: expected rows of {self.definition.frame_step} samples. "
                f"Received: input shape {tuple(input_shape)}"
            )
        for name, value in _constants(self.definition, self._first).items():
            weight = self.add_weight(name=name, shape=value.shape, trainable=False, dtype="float32")
            weight.assign(value.astype("float32"))
            setattr(self, name, weight)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.definition.num_mels)

    def call(self, x: Any) -> Any:
        batch, steps, hop = ops.shape(x)[0], ops.shape(x)[1], self.definition.frame_step
        signal = ops.pad(ops.reshape(x, (batch, steps * hop)), [[0, 0], [self._kept, 0]])
        first = self._kept + hop - self._size
        places = ops.arange(steps)[:, None] * hop + ops.arange(first, first + self._size)[None]
        frames = ops.reshape(ops.take(signal, places, axis=1), (batch * steps, self._size))
        rows = self._features(frames, lambda a, b: ops.matmul(a, ops.transpose(b)))
        return ops.reshape(rows, (batch, steps, self.definition.num_mels))

    def _features(self, frames: Any, product: Callable[[Any, Any], Any]) -> Any:
        """Samples (R, size) to features (R, M); `product(a, b)` is a b^T."""
        parts = ops.reshape(frames * self.window, (-1, self.outer.shape[1], self._columns))
        parts = ops.reshape(ops.transpose(parts, (0, 2, 1)), (-1, self.outer.shape[1]))
        # Each spectrum twice, the second time turned by 90 degrees: a complex product is then two real ones and a sum.
        parts = ops.reshape(product(parts, self.outer), (-1, self._columns, self.outer.shape[0])) * self.turns
        half = self.outer.shape[0] // 2
        parts = ops.transpose(parts[:, :, :half] + parts[:, :, half:], (0, 2, 1))
        energies = ops.square(product(ops.reshape(parts, (-1, 2 * self._columns)), self.inner))
        bands = product(ops.reshape(energies, (-1, self.bands.shape[1])), self.bands)
        return ops.log(ops.maximum(bands, self.definition.floor))

    def stream_spec(self, input_shape: tuple[int | None, ...]) -> dict[str, Any]:
        """State: the samples that later rows still need. The weights are never quantized."""
        states = {"samples": {"shape": (self._kept,), "dtype": "float32", "initial": 0.0}} if self._kept else {}
        return {"states": states, "unquantized": True}

    def stream_step(self, x: Any, valid: Any, states: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
        """Rows of samples x (B, T, S)."""
        import tensorflow as tf

        (batch, steps, hop), new = x.shape, {}
        signal = ops.reshape(x, (batch, steps * hop))
        if self._kept:
            signal = ops.concatenate([states["samples"], signal], axis=1)
            new["samples"] = signal[:, -self._kept :]
        ends = [self._kept + (step + 1) * hop for step in range(steps)]
        frames = ops.stack([signal[:, end - self._size : end] for end in ends], axis=1)
        rows = self._features(
            ops.reshape(frames, (batch * steps, self._size)), lambda a, b: tf.matmul(a, b, transpose_b=True)
        )
        return ops.reshape(rows, (batch, steps, self.definition.num_mels)), valid, new

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "definition": asdict(self.definition)}


def _factor(d: LogMel) -> int:
    """The P with the fewest multiplications."""
    costs: dict[int, int] = {}
    for first in (number for number in range(1, d.fft_length + 1) if d.fft_length % number == 0):
        columns, spectra = d.fft_length // first, first // 2 + 1
        outer = -(-d.frame_length // columns) * columns * 4 * spectra
        costs[first] = outer + spectra * 2 * columns * (2 * columns + d.num_mels)
    return min(costs, key=lambda first: costs[first])


def _constants(d: LogMel, first: int) -> dict[str, NDArray[np.float64]]:
    """The weights of the layer by name."""
    columns, spectra = d.fft_length // first, first // 2 + 1
    taken = -(-d.frame_length // columns)
    p, a, b = np.arange(spectra), np.arange(taken), np.arange(columns)
    window = np.zeros(taken * columns)
    window[len(window) - d.frame_length :] = d.window()
    angles = 2 * np.pi * np.outer(p, a) / first
    real, imaginary = np.cos(angles), -np.sin(angles)
    outer = [np.stack(pair, axis=1).reshape(2 * spectra, taken) for pair in ((real, imaginary), (imaginary, -real))]
    angles = np.repeat(2 * np.pi * np.outer(p, b) / d.fft_length, 2, axis=0)
    angles_within = 2 * np.pi * np.outer(b, b) / columns
    cosine, sine = np.cos(angles_within), np.sin(angles_within)
    bands, filters, seen = np.zeros((spectra, 2, columns, d.num_mels)), d.filters(), set()
    for row in range(spectra):
        for column in range(columns):
            bin_ = row + first * column
            bin_ = min(bin_, d.fft_length - bin_)
            if bin_ not in seen:
                seen.add(bin_)
                bands[row, :, column] = filters[bin_]
    return {
        "window": window,
        "outer": np.concatenate(outer),
        "turns": np.concatenate([np.cos(angles), np.sin(angles)]).T,
        "inner": np.block([[cosine, sine], [-sine, cosine]]),
        "bands": bands.reshape(-1, d.num_mels).T,
    }
