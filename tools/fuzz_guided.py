#!/usr/bin/env python3
"""Attack readers of foreign input with inputs that coverage guides (atheris, `pip install 'rnnzoo[fuzz]'`).

The targets are those of `fuzz_inputs.py`, and promise the same. What damages a sound example is drawn from the bytes of
libFuzzer instead of a random generator: it keeps the bytes that reach new code, and changes them. A fault leaves a file
`FOLDER/TARGET-crash-...` that `--again FILE` runs again; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT)]

# Seconds of one input, megabytes, and bytes of it.
TIMEOUT, MEMORY, LENGTH = 10, 8192, 4096
_WORD = 4


class Bytes:
    """The calls of `numpy.random.Generator` that the targets make, drawn from bytes; zeros where there are no more."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def integers(self, low: Any, high: int | None = None, size: int | None = None) -> Any:
        """A whole number from `low` to `high` - 1, or below `low` where that is all; `size` of them."""
        import numpy as np

        if size is not None:
            return np.array([self.integers(low, high) for _ in range(size)])
        begin, end = (0, low) if high is None else (low, high)
        width = max(1, int(end) - int(begin))
        return int(begin) + self._number(1 if width <= 1 << 8 else _WORD) % width

    def random(self) -> float:
        """A number from 0 to 1, in steps of 1/256."""
        return self._number(1) / 256

    def choice(self, values: Any, size: int | None = None) -> Any:
        """One of some values, or of the numbers below an integer; `size` of them."""
        import numpy as np

        values = range(values) if isinstance(values, int) else values
        if size is None:
            return values[self.integers(len(values))]
        return np.array([values[self.integers(len(values))] for _ in range(size)])

    def _number(self, count: int) -> int:
        part = self._data[self._place : self._place + count]
        self._place += count
        return int.from_bytes(part, "little")


def run_target(name: str, options: Sequence[str]) -> None:
    """Fuzz one target in this process, by options of libFuzzer; does not return."""
    import atheris

    with atheris.instrument_imports(include=["streaming", "rnnzoo", "json", "fuzz_targets"]):
        import fuzz_inputs
        import fuzz_targets

    # The targets import what they attack when they are entered.
    with atheris.instrument_imports(include=["streaming", "rnnzoo"]):
        context = fuzz_targets.TARGETS[name]()
        case, promised = context.__enter__()

    def one(data: bytes) -> None:
        try:
            case(Bytes(data))  # type: ignore[arg-type]
        except promised as error:
            line = str(error)
            if "\n" in line or len(line) > fuzz_inputs.LONGEST_LINE:
                raise AssertionError(f"an error of several lines, or a long one: {line!r:.500}") from error

    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


def fuzz(name: str, seconds: float, folder: Path) -> bool:
    """Fuzz one target in a process of its own; whether it found a fault, which it prints."""
    with tempfile.TemporaryDirectory() as corpus:
        options = [f"-max_total_time={max(1, round(seconds))}", f"-timeout={TIMEOUT}", f"-rss_limit_mb={MEMORY}"]
        options += [f"-max_len={LENGTH}", f"-artifact_prefix={folder}/{name}-", "-print_final_stats=1", corpus]
        command = [sys.executable, __file__, "--target", name, "--", *options]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=folder)
    log = done.stderr + done.stdout
    runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", log)
    covered = re.findall(r"cov: (\d+)", log)
    print(f"{name:14} {runs.group(1) if runs else '?':>9} inputs, {covered[-1] if covered else '?':>6} places covered")
    if done.returncode:
        print(log[-6000:])
    sys.stdout.flush()
    return done.returncode != 0


def main() -> int:
    from fuzz_targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)} (all)")
    parser.add_argument("--minutes", type=float, default=10.0, help="of all targets together (10)")
    parser.add_argument(
        "--folder", type=Path, default=Path("fuzz-faults"), help="where faults are written (fuzz-faults)"
    )
    parser.add_argument("--again", type=Path, metavar="FILE", help="run what was found again; with one TARGET")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.targets if name not in TARGETS]:
        parser.error(f"unknown target {unknown[0]!r}, expected some of {', '.join(TARGETS)}")
    try:
        import atheris  # noqa: F401
    except ImportError:
        parser.error("this needs atheris, which is not installed: pip install 'rnnzoo[fuzz]'")
    names = arguments.targets or list(TARGETS)
    if arguments.again:
        run_target(names[0], [str(arguments.again)])
    arguments.folder.mkdir(parents=True, exist_ok=True)
    outcomes = [fuzz(name, 60 * arguments.minutes / len(names), arguments.folder.resolve()) for name in names]
    return int(any(outcomes))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--target"]:
        run_target(sys.argv[2], sys.argv[4:])
    sys.exit(main())
