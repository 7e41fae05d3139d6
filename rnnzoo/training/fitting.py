"""Compiles and fits a model by its configuration."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from rnnzoo.errors import ConfigError, DataError, Diverged
from rnnzoo.training.callbacks import Patience, Snapshots, StopOnNaN
from rnnzoo.training.checks import check_data
from rnnzoo.training.config import TrainingConfig
from rnnzoo.training.optimization import make_optimizer
from rnnzoo.training.progress import LogFiles, ProgressBar, ProgressLines
from rnnzoo.training.sampling import GuessFed, ScheduledSampling

if TYPE_CHECKING:
    from rnnzoo.tasks.base import Task
    from rnnzoo.tasks.batches import Batch
    from rnnzoo.training.parallel import Parallel


def fit(
    model: keras.Model,
    task: Task,
    config: TrainingConfig,
    *,
    seed: int,
    run_dir: Path,
    experiment: str = "",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    logs: bool = False,
    parallel: Parallel | None = None,
) -> dict[str, list[float]]:
    """Train a model; at the end it has the weights of the epoch with the best figure on `dev`.

    Snapshots in `run_dir` have the whole state of the training: after an interruption the same call resumes from the
    newest one, and ends with the same weights bit for bit if the operations are deterministic.

    Args:
        model: what the task's topology builds.
        task: batches, loss, metrics, and which of them picks the epoch.
        config: how to train.
        seed: of the order of the batches and of dropout.
        run_dir: a folder for the snapshots; made where missing.
        experiment: the configuration as text; a snapshot of another one is refused.
        callbacks: more Keras callbacks.
        logs: write `history.csv` and events for TensorBoard to `run_dir`, too.
        parallel: the devices to train on, in whose scope the model was built; None: one.

    Returns:
        For each epoch: `loss`, `val_loss`, the task's metrics, `learning_rate` at its end, `seconds`.

    Raises:
        DataError: `run_dir` holds another experiment, or cannot be written; an example does not fit the model.
        ConfigError: the configuration has an option that this task does not support.
        Diverged: the loss is not finite; earlier snapshots are kept.
    """
    check_data(model, task, config)
    keras.utils.set_random_seed(seed)
    steps = task.steps("train", config.batch_size)
    with parallel.strategy.scope() if parallel else contextlib.nullcontext():
        trained = _trained(model, task, config, parallel)
        compile_model(trained, task, config, steps)
        trained.optimizer.build(trained.trainable_variables)
    snapshots = Snapshots(run_dir, experiment, task.monitor, task.higher_is_better, config.snapshot_seconds, steps)
    if parallel:
        snapshots.writes, snapshots.workers = parallel.is_chief, parallel.workers
    resumed = snapshots.restore(trained)
    if resumed or parallel:
        _make_metrics(trained, task, config, parallel)
    quiet = parallel is not None and not parallel.is_chief
    validation = task.steps("dev", config.batch_size) if parallel else None
    progress = ProgressBar(config.epochs, steps) if ProgressBar.useful() else ProgressLines(config.epochs)
    if resumed and not quiet:
        epoch, batch = snapshots.start
        print(f"going on in epoch {epoch + 1} of {config.epochs}, step {batch + 1} of {steps}, from {run_dir}")
    # The averages have to be in place before the best weights are taken.
    average = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if config.ema is not None else []
    guessing = isinstance(trained, GuessFed)
    sampling = [ScheduledSampling(trained.rate, config, steps * config.epochs)] if guessing else []
    stop, patience = StopOnNaN(snapshots.start), Patience(config, snapshots)
    shown = [] if quiet else [progress, *([LogFiles(run_dir, lambda: snapshots.history)] if logs else [])]
    try:
        trained.fit(
            _batches(task, config, parallel, "train", seed, snapshots.start),
            steps_per_epoch=steps,
            validation_data=_batches(task, config, parallel, "dev"),
            validation_steps=validation,
            epochs=config.epochs,
            initial_epoch=snapshots.start[0],
            shuffle=False,
            verbose=0,
            callbacks=[stop, *sampling, *average, *task.callbacks(), snapshots, patience, *shown, *callbacks],
        )
    except Diverged as error:
        raise Diverged(_explain(error, trained, task, config, snapshots, stop, seed, parallel)) from None
    except Exception as error:
        if task.failure is not None:
            raise task.failure from None
        if parallel is None or not parallel.is_loss(error):
            raise
        raise DataError(
            "another worker was lost: start all workers again with the same command to go on from the last snapshot"
        ) from error
    finally:
        progress.close()
    if patience.stopped is not None and not quiet:
        print(f"stopped after epoch {patience.stopped}: {task.monitor} was no better for {config.patience} epochs")
    snapshots.take_best(model)
    return snapshots.history


def compile_model(model: keras.Model, task: Task, config: TrainingConfig, steps: int) -> None:
    """`model.compile` as the configuration says.

    Args:
        model: what the task's topology builds.
        task: its loss and metrics.
        config: how to train.
        steps: steps in an epoch.
    """
    model.compile(
        make_optimizer(config, steps),
        loss=task.loss(config),
        weighted_metrics=task.metrics(),
        # What JAX does not compile runs operation by operation.
        jit_compile=config.jit_compile or keras.backend.backend() == "jax",
    )


def _on_tensorflow() -> bool:
    return keras.backend.backend() == "tensorflow"


def _trained(model: keras.Model, task: Task, config: TrainingConfig, parallel: Parallel | None) -> keras.Model:
    """Model that is trained in the model's place."""
    made = task.training_model(model, config.batch_size)
    alone = [f"training.{key}" for key in ("jacobian_penalty", "scheduled_sampling") if getattr(config, key)]
    if alone and not _on_tensorflow():
        raise ConfigError(f"{alone[0]} needs KERAS_BACKEND=tensorflow; received {keras.backend.backend()!r}")
    if made is not model and keras.backend.backend() == "torch":
        # Keras writes a state while PyTorch still needs the last one for its gradient.
        raise ConfigError(
            f"topology {task.topology!r} carries states and needs KERAS_BACKEND=tensorflow or jax; received 'torch'"
        )
    if parallel and (made is not model or alone):
        what = alone[0] if alone else f"topology {task.topology!r}"
        raise ConfigError(f"--strategy does not go with {what}: train it on one device")
    if parallel:
        return parallel.model(model)
    if config.scheduled_sampling and task.decoder_input:
        return GuessFed(made, task.decoder_input, task.never_guessed)
    if not config.jacobian_penalty:
        return made
    from rnnzoo.training.penalty import JacobianPenalized

    return JacobianPenalized(made, config.jacobian_penalty)


class _Whole(keras.utils.PyDataset):
    """Batches that every evaluation begins anew: of a generator, Keras on JAX leaves one over to the next."""

    def __init__(self, batches: list[Batch]):
        super().__init__()
        self._known = batches

    def __len__(self) -> int:
        return len(self._known)

    def __getitem__(self, index: int) -> Batch:
        return self._known[index]


def _batches(
    task: Task,
    config: TrainingConfig,
    parallel: Parallel | None,
    split: str,
    seed: int | None = None,
    start: tuple[int, int] = (0, 0),
) -> Any:
    training = seed is not None
    if not _on_tensorflow() and not training:
        return _Whole([batch for _, batch in task.batches(split, config.batch_size)])
    if not _on_tensorflow():
        return task.endless_batches(split, config.batch_size, training, seed, start)

    def make(parts: Any = None) -> Any:
        return task.dataset(split, config.batch_size, training=training, seed=seed, start=start, parts=parts)

    if parallel:
        return parallel.dataset(make)
    return make().repeat() if training else make()


def _make_metrics(model: Any, task: Task, config: TrainingConfig, parallel: Parallel | None) -> None:
    """Keras makes the variables of its metrics when it first needs them; a restored training needs them before."""
    _, batch = next(iter(task.batches("dev", config.batch_size)))
    if parallel:
        model.prepare(batch)
    else:
        model.test_on_batch(*batch)


def _explain(
    error: Diverged,
    model: keras.Model,
    task: Task,
    config: TrainingConfig,
    snapshots: Snapshots,
    stop: StopOnNaN,
    seed: int,
    parallel: Parallel | None,
) -> str:
    """The error with what was no number first, found by repeating the steps since the last snapshot."""
    place = None
    if _on_tensorflow() and parallel is None and snapshots.restore(model):
        from rnnzoo.training.divergence import Origin

        epoch, batch = snapshots.start
        count = stop.position[1] - batch + 1 if stop.position[0] == epoch else 0
        data = task.dataset("train", config.batch_size, training=True, seed=seed, start=(epoch, batch))
        place = Origin(model).find(itertools.islice(data, max(0, count)))
    first = f"; first to be no number: {place}" if place else ""
    return (
        f"{error}{first}. Lower training.learning_rate or training.clip_norm; the last good state is in "
        f"{snapshots.folder}"
    )
