"""A step of each client against the bare invoke of its runtime, in turns: C, Java, JavaScript in Node, Python.

`python -m benchmarks.clients --write` writes the tables of clients in README.md, without those that cannot be built.
Times are the least of many short rounds, which a busy machine does not interrupt.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

INPUTS, UNITS, ROUNDS = 64, 256, 5
ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- clients -->", "<!-- /clients -->"
HAS = {
    "Python": "everything: batches of streams, pictures, servers",
    "C": "streams, saved streams, tables of strings, all tasks; no allocation in a step",
    "Java": "what the C client has, over JNI",
    "JavaScript": "streams, saved streams, tables of strings, all tasks; workers, microphone",
}
JAVA = """
import streaming.*;

public class Bench {
  public static void main(String[] arguments) {
    try (Model model = new Model(arguments[0]); Stream stream = new Stream(model)) {
      float[] x = new float[model.chunk() * model.inputElements(0)];
      double least = Double.POSITIVE_INFINITY;
      for (int round = 0; round < 600; round++) {
        long begin = System.nanoTime();
        for (int i = 0; i < 50; i++) stream.feed(model.chunk(), x);
        least = Math.min(least, (System.nanoTime() - begin) / 5e4);
      }
      System.out.println("{\\"step\\": " + least + "}");
    }
  }
}
"""


def main(argv: list[str] | None = None) -> None:
    """Print the tables, or with `--write` rewrite the one of README.md."""
    import keras

    import streaming
    from benchmarks.timing import table

    library = _library()
    if shutil.which("cc") is None or library is None:
        sys.exit("benchmarks: clients needs a C compiler and ai-edge-litert")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lstm, digits = folder / "lstm.tflite", ROOT / "pretrained" / "digits-kws-stream" / "float32.tflite"
        x = keras.Input((None, INPUTS))
        streaming.convert(keras.Model(x, keras.layers.LSTM(UNITS, return_sequences=True)(x)), lstm)
        clients = {"C": _c(folder), **_java(folder), **_node()}
        found = {}
        for title, path in {"digits-kws": digits, f"LSTM-{UNITS}": lstm}.items():
            found[title] = _least(path, clients)
            print(table(f"{title}, one step", found[title]))
        lines = _ratios(found)
        print("\n".join(lines))
        if argv and "--write" in argv:
            _write([*_rows(found["digits-kws"], folder), "", *lines])


def _library() -> Path | None:
    wheel = importlib.util.find_spec("ai_edge_litert")
    return Path(next(iter(wheel.submodule_search_locations or []))) / "libLiteRt.so" if wheel else None


Bench = Callable[[Path], list[Any]]


def _c(folder: Path) -> Bench:
    source = ROOT / "clients" / "c"
    subprocess.run(
        ["cc", "-std=c11", "-O2", "-o", folder / "bench", source / "tests" / "bench.c", "-ldl", "-lm"], check=True
    )
    subprocess.run(["cc", "-std=c11", "-O2", "-c", "-o", folder / "client.o", source / "streaming.c"], check=True)
    return lambda path: [folder / "bench", path]


def _java(folder: Path) -> dict[str, Bench]:
    if shutil.which("javac") is None:
        return {}
    build = folder / "java"
    subprocess.run(["sh", ROOT / "clients" / "java" / "build.sh", build], check=True)
    (folder / "Bench.java").write_text(JAVA)
    subprocess.run(["javac", "-cp", build / "classes", "-d", folder / "bench-java", folder / "Bench.java"], check=True)
    native = f"-Dstreaming.library={build / 'libstreaming_jni.so'}"
    return {"Java": lambda path: ["java", native, "-cp", f"{build / 'classes'}:{folder / 'bench-java'}", "Bench", path]}


def _node() -> dict[str, Bench]:
    """The client as `make clients` builds it."""
    package = ROOT / "clients" / "js"
    if shutil.which("node") is None or not (package / "dist").is_dir() or not (package / "node_modules").is_dir():
        print("benchmarks: the JavaScript client is left out: run npm install --prefix clients/js", file=sys.stderr)
        return {}
    return {"JavaScript": lambda path: ["node", package / "tests" / "bench.mjs", path]}


def _least(path: Path, clients: dict[str, Bench]) -> dict[str, float]:
    """Microseconds of each client's step, and of the bare invoke beneath where the client measures it."""
    import streaming
    from benchmarks.timing import microseconds

    model = streaming.load(path)
    stream, info = model.create_stream(), model.metadata.inputs[0]
    frame = np.zeros((model.chunk, *info.shape), info.dtype)
    environment = {**os.environ, "STREAMING_LITERT": str(_library())}
    rounds: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        round_times: dict[str, float] = {}
        for name, command in clients.items():
            said = subprocess.run(list(map(str, command(path))), capture_output=True, check=True, env=environment)
            times = json.loads(said.stdout.splitlines()[-1])
            round_times |= {f"{name}, {key}": times[key] for key in ("invoke", "alone", "step") if key in times}
        times = microseconds({"step": lambda: stream.step(frame)}, rounds=400, seconds=0.001, of=min)
        rounds.append({**round_times, "Python, step": times["step"]})
    return {key: min(item[key] for item in rounds) for key in rounds[0]}


def _ratios(found: dict[str, dict[str, float]]) -> list[str]:
    """A table of steps against what is beneath them, for each model."""
    pairs = {
        "C step / bare invoke of LiteRT's C API": ("C, step", "C, invoke"),
        "C step / `Stream.step` of Python": ("C, step", "Python, step"),
        "bare invoke of LiteRT's C API / `Stream.step`": ("C, invoke", "Python, step"),
        "JavaScript step / step by hand on LiteRT.js": ("JavaScript, step", "JavaScript, alone"),
    }
    lines = [f"| ratio | {' | '.join(found)} |", f"| --- |{' --- |' * len(found)}"]
    for title, (step, base) in pairs.items():
        if all(step in times and base in times for times in found.values()):
            cells = " | ".join(f"{times[step] / times[base]:.2f}" for times in found.values())
            lines.append(f"| {title} | {cells} |")
    return lines


def _rows(least: dict[str, float], folder: Path) -> list[str]:
    """The rows of the table: language, runtime, what it has, microseconds, sizes."""
    package, library = ROOT / "clients" / "js", _library()
    assert library is not None
    wasm = package / "node_modules" / "@litertjs" / "core" / "wasm" / "litert_wasm_internal.wasm"
    native, browser = f"LiteRT, {_mb(library)} MB", f"LiteRT.js, {_mb(wasm)} MB"
    rows = {
        "Python": ("Python: `streaming`", native, ROOT / "streaming" / "runtime"),
        "C": ("C11, C++17: [`clients/c`](clients/c)", native, folder / "client.o"),
        "Java": ("Java, Kotlin: [`clients/java`](clients/java)", native, folder / "java"),
        "JavaScript": ("JavaScript, TypeScript: [`clients/js`](clients/js)", browser, package / "dist"),
    }
    lines = ["| client | runtime | what it has | a step, µs | client, kB |", "| --- | --- | --- | --- | --- |"]
    for name, (title, runtime, place) in rows.items():
        if f"{name}, step" in least:
            size = _size(place) / 1e3
            lines.append(f"| {title} | {runtime} | {HAS[name]} | {least[f'{name}, step']:.0f} | {size:.0f} |")
    return lines


def _mb(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.0f}" if path.is_file() else "?"


def _size(place: Path) -> int:
    """Bytes of a file, or of what runs in a folder."""
    paths = (
        [place]
        if place.is_file()
        else [path for path in place.rglob("*") if path.suffix in (".py", ".js", ".class", ".so")]
    )
    return sum(path.stat().st_size for path in paths)


def _write(lines: list[str]) -> None:
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    block = "\n".join([BEGIN, *lines, END])
    path.write_text(re.sub(f"{BEGIN}.*?{END}", lambda _: block, text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
