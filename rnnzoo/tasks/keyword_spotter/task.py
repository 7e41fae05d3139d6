"""Keyword spotting in an endless signal; trained on streams, with a carried state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.audio import AudioEncoder, Segment, after_lead
from rnnzoo.data.source import Example
from rnnzoo.errors import DataError
from rnnzoo.tasks.baselines import Baseline, NearestMean
from rnnzoo.tasks.batches import Batch
from rnnzoo.tasks.evaluation import mean, predict_padded, predict_whole
from rnnzoo.tasks.keyword_spotter.config import KeywordAudioConfig
from rnnzoo.tasks.keyword_spotter.measures import SpotterMeasures, is_background, streamed
from rnnzoo.tasks.keyword_spotter.streams import StreamComposer
from streaming.runtime.decoding import softmax
from streaming.runtime.tasks import KeywordSpotter
from streaming.runtime.tasks.schema import KeywordSpotterSpec

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.batching import Arrays
    from streaming.runtime.model import StreamingModel

BACKGROUND = "_background_"
# Silence after a recording before the decision on it, in seconds.
_TAIL = 0.3


class KeywordSpotterTask(SpotterMeasures):
    """Predicts keywords and background after each frame of a signal."""

    topology = "keyword_spotter"
    kinds = ("audio-label",)

    def __init__(
        self, config: KeywordAudioConfig, encoder: AudioEncoder, splits: dict[str, list[Example]], seed: int = 0
    ):
        super().__init__(config, encoder, splits, seed)
        self._composers: dict[str, StreamComposer] = {}

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: KeywordAudioConfig) -> AudioEncoder:
        labels = sorted({label for _, label in train if not is_background(label, config)})
        if not labels:
            raise DataError(
                f"{config.dataset!r} holds no keyword: every label is one of background; name keywords otherwise"
            )
        return AudioEncoder.fit([samples for samples, _ in train], config, (BACKGROUND, *labels))

    @classmethod
    def read_encoder(cls, files: Mapping[str, bytes], config: Any) -> AudioEncoder:
        return AudioEncoder.from_files(files)

    @classmethod
    def spec(cls, config: Any, encoder: AudioEncoder) -> KeywordSpotterSpec:
        return KeywordSpotterSpec(
            encoder.definition.sample_rate,
            encoder.definition,
            lead=config.lead,
            labels=len(encoder.labels),
            background=(BACKGROUND,),
            smoothing=config.smoothing,
            threshold=config.threshold,
            refractory=config.refractory,
        )

    def encode(self, example: Example) -> Arrays:
        """Features of a recording and of the silence before and after it; the target is its label's number."""
        samples, label = example
        features = self.encoder.encode(after_lead(self._with_tail(samples), self.config))
        return {**features, "targets": np.array(self.number(label), np.int32)}

    def _with_tail(self, samples: NDArray[Any]) -> NDArray[np.float32]:
        """A recording, and the silence after it."""
        return np.concatenate([samples, np.zeros(int(_TAIL * self.config.sample_rate), np.float32)])

    def training_model(self, model: keras.Model, batch_size: int) -> keras.Model:
        from rnnzoo.tasks.carried import carried_twin

        return carried_twin(model, batch_size)

    def callbacks(self) -> list[keras.callbacks.Callback]:
        from rnnzoo.tasks.callbacks import FreshStates

        return [FreshStates(self.config.windows)]

    def steps(self, split: str, batch_size: int) -> int:
        """Windows of one pass: each recording occurs about once, between negatives and pauses."""
        config = self.config
        frames = self.composer(split).seconds * config.sample_rate / config.frame_step
        return max(1, int(frames / (batch_size * config.window * config.windows))) * int(config.windows)

    def composer(self, split: str) -> StreamComposer:
        """The composer of the streams of a split."""
        if split not in self._composers:
            rows, config = self.examples(split), self.config
            self._composers[split] = StreamComposer(
                config,
                [samples for samples, _ in rows],
                [self.number(label) for _, label in rows],
                self.sounds(config.negatives, split),
                self.sounds(config.noise, split),
            )
        return self._composers[split]

    def batches(
        self, split: str, batch_size: int, rng: np.random.Generator | None = None, skip: int = 0
    ) -> Iterator[tuple[NDArray[Any], Batch]]:
        """Windows of streams that are new for each pass; row b continues row b of the window before."""
        window = self.config.window
        rng = np.random.default_rng(self.seed) if rng is None else rng
        fresh = self.config.windows
        for begin in range(0, self.steps(split, batch_size), fresh):
            rows = [self._stream(split, fresh * window, rng) for _ in range(batch_size)]
            features, targets, weights = (np.stack(part) for part in zip(*rows, strict=True))
            for i in range(max(0, skip - begin), fresh):
                at = slice(i * window, (i + 1) * window)
                yield np.arange(batch_size), ({"features": features[:, at]}, targets[:, at], weights[:, at])

    def _stream(
        self, split: str, frames: int, rng: np.random.Generator
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Features (T, M), targets (T,) and weights (T,) of a stream of T frames."""
        config = self.config
        signal, segments = self.composer(split)(frames * config.frame_step + config.frame_length, rng)
        targets, weights = self._aligned(segments, frames)
        return self.encoder.encode(signal)["features"][:frames], targets, weights

    def _aligned(self, segments: Sequence[tuple[Segment, int]], frames: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """The label of each frame, by the sample at its end; a frame in the first part of a keyword weighs nothing."""
        config = self.config
        ends = np.arange(frames) * config.frame_step + config.frame_length
        targets, weights = np.zeros(frames, np.int32), np.ones(frames, np.float32)
        for segment, label in segments:
            targets[ends > segment.begin] = 0
            if label > 0:
                known = segment.begin + config.known * (segment.end - segment.begin)
                weights[(ends > segment.begin) & (ends <= known)] = 0
                targets[(ends > known) & (ends <= segment.end + config.after * config.sample_rate)] = label
            elif label < 0:
                weights[(ends > segment.begin) & (ends <= segment.end)] = 0
        return targets, weights

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        logits = self._logits(model, split, batch_size)
        rows = self._without_lead(split)
        whole = np.split(
            predict_whole(model, features=np.concatenate(rows)), np.cumsum([len(row) for row in rows])[:-1]
        )
        return self.detected(self.offline(model), split) | self._score(split, logits, whole)

    def _without_lead(self, split: str) -> list[NDArray[Any]]:
        """The features of each recording as one hears it that goes on after the last."""
        return [row["features"][self.config.lead_frames :] for row in self.arrays(split)]

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        from rnnzoo.tasks.drawing import draw_confusion

        predicted = [self.labels[self._heard(rows)] for rows in self._logits(model, split)]
        true = [self.labels[max(0, self.number(label))] for _, label in self.examples(split)]
        confusion = draw_confusion(folder / "confusion.png", true, predicted)
        return [confusion, *self.draw_trade(self.offline(model), split, folder)]

    def _logits(self, model: keras.Model, split: str, batch_size: int = 64) -> list[NDArray[Any]]:
        """Logits of each recording by itself, (T, L)."""
        features = [row["features"] for row in self.arrays(split)]
        logits = predict_padded(model, features, batch_size)
        return [row[: len(heard)] for row, heard in zip(logits, features, strict=True)]

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        """Figures of the task object's events, and of the most probable labels with and without resets."""
        spotter = self.streamed_task(model, KeywordSpotter)
        signals, stream = [self._with_tail(samples) for samples, _ in self.examples(split)], model.create_stream()
        logits = []
        for signal in signals:
            stream.reset()
            logits.append(np.asarray(stream.feed(spotter.rows(signal))))
        stream.reset()
        whole = [np.asarray(stream.feed(spotter.rows(signal, fresh=False))) for signal in signals]
        return self.detected(streamed(spotter), split) | self._score(split, logits, whole)

    def baseline(self, split: str) -> Baseline:
        labels = [label for _, label in self.examples("train")]
        means = NearestMean([row["features"] for row in self.arrays("train")], labels)
        predicted = means.labels([row["features"] for row in self.arrays(split)])
        right = [label == guess for (_, label), guess in zip(self.examples(split), predicted, strict=True)]
        return Baseline(means.name, {"accuracy": mean(right), "count": float(len(right))}, means.numbers)

    def _score(self, split: str, logits: Sequence[NDArray[Any]], whole: Sequence[NDArray[Any]]) -> dict[str, float]:
        """Figures of recordings by their logits: of those that begin with a fresh state, and of one stream of all.

        Returns:
            `accuracy`, `never_reset_accuracy`, and the `count` of recordings. The label that is most probable at any
            time, with the ends of recordings known and without background: no event needs to be decided.
        """
        true = [self.number(label) for _, label in self.examples(split)]
        right = [
            [self._heard(row) == label for row, label in zip(rows, true, strict=True) if label != 0]
            for rows in (logits, whole)
        ]
        return {"accuracy": mean(right[0]), "never_reset_accuracy": mean(right[1]), "count": float(len(true))}

    def _heard(self, logits: NDArray[Any]) -> int:
        """The keyword with the highest smoothed probability in a recording, logits (T, L)."""
        width = max(1, round(self.config.smoothing * self.config.sample_rate / self.config.frame_step))
        sums = np.cumsum(np.pad(softmax(logits), ((width, 0), (0, 0))), axis=0)
        smooth = sums[width:] - sums[:-width]
        return int(np.argmax(smooth[:, 1:].max(axis=0))) + 1

    def _signature(self, split: str) -> Any:
        import tensorflow as tf

        features = tf.TensorSpec((None, None, self.config.num_mels), tf.float32)
        return (
            {"features": features},
            tf.TensorSpec((None, None), tf.int32),
            tf.TensorSpec((None, None), tf.float32),
        )
