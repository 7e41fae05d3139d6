"""One function for each command: it takes parsed arguments, calls a plain function and prints the result."""

from __future__ import annotations

import argparse
import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

from streaming.runtime.quiet import quiet


def convert(arguments: argparse.Namespace) -> None:
    """`streaming convert`."""
    from streaming.cli.show import show_report

    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with quiet(not _debug(arguments)):
        report = _converted(arguments)
    print(show_report(report))


def _converted(arguments: argparse.Namespace) -> Any:
    from streaming.conversion.convert import convert as run_conversion
    from streaming.conversion.loading import load_keras, load_sequences

    model = load_keras(arguments.model, arguments.modules)
    return run_conversion(
        model,
        arguments.out,
        window=arguments.window,
        hop=arguments.hop,
        pad=arguments.pad,
        chunk=arguments.chunk,
        batch_sizes=arguments.batch_sizes,
        state=arguments.state,
        quantize=arguments.quantize,
        calibration=load_sequences(arguments.calibration, model.inputs) if arguments.calibration else None,
        lookahead=arguments.lookahead,
        attention_window=arguments.attention_window,
        encode=arguments.encode,
        max_length=arguments.max_length,
        metadata={"source": {"file": arguments.model.name}},
        tolerance=arguments.tolerance,
        compact=arguments.compact,
        target=arguments.target,
    )


def adopt(arguments: argparse.Namespace) -> None:
    """`streaming adopt`."""
    from streaming.cli.show import show_adoption
    from streaming.conversion.adoption.adopt import adopt as run_adoption

    with quiet(not _debug(arguments)):
        report = run_adoption(
            arguments.model,
            arguments.out,
            states=None if arguments.states is None else dict(arguments.states),
            initial=_arrays(arguments.initial) if arguments.initial else None,
            chunk=arguments.chunk,
            static=arguments.static,
            rows={name: _count(name, count) for name, count in arguments.rows},
            signature=arguments.signature,
            reset=arguments.reset,
            trust=arguments.trust,
            metadata={"source": {"file": arguments.model.name}},
        )
    print(show_adoption(report))


def _arrays(path: Path) -> dict[str, Any]:
    import numpy as np

    from streaming.errors import InputError

    try:
        arrays = np.load(path, allow_pickle=False)
        if isinstance(arrays, np.lib.npyio.NpzFile):
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot read {path} as arrays ({error}); give an .npz file saved by numpy.savez") from error
    raise InputError(f"{path} holds one array without a name; save arrays by name with numpy.savez")


def _count(name: str, count: str) -> int:
    from streaming.errors import InputError

    if not count.isdecimal():
        raise InputError(f"rows of {name!r} is {count!r}, expected a whole number, 1 or more")
    return int(count)


def inspect(arguments: argparse.Namespace) -> None:
    """`streaming inspect`."""
    from streaming.cli.show import show_description
    from streaming.inspection import describe

    description = describe(arguments.model)
    if arguments.plot:
        from streaming.conversion.drawing import draw_plan

        draw_plan(description, arguments.plot)
        print(f"drew {arguments.plot}", file=sys.stderr)
    print(json.dumps(description, indent=1) if arguments.json else show_description(description))


def run(arguments: argparse.Namespace) -> None:
    """`streaming run`."""
    from streaming.cli.feeding import Options, display_for, run_input
    from streaming.errors import InputError
    from streaming.runtime.model import load

    with quiet(not _debug(arguments)):
        model = load(
            arguments.model, arguments.runtime, arguments.threads, trust=arguments.trust, isolated=arguments.isolated
        )
    display = display_for(sys.stdout, arguments.json)
    names = (
        "style",
        "voice",
        "temperature",
        "top_k",
        "top_p",
        "seed",
        "max_length",
        "width",
        "length_penalty",
        "n_best",
    )
    search = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    chosen = {name: getattr(arguments, name) for name in ("threshold", "smoothing", "refractory", "background")}
    settings = {name: value for name, value in chosen.items() if value is not None}
    raw = (arguments.raw, arguments.rate, arguments.channels) if arguments.raw else None
    if raw and arguments.rate is None:
        raise InputError("--raw needs the samples a second: --rate 16000")
    if not raw and (arguments.rate is not None or arguments.channels != 1):
        raise InputError("--rate and --channels say what samples without a header are: give --raw FORMAT, too")
    options = Options(
        arguments.mono,
        arguments.resample,
        arguments.resize,
        arguments.wait_k,
        search,
        raw=raw,
        settings=settings,
        encoding=arguments.encoding,
        skip_bad_rows=_left_out if arguments.skip_bad_rows else None,
        out=arguments.out,
    )
    if arguments.microphone:
        _listen(model, display, settings)
        return
    for note in run_input(model, arguments.input or "-", sys.stdin.buffer, display, options):
        print(f"streaming: note: {note}", file=sys.stderr)


def _left_out(said: str) -> None:
    print(f"streaming: left out: {said}", file=sys.stderr)


def _listen(model: Any, display: Any, settings: dict[str, Any]) -> None:
    from streaming.cli import microphone
    from streaming.cli.feeding import adjusted, run_audio
    from streaming.errors import InputError
    from streaming.runtime.tasks import KeywordSpotter, task_for

    task = task_for(model)
    if task.takes != "audio":
        raise InputError(f"the model takes {task.takes}, a microphone gives audio; give it a file of lines")
    if settings and not isinstance(task, KeywordSpotter):
        raise InputError(f"--{next(iter(settings))} goes with keyword spotters; leave it out")
    task = adjusted(task, settings)
    run_audio(task, microphone.blocks(task.spec.sample_rate, task.spec.sample_rate // 20), display)


def bench(arguments: argparse.Namespace) -> None:
    """`streaming bench`."""
    from streaming.cli.bench import run_benchmark
    from streaming.cli.show import show_bench

    with quiet(not _debug(arguments)):
        measurements = run_benchmark(arguments.model, arguments.steps, arguments.runtime, arguments.threads)
    print(json.dumps(measurements, indent=1) if arguments.json else show_bench(measurements))


def vectors(arguments: argparse.Namespace) -> None:
    """`streaming vectors`."""
    from streaming.runtime import artifact
    from streaming.runtime.model import load
    from streaming.vectors import make_vectors

    with quiet(not _debug(arguments)):
        test_vectors = make_vectors(load(arguments.model, arguments.runtime, arguments.threads))
    text = json.dumps(test_vectors, ensure_ascii=False, allow_nan=False) + "\n"
    artifact.write(arguments.out, text.encode())
    print(f"{arguments.out}: {len(text.encode())} bytes, {len(test_vectors.get('task', {}).get('events', []))} events")


def micro(arguments: argparse.Namespace) -> None:
    """`streaming micro`."""
    from streaming.firmware import write

    with quiet(not _debug(arguments)):
        report = write(arguments.model, arguments.folder)
    for path in report.files:
        print(path)
    print(
        f"arena {report.arena_bytes} bytes, state {report.state_bytes} bytes, operations {', '.join(report.operations)}"
    )


def esphome(arguments: argparse.Namespace) -> None:
    """`streaming esphome`."""
    from streaming.esphome import write

    with quiet(not _debug(arguments)):
        written = write(
            arguments.model,
            arguments.folder,
            arguments.wake_word,
            cutoff=arguments.cutoff,
            window=arguments.window,
            author=arguments.author,
            website=arguments.website,
            languages=tuple(arguments.languages),
        )
    for path in written.files:
        print(path)
    print(f"arena {written.arena_bytes} bytes, {written.stride} rows of features an invoke")


def _debug(arguments: argparse.Namespace) -> bool:
    return bool(getattr(arguments, "debug", False))
