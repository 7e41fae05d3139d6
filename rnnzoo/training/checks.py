"""Checks before the first step: data that the model cannot take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np

from rnnzoo.errors import ConfigError, DataError
from rnnzoo.training.config import TrainingConfig

if TYPE_CHECKING:
    from rnnzoo.tasks.base import Task


def check_data(model: keras.Model, task: Task, config: TrainingConfig) -> None:
    """Refuse examples whose labels the model does not have, or that are longer than allowed.

    Raises:
        DataError: there is one, or a split of training is empty.
        ConfigError: there is scheduled sampling without a decoder, or label smoothing without single labels.
    """
    outputs = model.output_shape[-1] if isinstance(model.output_shape, tuple) else None
    for split in ("train", "dev"):
        if not task.examples(split):
            raise DataError(f"split {split!r} holds no example: training needs some in both train and dev")
        for number, row in enumerate(task.arrays(split), 1):
            where = f"example {number} of split {split!r}"
            length = max((len(row[name]) for name in task.input_names if row[name].ndim), default=0)
            if config.max_length is not None and length > config.max_length and not task.windowed:
                raise DataError(
                    f"{where} has {length} steps, more than training.max_length={config.max_length}: cut the sequence, "
                    "or raise the limit"
                )
            target = row.get("targets")
            if not task.class_targets or outputs is None or target is None or target.dtype.kind not in "iu":
                continue
            wrong = target[(target >= outputs) | (target < -1)] if target.ndim else np.atleast_1d(target)
            if target.ndim == 0 and -1 <= int(target) < outputs:
                continue
            if wrong.size:
                raise DataError(
                    f"{where} has the label {int(wrong.flat[0])}; the model has {outputs} outputs, labels 0 to "
                    f"{outputs - 1}: mend the data, or build the model for them"
                )
    if config.label_smoothing and not task.smooths_labels(model):
        raise ConfigError(
            f"training.label_smoothing={config.label_smoothing} needs a loss over single labels; topology "
            f"{task.topology!r} is trained on another one here: set it to 0"
        )
    if config.scheduled_sampling and task.decoder_input is None:
        raise ConfigError(
            f"training.scheduled_sampling={config.scheduled_sampling} needs a decoder that reads its own guesses; "
            f"topology {task.topology!r} has none: set it to 0"
        )
