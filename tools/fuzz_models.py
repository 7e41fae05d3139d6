#!/usr/bin/env python3
"""Attack the verifier with forged TFLite graphs, and count what gets past it and does harm.

Numbers of sound graphs are changed where an interpreter follows them: options, operation codes, indexes, shapes, types,
constant operands, scales, offsets. What the verifier lets in is run. Counted are crashes of the process, runs of more
than five seconds, and outputs that depend on memory that is not the graph's: each graph runs in two processes whose
free memory holds different bytes. The exit status is 1 where any of these occurred.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streaming.errors import ArtifactError, InputError
from streaming.runtime import flatbuffer, verifier
from streaming.runtime.interpreter import resolve

HANG_SECONDS = 5.0
_INTERESTING = (0, 1, 2, 3, 4, 7, -1, -2, 127, 128, 255, 2**15, 2**31 - 1, -(2**31))
_FLOATS = (0.0, -1.0, 1e-38, 1e30, float("inf"), float("nan"), 1e-9, 4.0)
_SMALL_BYTES = 64
_PERTURB = ("85", "170")


@dataclass(frozen=True)
class Target:
    """A sound graph and where its numbers are: (place, bytes)."""

    content: bytes
    places: list[tuple[int, int]]


class _Recorder(flatbuffer.Source):
    """Remembers which numbers a reader follows."""

    seen: set[tuple[int, int]]

    def claim(self, begin: int, count: int) -> None:
        super().claim(begin, count)
        if count in (1, 2, 4, 8):
            self.seen.add((begin, count))
        elif count <= _SMALL_BYTES * 4 and count % 4 == 0:
            self.seen.update((place, 4) for place in range(begin, begin + count, 4))


def read_target(path: Path) -> Target:
    """A graph from a file, with all places whose numbers the verifier reads."""
    content, original = path.read_bytes(), flatbuffer.Source
    _Recorder.seen = set()
    flatbuffer.Source = _Recorder  # type: ignore[misc]
    try:
        verifier.verify(content)
    finally:
        flatbuffer.Source = original  # type: ignore[misc]
    for tensor in (tensor for graph in flatbuffer.read_flatbuffer(content).graphs for tensor in graph.tensors):
        if 0 < tensor.constant_bytes <= _SMALL_BYTES:
            _Recorder.seen.update((tensor.begin + 4 * item, 4) for item in range(tensor.constant_bytes // 4))
    return Target(content, sorted(_Recorder.seen))


def mutate(target: Target, generator: np.random.Generator) -> bytes:
    """A graph with one to three numbers changed."""
    content = bytearray(target.content)
    for _ in range(1 + int(generator.choice(3, p=(0.7, 0.2, 0.1)))):
        if generator.random() < 0.1:
            place, size = int(generator.integers(len(content) - 4)), 4
        else:
            place, size = target.places[int(generator.integers(len(target.places)))]
        old = int.from_bytes(content[place : place + size], "little", signed=True)
        content[place : place + size] = _changed(old, size, target, generator)
    return bytes(content)


def _changed(old: int, size: int, target: Target, generator: np.random.Generator) -> bytes:
    kind = generator.random()
    if kind < 0.3:
        value = old + int(generator.integers(-4, 5))
    elif kind < 0.6:
        value = _INTERESTING[int(generator.integers(len(_INTERESTING)))]
    elif kind < 0.7 and size == 4:
        return struct.pack("<f", _FLOATS[int(generator.integers(len(_FLOATS)))])
    elif kind < 0.85:  # another number of the same graph
        place, other = target.places[int(generator.integers(len(target.places)))]
        value = int.from_bytes(target.content[place : place + min(size, other)], "little", signed=True)
    elif kind < 0.92:
        value = old ^ (1 << int(generator.integers(8 * size)))
    else:
        value = int(generator.integers(0, 160))
    return (value % 2 ** (8 * size)).to_bytes(size, "little")


def use(factory: Any, content: bytes) -> str:
    """Run all signatures of a graph on the same numbers, twice; a hash of what they give."""
    interpreter = factory(model_content=content, num_threads=1)
    digest = hashlib.sha256()
    for name in sorted(interpreter.get_signature_list()):
        runner = interpreter.get_signature_runner(name)
        inputs = {key: _values(item) for key, item in sorted(runner.get_input_details().items())}
        for _ in range(2):
            for key, rows in sorted(runner(**inputs).items()):
                digest.update(f"{key} {rows.dtype} {rows.shape}".encode() + rows.tobytes())
    return digest.hexdigest()[:16]


def _values(details: Any) -> np.ndarray:
    shape, kind = tuple(details["shape"]), np.dtype(details["dtype"])
    generator = np.random.default_rng(len(shape))
    if kind.kind == "f":
        return np.resize(generator.standard_normal(1009).astype(kind), shape)  # a forged shape may be large
    return generator.integers(0, 2, shape).astype(kind)


def attack(paths: list[Path], runtime: str, seed: int, begin: int, end: int, progress: Path, results: Path) -> None:
    """Cases begin to end, each noted before it runs; what a process does that a parent watches."""
    factory = resolve(runtime)[1]
    targets = [read_target(path) for path in paths]
    with progress.open("r+b") as file, results.open("a", buffering=1) as out:
        counter = mmap.mmap(file.fileno(), 8)
        for case in range(begin, end):
            counter[:8] = case.to_bytes(8, "little")
            generator = np.random.default_rng((seed, case))
            forged = mutate(targets[case % len(targets)], generator)
            try:
                verifier.verify(forged)
            except ArtifactError:
                print(case, "refused", file=out)
                continue
            try:
                print(case, use(factory, forged), file=out)
            except (ValueError, RuntimeError):
                print(case, "error", file=out)
        counter[:8] = end.to_bytes(8, "little")


class _Worker:
    """A process that attacks, and is started again behind each case that ends it."""

    def __init__(self, arguments: argparse.Namespace, folder: Path, number: int) -> None:
        self._arguments, self._number = arguments, number
        self.progress, self.results = folder / f"progress{number}", folder / f"results{number}"
        self.progress.write_bytes(bytes(8))
        self.results.touch()
        self.crashes: list[tuple[int, int]] = []
        self.hangs: list[int] = []
        self._seen, self._since, self._cpu = -1, 0.0, 0.0
        self._start(arguments.first)

    def _start(self, begin: int) -> None:
        given = self._arguments
        self.progress.write_bytes(begin.to_bytes(8, "little"))
        command = [sys.executable, __file__, "--worker", "--runtime", given.runtime, "--seed", str(given.seed)]
        command += [
            "--corpus",
            str(given.corpus),
            "--first",
            str(begin),
            "--count",
            str(given.count - begin + given.first),
        ]
        command += ["--progress", str(self.progress), "--results", str(self.results)]
        environment = {**os.environ, "MALLOC_PERTURB_": _PERTURB[self._number], "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        self._since = time.monotonic() + 60  # importing takes its time

    def _used(self) -> float:
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def poll(self) -> bool:
        """Note crashes and hangs, go on behind them; whether there is more to do."""
        case, now = int.from_bytes(self.progress.read_bytes(), "little"), time.monotonic()
        if case != self._seen:
            self._seen, self._since, self._cpu = case, max(now, self._since), self._used()
        status = self._process.poll()
        if status == 0 or case >= self._arguments.first + self._arguments.count:
            return False
        # A busy machine may let it wait: what counts is its own time, and all time at last.
        hangs = self._used() - self._cpu > HANG_SECONDS or now - self._since > 20 * HANG_SECONDS
        if status is None and now - self._since > HANG_SECONDS and hangs:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self.hangs.append(case)
        elif status is not None:
            self.crashes.append((case, status))
        else:
            return True
        last = self._arguments.first + self._arguments.count
        if case + 1 >= last:
            return False
        self._start(case + 1)
        return True

    def found(self) -> dict[int, str]:
        """What came of each case that ended."""
        return {int(case): what for case, what in (line.split() for line in self.results.read_text().splitlines())}


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Attack with two processes; the counts."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        workers = [_Worker(arguments, Path(folder), number) for number in range(2)]
        while sum(worker.poll() for worker in workers):  # each of them, not only the first that is busy
            time.sleep(0.1)
        first, second = (worker.found() for worker in workers)
    plain = Counter(what if what in ("refused", "error") else "run" for what in first.values())
    differ = sorted(case for case in first.keys() & second.keys() if first[case] != second[case])
    crashes = {case: status for worker in workers for case, status in worker.crashes}
    hangs = sorted({case for worker in workers for case in worker.hangs})
    return {
        "runtime": arguments.runtime,
        "graphs": arguments.count,
        "refused": plain["refused"],
        "refused_by_runtime": plain["error"],
        "run": plain["run"],
        "crashes": len(crashes),
        "hangs": len(hangs),
        "depend_on_memory": len(differ),
        "seconds": round(time.monotonic() - began),
        "cases": {"crash": sorted(crashes)[:50], "hang": hangs[:50], "memory": differ[:50]},
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", default="litert", help="litert (default) or tflite_runtime")
    parser.add_argument("--count", type=int, default=100_000, help="graphs (100000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first graph (0)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"), help="folder of sound graphs, made if empty")
    parser.add_argument("--keep", type=Path, help="write graph --first to this file instead")
    for name in ("--progress", "--results"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.worker:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # ends with its parent
        paths = sorted(arguments.corpus.glob("*.tflite"))
        last = arguments.first + arguments.count
        attack(paths, arguments.runtime, arguments.seed, arguments.first, last, arguments.progress, arguments.results)
        return 0
    if not sorted(arguments.corpus.glob("*.tflite")):
        sys.path.insert(0, str(Path(__file__).parent))
        import fuzz_graphs

        fuzz_graphs.build(arguments.corpus)
    if arguments.keep:
        paths = sorted(arguments.corpus.glob("*.tflite"))
        generator = np.random.default_rng((arguments.seed, arguments.first))
        arguments.keep.write_bytes(mutate(read_target(paths[arguments.first % len(paths)]), generator))
        return 0
    try:
        counts = run(arguments)
    except InputError as error:
        print(f"fuzz_models: error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(counts))
    return 1 if counts["crashes"] or counts["hangs"] or counts["depend_on_memory"] else 0


if __name__ == "__main__":
    sys.exit(main())
