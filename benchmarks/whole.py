"""Whole trainings: the zoo's tagger, spotter and translator beside the same networks in plain Keras and in PyTorch.

The same batches in the same order, drawn by the task before the clock starts, the same first weights, optimizer,
rates, clipping, loss, dropout, averaged weights and epochs, and figures on dev after each epoch. `rnnzoo` is
`rnnzoo.training.fit` as `rnnzoo train` runs it, with snapshots and logs; Keras is `model.fit` of plain layers with the
same loss, metric and pipeline (`benchmarks/peers/plain_keras.py`), with XLA too where all batches have one shape;
PyTorch is an eager loop over `nn` modules with fused Adam (`benchmarks/peers/plain_torch.py`). Without dropout, all end
at the same loss (`tests/project/test_benchmarks.py`). Dropout draws other numbers in each: dev differs by its noise.

Seconds are those of all steps but the first, with all of dev but its first batch: these two, which compile, are in
`first`. A time is the lesser of two trainings, in turn with those of the others, the second time in reverse order. A
ratio is the time of rnnzoo by that of the other. The trainings are short (examples and epochs as stated).

Recurrent dropout is not in `nn.LSTM`, so that PyTorch runs a loop over its steps; the tagger is measured without it
too. Its threads wait passively (`OMP_WAIT_POLICY`): beside other work, threads that spin took over 50 times as
long. `drawing` is what a batch costs besides; while `rnnzoo train` runs, a thread of its own draws. PyTorch has no row
where it is not installed (extra `bench`). Options: `--quick`: one training of a few steps; `--only=NAME`: one case.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

CORES = 2


@dataclass(frozen=True)
class Case:
    """A training: the configuration, the examples, the epochs and changes of the configuration."""

    config: str
    limit: int
    epochs: int
    changes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """In the table."""
        return ", ".join([self.config, *(change.removeprefix("model.") for change in self.changes)])


CASES = (
    Case("tagger-en-ewt-stream", 640, 2),
    Case("tagger-en-ewt-stream", 640, 2, ("model.recurrent_dropout=0",)),
    Case("digits-kws-stream", 160, 2),
    Case("translate-en-de", 1280, 2),
)
QUICK_EXAMPLES = 80


class Figures(NamedTuple):
    """Seconds without what compiles, seconds of that, and loss and accuracy on dev."""

    seconds: float
    first: float
    loss: float
    accuracy: float


def main(*options: str) -> None:
    """Print a table for each case."""
    import tensorflow as tf

    only = [option.partition("=")[2] for option in options if option.startswith("--only=")]
    if unknown := set(only) - {case.name for case in CASES}:
        raise SystemExit(f"whole: expected one of {'; '.join(case.name for case in CASES)}; got {unknown.pop()!r}")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    tf.config.threading.set_intra_op_parallelism_threads(CORES)
    tf.config.threading.set_inter_op_parallelism_threads(CORES)
    print(f"whole trainings, {CORES} threads; a ratio is the time of rnnzoo by that of the other")
    for case in CASES:
        if not only or case.name in only:
            measure(case, "--quick" in options)


def measure(case: Case, quick: bool = False) -> None:
    """Print a row for each contestant."""
    from rnnzoo.registry.names import find_config
    from rnnzoo.runs.building import load_task
    from rnnzoo.runs.config import load_config

    limit, epochs = (QUICK_EXAMPLES, 1) if quick else (case.limit, case.epochs)
    setup = load_config(find_config(case.config), [f"data.limit={limit}", f"training.epochs={epochs}", *case.changes])
    task = load_task(setup)
    begin = time.perf_counter()
    batches = Recorded.draw(task, setup.training.batch_size, epochs)
    drawing, steps = time.perf_counter() - begin, sum(map(len, batches.passes))
    names = [name for name in CONTESTANTS if batches.one_shape or "XLA" not in name]
    rounds = [compare(setup, task, batches, names)]
    if not quick:
        rounds.append(compare(setup, task, batches, names[::-1]))
    print(
        f"{case.name}: {limit} examples, {epochs} epochs, {steps} steps of {setup.training.batch_size}, "
        f"{len(batches.dev)} batches of dev; drawing {1e3 * drawing / (steps + len(batches.dev)):.1f} ms a batch"
    )
    print(f"  {'':12}{'seconds':>9}{'first':>8}{'dev loss':>10}{'accuracy':>10}{'ratio':>7}")
    best = {name: min(each[name] for each in rounds) for name in names if name in rounds[0]}
    for name, (seconds, first, loss, accuracy) in best.items():
        ratio = best["rnnzoo"].seconds / seconds
        print(f"  {name:12}{seconds:9.1f}{first:8.1f}{loss:10.4f}{accuracy:10.4f}{ratio:7.2f}", flush=True)


@dataclass(frozen=True)
class Recorded:
    """The batches of each epoch, and those of dev."""

    passes: Sequence[Sequence[Any]]
    dev: Sequence[Any]

    @classmethod
    def draw(cls, task: Any, size: int, epochs: int) -> Recorded:
        """As a training draws them."""
        passes = [
            [batch for _, batch in task.batches("train", size, np.random.default_rng((task.seed, number)))]
            for number in range(epochs)
        ]
        return cls(passes, [batch for _, batch in task.batches("dev", size)])

    @property
    def one_shape(self) -> bool:
        """Whether all targets have the same shape: XLA compiles for each."""
        return len({targets.shape for batches in (*self.passes, self.dev) for _, targets, _ in batches}) == 1

    def one_pass(self, split: str, size: int, training: bool, seed: Any, start: Any, number: int) -> Iterator[Any]:
        """In place of the method of a task; the pipeline may begin a pass after the last."""
        return iter(self.passes[number % len(self.passes)] if training else self.dev)


def compare(setup: Any, task: Any, batches: Recorded, names: Sequence[str]) -> dict[str, Figures]:
    """The figures of each contestant that is installed, from the same weights by the same batches."""
    import keras

    from rnnzoo.runs.building import build_model

    figures = {}
    with mock.patch.object(task, "_one_pass", batches.one_pass):
        for name in names:
            # The seed of the configuration draws the same weights each time.
            model = build_model(setup, task.encoder)
            try:
                figures[name] = CONTESTANTS[name](setup, task, model, batches)
            except ModuleNotFoundError as error:
                if error.name != "torch":
                    raise
            keras.backend.clear_session()
            gc.collect()
    return figures


def train_ours(setup: Any, task: Any, model: Any, batches: Recorded) -> Figures:
    """By `rnnzoo.training.fit`."""
    from rnnzoo.training import fit

    watch = stopwatch()
    # The lines of its progress are no part of the table.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        history = fit(
            model, task, setup.training, seed=setup.seed, run_dir=Path(folder), callbacks=[watch], logs=True
        )  # fmt: skip
    return Figures(*watch.times(), history["val_loss"][-1], history["val_accuracy"][-1])


def train_keras(setup: Any, task: Any, model: Any, batches: Recorded, xla: bool = False) -> Figures:
    """By `model.fit` of plain layers."""
    import keras

    from benchmarks.peers.plain_keras import BUILDERS, load
    from rnnzoo.training.optimization import make_optimizer

    config = setup.training
    size, steps = config.batch_size, len(batches.passes[0])
    plain = BUILDERS[setup.topology](setup.model, task.encoder, size)
    load(plain, arrays(model))
    plain.compile(make_optimizer(config, steps), task.loss(config), weighted_metrics=task.metrics(), jit_compile=xla)
    watch = stopwatch()
    history = plain.fit(
        task.dataset("train", size, training=True).repeat(),
        steps_per_epoch=steps,
        validation_data=task.dataset("dev", size, training=False),
        epochs=config.epochs,
        shuffle=False,
        verbose=0,
        callbacks=[keras.callbacks.SwapEMAWeights(swap_on_epoch=True), *task.callbacks(), watch],
    ).history
    return Figures(*watch.times(), history["val_loss"][-1], history["val_accuracy"][-1])


def train_torch(setup: Any, task: Any, model: Any, batches: Recorded) -> Figures:
    """By a loop over modules of PyTorch."""
    import torch

    from benchmarks.peers.plain_torch import NETWORKS, train
    from rnnzoo.training.optimization import make_schedule

    torch.set_num_threads(CORES)
    torch.manual_seed(setup.seed)
    network = NETWORKS[setup.topology](setup.model, task.encoder)
    network.load(arrays(model))
    schedule = make_schedule(setup.training, len(batches.passes[0]))
    steps = range(sum(map(len, batches.passes)))
    rates = [float(schedule(step)) if callable(schedule) else float(schedule) for step in steps]
    fresh = int(getattr(setup.data, "windows", 0))
    return Figures(*train(network, batches.passes, batches.dev, rates, setup.training, fresh))


CONTESTANTS: Mapping[str, Callable[..., Figures]] = {
    "rnnzoo": train_ours,
    "Keras": train_keras,
    "Keras + XLA": partial(train_keras, xla=True),
    "PyTorch": train_torch,
}


def arrays(model: Any) -> dict[str, np.ndarray]:
    """The weights of a model by their paths."""
    return {variable.path: variable.numpy() for variable in model.trainable_variables}


def stopwatch() -> Any:
    """A callback that times a training, from the end of its first batch."""
    import keras

    class Stopwatch(keras.callbacks.Callback):
        start = skipped = pause = 0.0

        def on_train_begin(self, logs: Any = None) -> None:
            self.begin = time.perf_counter()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.start = self.start or time.perf_counter()

        def on_test_begin(self, logs: Any = None) -> None:
            self.pause = self.pause or time.perf_counter()

        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            self.skipped = self.skipped or time.perf_counter() - self.pause

        def on_train_end(self, logs: Any = None) -> None:
            self.end = time.perf_counter()

        def times(self) -> tuple[float, float]:
            """Seconds of the training without what compiles, and of what compiles."""
            return self.end - self.start - self.skipped, self.start - self.begin + self.skipped

    return Stopwatch()
