"""Recordings of words as frames: predicts a density of the next ones, and speaks from what it draws."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import streaming
from rnnzoo.data.encoders.audio import read_definition
from rnnzoo.data.encoders.speech import SpeechEncoder
from rnnzoo.data.source import Example
from rnnzoo.errors import DataError
from rnnzoo.tasks.base import Task
from rnnzoo.tasks.baselines import Baseline
from rnnzoo.tasks.evaluation import expect_task, mean
from rnnzoo.tasks.synthesizer.distance import mel_distances, stretched
from streaming.runtime.audio import griffin_lim, magnitudes
from streaming.runtime.decoding.frames import FrameDensity
from streaming.runtime.tasks import KeywordSpotter, Synthesizer
from streaming.runtime.tasks.schema import SynthesizerSpec

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.batching import Arrays
    from rnnzoo.tasks.synthesizer.config import SpeechConfig
    from rnnzoo.training.config import TrainingConfig
    from streaming.runtime.model import StreamingModel

# Seconds of silence that a listener hears after a sound.
_QUIET = 0.5
# Sounds of a picture.
_DRAWN = 10


class SynthesizerTask(Task):
    """The density of the next frames of a recording, given those before, the word and the voice (Wang et al. 2017)."""

    topology = "synthesizer"
    kinds = ("audio-voice",)
    monitor = "val_loss"
    higher_is_better = False
    padding: ClassVar[Mapping[str, float]] = {}

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: SpeechConfig) -> SpeechEncoder:
        return SpeechEncoder.fit(train, read_definition(config), config.reduction)

    @classmethod
    def read_encoder(cls, files: Mapping[str, bytes], config: Any) -> SpeechEncoder:
        return SpeechEncoder.from_files(files)

    @classmethod
    def spec(cls, config: Any, encoder: SpeechEncoder) -> SynthesizerSpec:
        return SynthesizerSpec(
            features=encoder.definition,
            scaler=encoder.scaler,
            words=encoder.words,
            voices=encoder.voices,
            reduction=encoder.reduction,
            floor=config.floor,
            temperature=config.temperature,
            max_length=config.max_length,
            iterations=config.iterations,
        )

    def encode(self, example: Example) -> Arrays:
        samples, about = example
        frames, size = self.encoder.encode(samples), self.encoder.reduction
        if not len(frames):
            raise DataError(
                f"a recording has {len(samples)} samples, fewer than the frame of {self.config.frame_length}"
            )
        steps = -(-len(frames) // size)
        # The last frame is held where its step is not full.
        frames = np.concatenate([frames, np.repeat(frames[-1:], steps * size - len(frames), axis=0)])
        last = frames[size - 1 :: size]
        ends = (np.arange(steps) == steps - 1)[:, None]
        return {
            "rows": np.concatenate([np.zeros_like(last[:1]), last[:-1]]),
            "given": np.repeat(self.encoder.given(*about)[None], steps, axis=0),
            "targets": np.concatenate([frames.reshape(steps, -1), ends], axis=1).astype(np.float32),
            "weights": np.ones(steps, np.float32),
        }

    def augment(self, row: Arrays, rng: np.random.Generator) -> Arrays:
        """Noise on the frames that the model is given, as its own draws are not those of the recording."""
        noise = self.config.frame_noise * rng.standard_normal(row["rows"].shape)
        return {**row, "rows": (row["rows"] + noise).astype(np.float32)}

    def loss(self, config: TrainingConfig) -> keras.losses.Loss:
        from rnnzoo.tasks.losses import FramesLoss

        return FramesLoss(self.config.floor)

    def metrics(self) -> list[keras.metrics.Metric]:
        return []

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        """Figures of the recordings of a split, and of sounds that are drawn for each word and voice.

        Returns:
            `understood`, the share of sounds of which the listener hears the word and nothing else, and `ended`, that
            of those which the model ended by itself; `mel_distance`, from a sound to the nearest recording of the word
            by the voice, see `mel_distances`, and `other_mel_distance`, to one of another word; `nats`, the mean
            negative log density of a feature, given the recording before it; `true_understood` and
            `true_mel_distance` of recordings, the latter of the training split; `count` of sounds.
        """
        return self.score(split, self.predict(model, split, batch_size), self._drawn(model))

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        task = self.streamed_task(model, Synthesizer)
        outputs = []
        for row in self.arrays(split):
            stream = model.create_stream()
            given = {name: row[name] for name in self.input_names}
            outputs.append(np.concatenate([np.asarray(stream.feed(given)), np.asarray(stream.finish())]))
        drawn = [task.frames(word, voice=voice, seed=(seed, 0)) for word, voice, seed in self.asked()]
        return self.score(split, outputs, [(frames.rows, frames.ended) for frames in drawn])

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        """The features of a recording of each word, and of what the model says."""
        from rnnzoo.tasks.drawing import draw_sounds

        voice = self.encoder.voices[0]
        sounds: dict[str, list[NDArray[Any]]] = {}
        for (word, who, seed), (rows, _) in zip(self.asked(), self._drawn(model), strict=True):
            true = self.recordings(split).get((word, who), [])
            if who == voice and not seed and true and len(sounds) < _DRAWN:
                sounds[word] = [true[0], rows]
        return [draw_sounds(folder / "sounds.png", sounds)]

    def baseline(self, split: str) -> Baseline:
        """For each word and voice the mean of the recordings, brought to their mean length."""
        made = {}
        for about, recordings in self.recordings("train").items():
            length = round(float(np.mean([len(rows) for rows in recordings])))
            made[about] = np.mean([stretched(rows, length) for rows in recordings], axis=0)
        sounds = [(word, voice, rows) for (word, voice), rows in made.items()]
        return Baseline("mean recording", self._heard(split, sounds), sum(rows.size for rows in made.values()))

    def asked(self) -> list[tuple[str, str, int]]:
        """Word, voice and seed of each sound that is drawn for the figures."""
        encoder, draws = self.encoder, range(self.config.draws)
        return [(word, voice, seed) for word in encoder.words for voice in encoder.voices for seed in draws]

    def score(
        self, split: str, outputs: Sequence[NDArray[Any]], drawn: Sequence[tuple[NDArray[Any], bool]]
    ) -> dict[str, float]:
        """The figures of `evaluate`, from outputs (T, 2 R M + 1) and drawn features with whether they ended."""
        asked = self.asked()
        sounds = [(word, voice, rows) for (word, voice, _), (rows, _) in zip(asked, drawn, strict=True)]
        figures = self._heard(split, sounds)
        figures["ended"] = mean([ended for _, ended in drawn])
        others = [(self._next(word), voice, rows) for word, voice, rows in sounds]
        figures["other_mel_distance"] = self._distance(split, others)
        figures["nats"] = self._nats(split, outputs)
        figures |= self._true(split)
        return {**figures, "count": float(len(drawn))}

    def recordings(self, split: str) -> dict[tuple[str, str], list[NDArray[Any]]]:
        """Features (T, M) of the recordings of a split, by word and voice."""
        found: dict[tuple[str, str], list[NDArray[Any]]] = {}
        for samples, about in self.examples(split):
            found.setdefault(about, []).append(self.encoder.definition(samples))
        return found

    def signal(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The signal of features (T, M), as the device makes it."""
        definition = self.encoder.definition
        return np.clip(griffin_lim(magnitudes(rows, definition), definition, self.config.iterations), -1, 1)

    def _nats(self, split: str, outputs: Sequence[NDArray[Any]]) -> float:
        total, count = 0.0, 0
        for row, output in zip(self.arrays(split), outputs, strict=True):
            targets = row["targets"]
            density = FrameDensity.read(output[: len(targets)], self.encoder.reduction, self.config.floor)
            total -= float(density.log_density(targets[:, :-1].reshape(density.means.shape)).sum())
            count += targets[:, :-1].size
        return total / count

    def _heard(self, split: str, sounds: Sequence[tuple[str, str, NDArray[Any]]]) -> dict[str, float]:
        """How sounds, as word, voice and features, are understood, and how far they are from recordings."""
        signals = [(word, self.signal(rows)) for word, _, rows in sounds]
        return {**self._understood(signals, "understood"), "mel_distance": self._distance(split, sounds)}

    def _true(self, split: str) -> dict[str, float]:
        signals = [(word, samples) for samples, (word, _) in self.examples(split)]
        first = [(word, voice, found[0]) for (word, voice), found in self.recordings("train").items()]
        return {**self._understood(signals, "true_understood"), "true_mel_distance": self._distance(split, first)}

    def _understood(self, signals: Sequence[tuple[str, NDArray[Any]]], name: str) -> dict[str, float]:
        spotter = self._spotter
        if spotter is None:
            return {}
        quiet = np.zeros(round(_QUIET * spotter.sample_rate))
        heard = [[event.label for event in spotter.spot(np.concatenate([samples, quiet]))] for _, samples in signals]
        return {name: mean([found == [word] for found, (word, _) in zip(heard, signals, strict=True)])}

    def _distance(self, split: str, sounds: Sequence[tuple[str, str, NDArray[Any]]]) -> float:
        """The mean distance of sounds to the nearest recording of their word and voice, in dB."""
        recordings = self.recordings(split)
        known = [(rows, recordings[word, voice]) for word, voice, rows in sounds if (word, voice) in recordings]
        return mean([mel_distances(rows, others).min() for rows, others in known])

    def _next(self, word: str) -> str:
        words = self.encoder.words
        return str(words[(words.index(word) + 1) % len(words)])

    @functools.cached_property
    def _spotter(self) -> KeywordSpotter | None:
        if self.listener is None:
            return None
        spotter: KeywordSpotter = expect_task(streaming.pipeline(self.listener), KeywordSpotter, "data.listener")
        if strange := [word for word in self.encoder.words if word not in spotter.labels]:
            raise DataError(f"data.listener={self.config.listener} does not know the word {strange[0]!r}; name another")
        if spotter.sample_rate != self.config.sample_rate:
            raise DataError(f"data.listener={self.config.listener} takes {spotter.sample_rate} samples a second")
        return spotter

    def _drawn(self, model: keras.Model) -> list[tuple[NDArray[Any], bool]]:
        """The features that the device draws, from the Keras model, all at once."""
        from rnnzoo.tasks.carried import carried_twin

        asked, config, encoder = self.asked(), self.config, self.encoder
        twin = carried_twin(model, len(asked))
        given = np.stack([encoder.given(word, voice) for word, voice, _ in asked])[:, None]
        rngs = [np.random.default_rng((seed, 0)) for _, _, seed in asked]
        rows, ended = np.zeros((len(asked), encoder.definition.num_mels), np.float32), np.zeros(len(asked), bool)
        drawn: list[list[NDArray[Any]]] = [[] for _ in asked]
        for _ in range(-(-config.max_length // encoder.reduction)):
            outputs = np.asarray(twin.predict_on_batch({"rows": rows[:, None], "given": given}))[:, 0]
            for i in np.flatnonzero(~ended):
                density = FrameDensity.read(outputs[i], encoder.reduction, config.floor)
                drawn[i].append(density.draw(rngs[i], config.temperature))
                rows[i], ended[i] = drawn[i][-1][-1], density.ends
            if ended.all():
                break
        scale, centre = np.array(encoder.scale), np.array(encoder.mean)
        sounds = [np.concatenate(parts)[: config.max_length] * scale + centre for parts in drawn]
        return list(zip(sounds, map(bool, ended), strict=True))
