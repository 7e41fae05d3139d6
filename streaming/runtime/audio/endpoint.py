"""Endpoint detection: begins and ends of utterances by their level."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.audio.features import as_samples
from streaming.runtime.carried import Carrier


class Boundary(NamedTuple):
    """`kind` is "begin" or "end"; `sample` is where, counted from the start of the signal."""

    kind: str
    sample: int


class Endpointer(Carrier):
    """Splits a signal into utterances: sound above a level is speech, and a pause of some length ends an utterance.

    The level of a block of 10 ms is its mean energy in dB below full scale. An utterance begins with the first loud
    block and ends with the first block after `silence` seconds without one.

    Args:
        sample_rate: samples a second.
        silence: seconds of quiet that end an utterance.
        level: dB below full scale (negative); louder sound is speech.

    Raises:
        InputError: an argument is out of range.
    """

    carries = ("_held", "_blocks", "_quiet", "speaking")

    def __init__(self, sample_rate: int, silence: float = 0.5, level: float = -40.0):
        self._block = sample_rate // 100
        if self._block < 1 or not silence > 0 or not level < 0:
            raise InputError(
                f"endpoints with {sample_rate} samples a second, {silence} s of silence below {level} dB: "
                "expected 100 or more samples a second, silence above 0 s and a level below 0 dB"
            )
        self._quiet_blocks = max(1, round(silence * sample_rate / self._block))
        self._energy = 10 ** (level / 10)
        self.reset()

    def reset(self) -> None:
        """Forget the signal."""
        self._held = np.zeros(0)
        self._blocks = self._quiet = 0
        self.speaking = False

    def feed(self, samples: NDArray[Any]) -> list[Boundary]:
        """The beginnings and ends in a block of samples (N,), in order."""
        signal = np.concatenate([self._held, as_samples(samples)])
        count = len(signal) // self._block
        self._held = signal[count * self._block :]
        energies = np.mean(signal[: count * self._block].reshape(count, self._block) ** 2, axis=1)
        boundaries = []
        for loud in energies > self._energy:
            self._quiet = 0 if loud else self._quiet + 1
            if loud and not self.speaking:
                self.speaking = True
                boundaries.append(Boundary("begin", self._blocks * self._block))
            self._blocks += 1
            if self.speaking and self._quiet >= self._quiet_blocks:
                self.speaking = False
                boundaries.append(Boundary("end", self._blocks * self._block))
        return boundaries
