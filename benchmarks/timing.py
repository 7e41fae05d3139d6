"""Times alternatives in turn, so that a machine whose speed drifts treats all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping


def microseconds(
    calls: Mapping[str, Callable[[], object]],
    rounds: int = 15,
    seconds: float = 0.02,
    of: Callable[[Iterable[float]], float] = statistics.median,
) -> dict[str, float]:
    """Microseconds of one call of each: `of` all rounds, in which each runs for about `seconds`."""
    counts = {}
    for name, call in calls.items():
        call()
        begin = time.perf_counter()
        call()
        counts[name] = max(1, int(seconds / max(time.perf_counter() - begin, 1e-7)))
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begin = time.perf_counter()
            for _ in range(counts[name]):
                call()
            found[name].append((time.perf_counter() - begin) / counts[name] * 1e6)
    return {name: of(times) for name, times in found.items()}


def table(title: str, times: Mapping[str, float], unit: str = "us", base: str | None = None) -> str:
    """Rows of name, time and ratio to the base (default: the first)."""
    base = base or next(iter(times))
    lines = [title, f"  {'':38} {unit:>9}  ratio to {base!r}"]
    lines += [f"  {name:38} {value:9.1f}  {value / times[base]:.2f}" for name, value in times.items()]
    return "\n".join(lines)
