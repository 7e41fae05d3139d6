"""Recordings as scaled log-mel features, with the words that are said in them and the voices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.source import Example
from rnnzoo.errors import DataError
from streaming.errors import ArtifactError, InputError
from streaming.runtime.audio import LogMel
from streaming.runtime.tasks.schema import Scaler

_FILE = "speech.json"


@dataclass(frozen=True)
class SpeechEncoder:
    """Samples (N,) to frames (T, M), z = (x - mean) / scale, and words and voices to a row of zeros and ones.

    Args:
        definition: of the features; the device makes the signal from the same.
        mean, scale: of each feature in the training split.
        words, voices: of the training split, sorted.
        reduction: frames R of a step.
    """

    inputs: ClassVar[tuple[str, ...]] = ("rows", "given")
    definition: LogMel
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    words: tuple[str, ...]
    voices: tuple[str, ...]
    reduction: int = 2

    @classmethod
    def fit(cls, train: Sequence[Example], definition: LogMel, reduction: int) -> SpeechEncoder:
        """The encoder of recordings, pairs of samples and (word, voice).

        Raises:
            DataError: no recording is as long as a frame.
        """
        rows = np.concatenate([definition(samples) for samples, _ in train])
        if not len(rows):
            raise DataError(f"no recording has the {definition.frame_length} samples of a frame; give longer ones")
        words, voices = (tuple(sorted({about[place] for _, about in train})) for place in (0, 1))
        mean, scale = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
        return cls(definition, tuple(mean.tolist()), tuple(np.maximum(scale, 1e-3).tolist()), words, voices, reduction)

    @property
    def labels(self) -> tuple[str, ...]:
        """The words."""
        return self.words

    @property
    def scaler(self) -> Scaler:
        """Scaler for the device."""
        return Scaler(self.mean, self.scale)

    def encode(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scaled frames (T, M) of float32."""
        return self.scaler.apply(self.definition(samples))

    def given(self, word: str, voice: str) -> NDArray[np.float32]:
        """1 at the word and at the voice, (words + voices,) of float32; a strange one has none."""
        names = [*((word, known) for known in self.words), *((voice, known) for known in self.voices)]
        return np.array([name == known for name, known in names], np.float32)

    def to_files(self) -> dict[str, bytes]:
        """The encoder as named files, for a saved run or an artifact."""
        return {_FILE: json.dumps(asdict(self)).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> SpeechEncoder:
        """Read what `to_files` wrote; raises ArtifactError where it is missing or damaged."""
        try:
            stored = json.loads(files[_FILE])
            mean, scale = (tuple(map(float, stored[name])) for name in ("mean", "scale"))
            words, voices = (tuple(map(str, stored[name])) for name in ("words", "voices"))
            return cls(LogMel(**stored["definition"]), mean, scale, words, voices, int(stored["reduction"]))
        except (ValueError, KeyError, TypeError, InputError) as error:
            raise ArtifactError(f"{_FILE} is missing or damaged ({error}); take the files of one run") from error
