"""Saved runs and bundles: a folder with the configuration, the weights and the encoder, and no code."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnzoo.errors import ConfigError, DataError
from rnnzoo.registry.layout import BUNDLE_FORMAT, CONFIG_FILE
from rnnzoo.runs.config import ExperimentConfig, dump_config, load_config
from rnnzoo.tasks.discovery import model_builder, task_class
from rnnzoo.util.files import json_bytes, publish
from streaming.errors import StreamingError

if TYPE_CHECKING:
    import keras

    from streaming.runtime.tasks.schema import TaskSpec

WEIGHTS_FILE = "weights.safetensors"
METRICS_FILE = "metrics.json"
VECTORS_FILE = "vectors.json"
_DTYPES = ("float32", "float16")
# Sizes that need no weight to vouch for them.
_SMALL = 4096
_OWN = (CONFIG_FILE, WEIGHTS_FILE, METRICS_FILE, VECTORS_FILE)
# An embedding's rows are the entries of one of the encoder's vocabularies.
TABLES = {
    "word_embedding": "words.txt",
    "char_embedding": "chars.txt",
    "affix_embedding": "affixes.txt",
    "source_embedding": "source.json",
    "target_embedding": "target.json",
}


@dataclass(frozen=True)
class Run:
    """A trained model and everything that it needs.

    Args:
        path: its folder.
        config: of its training.
        model: with its weights.
        encoder: raw input to arrays, and the labels.
        metrics: the figures that were saved with it.
    """

    path: Path
    config: ExperimentConfig
    model: keras.Model
    encoder: Any
    metrics: dict[str, Any]

    @property
    def task(self) -> TaskSpec:
        """Specification of the task for a streaming file made from this run."""
        return task_class(self.config.topology).spec(self.config.data, self.encoder)


def save_run(
    path: str | Path,
    model: keras.Model,
    config: ExperimentConfig,
    files: Mapping[str, bytes],
    metrics: Mapping[str, Any],
    dtype: str = "float32",
) -> Path:
    """Write a run atomically: afterwards the folder has either the whole run or its old content.

    Args:
        path: the folder; a run that is there is replaced.
        model: its weights are written, by the names of its variables.
        config: resolved.
        files: of the encoder, as `encoder.to_files()` gives them.
        metrics: anything that JSON takes; NaN is written as null.
        dtype: of the stored weights, `float32` or `float16`.

    Raises:
        ConfigError: `dtype` is unknown, the folder holds something else, or cannot be written.
    """
    from rnnzoo.training.checkpoint import write_weights

    if dtype not in _DTYPES:
        raise ConfigError(f"expected a dtype of weights among {', '.join(_DTYPES)}; received {dtype!r}")
    path = Path(os.path.abspath(path))
    check_free(path, overwrite=True)
    _check_unique(model)
    texts = {
        CONFIG_FILE: dump_config(config).encode(),
        METRICS_FILE: json_bytes(metrics),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
        try:
            write_weights(model, part / WEIGHTS_FILE, dtype)
            for name, data in {**texts, **files}.items():
                (part / name).write_bytes(data)
            publish(part, path)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise ConfigError(f"cannot write {path} ({error.strerror}); choose another folder") from error
    return path


def load_run(path: str | Path) -> Run:
    """Build the model that a run's configuration describes, and give it the run's weights.

    Raises:
        ConfigError: the folder is no run, its configuration says something unknown, or a newer version made it.
        DataError: the encoder or the weights are missing, damaged, or do not fit.
    """
    from rnnzoo.training.checkpoint import read_weights

    path = Path(path)
    check_run(path)
    metrics = read_metrics(path)
    config = load_config(path / CONFIG_FILE)
    _check_sizes(config, path)
    encoder = read_encoder(path, config)
    model = model_builder(config.topology)(config.model, encoder)
    _check_tables(model, encoder, path)
    read_weights(model, path / WEIGHTS_FILE)
    return Run(path, config, model, encoder, metrics)


def read_files(path: Path) -> dict[str, bytes]:
    """The encoder's files of a run by name."""
    names = sorted(item.name for item in path.iterdir() if item.suffix in (".txt", ".json"))
    return {name: (path / name).read_bytes() for name in names if name not in _OWN}


def count_parameters(path: Path) -> int:
    """Numbers in the weights of a run, from the head of the file."""
    return sum(math.prod(shape) for shape in _shapes(path).values())


def weights_dtype(path: Path) -> str:
    """`float32` or `float16`: how the weights of a run are stored."""
    from safetensors.numpy import load

    # Counters and the like stay what they are.
    kinds = {str(array.dtype) for array in load((path / WEIGHTS_FILE).read_bytes()).values()}
    return next((dtype for dtype in _DTYPES if dtype in kinds), _DTYPES[0])


def read_metrics(run: Path) -> dict[str, Any]:
    """The content of a run's `metrics.json`; empty where there is none.

    Raises:
        DataError: the file is damaged.
        ConfigError: a newer version made it.
    """
    path = run / METRICS_FILE
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no JSON ({error}); restore or remove it") from error
    if not isinstance(metrics, dict):
        raise DataError(f"{path}: expected an object with metrics; received {type(metrics).__name__}")
    if (made := metrics.get("format", BUNDLE_FORMAT)) != BUNDLE_FORMAT:
        raise ConfigError(
            f"{path.parent} is a bundle of format {made}, made by a newer version; this one reads {BUNDLE_FORMAT}: "
            "pip install --upgrade rnnzoo"
        )
    return metrics


def check_run(path: Path) -> None:
    """Refuse a folder that is not a run.

    Raises:
        ConfigError: it is not.
    """
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (path / name).is_file():
            raise ConfigError(f"{path} is no saved run: {name} is missing; expected a folder `rnnzoo train` made")


def check_free(path: Path, overwrite: bool) -> None:
    """Refuse a target folder that is not free.

    Raises:
        ConfigError: the folder has a run and `overwrite` is false, or something that is not a run.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / CONFIG_FILE).is_file():
        raise ConfigError(f"{path} exists and is no saved run: choose another folder")
    if not overwrite:
        raise ConfigError(f"{path} holds a saved run: choose another folder, or allow it with --overwrite")


def _check_unique(model: keras.Model) -> None:
    paths = [variable.path for variable in model.weights]
    twice = next((name for name in paths if paths.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"two weights are called {twice!r}; give each layer of the model a name of its own")


def read_encoder(path: Path, config: ExperimentConfig) -> Any:
    """The encoder of a run; raises DataError where its files are missing or damaged."""
    try:
        return task_class(config.topology).read_encoder(read_files(path), config.data)
    except StreamingError as error:
        raise DataError(f"{path}: {error}") from error


def _check_sizes(config: ExperimentConfig, path: Path) -> None:
    """Refuse a model that no weights of the file could fill, before memory is taken for it."""
    largest = max([_SMALL, *(size for shape in _shapes(path).values() for size in shape)])
    for key, value in dataclasses.asdict(config.model).items():
        for number in value if isinstance(value, tuple | list) else [value]:
            if isinstance(number, int) and number > largest:
                raise DataError(
                    f"{path}: model.{key} is {number}, and no weight in {WEIGHTS_FILE} is larger than {largest}; "
                    "take both from one run"
                )


def _check_tables(model: keras.Model, encoder: Any, path: Path) -> None:
    """Name the vocabulary where reading the weights would only name a shape."""
    shapes = _shapes(path)
    for variable in model.weights:
        table, rows = TABLES.get(variable.path.split("/")[0]), shapes.get(variable.path, [0])[0]
        if table and rows and rows != variable.shape[0]:
            raise DataError(
                f"{path}: {table} does not fit the weights: with padding and unknown it has "
                f"{variable.shape[0]} entries, {variable.path} has {rows} rows; take both from one run"
            )
    count, labels = shapes.get("logits/bias", [0])[0], len(encoder.labels)
    if count and count != labels:
        raise DataError(
            f"{path}: labels.txt does not fit the weights: it has {labels} entries, logits/bias has {count}; "
            "take both from one run"
        )


def _shapes(path: Path) -> dict[str, list[int]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path / WEIGHTS_FILE, "numpy") as stored:
            return {name: stored.get_slice(name).get_shape() or [0] for name in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path / WEIGHTS_FILE} is no file of weights ({error}); train or copy it anew") from error
