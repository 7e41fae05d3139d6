"""Training on UD English EWT and Multi30k: tokens a second, and the share of time outside the model's own step."""

from __future__ import annotations

import platform
import tempfile
import time
from pathlib import Path
from typing import Any

# Epochs to train of each configuration.
EPOCHS = {"tagger-en-ewt-stream": 4, "translate-en-de": 2}


def main() -> None:
    """Measure all of them."""
    for config, epochs in EPOCHS.items():
        measure(config, epochs)


def measure(config: str, epochs: int, limit: int | None = None) -> None:
    """Print a line an epoch, and the figures of the one with the least time outside the step.

    An epoch is measured from its first batch to its last, as `rnnzoo train` runs it: reading, shuffling and padding,
    snapshots, the metrics, the progress line. Inside of it, the time in the compiled training step is summed up; what
    is left is outside. The first epoch also compiles. Measuring on `dev` between epochs is training's own cost and
    counted apart.

    Args:
        config: a name of the zoo.
        epochs: two or more.
        limit: train on the first so many sentences only.
    """
    import keras
    import tensorflow as tf

    from rnnzoo.registry.names import find_config
    from rnnzoo.runs.building import build_model, load_task
    from rnnzoo.runs.config import load_config
    from rnnzoo.training import fit

    changes = [f"training.epochs={epochs}", f"data.limit={'null' if limit is None else limit}"]
    setup = load_config(find_config(config), changes)
    problem = load_task(setup)
    model = build_model(setup, problem.encoder)
    name = problem.input_names[0]
    tokens = sum(len(row[name]) for row in problem.arrays("train"))
    print(
        f"{config} on {setup.data.dataset}: {tokens:,} tokens an epoch, {model.count_params():,} parameters, batches "
        f"of {setup.training.batch_size}; tensorflow {tf.__version__}, keras {keras.__version__}, "
        f"Python {platform.python_version()}"
    )
    stopwatch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        fit(
            model,
            problem,
            setup.training,
            seed=1,
            run_dir=Path(folder),
            callbacks=[stopwatch.callback()],
            logs=True,
        )
    best = min(stopwatch.epochs[1:] or stopwatch.epochs, key=lambda epoch: 1 - epoch[1] / epoch[0])
    for number, (whole, inside) in enumerate(stopwatch.epochs, 1):
        print(f"epoch {number}: {tokens / whole:,.0f} tokens/s, {1 - inside / whole:.1%} outside the step")
    whole, inside = best
    print(f"best: {tokens / whole:,.0f} tokens/s, {1 - inside / whole:.1%} outside the step (target: at most 10 %)")


class Stopwatch:
    """Time of whole epochs, and of the training steps in them.

    `epochs` has (seconds from the first batch to the last, seconds in steps) of each.
    """

    def __init__(self) -> None:
        self.epochs: list[tuple[float, float]] = []
        self._inside = self._last = self._began = 0.0

    def callback(self) -> Any:
        """To be given to `fit`, last."""
        import keras

        watch = self

        class Callback(keras.callbacks.Callback):
            def on_train_begin(self, logs: Any = None) -> None:
                step = self.model.train_function

                def timed(iterator: Any) -> Any:
                    # The next batch is fetched here and not by the step, so that waiting for it is not counted.
                    batch = next(iterator)
                    began = time.perf_counter()
                    result = step(iter([batch]))
                    for value in result.values():
                        value.numpy()
                    watch._inside += time.perf_counter() - began
                    return result

                self.model.train_function = timed

            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                watch._inside, watch._last, watch._began = 0.0, 0.0, time.perf_counter()

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                watch._last = time.perf_counter()

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                watch.epochs.append((watch._last - watch._began, watch._inside))

        return Callback()


if __name__ == "__main__":
    main()
