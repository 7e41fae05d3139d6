"""One function for each command: it takes parsed arguments, calls a plain function and prints the result."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from rnnzoo.util.backend import EXPORTING, check_backend


def train(arguments: argparse.Namespace) -> None:
    """`rnnzoo train`."""
    from rnnzoo.bundles.cards import figure
    from rnnzoo.cli.show import print_data
    from rnnzoo.registry.names import config_path
    from rnnzoo.runs.config import load_config
    from rnnzoo.runs.experiment import run_experiment

    check_backend()
    config = load_config(config_path(arguments.config), arguments.overrides)
    out = arguments.out or Path("runs") / config.name
    options = {
        "dtype": arguments.dtype,
        "overwrite": arguments.overwrite,
        "strategy": arguments.strategy,
        "start": run_path(arguments.start) if arguments.start else None,
    }
    metrics = run_experiment(config, out, **options, announce=print_data)
    name, value = next(iter(metrics["dev"].items()))
    print(f"saved {out}: dev {name} {figure(name, value)}, {metrics['parameters']:,} parameters")
    print(f"next: rnnzoo evaluate {out}")


def sweep(arguments: argparse.Namespace) -> None:
    """`rnnzoo sweep`."""
    from rnnzoo.cli.show import print_sweep
    from rnnzoo.registry.names import config_path
    from rnnzoo.runs.config import load_config
    from rnnzoo.runs.sweep import parse_grid, run_sweep

    check_backend()
    path, grid = config_path(arguments.config), parse_grid(arguments.overrides)
    out = arguments.out or Path("runs") / f"{load_config(path).name}.sweep"
    print_sweep(run_sweep(path, grid, out), list(grid), out)


def compare(arguments: argparse.Namespace) -> None:
    """`rnnzoo compare`."""
    from rnnzoo.cli.show import print_rows
    from rnnzoo.runs.compare import compare_runs

    print_rows(compare_runs([run_path(source) for source in arguments.sources]))


def diagnose(arguments: argparse.Namespace) -> None:
    """`rnnzoo diagnose`."""
    from rnnzoo.errors import UsageError

    check_backend(EXPORTING)
    if arguments.demonstration == (arguments.source is not None):
        raise UsageError("expected a run, a configuration or --demonstration, one of them")
    if arguments.demonstration:
        from rnnzoo.training.demonstration import demonstrate

        findings, plots = demonstrate(arguments.out)
    else:
        from rnnzoo.runs.diagnosis import diagnose_source

        findings, plots = diagnose_source(arguments.source, arguments.overrides, arguments.out)
    for line in findings:
        print(line)
    for plot in plots:
        print(f"wrote {plot}")


def evaluate(arguments: argparse.Namespace) -> None:
    """`rnnzoo evaluate`."""
    from rnnzoo.cli.show import print_evaluation
    from rnnzoo.errors import UsageError
    from rnnzoo.hub.manifest import hash_file
    from rnnzoo.runs.experiment import draw_run, evaluate_run, figures_csv
    from rnnzoo.runs.ledger import record_look
    from rnnzoo.runs.store import WEIGHTS_FILE, load_run
    from rnnzoo.util.files import write_json, write_text

    check_backend(EXPORTING)
    for path in (arguments.json, arguments.csv):
        if path and not path.absolute().parent.is_dir():
            raise FileNotFoundError(2, "the folder does not exist", str(path.parent))
    if arguments.audio or arguments.false_alarms is not None:
        _listen(arguments)
        return
    if arguments.labels or arguments.save or arguments.skip_bad:
        raise UsageError("--labels and --skip-bad go with --audio, --save with --false-alarms; give one of these")
    run = load_run(run_path(arguments.source))
    split = arguments.split or "test"
    evaluation = evaluate_run(run, split)
    # Shown first: what cannot be written is not lost.
    print_evaluation(evaluation)
    if ledger := record_look(run.config, hash_file(run.path / WEIGHTS_FILE), evaluation):
        print(f"a look at the test split: noted in {ledger}")
    if arguments.json:
        write_json(arguments.json, evaluation)
    if arguments.csv:
        write_text(arguments.csv, figures_csv(evaluation))
    for path in draw_run(run, split, arguments.plots) if arguments.plots else ():
        print(f"wrote {path}")


def _listen(arguments: argparse.Namespace) -> None:
    """`rnnzoo evaluate --audio` and `--false-alarms`."""
    from rnnzoo.cli.show import print_listening
    from rnnzoo.errors import UsageError
    from rnnzoo.runs.spotting import listen_to_files, listen_to_split, save_threshold
    from rnnzoo.runs.store import load_run
    from rnnzoo.util.files import write_json

    if arguments.csv:
        raise UsageError("--csv holds the figures of a split; --json writes those of thresholds")
    path = Path(arguments.source)
    is_file = path.suffix == ".tflite" and path.is_file()
    if is_file and (arguments.save or not arguments.audio):
        raise UsageError(f"{path} is a streaming file: give --audio, and --threshold to `rnnzoo export`")
    run, split = None if is_file else load_run(run_path(arguments.source)), arguments.split or "dev"
    if arguments.audio and arguments.split:
        raise UsageError("--audio measures those recordings, --split a part of the data set: give one of them")
    if arguments.audio:
        split, given = "", (arguments.audio, arguments.labels, arguments.false_alarms, arguments.skip_bad)
        listening = listen_to_files(run or path, *given)
    else:
        listening = listen_to_split(run, split, arguments.false_alarms)  # type: ignore[arg-type]
    print_listening(listening, split != "dev")
    if arguments.json:
        write_json(arguments.json, listening.summary())
    if arguments.plots:
        print(f"wrote {listening.draw(arguments.plots)}")
    if arguments.save:
        if listening.chosen is None or run is None:
            raise UsageError("--save needs a threshold that was found: give --false-alarms, or allow more of them")
        save_threshold(run, listening.chosen)
        print(f"saved threshold {listening.chosen:g} to {run.path}")


def export(arguments: argparse.Namespace) -> None:
    """`rnnzoo export`."""
    from rnnzoo.runs.export import export_run
    from rnnzoo.runs.store import load_run

    check_backend(EXPORTING)
    quantize = None if arguments.quantize == "none" else arguments.quantize
    chosen = {name: getattr(arguments, name) for name in ("threshold", "smoothing", "refractory")}
    settings: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    if arguments.background is not None:
        settings["background"] = tuple(label.strip() for label in arguments.background.split(",") if label.strip())
    run = load_run(run_path(arguments.source))
    print(
        export_run(
            run, arguments.out, quantize, target=arguments.target, settings=settings, features=arguments.features
        )
    )


def bundle(arguments: argparse.Namespace) -> None:
    """`rnnzoo bundle`."""
    from rnnzoo.bundles.build import make_bundle, read_figures, write_manifest
    from rnnzoo.registry.layout import bundles_folder

    check_backend(EXPORTING)
    to = arguments.to or bundles_folder()
    test = read_figures(arguments.test) if arguments.test else None
    made = make_bundle(run_path(arguments.source), to, test=test, made=arguments.commit)
    size = sum(path.stat().st_size for path in made.iterdir())
    print(f"made {made}: {size / 1e6:.2f} MB")
    if to.resolve() == bundles_folder():
        print(f"wrote {write_manifest()}")


def paper(arguments: argparse.Namespace) -> None:
    """`rnnzoo paper`."""
    from rnnzoo.errors import UsageError

    if arguments.list == (arguments.name is not None):
        raise UsageError("expected the name of a paper or --list, one of them")
    if arguments.list:
        from rnnzoo.cli.papers import print_papers

        print_papers()
        return
    from rnnzoo.cli.papers import print_comparison
    from rnnzoo.papers.run import run_paper
    from rnnzoo.registry.names import find_paper

    find_paper(arguments.name)
    check_backend(EXPORTING)
    result = run_paper(arguments.name, arguments.out, tiny=arguments.tiny, overrides=arguments.overrides)
    print_comparison(result, arguments.out)


def download(arguments: argparse.Namespace) -> None:
    """`rnnzoo download`."""
    from rnnzoo.hub.commands import download_models
    from rnnzoo.hub.settings import read_settings

    settings = read_settings(url=arguments.url, cache_dir=arguments.cache, offline=arguments.offline)
    download_models(arguments.names, settings, listed=arguments.list, verified=arguments.verify, pruned=arguments.prune)


def demo(arguments: argparse.Namespace) -> None:
    """`rnnzoo demo`."""
    from rnnzoo.cli.demo import run_demo
    from rnnzoo.errors import UsageError

    if arguments.input not in (None, "-"):
        raise UsageError(f"expected `-` for standard input; received {arguments.input!r}: use --text for a text")
    if arguments.input and arguments.text is not None:
        raise UsageError("both `-` and --text name an input: give one of them")
    bundle = run_path(arguments.bundle) if arguments.bundle else None
    run_demo(bundle, text=arguments.text, stdin=arguments.input == "-", fast=arguments.fast)


def compose(arguments: argparse.Namespace) -> None:
    """`rnnzoo compose`."""
    from rnnzoo.cli import compose as composing

    outs = arguments.out or [Path("chorale.mid")]
    options = {name: getattr(arguments, name) for name in ("melody", "bass", "temperature", "tempo", "seed", "tries")}
    chords, faults = composing.compose(run_path(arguments.source), outs, count=arguments.chords, **options)
    for chord in chords:
        print(" ".join(map(str, chord)))
    said = ", ".join(f"{value:.2g} {name.replace('_', ' ')}" for name, value in faults.items())
    print(f"wrote {', '.join(map(str, outs))}: {len(chords)} chords; in a hundred changes or notes {said}")


def draw(arguments: argparse.Namespace) -> None:
    """`rnnzoo draw`."""
    from rnnzoo.cli.draw import draw_sketches

    options = {name: getattr(arguments, name) for name in ("count", "temperature", "seed")}
    points = draw_sketches(run_path(arguments.source), arguments.out, **options)
    print(f"wrote {arguments.out}: {arguments.count} drawings, {points} points")


def list_models(arguments: argparse.Namespace) -> None:
    """`rnnzoo list`."""
    from rnnzoo.cli.info import print_models
    from rnnzoo.registry.names import list_models

    chosen = list_models(arguments.pattern, True if arguments.pretrained else None, arguments.licence)
    print_models(chosen, arguments.pattern, licence=arguments.licence)


def info(arguments: argparse.Namespace) -> None:
    """`rnnzoo info`."""
    from rnnzoo.cli.info import print_config, print_info

    if arguments.yaml:
        print_config(arguments.name)
    else:
        print_info(arguments.name, arguments.plot)


def run_path(source: str) -> Path:
    """The folder of a run, given by path or as the name of a bundle.

    Raises:
        ConfigError: it is neither.
    """
    from rnnzoo.registry.names import find_bundle
    from rnnzoo.runs.store import check_run

    path = Path(source)
    if not path.is_dir():
        if path.exists() or os.sep in source:
            check_run(path)
        path = find_bundle(source)
    check_run(path)
    return path
