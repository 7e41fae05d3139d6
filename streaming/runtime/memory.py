"""Memory that a process may still take, asked before what a file declares is allocated."""

from __future__ import annotations

import re
from pathlib import Path

from streaming.errors import InputError

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def available_bytes() -> int | None:
    """Bytes that this process can still have, by the system, its control group and its own limit; None if unknown."""
    return _least(_of_system(), _of_group(), _of_process())


def machine_bytes() -> int | None:
    """Bytes that new processes can have, by the system and its control group; None if unknown."""
    return _least(_of_system(), _of_group())


def check_memory(needed: int, what: str, remedy: str) -> None:
    """Raises InputError where so many bytes are more than there are."""
    there = available_bytes()
    if there is not None and needed > there:
        raise InputError(f"{what} takes {needed / 1e9:.1f} GB of memory, and {there / 1e9:.1f} GB are free; {remedy}")


def _least(*sizes: int | None) -> int | None:
    known = [size for size in sizes if size is not None]
    return max(0, min(known)) if known else None


def _of_system() -> int | None:
    try:
        field = re.search(r"MemAvailable:\s+(\d+) kB", _MEMINFO.read_text())
    except OSError:
        return None
    return 1024 * int(field.group(1)) if field else None


def _of_group() -> int | None:
    """What a container of this process has left (control groups, version 2)."""
    try:
        most, used = ((_CGROUP / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        return int(most) - int(used) if most.isdigit() else None
    except (OSError, ValueError):
        return None


def _of_process() -> int | None:
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit == resource.RLIM_INFINITY:
            return None
        return limit - int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        return None
