"""Transcription of an endless signal; trained on streams, with a carried state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.batching import collate
from rnnzoo.data.config import AudioConfig
from rnnzoo.data.encoders.audio import AudioEncoder, after_lead, arrange, in_noise
from rnnzoo.data.source import Example
from rnnzoo.errors import DataError
from rnnzoo.tasks.batches import Batch
from rnnzoo.tasks.evaluation import predict_padded, predict_whole
from rnnzoo.tasks.labels import LabelTask
from streaming.runtime.decoding import ctc_beam, ctc_greedy, softmax
from streaming.runtime.tasks import Transcriber
from streaming.runtime.tasks.schema import TranscriberSpec

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.batching import Arrays
    from rnnzoo.training.config import TrainingConfig
    from streaming.runtime.model import StreamingModel

BLANK = "_blank_"
_BLANK = 0
# Silence that a window ends with, in seconds: a causal model hears the end of a word after it.
_TAIL = 0.3
_BEAM = 8
# Recordings of which one is drawn.
_LOOKED = 100


class TranscriberTask(LabelTask):
    """Predicts words and blanks after every few frames of a signal."""

    topology = "transcriber"
    kinds = ("audio-text",)
    monitor = "val_loss"
    higher_is_better = False

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: AudioConfig) -> AudioEncoder:
        words = sorted({word for _, text in train for word in text.split()})
        return AudioEncoder.fit([samples for samples, _ in train], config, (BLANK, *words))

    @classmethod
    def read_encoder(cls, files: Mapping[str, bytes], config: Any) -> AudioEncoder:
        return AudioEncoder.from_files(files)

    @classmethod
    def spec(cls, config: Any, encoder: AudioEncoder) -> TranscriberSpec:
        features = encoder.definition
        return TranscriberSpec(
            features.sample_rate, features, lead=config.lead, labels=len(encoder.labels), blank=_BLANK
        )

    def encode(self, example: Example) -> Arrays:
        """Features of a recording after its lead; the targets are the numbers of its words that are in `train`."""
        samples, text = example
        return self._arrays(after_lead(samples, self.config), text)

    def _arrays(self, samples: NDArray[Any], text: str) -> Arrays:
        return {**self.encoder.encode(samples), "targets": self._words([text])}

    def _words(self, texts: Sequence[str]) -> NDArray[Any]:
        numbers = [self.number(word) for text in texts for word in text.split()]
        return np.array([number for number in numbers if number >= 0], np.int32)

    def loss(self, config: TrainingConfig) -> keras.losses.Loss:
        from rnnzoo.layers import CTCLoss

        return CTCLoss(_BLANK)

    def smooths_labels(self, model: keras.Model) -> bool:
        return False

    def metrics(self) -> list[keras.metrics.Metric]:
        return []

    def training_model(self, model: keras.Model, batch_size: int) -> keras.Model:
        from rnnzoo.tasks.carried import carried_twin

        return carried_twin(model, batch_size)

    def callbacks(self) -> list[keras.callbacks.Callback]:
        from rnnzoo.tasks.callbacks import FreshStates

        return [FreshStates()]

    def steps(self, split: str, batch_size: int) -> int:
        """Batches of one pass: of `train` windows in which each recording comes about once, else its recordings."""
        clips, config = self.examples(split), self.config
        if split != "train":
            return -(-len(clips) // batch_size)
        seconds = sum(len(samples) for samples, _ in clips) / config.sample_rate + len(clips) * config.pause / 2
        return max(1, int(seconds * config.sample_rate / (batch_size * self._window)))

    def batches(
        self, split: str, batch_size: int, rng: np.random.Generator | None = None, skip: int = 0
    ) -> Iterator[tuple[NDArray[Any], Batch]]:
        """Batches with a constant number of rows, since states are carried in each row.

        For `train` each pass has new streams: windows of whole recordings. Recordings of other splits are unchanged,
        padded with silence to the longest of a batch; the last batch is filled up with rows of weight 0.

        Raises:
            DataError: a recording of `train` is longer than a window.
        """
        entropy = int((np.random.default_rng(self.seed) if rng is None else rng).integers(2**32))
        count = len(self.examples(split))
        for i in range(skip, self.steps(split, batch_size)):
            numbers = np.arange(i * batch_size, (i + 1) * batch_size)
            weights = np.ones(batch_size, np.float32)
            if split == "train":
                own = np.random.default_rng((entropy, i))
                rows = [self._composed(own) for _ in numbers]
            else:
                weights[numbers >= count] = 0
                known = [self.examples(split)[n % count] for n in numbers]
                rows = [(after_lead(samples, self.config), text) for samples, text in known]
            longest = max(len(samples) for samples, _ in rows)
            padded = [self._arrays(np.pad(samples, (0, longest - len(samples))), text) for samples, text in rows]
            batch = collate(padded, {"targets": _BLANK}, exact=True)
            yield numbers, ({"features": batch["features"]}, batch["targets"], weights)

    @property
    def _window(self) -> int:
        """Samples of a window, from the first of one to the first of the next."""
        return int(self.config.window * self.config.frame_step)

    def _composed(self, rng: np.random.Generator) -> Example:
        """A window that is full of recordings: as many as there is room for, in noise."""
        clips, config = self.examples("train"), self.config
        size = self._window + config.frame_length - config.frame_step
        room = size - int(_TAIL * config.sample_rate)
        # With the shortest pauses and the highest speed there is still enough to hear.
        shortest = min(len(samples) for samples, _ in clips) / (1 + config.speed)
        order = rng.integers(len(clips), size=int(room / max(shortest, 1)) + 1).tolist()
        signal, segments = arrange([samples for samples, _ in clips], order, config, rng)
        heard = [segment for segment in segments if segment.end <= room]
        if not heard:
            long = (segments[0].end - segments[0].begin) / config.sample_rate
            raise DataError(
                f"a recording of {long:.2f} s and the pauses around it do not fit into data.window={config.window} "
                "frames: raise it"
            )
        signal = signal[: heard[-1].end]
        text = " ".join(clips[segment.number][1] for segment in heard)
        return in_noise(np.pad(signal, (0, size - len(signal))), config, rng), text

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        """Word error rates of the most probable alignment; also of a prefix beam search, with fresh states."""
        features = [row["features"] for row in self.arrays(split)]
        lengths = [model.compute_output_shape({"features": (1, *heard.shape)})[1] for heard in features]
        padded = predict_padded(model, features, batch_size)
        logits = [row[:length] for row, length in zip(padded, lengths, strict=True)]
        joined = np.concatenate([samples for samples, _ in self.examples(split)])
        whole = self.encoder.encode(after_lead(joined, self.config))
        endless = predict_whole(model, features=whole["features"])
        figures = self._score(split, [self._text(ctc_greedy(row, _BLANK)) for row in logits])
        beams = [self._text(ctc_beam(row, _BLANK, width=_BEAM)[0].tokens) for row in logits]
        return {
            **figures,
            "never_reset_word_error_rate": self._endless(split, self._text(ctc_greedy(endless, _BLANK))),
            "beam_word_error_rate": self._score(split, beams)["word_error_rate"],
        }

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        """What is heard over time in a recording of many words."""
        from rnnzoo.tasks.drawing import draw_heard

        samples, text = max(self.examples(split)[:_LOOKED], key=lambda example: len(example[1].split()))
        features = self.encode((samples, text))["features"]
        logits = predict_whole(model, features=features)
        step = len(features) / len(logits) * self.config.frame_step / self.config.sample_rate
        texts = {"said": text, "heard": self._text(ctc_greedy(logits, _BLANK))}
        return [draw_heard(folder / "heard.png", softmax(logits), self.labels, step, texts)]

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        """Word error rates with a reset for each recording and without any, side by side, of samples transcribed."""
        task = self.streamed_task(model, Transcriber)
        signals = [samples for samples, _ in self.examples(split)]
        figures = self._score(split, [task.transcribe(samples) for samples in signals])
        endless = task.transcribe(np.concatenate(signals))
        return {**figures, "never_reset_word_error_rate": self._endless(split, endless)}

    def _text(self, tokens: Sequence[int]) -> str:
        return " ".join(self.labels[token] for token in tokens)

    def _score(self, split: str, texts: Sequence[str]) -> dict[str, float]:
        """`word_error_rate`, the share of recordings with every word right, and the `count` of words."""
        true = [text for _, text in self.examples(split)]
        return {
            "word_error_rate": word_error_rate(texts, true),
            "exact_accuracy": float(np.mean([a.split() == b.split() for a, b in zip(texts, true, strict=True)])),
            "count": float(sum(len(text.split()) for text in true)),
        }

    def _endless(self, split: str, text: str) -> float:
        return word_error_rate([text], [" ".join(text for _, text in self.examples(split))])

    def _signature(self, split: str) -> Any:
        import tensorflow as tf

        features = tf.TensorSpec((None, None, self.config.num_mels), tf.float32)
        return (
            {"features": features},
            tf.TensorSpec((None, None), tf.int32),
            tf.TensorSpec((None,), tf.float32),
        )


def word_error_rate(transcripts: Sequence[str], true: Sequence[str]) -> float:
    """The edit distance of transcripts and true texts in words, divided by the number of true words."""
    import tensorflow as tf

    words = [text.split() for text in true]
    sparse = [
        tf.ragged.constant(rows, dtype=tf.string, ragged_rank=1).to_sparse()
        for rows in ([text.split() for text in transcripts], words)
    ]
    return float(tf.reduce_sum(tf.edit_distance(*sparse, normalize=False))) / sum(len(row) for row in words)
