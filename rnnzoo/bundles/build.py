"""Makes a publishable bundle of a run: ready files, figures, a card, and an entry in the manifest."""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streaming
from rnnzoo.bundles.cards import Notes, read_notes, terms_behind, write_card
from rnnzoo.bundles.reference import REFERENCE_FILE, make_reference
from rnnzoo.data.terms import terms_of
from rnnzoo.errors import ConfigError, DataError
from rnnzoo.hub.manifest import Manifest, describe_bundle, dump_manifest, hash_file, parse_manifest
from rnnzoo.registry import layout
from rnnzoo.registry.layout import BUNDLE_FORMAT, CONFIG_FILE, KINDS, MANIFEST, bundle_paths
from rnnzoo.runs.config import load_config
from rnnzoo.runs.ledger import record_look
from rnnzoo.runs.provenance import commit, train_command
from rnnzoo.runs.store import (
    METRICS_FILE,
    VECTORS_FILE,
    WEIGHTS_FILE,
    Run,
    load_run,
    read_files,
    read_metrics,
    weights_dtype,
)
from rnnzoo.tasks.front_end import with_front_end
from rnnzoo.util import licences
from rnnzoo.util.files import publish, write_json
from streaming.vectors import make_vectors

if TYPE_CHECKING:
    from streaming.runtime.model import StreamingModel

CARD_FILE, MICRO_FILE = "card.md", "micro.tflite"
# Tasks whose models are for microcontrollers too, beside classifiers of rows.
_MICRO = ("keyword_spotter", "sequence_tagger", "anomaly_detector", "controller")
# What continuous integration measures anew: the first examples of the development split.
CHECK_SPLIT, CHECK_EXAMPLES = "dev", 200


def make_bundle(source: Path, to: Path, *, test: Mapping[str, Any] | None = None, made: str | None = None) -> Path:
    """Make the bundle of a run: a folder that is replaced whole.

    Args:
        source: folder of the run (a bundle is one too, and is then made again).
        to: the folder of all bundles; the name of this one is that of the run's configuration.
        test: the result of `evaluate_run` on the test split; None measures it now.
        made: the commit that trained it, where the run does not say.

    Returns:
        The bundle's folder.

    Raises:
        ConfigError: the run has no text for its card, or the folder cannot be written.
        DataError: the run is damaged, its data cannot be found, or their terms are not known.
    """
    run = load_run(source)
    name = run.config.name
    notes = read_notes(name)
    terms_of(run.config.data.dataset)
    if test is not None and (test.get("name"), test.get("split")) != (name, "test"):
        came = f"{test.get('name')} on {test.get('split')}"
        raise ConfigError(f"expected figures of {name} on its test split; received those of {came}: measure anew")
    to.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=to, prefix=f".{name}.", suffix=".part"))
    try:
        _fill(part, run, notes, test, made)
        publish(part, to / name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return to / name


def rewrite_bundle(source: Path, to: Path) -> Path:
    """Make the streaming files, vectors and card of a bundle again from its weights; keeps the measured figures.

    Args:
        source: the bundle's folder.
        to: the folder of all bundles, in which this one is replaced whole.

    Returns:
        The bundle's folder.

    Raises:
        ConfigError: the run has no text for its card, or the folder cannot be written.
        DataError: the bundle is damaged, or has no figures.
        StreamingError: the model cannot be converted, or its stream differs.
    """
    run = load_run(source)
    notes = read_notes(run.config.name)
    if not (run.metrics.get("made") and run.metrics.get("test")):
        raise DataError(f"{source} has no figures to keep: make it with rnnzoo bundle")
    to.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=to, prefix=f".{run.config.name}.", suffix=".part"))
    try:
        made = {
            METRICS_FILE,
            CARD_FILE,
            REFERENCE_FILE,
            VECTORS_FILE,
            MICRO_FILE,
            *(path.name for path in ready_files(source).values()),
        }
        for path in source.iterdir():
            if path.name not in made:
                shutil.copyfile(path, part / path.name)
        files, why = _convert(run, part)
        test = {kind: figures for kind, figures in run.metrics["test"].items() if kind != "not_streamable"}
        test |= {kind: {**test.get(kind, {}), **_file_figures(path)} for kind, path in files.items()}
        metrics = {**run.metrics, "test": test | ({"not_streamable": why} if why else {})}
        metrics["made"] = {**metrics["made"], "weights": hash_file(part / WEIGHTS_FILE)}
        metrics |= _micro(run, part)
        write_json(part / METRICS_FILE, metrics)
        (part / CARD_FILE).write_text(write_card(run.config, metrics, notes), encoding="utf-8")
        publish(part, to / run.config.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return to / run.config.name


def _fill(part: Path, run: Run, notes: Notes, test: Mapping[str, Any] | None, made: str | None) -> None:
    from rnnzoo.runs.experiment import evaluate_run

    for file in (CONFIG_FILE, WEIGHTS_FILE):
        shutil.copyfile(run.path / file, part / file)
    for file, data in read_files(run.path).items():
        (part / file).write_bytes(data)
    files, why = _convert(run, part)
    figures = dict(test or evaluate_run(run, "test", files=files))
    record_look(run.config, hash_file(part / WEIGHTS_FILE), figures)
    # Figures measured on a conversion of the same weights; what they say of the file is said of this one.
    figures |= {kind: {**figures.get(kind, {}), **_file_figures(path)} for kind, path in files.items()}
    if why:
        figures["not_streamable"] = why
    dtype = weights_dtype(run.path)
    earlier = run.metrics.get("made") or {}
    metrics = {
        "format": BUNDLE_FORMAT,
        "name": run.config.name,
        "dataset": run.config.data.dataset,
        "parameters": run.model.count_params(),
        "dev": run.metrics.get("dev", {}),
        "dtype": dtype,
        "test": {key: value for key, value in figures.items() if isinstance(value, dict) or key == "not_streamable"},
        "check": {"split": CHECK_SPLIT, "limit": CHECK_EXAMPLES}
        | _figures(evaluate_run(run, CHECK_SPLIT, files=files, limit=CHECK_EXAMPLES)),
        "made": {
            "command": earlier.get("command") or train_command(run.config, dtype),
            "commit": made or earlier.get("commit") or commit(),
            # Ready files are used only beside the weights that they were made from.
            "weights": hash_file(part / WEIGHTS_FILE),
        },
        "history": run.metrics.get("history", {}),
    }
    if pictures := _draw(run, files, part):
        metrics["pictures"] = pictures
    metrics |= _micro(run, part)
    write_json(part / METRICS_FILE, metrics)
    (part / CARD_FILE).write_text(write_card(run.config, metrics, notes), encoding="utf-8")


def _draw(run: Run, files: Mapping[str, Path], part: Path) -> dict[str, str]:
    """The pictures of the card, in the bundle: file name -> what it shows. Those of keyword spotters only."""
    if run.config.topology != "keyword_spotter" or not files:
        return {}
    from rnnzoo.runs.building import load_task
    from rnnzoo.tasks.keyword_spotter.measures import streamed

    task: Any = load_task(run.config, run.encoder)
    drawn = task.draw_trade(streamed(streaming.pipeline(files["int8"])), "test", part)
    return {path.name: "Misses against false alarms, int8, streamed and never reset" for path in drawn}


def _convert(run: Run, part: Path) -> tuple[dict[str, Path], str | None]:
    """The ready files by kind, and why there are none."""
    from rnnzoo.runs.export import export_kind

    files = {kind: part / f"{kind}.tflite" for kind in KINDS}
    try:
        for kind, path in files.items():
            export_kind(run, path, kind)
    except streaming.NotStreamableError as error:
        return {}, str(error)
    exact: StreamingModel = streaming.load(files["float32"])
    made = json.dumps(make_vectors(exact), ensure_ascii=False, allow_nan=False)
    (part / VECTORS_FILE).write_text(made, encoding="utf-8")
    (part / REFERENCE_FILE).write_bytes(make_reference(with_front_end(run.model, run.task)[0], exact))
    return files, None


def _micro(run: Run, part: Path) -> dict[str, Any]:
    """Write the file for microcontrollers, and return `micro`, what it needs, for tasks that are small enough.

    Without TFLM, which measures it, there is none.
    """
    rows = run.config.topology == "classifier" and getattr(run.config.data, "input", "") == "rows"
    if not (rows or run.config.topology in _MICRO) or importlib.util.find_spec("tflite_micro") is None:
        return {}
    from rnnzoo.runs.export import export_run
    from streaming.runtime import artifact
    from streaming.runtime.micro import least_arena

    path = part / MICRO_FILE
    report = export_run(run, path, target="micro")
    arena = least_arena(artifact.read(path).flatbuffer)
    sizes = {"size_bytes": path.stat().st_size, "arena_bytes": arena, "state_bytes": report.state_bytes}
    return {"micro": {**sizes, "max_abs_error": report.max_abs_error}}


def _file_figures(path: Path) -> dict[str, Any]:
    meta = streaming.load(path).metadata
    return {
        "size_bytes": path.stat().st_size,
        "delay": meta.delay,
        "max_abs_error": meta.verification.max_abs_error,
    }


def read_figures(path: Path) -> dict[str, Any]:
    """Reads the figures that `rnnzoo evaluate --json` wrote; raises ConfigError where it is something else."""
    try:
        evaluation = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot read the figures in {path} ({error}); write them with rnnzoo evaluate --json"
        ) from None
    if not isinstance(evaluation, dict) or not isinstance(evaluation.get("offline"), dict):
        raise ConfigError(f"{path} holds no figures of a run; write them with rnnzoo evaluate --json")
    return evaluation


def ready_files(bundle: Path) -> dict[str, Path]:
    """The ready files of a bundle by kind; empty for a model that cannot be streamed."""
    return {kind: path for kind in KINDS if (path := bundle / f"{kind}.tflite").is_file()}


def build_manifest() -> Manifest:
    """The manifest of the bundles in `pretrained/`; the serial is raised by one if it differs from the last."""
    path = layout.root() / MANIFEST
    last = parse_manifest(path.read_bytes(), str(path)) if path.is_file() else Manifest(0, {})
    bundles = {}
    for name, folder in bundle_paths().items():
        command = read_metrics(folder)["made"]["command"]
        terms = terms_behind(load_config(folder / CONFIG_FILE), command)
        data = licences.together(item.licence for item in terms)
        bundles[name] = describe_bundle(folder, licence=licences.licence_of_weights(data), data_licence=data)
    return last if bundles == last.bundles else Manifest(last.serial + 1, bundles)


def write_manifest() -> Path:
    """Write the manifest of the bundles in `pretrained/`, and return its path."""
    path = layout.root() / MANIFEST
    path.parent.mkdir(exist_ok=True)
    path.write_text(dump_manifest(build_manifest()), encoding="utf-8", newline="\n")
    return path


def _figures(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in evaluation.items() if isinstance(value, dict)}
