"""Events in an endless signal, such as heart beats; trained with a carried state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.signals import BACKGROUND, Event, SignalEncoder, frame_labels, match_events, read_events
from rnnzoo.data.source import Example
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.baselines import Baseline, peaks
from rnnzoo.tasks.evaluation import mean, predict_whole
from rnnzoo.tasks.sequence_tagger.carried import CarriedRowsTask
from rnnzoo.tasks.sequence_tagger.rows import RowTaggerTask
from streaming.runtime.decoding import softmax
from streaming.runtime.tasks import SequenceTagger

if TYPE_CHECKING:
    from typing import Self

    import keras

    from rnnzoo.data.batching import Arrays
    from rnnzoo.data.source import Source
    from rnnzoo.tasks.sequence_tagger.config import SequenceTaggerData
    from streaming.runtime.model import StreamingModel

# Samples of a frame with events, where nothing else is said.
_FRAME = 12
# Seconds that are drawn.
_DRAWN = 10


class SequenceTaggerTask(CarriedRowsTask):
    """Predicts events and background after each frame of samples; for rows with labels, the labels."""

    kinds = ("signal-events", "rows-tags")

    @classmethod
    def from_source(cls, source: Source, config: SequenceTaggerData, *, encoder: Any = None, seed: int = 0) -> Self:
        if source.kind == "rows-tags":
            tagger: Any = RowTaggerTask.from_source(source, config, encoder=encoder, seed=seed)
            return tagger
        if source.kind in cls.kinds and config.sample_rate is None:
            raise ConfigError("data.sample_rate is missing: events need the samples a second; give it a value")
        return super().from_source(source, config, encoder=encoder, seed=seed)

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: SequenceTaggerData) -> SignalEncoder:
        labels = sorted({label for _, events in train for _, label in events})
        encoder = SignalEncoder.fit([signal for signal, _ in train], config, (BACKGROUND, *labels))
        return SignalEncoder(encoder.mean, encoder.scale, encoder.labels, encoder.columns, config.frame or _FRAME)

    def encode(self, example: Example) -> Arrays:
        """All whole frames; events with a label that the training split does not have are background."""
        signal, events = example
        frame = self.frame
        frames = len(signal) // frame
        known = [(at, number) for at, label in events if (number := self.number(label)) >= 0]
        return {
            **self.encoder.encode(signal[: frames * frame]),
            "targets": frame_labels(known, frames, frame),
        }

    def label_weights(self) -> NDArray[Any]:
        held = Counter(label for _, events in self.examples("train") for _, label in events)
        most = max(held.values())
        return np.array([np.sqrt(most / held.get(label, most)) for label in self.labels], np.float32)

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        return self.score(split, self._detect_events(model, split))

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        """Draw the first seconds of the first recording with its true and its detected events."""
        from rnnzoo.tasks.drawing import draw_events

        rate = self.rate
        end = int(_DRAWN * rate)
        (signal, true), detected = self.examples(split)[0], self._detect_events(model, split)[0]
        both = {"true": true, "found": detected}
        marks = {name: [event for event in events if event[0] < end] for name, events in both.items()}
        return [draw_events(folder / "events.png", signal[:end, 0], rate, marks)]

    def _detect_events(self, model: keras.Model, split: str) -> list[list[Event]]:
        detected = []
        for row in self.arrays(split):
            scores = softmax(predict_whole(model, rows=row["rows"]))
            best = scores.argmax(axis=-1)
            detected.append(read_events([self.labels[k] for k in best], scores.max(axis=-1).tolist(), self.frame))
        return detected

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        task = self.streamed_task(model, SequenceTagger)
        detected = []
        for signal, _ in self.examples(split):
            tags = task.tag(signal)
            detected.append(read_events([row.tag for row in tags], [row.score for row in tags], self.frame))
        return self.score(split, detected)

    def baseline(self, split: str) -> Baseline:
        label = Counter(label for _, events in self.examples("train") for _, label in events).most_common(1)[0][0]
        rate = self.rate
        detected = [[Event(int(at), label) for at in peaks(signal[:, 0], rate)] for signal, _ in self.examples(split)]
        return Baseline("steepest slopes", self.score(split, detected), 1)

    def score(self, split: str, detected: Sequence[Sequence[Event]]) -> dict[str, float]:
        """Figures of the events of every recording, matched within the tolerance (ANSI/AAMI EC57: 150 ms).

        Returns:
            `f1`, `sensitivity` and `precision` of detection, whatever the label; `label_accuracy` of the detected;
            for each label `f1_<label>` and `count_<label>`, of detection with the right label; `count` of events.
        """
        tolerance = self.config.tolerance * self.rate
        hits, right, labels = 0, [], {"true": Counter[str](), "found": Counter[str](), "both": Counter[str]()}
        for (_, known), events in zip(self.examples(split), detected, strict=True):
            true = [Event(*event) for event in known]
            pairs = match_events(true, events, tolerance)
            hits += len(pairs)
            right += [true[i].label == events[j].label for i, j in pairs]
            labels["true"].update(event.label for event in true)
            labels["found"].update(event.label for event in events)
            labels["both"].update(true[i].label for i, j in pairs if true[i].label == events[j].label)
        count, given = labels["true"].total(), labels["found"].total()
        figures = {
            "f1": 2 * hits / max(1, count + given),
            "sensitivity": hits / max(1, count),
            "precision": hits / max(1, given),
            "label_accuracy": mean(right),
            "count": float(count),
        }
        for label in sorted(labels["true"]):
            total = labels["true"][label] + labels["found"][label]
            figures |= {f"f1_{label}": 2 * labels["both"][label] / total, f"count_{label}": labels["true"][label]}
        return figures
