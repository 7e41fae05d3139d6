"""Counters of several processes as one text for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable

# Values that are the same in every process, or that mean one of them; all others add up.
_OF_ALL: dict[str, Callable[[Iterable[float]], float]] = {
    "streaming_model_info": max,
    "streaming_delay_seconds": max,
    "streaming_busy": max,
    "process_start_time_seconds": min,
    "process_max_fds": min,
}


def merge(texts: Iterable[str]) -> str:
    """Texts in Prometheus's format (version 0.0.4), one a process, as one: values of one name and labels are added.

    The mean delay and the busy share are those of the worker that has the highest.
    """
    comments: dict[str, list[str]] = {}
    values: dict[str, dict[str, list[float]]] = {}
    for text in texts:
        for line in text.splitlines():
            if line.startswith("#"):
                _, _, name, _ = line.split(" ", 3)
                if line not in comments.setdefault(name, []):
                    comments[name].append(line)
            elif line:
                key, value = line.rsplit(" ", 1)
                family = _family(key.split("{", 1)[0], comments)
                values.setdefault(family, {}).setdefault(key, []).append(float(value))
    lines = []
    for family, samples in values.items():
        lines += comments.get(family, [])
        for key, found in samples.items():
            lines.append(f"{key} {_OF_ALL.get(family, sum)(found)}")
    return "\n".join(lines) + "\n"


def _family(name: str, comments: dict[str, list[str]]) -> str:
    """The metric that a sample belongs to: a histogram's samples have names with an ending."""
    for ending in ("", "_bucket", "_sum", "_count", "_total", "_created"):
        if name.endswith(ending) and name.removesuffix(ending) in comments:
            return name.removesuffix(ending)
    return name
