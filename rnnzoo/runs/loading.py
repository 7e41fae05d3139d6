"""Trained models for Python: compiled, with the encoding of raw input, ready for further training."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.source import SPLITS
from rnnzoo.errors import DataError
from rnnzoo.hub.download import download
from rnnzoo.runs.store import Run, check_run, load_run
from rnnzoo.tasks.discovery import task_class

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.source import Example
    from rnnzoo.tasks.base import Task


@dataclasses.dataclass(frozen=True)
class Pretrained(Run):
    """A run whose model is compiled with the loss that it was trained with, and a constant learning rate.

    `model`, `encoder`, `config` and `metrics` are those of `Run`; `model.save("name.keras")` saves it as Keras does.
    """

    def batches(self, examples: Iterable[Example], batch_size: int = 32, *, training: bool = True) -> Any:
        """Batches of a user's examples for `model.fit` and `model.evaluate`.

        Args:
            examples: pairs of raw input and raw target, as the data sets of the task have them: words and tags for a
                tagger, words and a label for a classifier of texts, rows (T, D) and a label for one of rows, samples
                and a label for a keyword spotter, ...
            batch_size: sequences in a batch.
            training: shuffle and augment them in each epoch.

        Returns:
            A `keras.utils.PyDataset` of (inputs by name, targets, weights): padding and unknown labels have weight 0.

        Raises:
            DataError: there is no example, or one is not what the task takes.
        """
        from rnnzoo.tasks.pydataset import BatchesOf

        task = self._task(list(examples))
        try:
            return BatchesOf(task, batch_size, training)
        except (TypeError, ValueError, AttributeError, IndexError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"expected pairs of raw input and raw target of the kind {' or '.join(task.kinds)}; one is none "
                f"({error})"
            ) from error

    def encode(self, raw: Any) -> dict[str, NDArray[Any]]:
        """One raw input as a batch of one for `model.predict`: a list of words, rows (T, D), samples, ..."""
        return {name: np.asarray(array)[None] for name, array in self.encoder.encode(raw).items()}

    def _task(self, examples: list[Example]) -> Task:
        if not examples:
            raise DataError("expected examples, pairs of raw input and raw target; received none")
        return task_class(self.config.topology)(
            self.config.data, self.encoder, dict.fromkeys(SPLITS, examples), self.config.seed
        )


def load_pretrained(
    source: str | Path,
    *,
    url: str | None = None,
    cache_dir: str | Path | None = None,
    revision: str | None = None,
    offline: bool = False,
) -> Pretrained:
    """A pretrained model by its name, or a run by its folder, compiled and ready for `fit`.

    Args:
        source: such as `intent-clinc` or `runs/mine`.
        url, cache_dir, revision, offline: of a download, as `rnnzoo.download` takes them.

    Raises:
        HubError: as `rnnzoo.download`.
        ConfigError, DataError: the folder is no run, is damaged, or a newer version made it.
    """
    path = Path(source)
    if not path.is_dir():
        if os.sep in str(source):
            check_run(path)
        path = download(str(source), url=url, cache_dir=cache_dir, revision=revision, offline=offline)
    run = load_run(path)
    _compile(run)
    return Pretrained(**{field.name: getattr(run, field.name) for field in dataclasses.fields(run)})


def load(source: str | Path, **options: Any) -> keras.Model:
    """The model of `load_pretrained`, which says what it takes and raises."""
    return load_pretrained(source, **options).model


def _compile(run: Run) -> None:
    from rnnzoo.training.fitting import compile_model

    task = task_class(run.config.topology)(run.config.data, run.encoder, {})
    task.training_model(run.model, 1)  # the loss of a chain of labels needs its layer
    compile_model(run.model, task, dataclasses.replace(run.config.training, schedule="constant", warmup=0.0), 1)
    run.model.optimizer.build(run.model.trainable_variables)
