"""Scheduled sampling: in training, a decoder reads some of its own predictions, as it does in use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from rnnzoo.training.config import TrainingConfig
from streaming.runtime.codec import PAD, START

# Where the inverse sigmoid bends: at half of the training.
_BEND = math.exp(6)
_NEVER = -1e30


class GuessFed(keras.Model):
    """A model whose `fit` replaces some target tokens by the model's predictions (Bengio et al. 2015).

    The prediction at a position is the best token of the model when it reads the right ones. This takes one more pass,
    with all steps of a text at once (Mihaylova & Martins 2019, Scheduled Sampling for Transformers).

    Args:
        model: functional; it shares its layers and weights. Its output t (B, T, V) scores what its input is at t + 1.
        tokens: the name of that input, (B, T) of int32; the start token and padding are left as they are.
        never: tokens that are not used as predictions, such as the end, after which nothing is read.
    """

    def __init__(self, model: keras.Model, tokens: str, never: Sequence[int]):
        super().__init__({tensor.name: tensor for tensor in model.inputs}, model.output, name=model.name)
        self.rate = keras.Variable(0.0, trainable=False, name="sampling_rate")
        self._tokens, self._never = tokens, tuple(never)
        self._random = keras.random.SeedGenerator()

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        return super().train_step((self.mixed(x), y, weights))

    def mixed(self, x: dict[str, Any]) -> dict[str, Any]:
        """The inputs with predictions in place of a share `rate` of the tokens."""
        right = x[self._tokens]
        logits = ops.cast(self(x, training=False), "float32")
        banned = ops.sum(ops.one_hot(ops.array(self._never), logits.shape[-1]), axis=0)
        guesses = ops.cast(ops.argmax(logits + _NEVER * banned, axis=-1), right.dtype)
        guesses = ops.concatenate([right[:, :1], guesses[:, :-1]], axis=1)
        chosen = keras.random.uniform(ops.shape(right), seed=self._random) < self.rate
        chosen &= (right != PAD) & (right != START)
        return {**x, self._tokens: ops.where(chosen, guesses, right)}


class ScheduledSampling(keras.callbacks.Callback):
    """Raises the share of predictions step by step.

    Args:
        rate: the variable that holds it.
        config: the share at the end, and how it grows.
        steps: in the whole training.
    """

    def __init__(self, rate: keras.Variable, config: TrainingConfig, steps: int):
        super().__init__()
        self._rate, self._config, self._steps = rate, config, steps

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        # The optimizer's count goes on where an interrupted training stopped.
        self._rate.assign(sampling_share(self._config, int(self.model.optimizer.iterations) / self._steps))


def sampling_share(config: TrainingConfig, progress: float) -> float:
    """The share at a point of the training, 0 to 1: p x, or p (f(0) - f(x)) / (f(0) - f(1)).

    f(x) = k / (k + exp(12 x)) with k = exp(6): the inverse sigmoid of Bengio et al. over one training.
    """
    if config.scheduled_sampling_schedule == "linear":
        return config.scheduled_sampling * min(1.0, progress)

    def falling(x: float) -> float:
        return _BEND / (_BEND + math.exp(12 * x))

    return config.scheduled_sampling * (falling(0) - falling(min(1.0, progress))) / (falling(0) - falling(1))
