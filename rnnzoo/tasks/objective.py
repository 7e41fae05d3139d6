"""Loss, metrics and callbacks of a task's training."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import keras

    from rnnzoo.training.config import TrainingConfig


class Objective(abc.ABC):
    """Loss, metrics and callbacks of a training."""

    # The figure that picks the epoch which is kept, and whether more is better.
    monitor: str = "val_accuracy"
    higher_is_better: ClassVar[bool] = True
    # Whether whole-number targets are classes, each with an output of the model.
    class_targets: ClassVar[bool] = False
    # The input that holds what a decoder has said so far, where training may give it its own guesses; and the numbers
    # that are none.
    decoder_input: ClassVar[str | None] = None
    never_guessed: ClassVar[tuple[int, ...]] = ()

    def begin(self, model: keras.Model, config: Any) -> None:  # noqa: B027
        """Initialize a fresh model from the training split, where its `model` section asks for it."""

    @abc.abstractmethod
    def loss(self, config: TrainingConfig) -> keras.losses.Loss:
        """The loss, of targets, outputs and weights."""

    @abc.abstractmethod
    def metrics(self) -> list[keras.metrics.Metric]:
        """Metrics shown in training, weighted as the loss is."""

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """Callbacks that the training needs."""
        return []

    def smooths_labels(self, model: keras.Model) -> bool:
        """Whether the loss supports `training.label_smoothing`."""
        return False

    def training_model(self, model: keras.Model, batch_size: int) -> keras.Model:
        """The model that `fit` trains instead, with weights of the same names; usually the model itself."""
        return model
