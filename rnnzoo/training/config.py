"""What a training section of an experiment may say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rnnzoo.errors import ConfigError

Optimizer = Literal["adam", "adamw", "sgd"]
Schedule = Literal["cosine", "constant"]


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained.

    Args:
        epochs: passes over the training split.
        batch_size: sequences in a step.
        optimizer: `adam`, `adamw` or `sgd`.
        learning_rate: the highest rate of the schedule.
        schedule: `cosine` (to zero, after the warm-up) or `constant`.
        warmup: share of all steps in which the rate rises from zero.
        beta_2: how slowly `adam` and `adamw` forget the size of past gradients.
        weight_decay: for `adamw`.
        clip_norm: largest norm of a gradient over all weights; None: no clipping.
        label_smoothing: probability mass spread over all labels.
        ema: momentum of the running average of the weights, which is what is evaluated and kept; None: none.
        jit_compile: compile the training step with XLA.
        snapshot_seconds: time between the snapshots from which an interrupted training goes on.

    Raises:
        ConfigError: a value is out of its range.
    """

    epochs: int = 15
    batch_size: int = 32
    optimizer: Optimizer = "adam"
    learning_rate: float = 2e-3
    schedule: Schedule = "cosine"
    warmup: float = 0.05
    beta_2: float = 0.999
    weight_decay: float = 0.0
    clip_norm: float | None = 5.0
    label_smoothing: float = 0.0
    ema: float | None = None
    jit_compile: bool = False
    snapshot_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name, kind in (("optimizer", Optimizer), ("schedule", Schedule)):
            if (value := getattr(self, name)) not in get_args(kind):
                raise ConfigError(f"training.{name} is one of {', '.join(get_args(kind))}; received {value!r}")
        if self.epochs < 1 or self.batch_size < 1:
            raise ConfigError(
                "training.epochs and training.batch_size are at least 1; "
                f"received epochs={self.epochs}, batch_size={self.batch_size}"
            )
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"training.label_smoothing is at least 0 and below 1; received {self.label_smoothing}")
