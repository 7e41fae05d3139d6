"""Section `training` of an experiment's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rnnzoo.errors import ConfigError

Optimizer = Literal["adam", "adamw", "sgd"]
Schedule = Literal["cosine", "constant", "exponential", "inverse_sqrt", "plateau"]
Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]
SamplingSchedule = Literal["linear", "inverse_sigmoid"]

_CHOICES = {
    "optimizer": Optimizer,
    "schedule": Schedule,
    "precision": Precision,
    "scheduled_sampling_schedule": SamplingSchedule,
}


@dataclass(frozen=True)
class TrainingConfig:
    """Options of a training.

    Args:
        epochs: passes over the training split.
        batch_size: sequences in a step, over all devices and workers together.
        max_length: steps of the longest sequence that is taken; None: any.
        optimizer: `adam`, `adamw` or `sgd`.
        learning_rate: the highest rate of the schedule.
        schedule: `cosine` (to zero), `exponential` (times `decay` an epoch), `inverse_sqrt` (Vaswani et al. 2017),
            these after the warm-up; `constant`; `plateau` (times `decay` after `plateau_patience` epochs that are
            no better on `dev`).
        warmup: share of all steps in which the rate rises from zero.
        decay: the factor of the rate in `exponential` and `plateau`.
        plateau_patience: epochs that `plateau` waits.
        patience: stop after so many epochs that are no better on `dev`; None: train all epochs.
        beta_2: decay of the second moment in `adam` and `adamw`.
        momentum: of `sgd`.
        weight_decay: for `adamw`.
        clip_norm: largest norm of a gradient over all weights; None: no clipping (Pascanu et al. 2013).
        clip_value: largest size of each number of a gradient; None: no clipping; not along with `clip_norm`.
        jacobian_penalty: weight of the regularizer that keeps the norm of gradients through time (Pascanu et al.
            2013, equation 9); 0: none.
        label_smoothing: probability mass spread over all labels.
        scheduled_sampling: share of the decoder's inputs that are its own predictions at the end of the training
            (Bengio et al. 2015); only for tasks with a decoder.
        scheduled_sampling_schedule: how that share grows: `linear` or `inverse_sigmoid`.
        ema: momentum of the running average of the weights, which is evaluated and saved; None: none.
        precision: dtype policy: `float32`, or `mixed_float16` or `mixed_bfloat16` with weights in float32.
        deterministic: use deterministic operations; None: on machines without a GPU, where this costs little.
        jit_compile: compile the training step with XLA.
        snapshot_seconds: time between the snapshots from which an interrupted training resumes.

    Raises:
        ConfigError: a value is out of its range, or two contradict each other.
    """

    epochs: int = 15
    batch_size: int = 32
    max_length: int | None = None
    optimizer: Optimizer = "adam"
    learning_rate: float = 2e-3
    schedule: Schedule = "cosine"
    warmup: float = 0.05
    decay: float = 0.5
    plateau_patience: int = 2
    patience: int | None = None
    beta_2: float = 0.999
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float | None = 5.0
    clip_value: float | None = None
    jacobian_penalty: float = 0.0
    label_smoothing: float = 0.0
    scheduled_sampling: float = 0.0
    scheduled_sampling_schedule: SamplingSchedule = "linear"
    ema: float | None = None
    precision: Precision = "float32"
    deterministic: bool | None = None
    jit_compile: bool = False
    snapshot_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name, kind in _CHOICES.items():
            if (value := getattr(self, name)) not in get_args(kind):
                raise ConfigError(f"training.{name} is one of {', '.join(get_args(kind))}; received {value!r}")
        for name in ("epochs", "batch_size", "max_length", "plateau_patience", "patience"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"training.{name} is at least 1; received {name}={value}")
        for name in ("learning_rate", "clip_norm", "clip_value"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise ConfigError(f"training.{name} is above 0; received {value}")
        for name in ("weight_decay", "jacobian_penalty", "snapshot_seconds"):
            if (value := getattr(self, name)) < 0:
                raise ConfigError(f"training.{name} is at least 0; received {value}")
        for name in ("label_smoothing", "beta_2", "momentum", "warmup", "ema"):
            if (value := getattr(self, name)) is not None and not 0 <= value < 1:
                raise ConfigError(f"training.{name} is at least 0 and below 1; received {value}")
        if not 0 < self.decay <= 1:
            raise ConfigError(f"training.decay is above 0 and at most 1; received {self.decay}")
        if not 0 <= self.scheduled_sampling <= 1:
            raise ConfigError(f"training.scheduled_sampling is a share from 0 to 1; received {self.scheduled_sampling}")
        self._check_together()

    def _check_together(self) -> None:
        if self.clip_norm is not None and self.clip_value is not None:
            raise ConfigError(
                f"training.clip_value={self.clip_value} and training.clip_norm={self.clip_norm} contradict each other: "
                "set one of them to null"
            )
        if self.jit_compile and self.jacobian_penalty:
            raise ConfigError("training.jacobian_penalty needs training.jit_compile=false")
        if self.jacobian_penalty and self.scheduled_sampling:
            raise ConfigError(
                "training.jacobian_penalty and training.scheduled_sampling contradict each other: set one"
            )
