"""Counters of several processes, gathered and added up, as one text for Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterable, Mapping

from streaming.server.wire import Wire

# Seconds for which workers have time to answer.
_SECONDS = 3.0

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
        for key, counts in samples.items():
            lines.append(f"{key} {_OF_ALL.get(family, sum)(counts)}")
    return "\n".join(lines) + "\n"


def _family(name: str, comments: dict[str, list[str]]) -> str:
    """The metric that a sample belongs to: a histogram's samples have names with an ending."""
    for ending in ("", "_bucket", "_sum", "_count", "_total", "_created"):
        if name.endswith(ending) and name.removesuffix(ending) in comments:
            return name.removesuffix(ending)
    return name


class Gathering:
    """Asks workers for their counters."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        # By question: what has come, from whom answers are missing, and what is set when none is.
        self._open: dict[int, tuple[list[str], set[int], asyncio.Event]] = {}

    async def ask(self, workers: Mapping[int, Wire], own: str) -> str:
        """The counters of workers, by the number of their process, and those of this process, added up.

        A worker that does not answer in time is left out.
        """
        number, texts, missing, done = next(self._numbers), [own], set(workers), asyncio.Event()
        self._open[number] = texts, missing, done
        for wire in workers.values():
            wire.send({"do": "count", "id": number})
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(done.wait(), _SECONDS)
        del self._open[number]
        return merge([*texts[1:], own])

    def hear(self, worker: int, number: int, text: str) -> None:
        """An answer."""
        if number in self._open:
            self._open[number][0].append(text)
            self.lose(worker, number)

    def lose(self, worker: int, number: int | None = None) -> None:
        """Wait no longer for a worker, by default in no question."""
        for each in list(self._open) if number is None else [number]:
            _, missing, done = self._open[each]
            missing.discard(worker)
            if not missing:
                done.set()
