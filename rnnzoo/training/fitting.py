"""Configuration, compile, fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from keras import ops

from rnnzoo.data.task import TaskData
from rnnzoo.training.callbacks import Checkpoints, ProgressBar, ProgressLines, StopOnNaN
from rnnzoo.training.checkpoint import read_weights
from rnnzoo.training.config import TrainingConfig

_OPTIMIZERS = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW, "sgd": keras.optimizers.SGD}


def fit(
    model: keras.Model,
    data: TaskData,
    config: TrainingConfig,
    *,
    seed: int,
    run_dir: Path,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, list[float]]:
    """Train a model; at the end it holds the weights of the epoch with the best accuracy on `dev`.

    `last.safetensors` and `best.safetensors` are in `run_dir` after every epoch.

    Args:
        model: a model whose outputs are logits.
        data: batches, with a weight for each label.
        config: how to train.
        seed: of the order of the batches and of dropout.
        run_dir: a folder for the weights; made where missing.
        callbacks: more Keras callbacks.

    Returns:
        For each epoch: `loss`, `accuracy`, `val_loss`, `val_accuracy`, `learning_rate` at its end, `seconds`.

    Raises:
        Diverged: the loss is no longer a number.
    """
    keras.utils.set_random_seed(seed)
    train = data.dataset("train", config.batch_size, training=True, seed=seed)
    steps = int(train.cardinality())
    compile_model(model, config, steps)
    checkpoints = Checkpoints(run_dir)
    progress = ProgressBar(config.epochs, steps) if ProgressBar.useful() else ProgressLines(config.epochs)
    # The averages have to be in place before the checkpoints look at the weights.
    average = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if config.ema is not None else []
    try:
        model.fit(
            train,
            validation_data=data.dataset("dev", config.batch_size, training=False),
            epochs=config.epochs,
            shuffle=False,
            verbose=0,
            callbacks=[StopOnNaN(), *average, checkpoints, progress, *callbacks],
        )
    finally:
        progress.close()
    read_weights(model, checkpoints.best)
    return checkpoints.history


def compile_model(model: keras.Model, config: TrainingConfig, steps: int) -> None:
    """`model.compile` as the configuration says.

    Args:
        model: a model whose outputs are logits.
        config: how to train.
        steps: steps in an epoch.
    """
    model.compile(
        _optimizer(config, steps),
        loss=SmoothedCrossEntropy(config.label_smoothing),
        weighted_metrics=[LabelAccuracy()],
        jit_compile=config.jit_compile,
    )


def _optimizer(config: TrainingConfig, steps: int) -> keras.optimizers.Optimizer:
    more: dict[str, Any] = {} if config.optimizer == "sgd" else {"beta_2": config.beta_2}
    if config.optimizer == "adamw":
        more["weight_decay"] = config.weight_decay
    if config.ema is not None:
        more |= {"use_ema": True, "ema_momentum": config.ema}
    return _OPTIMIZERS[config.optimizer](_schedule(config, steps), global_clipnorm=config.clip_norm, **more)


def _schedule(config: TrainingConfig, steps: int) -> Any:
    if config.schedule == "constant":
        return config.learning_rate
    total = steps * config.epochs
    warmup = max(1, round(total * config.warmup))
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, total - warmup), warmup_target=config.learning_rate, warmup_steps=warmup
    )


@keras.saving.register_keras_serializable(package="rnnzoo")
class LabelAccuracy(keras.metrics.Mean):
    """The share of labels that are right, each label counted by its weight.

    Keras's own accuracies average within a sequence first: there a word of a long sentence counts less.
    """

    def __init__(self, name: str = "accuracy", **kwargs: Any):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        right = ops.equal(ops.cast(y_true, "int32"), ops.cast(ops.argmax(y_pred, axis=-1), "int32"))
        weight = None if sample_weight is None else ops.reshape(sample_weight, (-1,))
        super().update_state(ops.reshape(ops.cast(right, "float32"), (-1,)), weight)


@keras.saving.register_keras_serializable(package="rnnzoo")
class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross-entropy of integer labels against logits, with a share of the mass spread over all labels.

    loss = logsumexp(z) - (1 - s) z[label] - s mean(z)
    """

    def __init__(self, smoothing: float = 0.0, name: str = "cross_entropy", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        chosen = ops.take_along_axis(y_pred, ops.expand_dims(ops.cast(y_true, "int32"), -1), axis=-1)
        target = (1 - self.smoothing) * chosen[..., 0] + self.smoothing * ops.mean(y_pred, axis=-1)
        return ops.logsumexp(y_pred, axis=-1) - target

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "smoothing": self.smoothing}
