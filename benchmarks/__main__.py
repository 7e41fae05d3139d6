"""Runs every benchmark, or those named: `python -m benchmarks step`; `results` before the names writes RESULTS.md.

Options after a name, such as `widths --quick`, are the benchmark's own.
"""

from __future__ import annotations

import importlib
import os
import sys

NAMES = (
    *("step", "windows", "convert", "batch", "edge", "train", "length", "training", "clients"),
    *("front_end", "verify", "attack", "step_path", "many", "serve", "widths", "whole", "heads"),
)


def main(names: list[str]) -> None:
    """Run benchmarks by name, all of them where none is named."""
    writes = names[:1] == ["results"]
    options = [name for name in names if name.startswith("--")]
    names = [name for name in names[writes:] if name not in options]
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        sys.exit(f"benchmarks: unknown benchmark {unknown[0]!r}, expected one of {', '.join(NAMES)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    if writes:
        from benchmarks.results import write

        write(names or NAMES)
        return
    for name in names or NAMES:
        importlib.import_module(f"benchmarks.{name}").main(*options)


if __name__ == "__main__":
    main(sys.argv[1:])
