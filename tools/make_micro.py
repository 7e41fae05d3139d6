#!/usr/bin/env python3
"""Export the zoo's small models for microcontrollers, and rewrite the table of docs/micro.md.

Each in float32 and in int8, measured on TensorFlow Lite for Microcontrollers (`tflite-micro`). `--only NAMES` measures
some of them, and keeps what the page says of the rest. int8 is calibrated on the training split, which the data mirror
or TensorFlow Datasets must have.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rnnzoo.runs.export import export_run
from rnnzoo.runs.store import load_run
from streaming import firmware
from streaming.errors import StreamingError

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "micro.md"
# Bundle, and whether its features are made by the firmware.
MODELS = [
    ("digits-kws-stream", False),
    ("digits-kws-stream", True),
    ("asr-digits-stream", True),
    ("wake-word", False),
    ("ecg-beats-stream", False),
    ("speaker-vowels", False),
    ("activity-motion", False),
    ("anomaly-nab", False),
    ("weather-nyc", False),
    ("steer-arm", False),
    ("names-language", False),
    ("sentiment-lines", False),
    ("summarize-tldr", False),
    ("intent-clinc", False),
    ("qa-babi", False),
]
# Tasks whose outputs are numbers, of which the largest decides nothing.
NUMBERS = ("controller", "forecaster")
HEAD = (
    "| model | numbers | model, MB | arena, bytes | state, bytes | operations | largest error | the same decisions | "
    "error after 9,000 steps |"
)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="NAMES", help="only these bundles, joined by commas")
    wanted = set(filter(None, parser.parse_args(argv).only.split(",")))
    if strange := wanted - {name for name, _ in MODELS}:
        parser.error(f"--only names {min(strange)}, expected some of {','.join(dict(MODELS))}")
    for name, features in MODELS:
        if not wanted or name in wanted:
            for quantize in (None, "int8"):
                row = measured(name, features, quantize)
                print(row, flush=True)
                write(row)
    return 0


def title(name: str, features: bool) -> str:
    return f"`{name}`, `--features`" if features else f"`{name}`"


def measured(name: str, features: bool, quantize: str | None) -> str:
    """The row of a model in one form."""
    start = f"| {title(name, features)} | {quantize or 'float32'} |"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step.tflite"
        try:
            run = load_run(ROOT / "pretrained" / name)
            report = export_run(run, path, quantize, target="micro", features=features)
        except StreamingError as error:
            return f"{start} refused: {str(error).partition(';')[0]} | | | | | | |"
        made = firmware.write(path, Path(folder) / "firmware")
        drift, proof = report.drift, report.verification
        assert proof is not None
        if proof.runtime != "tflite_micro":
            raise SystemExit("the proof did not run on TFLM; pip install 'rnnzoo[micro]'")
        cells = [
            f"{report.size_bytes / 1e6:.2f}",
            f"{made.arena_bytes:,}",
            f"{made.state_bytes:,}",
            str(len(made.operations)),
            f"{proof.max_relative_error:.2g}",
            f"{drift.same:.1%}" if drift and drift.same is not None and run.config.topology not in NUMBERS else "",
            f"{drift.end / drift.scale:.2%} ({drift.begin / drift.scale:.2%} at first)" if drift else "",
        ]
    return f"{start} " + " | ".join(cells) + " |"


def order(row: str) -> tuple[int, bool]:
    names = [title(name, features) for name, features in MODELS]
    cells = [cell.strip() for cell in row.split("|")]
    return names.index(cells[1]), cells[2] == "int8"


def write(row: str) -> None:
    """The page with one row replaced or added."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(HEAD)
    if not rest:
        raise SystemExit(f"{PAGE} has no table that begins with {HEAD}")
    table, _, after = rest.partition("\n\n")
    known = {order(line): line for line in table.splitlines()[2:]}
    known[order(row)] = row
    lines = [HEAD, "|" + " --- |" * (HEAD.count("|") - 1), *(known[key] for key in sorted(known))]
    PAGE.write_text(f"{before}{chr(10).join(lines)}\n\n{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
