"""The share of a step that the front end in the graph takes, for the published audio models."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

NAMES = ("digits-kws-stream", "wake-word", "asr-digits-stream")


def main() -> None:
    """Print a table for each model: a step on samples, one on features, and the features of a step by NumPy."""
    import streaming
    from benchmarks.timing import microseconds, table
    from rnnzoo.registry.layout import bundles_folder
    from rnnzoo.runs.export import export_run
    from rnnzoo.runs.store import load_run
    from streaming.runtime.audio import LogMelStream

    for name in NAMES:
        run: Any = load_run(bundles_folder() / name)
        with tempfile.TemporaryDirectory() as folder:
            calls: dict[str, Any] = {}
            for kind, options in {"samples": {}, "features": {"features": True}}.items():
                path = Path(folder) / f"{kind}.tflite"
                export_run(run, path, **options)
                model = streaming.load(path)
                rows = np.zeros((model.chunk, *model.metadata.inputs[0].shape), np.float32)
                stream = model.create_stream()
                calls[f"a step on {kind}"] = lambda s=stream, x=rows: s.step(x)
                if kind == "samples":
                    front, hop = LogMelStream(run.task.features), np.zeros(rows.size)
                    calls["the features alone, by NumPy"] = lambda f=front, x=hop: f.feed(x)
            times = microseconds(calls)
        print(table(name, times))
        share = 1 - times["a step on features"] / times["a step on samples"]
        print(f"  front end: {share:.0%} of a step on samples")


if __name__ == "__main__":
    main()
