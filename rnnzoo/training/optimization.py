"""Optimizers and learning rates by configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from rnnzoo.training.config import TrainingConfig

_OPTIMIZERS = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW, "sgd": keras.optimizers.SGD}


@keras.saving.register_keras_serializable(package="rnnzoo")
class ExponentialSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """rate = peak s / warmup while s < warmup, then peak decay^((s - warmup) / steps), s the number of the step.

    Args:
        peak: the highest rate.
        warmup: steps in which the rate rises.
        decay: factor after `steps` steps.
        steps: in an epoch.
    """

    def __init__(self, peak: float, warmup: int, decay: float, steps: int):
        self.peak, self.warmup, self.decay, self.steps = peak, warmup, decay, steps

    def __call__(self, step: Any) -> Any:
        s = ops.cast(step, "float32")
        falling = ops.power(self.decay, ops.maximum(s - self.warmup, 0.0) / self.steps)
        return self.peak * ops.minimum(s / self.warmup, falling)

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "warmup": self.warmup, "decay": self.decay, "steps": self.steps}


@keras.saving.register_keras_serializable(package="rnnzoo")
class InverseSqrtSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """rate = peak min(s / warmup, sqrt(warmup / s)), s the number of the step (Vaswani et al. 2017, section 5.3).

    Args:
        peak: the highest rate.
        warmup: steps in which the rate rises.
    """

    def __init__(self, peak: float, warmup: int):
        self.peak, self.warmup = peak, warmup

    def __call__(self, step: Any) -> Any:
        s = ops.maximum(ops.cast(step, "float32"), 1e-6)
        return self.peak * ops.minimum(s / self.warmup, ops.sqrt(self.warmup / s))

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "warmup": self.warmup}


def make_optimizer(config: TrainingConfig, steps: int) -> keras.optimizers.Optimizer:
    """The optimizer with its schedule and clipping; `steps` are in an epoch."""
    more: dict[str, Any] = {"momentum": config.momentum} if config.optimizer == "sgd" else {"beta_2": config.beta_2}
    if config.optimizer == "adamw":
        more["weight_decay"] = config.weight_decay
    if config.ema is not None:
        more |= {"use_ema": True, "ema_momentum": config.ema}
    rate, clip = make_schedule(config, steps), {"global_clipnorm": config.clip_norm, "clipvalue": config.clip_value}
    return _OPTIMIZERS[config.optimizer](rate, **clip, **more)


def make_schedule(config: TrainingConfig, steps: int) -> Any:
    """The learning rate: a number, or a function of the step; `steps` are in an epoch."""
    if config.schedule in ("constant", "plateau"):
        return config.learning_rate
    total = steps * config.epochs
    warmup = max(1, round(total * config.warmup))
    if config.schedule == "exponential":
        return ExponentialSchedule(config.learning_rate, warmup, config.decay, steps)
    if config.schedule == "inverse_sqrt":
        return InverseSqrtSchedule(config.learning_rate, warmup)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, total - warmup), warmup_target=config.learning_rate, warmup_steps=warmup
    )


def plateau_rate(config: TrainingConfig, figures: Sequence[float]) -> float:
    """The rate after epochs with these figures on `dev`, higher being better: falls after each plateau."""
    rate, best, waited = config.learning_rate, float("-inf"), 0
    for figure in figures:
        waited = 0 if figure > best else waited + 1
        best = max(best, figure)
        if waited == config.plateau_patience:
            rate, waited = rate * config.decay, 0
    return rate


def epochs_in_vain(figures: Sequence[float]) -> int:
    """Epochs since the best of these figures, higher being better."""
    return len(figures) - 1 - max(range(len(figures)), key=lambda i: (figures[i], -i)) if figures else 0
