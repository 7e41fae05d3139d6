"""Configuration, compile, fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from rnnzoo.training.callbacks import Keeper, ProgressBar, ProgressLines, StopOnNaN
from rnnzoo.training.config import TrainingConfig

if TYPE_CHECKING:
    from rnnzoo.problems.base import Problem

_OPTIMIZERS = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW, "sgd": keras.optimizers.SGD}


def fit(
    model: keras.Model,
    problem: Problem,
    config: TrainingConfig,
    *,
    seed: int,
    run_dir: Path,
    experiment: str = "",
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, list[float]]:
    """Train a model; at the end it holds the weights of the epoch with the best figure on `dev`.

    Snapshots in `run_dir` hold all of the training: after an interruption the same call goes on from the newest
    one, to the same weights bit for bit where the operations are deterministic.

    Args:
        model: what the problem's topology builds.
        problem: batches, loss, metrics, and which of them picks the epoch.
        config: how to train.
        seed: of the order of the batches and of dropout.
        run_dir: a folder for the snapshots; made where missing.
        experiment: says what is trained; a snapshot that says something else is refused.
        callbacks: more Keras callbacks.

    Returns:
        For each epoch: `loss`, `val_loss`, the problem's metrics, `learning_rate` at its end, `seconds`.

    Raises:
        DataError: `run_dir` holds another experiment, or cannot be written.
        Diverged: the loss is no longer a number.
    """
    keras.utils.set_random_seed(seed)
    kept, model = model, problem.training_model(model, config.batch_size)
    steps = problem.steps("train", config.batch_size)
    compile_model(model, problem, config, steps)
    model.optimizer.build(model.trainable_variables)
    keeper = Keeper(run_dir, experiment, problem.monitor, problem.higher_is_better, config.snapshot_seconds, steps)
    if keeper.restore(model):
        # Keras makes the variables of its metrics when it first needs them.
        inputs, targets, weights = next(iter(problem.dataset("dev", config.batch_size, training=False)))
        model.test_on_batch(inputs, targets, weights)
    progress = ProgressBar(config.epochs, steps) if ProgressBar.useful() else ProgressLines(config.epochs)
    # The averages have to be in place before the best weights are taken.
    average = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if config.ema is not None else []
    try:
        model.fit(
            problem.dataset("train", config.batch_size, training=True, seed=seed, start=keeper.start).repeat(),
            steps_per_epoch=steps,
            validation_data=problem.dataset("dev", config.batch_size, training=False),
            epochs=config.epochs,
            initial_epoch=keeper.start[0],
            shuffle=False,
            verbose=0,
            callbacks=[StopOnNaN(), *average, *problem.callbacks(), keeper, progress, *callbacks],
        )
    finally:
        progress.close()
    keeper.take_best(kept)
    return keeper.history


def compile_model(model: keras.Model, problem: Problem, config: TrainingConfig, steps: int) -> None:
    """`model.compile` as the configuration says.

    Args:
        model: what the problem's topology builds.
        problem: its loss and metrics.
        config: how to train.
        steps: steps in an epoch.
    """
    model.compile(
        _optimizer(config, steps),
        loss=problem.loss(config),
        weighted_metrics=problem.metrics(),
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
