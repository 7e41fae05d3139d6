"""How many workers a machine holds."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from streaming.errors import StreamingError
from streaming.runtime.memory import machine_bytes

# Bytes of a worker besides what the main process takes: the interpreter's library. What counts of the latter at most.
_LIBRARY, _OWN_MOST = 40 << 20, 256 << 20


def check_memory(model: Path, workers: int) -> None:
    """Raises StreamingError where memory does not hold so many workers."""
    free, each = machine_bytes(), worker_bytes(model)
    if free is not None and workers * each > free:
        raise StreamingError(
            f"{workers} workers take about {workers * each / 1e6:.0f} MB and {free / 1e6:.0f} MB are free; "
            f"give --workers {max(1, free // each)} or fewer"
        )


def workers_for(model: Path) -> int:
    """How many workers a file is served with by default: one a processor, as many as memory holds."""
    if not hasattr(socket, "SOCK_SEQPACKET") or not hasattr(socket, "send_fds") or sys.platform == "darwin":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    free = machine_bytes()
    return cores if free is None else max(1, min(cores, free // (2 * worker_bytes(model))))


def worker_bytes(model: Path) -> int:
    """The memory of a worker without streams, about: what this process takes, the interpreter, and the file twice."""
    import resource

    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = model.stat().st_size if model.is_file() else 0
    return min(own, _OWN_MOST) + _LIBRARY + 2 * size
