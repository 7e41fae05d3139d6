"""1,000 and 10,000 streams of a keyword spotter (int8) in one process: the batcher beside one by one."""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

COUNTS, SECONDS, WIDTH = (1_000, 10_000), 4.0, 40
# The probability that a stream leaves after a step, and another comes.
_GONE = 0.001
BATCHES = (1, 16, 64)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        model = load(Path(folder) / "spotter.tflite")
        print(heading())
        for count in COUNTS:
            print(line(count, *measure(model, count)), flush=True)


def heading() -> str:
    """The head of the table."""
    columns = ("streams", "one by one", "batcher", "gain", "KB each", "median ms", "worst ms", "least", "most", "came")
    title = (
        f"Spotter int8 (Conv1D 96, two GRU-128), batches of {', '.join(map(str, BATCHES))}; steps a second; wait of a "
        "step; least and most steps of a stream, by the mean; streams that came"
    )
    return f"{title}\n  " + " ".join(f"{column:>11}" for column in columns)


def load(path: Path) -> Any:
    """The layers of the zoo's spotter on features."""
    import keras

    import streaming

    y = x = keras.Input((None, WIDTH))
    y = keras.layers.Conv1D(96, 5, padding="causal", activation="relu")(y)
    for _ in range(2):
        y = keras.layers.GRU(128, return_sequences=True)(y)
    model = keras.Model(x, keras.layers.Dense(11)(y))
    streaming.convert(model, path, quantize="dynamic", batch_sizes=BATCHES, verify=False)
    return streaming.load(path)


def measure(model: Any, count: int) -> tuple[float, float, float, list[float], list[int], int]:
    """Steps a second one by one and by the batcher, bytes a stream, waits in seconds, steps of each stream, comers."""
    frames = np.random.default_rng(0).standard_normal((count, 1, WIDTH)).astype("float32")
    before = resident()
    streams = [model.create_stream() for _ in range(count)]
    for stream, frame in zip(streams, frames, strict=True):
        stream.step(frame)
    each = (resident() - before) / count
    until, steps, began = time.perf_counter() + SECONDS, 0, time.perf_counter()
    while time.perf_counter() < until:
        streams[steps % count].step(frames[steps % count])
        steps += 1
    alone = steps / (time.perf_counter() - began)
    with model_batcher(model, count) as batcher:
        loop = _Loop(model, batcher, streams, frames)
        seconds = loop.run(SECONDS)
        return alone, loop.done / seconds, each, loop.waits, loop.counts(), loop.came


def model_batcher(model: Any, count: int) -> Any:
    """A batcher that takes a call of each stream."""
    from streaming.runtime.batcher import StreamBatcher

    return StreamBatcher(model, max_pending=2 * count)


class _Loop:
    """Streams that call again as soon as they are answered, for some seconds; some leave, and others come."""

    def __init__(self, model: Any, batcher: Any, streams: list[Any], frames: np.ndarray) -> None:
        self._model, self._batcher, self._streams, self._frames = model, batcher, streams, frames
        self._steps = [0] * len(streams)
        self._born = [0.0] * len(streams)
        self.waits: list[float] = []
        self.done = self.came = 0
        self._idle = threading.Event()
        self._pending = 0
        self._until = 0.0
        self._rng = np.random.default_rng(1)

    def run(self, seconds: float) -> float:
        """Seconds from the first call to the last answer."""
        began = time.perf_counter()
        self._until = began + seconds
        self._born = [began] * len(self._streams)
        self._pending = len(self._streams)
        for index in range(len(self._streams)):
            self._call(index)
        self._idle.wait(60 + seconds)
        return time.perf_counter() - began

    def counts(self) -> list[int]:
        """The steps of each stream that was there from the beginning."""
        return [steps for steps, born in zip(self._steps, self._born, strict=True) if born == min(self._born)]

    def _call(self, index: int) -> None:
        since = time.perf_counter()
        future = self._batcher.step(self._streams[index], self._frames[index])
        future.add_done_callback(lambda future: self._answered(index, since, future))

    def _answered(self, index: int, since: float, future: Any) -> None:
        now = time.perf_counter()
        future.result()
        self.waits.append(now - since)
        self.done += 1
        self._steps[index] += 1
        if now >= self._until:
            self._pending -= 1
            if not self._pending:
                self._idle.set()
            return
        if self._rng.random() < _GONE:
            self._streams[index].close()
            self._streams[index] = self._model.create_stream()
            self._steps[index], self._born[index] = 0, now
            self.came += 1
        self._call(index)


def line(
    count: int, alone: float, together: float, each: float, waits: list[float], counts: list[int], came: int
) -> str:
    """A row of the table."""
    mean = statistics.fmean(counts)
    values = (
        f"{count:,}",
        f"{alone:,.0f}",
        f"{together:,.0f}",
        f"{together / alone:.2f}",
        f"{each / 1024:.1f}",
        f"{1e3 * statistics.median(waits):.1f}",
        f"{1e3 * max(waits):.1f}",
        f"{min(counts) / mean:.2f}",
        f"{max(counts) / mean:.2f}",
        f"{came:,}",
    )
    return "  " + " ".join(f"{value:>11}" for value in values)


def resident() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
