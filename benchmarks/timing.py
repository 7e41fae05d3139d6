"""Times alternatives in turn, so that a machine whose speed drifts treats all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence


class Times(dict[str, float]):
    """Times by name. `spread`: the range of the middle half of the rounds, as a share of the median."""

    def __init__(self, rounds: Mapping[str, Sequence[float]], of: Callable[[Iterable[float]], float]) -> None:
        super().__init__({name: of(times) for name, times in rounds.items()})
        self.spread = {name: _spread(times) for name, times in rounds.items()}


def _spread(times: Sequence[float]) -> float:
    low, middle, high = statistics.quantiles(times, n=4)
    return (high - low) / middle


def microseconds(
    calls: Mapping[str, Callable[[], object]],
    rounds: int = 15,
    seconds: float = 0.02,
    of: Callable[[Iterable[float]], float] = statistics.median,
) -> Times:
    """Microseconds of one call of each: `of` all rounds, in which each runs for about `seconds`."""
    counts = {}
    for name, call in calls.items():
        call()
        begin = time.perf_counter()
        call()
        counts[name] = max(1, int(seconds / max(time.perf_counter() - begin, 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begin = time.perf_counter()
            for _ in range(counts[name]):
                call()
            times[name].append((time.perf_counter() - begin) / counts[name] * 1e6)
    return Times(times, of)


def table(title: str, times: Mapping[str, float], unit: str = "us", base: str | None = None) -> str:
    """Rows of name, time and ratio to the base (default: the first)."""
    base = base or next(iter(times))
    spread = times.spread if isinstance(times, Times) else {}
    lines = [title, f"  {'':38} {unit:>9}  {'spread' if spread else '':>6}  ratio to {base!r}"]
    for name, value in times.items():
        width = f"{spread[name]:6.0%}" if name in spread else " " * 6
        lines.append(f"  {name:38} {value:9.1f}  {width}  {value / times[base]:.2f}")
    return "\n".join(lines)
