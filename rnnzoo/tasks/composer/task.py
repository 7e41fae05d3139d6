"""Chorales as sequences of notes: each note given the chords before it and the notes of its chord that came before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.text import TextEncoder
from rnnzoo.data.sets.jsb_chorales import LOWEST
from rnnzoo.data.source import Example
from rnnzoo.tasks.baselines import Baseline, NGram
from rnnzoo.tasks.composer.harmony import BAR, Chord, chord_words, harmony_figures, read_chords
from rnnzoo.tasks.sequence_generator.task import SequenceGeneratorTask
from streaming.runtime.codec import END, SPECIAL, START, TextCodec
from streaming.runtime.decoding import log_softmax

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.batching import Arrays
    from rnnzoo.tasks.composer.config import ChordsConfig

_OCTAVE = 12
# The first number of a note; before it, the end of a chord.
_NOTE = len(SPECIAL) + 1


class ComposerTask(SequenceGeneratorTask):
    """Predicts the next note, or the end of the chord or piece; chords are written as `chord_words` writes them."""

    topology = "composer"
    kinds = ("rolls",)

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: Any) -> TextEncoder:
        notes = [note for roll, _ in train for chord in _chords(roll, config) for note in chord]
        words = [BAR, *map(str, range(min(notes), max(notes) + 1))]
        # As the codec writes words that follow a space.
        return TextEncoder(TextCodec((*SPECIAL, *(f"\u2581{word}" for word in words)), "words"))

    def encode(self, example: Example) -> Arrays:
        chords = _chords(example[0], self.config)
        text = " ".join(word for chord in chords for word in chord_words(chord))
        return super().encode((text, None))

    def augment(self, row: Arrays, rng: np.random.Generator) -> Arrays:
        """The piece in another key in which all notes are in the vocabulary."""
        tokens = row["tokens"]
        notes = tokens[tokens >= _NOTE]
        most = self.config.transpose
        if not most or not len(notes):
            return row
        low, high = max(-most, _NOTE - int(notes.min())), min(most, len(self.encoder.labels) - 1 - int(notes.max()))
        shift = int(rng.integers(min(low, 0), max(high, 0) + 1))
        return {name: np.where(values >= _NOTE, values + shift, values) for name, values in row.items()}

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        """The notes of a piece that the model draws."""
        from rnnzoo.tasks.drawing import draw_chords

        return [draw_chords(folder / "piece.png", read_chords(self.drawn(model)[0]))]

    def baseline(self, split: str) -> Baseline:
        model, line = NGram(self.line("train"), len(self.encoder.labels)), self.line(split)
        logs, following = np.log(model.probabilities(line)), line[1:]
        count = int((following == _NOTE - 1).sum())
        figures = {"nll": float(-logs[following != START].sum()) / count, "count": float(count)}
        return Baseline(model.name, figures, model.numbers)

    def _score(self, split: str, logits: Sequence[NDArray[Any]], drawn: Callable[[], list[str]]) -> dict[str, float]:
        """Figures of a split, and of pieces that are drawn.

        Returns:
            `nll`, nats a chord; of drawn pieces what `harmony_figures` counts, and the same of the pieces of the split,
            as `true_...`; `count` of chords.
        """
        total, count = 0.0, 0
        for row, output in zip(self.arrays(split), logits, strict=True):
            targets = row["targets"]
            scores = log_softmax(output[: len(targets)].astype(np.float64))[np.arange(len(targets)), targets]
            total -= float(scores[targets != END].sum())
            count += int((targets == _NOTE - 1).sum())
        made = harmony_figures(read_chords(text) for text in drawn())
        true = harmony_figures(_chords(roll, self.config) for roll, _ in self.examples(split))
        beside = {f"true_{name}": value for name, value in true.items()}
        return {"nll": total / count, **made, **beside, "count": float(count)}


def _chords(roll: NDArray[Any], config: ChordsConfig) -> list[Chord]:
    """The chords of a piano roll (T, 88), as they sound, the highest note first."""
    shift = LOWEST + _OCTAVE * config.octave
    return [tuple((np.flatnonzero(row)[::-1] + shift).tolist()) for row in roll]
