"""Costs of the zoo's models: parameters, multiply-adds of a step, and bytes of state of a stream."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from rnnzoo.registry import layout
from rnnzoo.registry.layout import bundle_paths, config_paths
from rnnzoo.runs.building import build_model
from rnnzoo.runs.config import ExperimentConfig
from rnnzoo.runs.store import count_parameters, read_metrics
from rnnzoo.tasks.discovery import task_class
from rnnzoo.util.files import write_text

if TYPE_CHECKING:
    import keras

# Of all models: those without a streaming file have to be built and converted. tools/make_costs.py writes it.
RECORD = "zoo_configs/costs.csv"
STREAMED = "float32.tflite"
_FIELDS = ("name", "parameters", "multiply_adds", "state_bytes", "not_streamable", "config")
# What the costs hang on; how long a model trains is not among it.
_SECTIONS = ("topology", "data", "model")


class Costs(NamedTuple):
    """The costs of a model.

    Args:
        parameters: numbers in its weights.
        multiply_adds: of one step of a stream, and where it does not stream of one more step of a whole sequence; None
            where that cannot be said.
        state_bytes: of one stream; None where it does not stream.
        not_streamable: why it does not stream; empty where it does.
    """

    parameters: int
    multiply_adds: int | None = None
    state_bytes: int | None = None
    not_streamable: str = ""


def find_costs(name: str) -> Costs | None:
    """The costs of a model of the zoo: of its bundle, else as recorded; None where its record is not up to date."""
    bundle, recorded = bundle_paths().get(name), _recorded(name)
    if bundle is None:
        return recorded
    parameters = count_parameters(bundle)
    if (bundle / STREAMED).is_file():
        return Costs(parameters, *stream_costs(bundle / STREAMED))
    reason = read_metrics(bundle).get("test", {}).get("not_streamable", "its bundle has no streaming file")
    return Costs(parameters, recorded and recorded.multiply_adds, not_streamable=reason)


def recorded_models() -> list[str]:
    """The names of the models without a streaming file, whose costs have to be in the record."""
    bundles = bundle_paths()
    return [name for name in config_paths() if name not in bundles or not (bundles[name] / STREAMED).is_file()]


def measure_costs(config: ExperimentConfig, encoder: Any) -> Costs:
    """The same of an experiment, by building it with fresh weights and converting it."""
    import streaming
    from rnnzoo.util.quiet import held_stderr

    model = build_model(config, encoder)
    options = task_class(config.topology).conversion(config.data)
    with tempfile.TemporaryDirectory() as folder, held_stderr():
        path = Path(folder) / STREAMED
        try:
            streaming.convert(model, path, verify=False, **options)
        except streaming.NotStreamableError as error:
            return Costs(model.count_params(), whole_multiply_adds(model, options), not_streamable=str(error))
        return Costs(model.count_params(), *stream_costs(path))


def whole_multiply_adds(model: keras.Model, options: Mapping[str, Any]) -> int | None:
    """Multiply-adds that a sequence takes for one more step, of a model that needs it whole.

    In a chunk of a bidirectional model, one more step costs a step of all layers in both directions; the first step of
    a layer costs less, since it begins at zeros.

    Args:
        model: bidirectional.
        options: for `streaming.convert`.

    Returns:
        None where the model does not stream for another reason.
    """
    import streaming
    from streaming.inspection import describe

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / STREAMED
        try:
            streaming.convert(model, path, chunk=2, lookahead=0, verify=False, **options)
        except streaming.NotStreamableError:
            return None
        signatures = describe(path)["signatures"]
    return int(signatures["chunk_2"]["multiply_adds"] - signatures["step"]["multiply_adds"])


def stream_costs(path: Path) -> tuple[int, int]:
    """Multiply-adds of a step and bytes of a stream's state, of a streaming file."""
    from streaming.inspection import describe

    description = describe(path)
    step = next(iter(description["signatures"].values()))
    return step["multiply_adds"] // description["chunk"], description["state_bytes"]


def write_record(costs: Mapping[str, Costs]) -> Path:
    """Write the record again: a line for each model; for models with a streaming file, from that file.

    An installation lists models whose files it does not hold.

    Returns:
        Its path.
    """
    bundles, configs = bundle_paths(), config_paths()
    streamed = [name for name in configs if name in bundles and (bundles[name] / STREAMED).is_file()]
    held = {name: Costs(count_parameters(bundles[name]), *stream_costs(bundles[name] / STREAMED)) for name in streamed}
    costs = {**held, **costs}
    text = io.StringIO()
    writer = csv.DictWriter(text, _FIELDS, lineterminator="\n")
    writer.writeheader()
    for name, row in sorted(costs.items()):
        writer.writerow({"name": name, **row._asdict(), "config": _digest(config_paths()[name])})
    write_text(record_path(), text.getvalue())
    return record_path()


def record_path() -> Path:
    """Path of the record."""
    return layout.root() / RECORD


def _recorded(name: str) -> Costs | None:
    path, config = record_path(), config_paths().get(name)
    if config is None or not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        row = next((row for row in csv.DictReader(file) if row["name"] == name), None)
    if row is None or row["config"] != _digest(config):
        return None
    multiply_adds, state_bytes = (int(row[key]) if row[key] else None for key in ("multiply_adds", "state_bytes"))
    return Costs(int(row["parameters"]), multiply_adds, state_bytes, row["not_streamable"])


def _digest(config: Path) -> str:
    """Hash of what a file says, not of what it leaves to defaults: a new option does not change a model."""
    tree = yaml.safe_load(config.read_text(encoding="utf-8"))
    said = json.dumps({key: tree.get(key) for key in _SECTIONS}, sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:12]
