#!/usr/bin/env python3
"""Run the test vectors of every bundle on each runtime and client that is here, and rewrite docs/devices.md.

The vectors come from LiteRT through Python. A client that is not here keeps the column that the page has of it: `make
clients` builds the JavaScript one; ARM needs what tools/run_on_arm.py and tools/run_python_on_arm.py name, and `--arm`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import run_in_chromium
import run_on_arm
import run_on_java
import run_python_on_arm

import streaming
from streaming import vectors
from streaming.errors import StreamingError

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "devices.md"
PYTHON = ("tflite-runtime", "TensorFlow")
CLIENTS = ("C", "C++", "Java", "Node", "Chromium")
ARM = ("C on aarch64", "Python on aarch64", "Python on armhf")
COLUMNS = (*PYTHON, *CLIENTS, *ARM, "TFLM")
MARK = "| model | file |"
# Of values and scores that differ, with the same decisions.
CLOSE = re.compile(r"differs by|score|probability|\berror is|values")
# What a microcontroller holds: its flash has one or two megabytes.
MICRO_BYTES = 1_000_000
Check = Callable[[Path, Path], str]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="*", help="which bundles, such as 'tagger*' (all)")
    parser.add_argument("--arm", action="store_true", help="run under emulation, too")
    parser.add_argument("--only", default="", metavar="COLUMNS", help="only these, joined by commas")
    arguments = parser.parse_args(argv)
    if strange := set(filter(None, arguments.only.split(","))) - {*COLUMNS}:
        parser.error(f"--only names {min(strange)}, expected some of {','.join(COLUMNS)}")
    wanted = set(filter(None, arguments.only.split(","))) or {*COLUMNS} - ({*ARM} if not arguments.arm else set())
    paths = sorted((ROOT / "pretrained").glob(f"{arguments.pattern}/*.tflite"))
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        found = {path: folder / f"{path.parent.name}.{path.stem}.json" for path in paths}
        for path, out in found.items():
            out.write_text(json.dumps(vectors.make_vectors(streaming.load(path)), allow_nan=False), encoding="utf-8")
        for column, check in checks(folder, wanted, list(found.values()), stack).items():
            for path, out in found.items():
                said = check(path, out)
                # Another run may have written other columns meanwhile.
                kept = known_rows()
                kept.setdefault((path.parent.name, path.stem), {})[column] = said
                print(f"{column}: {path.parent.name} {path.stem}: {said}", flush=True)
                write(kept)
    return 0


def checks(folder: Path, wanted: set[str], given: list[Path], stack: contextlib.ExitStack) -> dict[str, Check]:
    """What runs the vectors, by column: tflite-runtime before TensorFlow, which it cannot follow in one process."""
    found: dict[str, Check] = {}
    if "tflite-runtime" in wanted and importlib.util.find_spec("tflite_runtime"):
        found["tflite-runtime"] = lambda path, out: in_python(path, out, "tflite_runtime")
    if "TensorFlow" in wanted and importlib.util.find_spec("tensorflow"):
        found["TensorFlow"] = lambda path, out: in_python(path, out, "tf")
    found |= native_checks(folder, wanted)
    package = ROOT / "clients" / "js"
    if (package / "dist").is_dir() and (package / "node_modules").is_dir():
        if "Node" in wanted and shutil.which("node"):
            found["Node"] = lambda path, out: in_node(package, path, out)
        if "Chromium" in wanted and run_in_chromium.browser() and importlib.util.find_spec("playwright"):
            (folder / "page").mkdir()
            page = stack.enter_context(run_in_chromium.opened(folder / "page"))
            found["Chromium"] = lambda path, out: verdict(page.differences(path, out))
    if "C on aarch64" in wanted:
        (folder / "arm").mkdir()
        for_arm, command = run_on_arm.fetch_library(folder / "arm"), run_on_arm.prepare(folder / "arm")
        found["C on aarch64"] = lambda path, out: in_c(command, for_arm, path, out)
    for kind in run_python_on_arm.PROCESSORS:
        if (column := f"Python on {kind}") in wanted:
            found[column] = in_python_on_arm(folder, given, kind)
    if "TFLM" in wanted and importlib.util.find_spec("tflite_micro"):
        found["TFLM"] = lambda path, out: in_micro(path, folder)
    return found


def native_checks(folder: Path, wanted: set[str]) -> dict[str, Check]:
    """The clients on LiteRT's C API, compiled into a folder."""
    found: dict[str, Check] = {}
    wheel = importlib.util.find_spec("ai_edge_litert")
    if not wheel or not shutil.which("cc"):
        return found
    library = Path(next(iter(wheel.submodule_search_locations or []))) / "libLiteRt.so"
    tests = ROOT / "clients" / "c" / "tests"
    if "C" in wanted:
        command = ["cc", "-std=c11", "-O1", "-w", "-o", folder / "vectors", tests / "vectors.c", "-ldl", "-lm"]
        subprocess.run(command, check=True)
        found["C"] = lambda path, out: in_c([str(folder / "vectors")], library, path, out)
    if "C++" in wanted and shutil.which("c++"):
        objects = [folder / "vectors.o", folder / "wrapped.o"]
        command = ["cc", "-std=c11", "-O1", "-w", "-DST_WRAPPED", "-c", "-o", objects[0], tests / "vectors.c"]
        subprocess.run(command, check=True)
        flags = ["-std=c++17", f"-I{tests.parent}", "-c"]
        subprocess.run(["c++", *flags, "-o", objects[1], tests / "wrapped.cpp"], check=True)
        subprocess.run(["c++", "-o", folder / "vectors-cpp", *objects, "-ldl", "-lm"], check=True)
        found["C++"] = lambda path, out: in_c([str(folder / "vectors-cpp")], library, path, out)
    if "Java" in wanted and shutil.which("javac"):
        built = run_on_java.build(folder / "java")
        found["Java"] = lambda path, out: in_java(built, library, path, out)
    return found


def in_java(built: Path, library: Path, path: Path, out: Path) -> str:
    rate = (streaming.load(path).metadata.task or {}).get("sample_rate") or 8000
    found = json.loads(out.read_text(encoding="utf-8"))
    return verdict(run_on_java.differences(built, library, path, found, int(rate)))


def in_python_on_arm(folder: Path, given: list[Path], kind: str) -> Check:
    """What each file of vectors gives: all of them in one system."""
    (folder / kind / "vectors").mkdir(parents=True)
    for path in given:
        shutil.copy(path, folder / kind / "vectors")
    processor = run_python_on_arm.PROCESSORS[kind]
    command, environment = run_python_on_arm.command(folder / kind, folder / kind / "vectors", processor)
    found: dict[str, str] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
        for line in running.stdout or ():
            print(f"{kind}: {line.rstrip()}", flush=True)
            stem, _, said = line.rstrip().partition(": ")
            found[stem] = "yes" if said == "ok" else verdict(said.split("; "))
    return lambda path, out: found.get(out.stem, "-")


def in_micro(path: Path, folder: Path) -> str:
    """The model, converted for microcontrollers, in float32 or all in int8, if they can hold it."""
    # These import TensorFlow, before which tflite-runtime has to be.
    from rnnzoo.errors import RnnzooError
    from rnnzoo.runs.export import export_run
    from rnnzoo.runs.store import load_run

    float32 = path.with_stem("float32")
    if streaming.load(float32).metadata.encode is not None or float32.stat().st_size > MICRO_BYTES:
        return "-"
    converted, out = folder / f"{path.parent.name}-micro.tflite", folder / f"{path.parent.name}-micro.json"
    try:
        export_run(load_run(path.parent), converted, {"int8": "int8"}.get(path.stem), target="micro")
    except (StreamingError, RnnzooError) as error:
        print(f"TFLM: {path.parent.name} {path.stem}: {error}", flush=True)
        return "no"
    out.write_text(json.dumps(vectors.make_vectors(streaming.load(converted)), allow_nan=False), encoding="utf-8")
    return in_python(converted, out, "tflite_micro")


def in_c(command: list[str], library: Path, path: Path, out: Path) -> str:
    environment = {**os.environ, "STREAMING_LITERT": str(library)}
    found = subprocess.run([*command, str(path), str(out)], capture_output=True, text=True, env=environment)
    lines = [line.removeprefix("vectors: ") for line in found.stderr.splitlines() if line.startswith("vectors:")]
    return "yes" if found.returncode == 0 else verdict(lines or ["it ended"])


def in_node(package: Path, path: Path, out: Path) -> str:
    command = ["node", str(package / "tests" / "run.mjs"), str(path), str(out)]
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        return "no"
    return verdict(json.loads(found.stdout))


def verdict(lines: Iterable[str]) -> str:
    """Other values with the same decisions are not as bad as other decisions."""
    found = list(lines)
    if found:
        print("; ".join(found[:3]), flush=True)
    return "yes" if not found else "close" if all(map(CLOSE.search, found)) else "no"


def in_python(path: Path, out: Path, runtime: str) -> str:
    expected = json.loads(out.read_text(encoding="utf-8"))
    try:
        found = json.loads(json.dumps(vectors.make_vectors(streaming.load(path, runtime=runtime))))
    except (StreamingError, ValueError, RuntimeError):
        return "no"
    rows = zip(found["steps"]["outputs"].values(), expected["steps"]["outputs"].values(), strict=True)
    exact = all(equal_rows(mine, theirs, expected["tolerance"]) for mine, theirs in rows)
    events, right = found.get("task", {}).get("events"), expected.get("task", {}).get("events")
    if not same(events, right, math.inf):
        return "no"
    return "yes" if exact and same(events, right, 1e-4) else "close"


def equal_rows(mine: dict[str, Any], theirs: dict[str, Any], tolerance: float) -> bool:
    values = [vectors.array_of({**item, "shape": [-1]}) for item in (mine, theirs)]
    if values[0].shape != values[1].shape:
        return False
    scale = max(1.0, float(np.abs(values[1]).max(initial=0.0)))
    return float(np.abs(values[0] - values[1]).max(initial=0.0)) <= tolerance * scale


def same(mine: Any, theirs: Any, tolerance: float) -> bool:
    """Whether events are equal, but for numbers that differ by no more than a tolerance."""
    if isinstance(theirs, float) and isinstance(mine, (int, float)):
        return abs(mine - theirs) <= tolerance * max(1.0, abs(theirs))
    if isinstance(theirs, dict) and isinstance(mine, dict):
        return mine.keys() == theirs.keys() and all(same(mine[key], theirs[key], tolerance) for key in theirs)
    if isinstance(theirs, list) and isinstance(mine, list):
        return len(mine) == len(theirs) and all(same(a, b, tolerance) for a, b in zip(mine, theirs, strict=True))
    return bool(mine == theirs)


def known_rows() -> dict[tuple[str, str], dict[str, str]]:
    """What the page says now, by model and file."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    text = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]
    if rows:
        columns = rows[0]
        for cells in rows[2:]:
            found[cells[0].strip("`"), cells[1]] = dict(zip(columns[2:], cells[2:], strict=False))
    return found


def write(rows: dict[tuple[str, str], dict[str, str]]) -> None:
    """The page, made anew, of the bundles that are there."""
    lines = [
        f"| `{name}` | {file} | " + " | ".join(row.get(c, "-") for c in COLUMNS) + " |"
        for (name, file), row in sorted(rows.items())
        if (ROOT / "pretrained" / name / f"{file}.tflite").is_file()
    ]
    head = [f"{MARK} " + " | ".join(COLUMNS) + " |", "| " + " | ".join(["---"] * (len(COLUMNS) + 2)) + " |"]
    text = TEXT.format(table="\n".join([*head, *lines]))
    PAGE.write_text(text, encoding="utf-8")


TEXT = """# What runs where

One set of [test vectors](format.md#test-vectors) for each ready file of the zoo, made with LiteRT through Python
(`streaming`), and run by each runtime and client.

- **yes**: all values to 1e-5 of the largest, and the same events.
- **close**: the same decisions, with values or scores that differ by more, as kernels for int8 weights do.
- **no**: another decision, or the file does not run there. "-": not run.

tflite-runtime and TensorFlow are runtimes of `streaming`. C is the [C client](../clients/c) on LiteRT's C API, C++ its
classes, [Java](mobile.md) the client over JNI. Node and Chromium run the [JavaScript client](browser.md) on LiteRT.js.
On aarch64 the C client and Python with LiteRT run under emulation ([qemu, a Cortex-A72](../tools/run_on_arm.py)), on
armhf Python with tflite-runtime ([qemu, Debian 12](../tools/run_python_on_arm.py)). TFLM is TensorFlow Lite for
Microcontrollers through `tflite-micro`: files that are [converted for it](micro.md) from the same models, in float32,
and all in int8 with calibration; there the vectors of the converted file are compared. Not converted are models of more
than 1 MB, and those with `encode`; "no" are those for which int8 is too coarse (`qa-babi`), and those where a label
changes that the kernels of two runtimes round differently. `translate-de-en` in int8 is "no" on armhf because of a tie:
its logits part from LiteRT's by 0.03 at most, as those of tflite-runtime on x86 do (float32: 4e-5), but after the fifth
piece the beam's fifth and sixth hypotheses are 0.003 apart, and tflite-runtime on armhf keeps the other one. The page
is written by `python tools/make_devices.py`, which runs what is installed, and keeps what it says of the rest.

{table}
"""


if __name__ == "__main__":
    sys.exit(main())
