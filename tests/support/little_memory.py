"""little_memory.py BYTES DO WARM MODEL: a process that can have so many bytes more once it has run the model WARM.

DO is "load" (load MODEL, and take a step), "streams" (streams of WARM until there is no memory) or "run" (the command
`streaming run MODEL`). The last line is how that ends: "done", the name of the error and its message, or the exit code.
Rows of a stream of WARM that was there before have to be what they were.
"""

import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import streaming
from streaming.cli import main


def limit(more: int) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + more, resource.getrlimit(resource.RLIMIT_AS)[1]))


def zeros(model: streaming.StreamingModel) -> dict[str, NDArray[Any]]:
    return {name: np.zeros((model.chunk, *info.shape), info.dtype) for name, info in model.input_spec.items()}


def run(more: int, what: str, warm: str, path: str) -> str:
    model = streaming.load(warm)
    stream, x = model.create_stream(), zeros(model)
    expected = stream.step(x)
    kept: list[streaming.Stream] = []
    said = "done"
    if what == "run":
        main(["run", warm, "/dev/null"])  # imports what it needs
    limit(more)
    try:
        if what == "run":
            return f"code {main(['run', path, '/dev/null'])}"
        while True:
            other = streaming.load(path) if what == "load" else model
            kept.append(other.create_stream())
            if what == "load":
                kept[-1].step(zeros(other))
                break
    except (streaming.StreamingError, MemoryError) as error:
        kept.clear()
        said = f"{type(error).__name__}: {error}"
    kept.clear()
    stream.reset()
    return said if np.array_equal(stream.step(x), expected) else "other rows"


if __name__ == "__main__":
    print(run(int(sys.argv[1]), *sys.argv[2:]))
