#!/usr/bin/env python3
"""Run the test vectors of every bundle on each runtime and client that is here, and rewrite docs/devices.md.

The vectors come from LiteRT through Python. A client that is not here keeps the column that the page has of it: `make
clients` builds the JavaScript one; ARM needs what tools/run_on_arm.py names, `--arm`, and some minutes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import run_on_arm

import streaming
from streaming import vectors
from streaming.errors import StreamingError

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "devices.md"
COLUMNS = ("tflite-runtime", "TensorFlow", "C", "C on aarch64", "Node", "TFLM")
MARK = "| model | file |"
Check = Callable[[Path, Path], str]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="*", help="which bundles, such as 'tagger*' (all)")
    parser.add_argument("--arm", action="store_true", help="run the C client under emulation, too")
    arguments = parser.parse_args(argv)
    paths = sorted((ROOT / "pretrained").glob(f"{arguments.pattern}/*.tflite"))
    kept = known_rows()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {path: folder / f"{path.parent.name}-{path.stem}.json" for path in paths}
        for path, out in found.items():
            out.write_text(json.dumps(vectors.make_vectors(streaming.load(path)), allow_nan=False), encoding="utf-8")
        for column, check in checks(folder, arguments.arm).items():
            for path, out in found.items():
                key = (path.parent.name, path.stem)
                kept.setdefault(key, {})[column] = check(path, out)
                print(f"{column}: {path.parent.name} {path.stem}: {kept[key][column]}", flush=True)
    write(kept)
    return 0


def checks(folder: Path, arm: bool) -> dict[str, Check]:
    """What runs the vectors, by column: tflite-runtime before TensorFlow, which it cannot follow in one process."""
    found: dict[str, Check] = {}
    if importlib.util.find_spec("tflite_runtime"):
        found["tflite-runtime"] = lambda path, out: in_python(path, out, "tflite_runtime")
    if importlib.util.find_spec("tensorflow"):
        found["TensorFlow"] = lambda path, out: in_python(path, out, "tf")
    wheel = importlib.util.find_spec("ai_edge_litert")
    if shutil.which("cc") and wheel:
        library = Path(next(iter(wheel.submodule_search_locations or []))) / "libLiteRt.so"
        source = ROOT / "clients" / "c" / "tests" / "vectors.c"
        subprocess.run(["cc", "-std=c11", "-O1", "-w", "-o", folder / "vectors", source, "-ldl", "-lm"], check=True)
        found["C"] = lambda path, out: in_c([str(folder / "vectors")], library, path, out)
    if arm:
        (folder / "arm").mkdir()
        for_arm, command = run_on_arm.fetch_library(folder / "arm"), run_on_arm.prepare(folder / "arm")
        found["C on aarch64"] = lambda path, out: in_c(command, for_arm, path, out)
    package = ROOT / "clients" / "js"
    if shutil.which("node") and (package / "dist").is_dir() and (package / "node_modules").is_dir():
        found["Node"] = lambda path, out: in_node(package, path, out)
    if importlib.util.find_spec("tflite_micro"):
        found["TFLM"] = lambda path, out: in_micro(path, folder)
    return found


def in_micro(path: Path, folder: Path) -> str:
    """The file that is converted for microcontrollers, of models whose card says what they need there."""
    # These import TensorFlow, before which tflite-runtime has to be.
    from rnnzoo.runs.export import export_run
    from rnnzoo.runs.store import load_run, read_metrics

    if path.stem != "float32" or not read_metrics(path.parent).get("micro"):
        return "-"
    converted, out = folder / f"{path.parent.name}-micro.tflite", folder / f"{path.parent.name}-micro.json"
    export_run(load_run(path.parent), converted, target="micro")
    out.write_text(json.dumps(vectors.make_vectors(streaming.load(converted)), allow_nan=False), encoding="utf-8")
    return in_python(converted, out, "tflite_micro")


def in_c(command: list[str], library: Path, path: Path, out: Path) -> str:
    environment = {**os.environ, "STREAMING_LITERT": str(library)}
    found = subprocess.run([*command, str(path), str(out)], capture_output=True, text=True, env=environment)
    lines = [line.removeprefix("vectors: ") for line in found.stderr.splitlines() if line.startswith("vectors:")]
    return "yes" if found.returncode == 0 else verdict(lines)


def in_node(package: Path, path: Path, out: Path) -> str:
    command = ["node", str(package / "tests" / "run.mjs"), str(path), str(out)]
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        return "no"
    lines = json.loads(found.stdout)
    return verdict(lines) if lines else "yes"


def verdict(lines: Iterable[str]) -> str:
    """Other values with the same decisions are not as bad as other decisions."""
    return "close" if all("output" in line or "score" in line or "probability" in line for line in lines) else "no"


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
    for line in text[text.find(MARK) :].splitlines()[2:] if MARK in text else []:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        # A page of before may lack the last columns.
        if 2 < len(cells) <= len(COLUMNS) + 2:
            found[cells[0].strip("`"), cells[1]] = dict(zip(COLUMNS, cells[2:], strict=False))
    return found


def write(rows: dict[tuple[str, str], dict[str, str]]) -> None:
    """The page, made anew."""
    lines = [
        f"| `{name}` | {file} | " + " | ".join(row.get(c, "-") for c in COLUMNS) + " |"
        for (name, file), row in sorted(rows.items())
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

C is the [C client](../clients/c) on LiteRT's C API, on which the C++ and [Java](mobile.md) clients are layers. On
aarch64 it runs under emulation ([qemu, a Cortex-A72](../tools/run_on_arm.py)). Node is the
[JavaScript client](browser.md) on LiteRT.js; Chromium runs the same WebAssembly, and the tests run the vectors of all
models there, too. TFLM is TensorFlow Lite for Microcontrollers, on files that are converted for it in float32
([docs/micro.md](micro.md)), of the models whose cards say what they need there. The page is
written by `python tools/make_devices.py`, which runs what is installed, and keeps what the page says of the rest.

{table}
"""


if __name__ == "__main__":
    sys.exit(main())
