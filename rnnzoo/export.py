"""A trained run as a streaming file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rnnzoo
import streaming

if TYPE_CHECKING:
    from rnnzoo.runs import Run
    from streaming.conversion.convert import Report


def export_run(run: Run, path: str | Path, quantize: str | None = None) -> Report:
    """Convert a run, with its task and its encoder's files inside, so that the file alone is enough.

    Args:
        run: what `load_run` returned.
        path: the .tflite to write.
        quantize: as `streaming.convert` takes it.

    Raises:
        StreamingError: the model cannot be streamed, or the stream differs from it.
    """
    source = {"name": run.config.name, "rnnzoo": rnnzoo.__version__}
    metadata = {"task": run.task, "files": run.encoder.to_files(), "source": source}
    return streaming.convert(run.model, path, quantize=quantize, metadata=metadata)
