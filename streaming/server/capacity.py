"""How many workers a machine holds."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from streaming.errors import StreamingError

# Bytes of a worker besides what the main process takes: the interpreter's library. What counts of the latter at most.
_LIBRARY, _OWN_MOST = 40 << 20, 256 << 20


def check_memory(model: Path, workers: int) -> None:
    """Raises StreamingError where memory does not hold so many workers."""
    free, each = free_memory(), worker_bytes(model)
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
    free = free_memory()
    return cores if free is None else max(1, min(cores, free // (2 * worker_bytes(model))))


def worker_bytes(model: Path) -> int:
    """The memory of a worker without streams, about: what this process takes, the interpreter, and the file twice."""
    import resource

    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = model.stat().st_size if model.is_file() else 0
    return min(own, _OWN_MOST) + _LIBRARY + 2 * size


def free_memory() -> int | None:
    """Bytes that processes can still take, by the system and by the limit of the container; None where unknown."""
    found = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            found.append(int(limit) - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    except (OSError, ValueError, IndexError):
        pass
    return min(found, default=None)
