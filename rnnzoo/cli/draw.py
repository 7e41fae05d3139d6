"""`rnnzoo draw`: drawings of a sketcher as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import streaming
from rnnzoo.bundles.build import ready_files
from rnnzoo.errors import ConfigError, UsageError
from rnnzoo.tasks.evaluation import expect_task
from streaming.runtime.tasks import Sketcher

MAX_DRAWINGS = 400


def draw_sketches(bundle: Path, out: Path, *, count: int, temperature: float | None, seed: int) -> int:
    """Draw characters by the streaming file of a bundle, and write them as a PNG file.

    Args:
        bundle: folder of a bundle of a sketcher.
        out: the picture.
        count: drawings, at most `MAX_DRAWINGS`.
        temperature: that of the file where None.
        seed: drawing i has the seed `seed` + i.

    Returns:
        The points of all drawings.

    Raises:
        UsageError: the picture is no .png, or the count is out of range.
        ConfigError: the bundle has no streaming file.
        DataError: it is of another task, or the picture cannot be written.
        InputError: the temperature is out of range.
    """
    from rnnzoo.tasks import drawing

    if out.suffix.lower() != ".png":
        raise UsageError(f"--out is a .png file; received {str(out)!r}")
    if not 1 <= count <= MAX_DRAWINGS:
        raise UsageError(f"--count is 1 to {MAX_DRAWINGS} drawings; received {count}")
    files = ready_files(bundle)
    if not files:
        raise ConfigError(f"{bundle} has no streaming file; make it with rnnzoo bundle")
    sketcher = expect_task(streaming.pipeline(files["float32"]), Sketcher, "rnnzoo draw")
    drawings = [
        np.array([point[1:4] for point in sketcher.sketch(temperature=temperature, seed=seed + i)], float)
        for i in range(count)
    ]
    drawing.draw_sketches(out, drawings)
    return sum(map(len, drawings))
