"""What tasks that predict the next token of a text share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnnzoo.data.encoders.text import TextEncoder
from rnnzoo.data.source import Example
from rnnzoo.tasks.base import Task
from streaming.runtime.codec import TextCodec

if TYPE_CHECKING:
    import keras

    from rnnzoo.training.config import TrainingConfig


class LanguageTask(Task):
    """Base of language models: a codec of the training texts, and the cross-entropy of each next token."""

    monitor = "val_loss"
    higher_is_better = False

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: Any) -> TextEncoder:
        texts = [text for text, _ in train]
        size, least = config.vocabulary, config.min_count
        return TextEncoder(TextCodec.fit(texts, config.level, size=size, min_count=least, lower=config.lower))

    @classmethod
    def read_encoder(cls, files: Mapping[str, bytes], config: Any) -> TextEncoder:
        return TextEncoder.from_files(files)

    def loss(self, config: TrainingConfig) -> keras.losses.Loss:
        from rnnzoo.tasks.losses import SmoothedCrossEntropy

        return SmoothedCrossEntropy(config.label_smoothing)

    def smooths_labels(self, model: keras.Model) -> bool:
        return True

    def metrics(self) -> list[keras.metrics.Metric]:
        return []
