"""`streaming serve` under streams in real time: delays, late answers, processor time and memory; the clients included.

`python -m benchmarks.serve --kind sound --streams 400` runs one load, `python -m benchmarks serve` all of them.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.crowd import Crowd, Outcome, frame, words_frame
from benchmarks.results import picture_folder

ROOT = Path(__file__).resolve().parents[1]
WORDS = "The quick brown fox jumps over the lazy dog and then it sleeps under an old tree .".split()
# A block of sound is late where its answer comes after the end of the next one; others after a tenth of a second.
LATE = 0.1


@dataclass(frozen=True)
class Kind:
    """A kind of load: the model, the seconds between two messages of a stream, and the messages as frames."""

    model: str
    interval: float
    pieces: Callable[[], Sequence[bytes]]
    streams: Sequence[int]
    target: str


def sound() -> list[bytes]:
    """A second of noise and tones at 8 kHz, in blocks of 100 ms."""
    rng, time_ = np.random.default_rng(0), np.arange(8000) / 8000
    tones = np.sin(2 * np.pi * 300 * (1 + time_) * time_) * (np.sin(2 * np.pi * 2 * time_) > 0)
    signal = (0.1 * tones + 0.01 * rng.standard_normal(8000)).astype("<f4")
    return [frame(block.tobytes(), False) for block in signal.reshape(10, 800)]


def words() -> list[bytes]:
    """A word each."""
    return [words_frame([word]) for word in WORDS]


def rows() -> list[bytes]:
    """Ten seconds of two columns at 360 Hz, in blocks of 100 ms."""
    signal = np.sin(np.arange(3600) / 20).round(3)
    blocks = (",".join(f"[{value},{value}]" for value in block) for block in signal.reshape(100, 36))
    return [frame(f'{{"type":"feed","x":[{block}]}}'.encode(), True) for block in blocks]


KINDS = {
    "sound": Kind("digits-kws-stream", 0.1, sound, (100, 200, 400, 600), "p99 50 ms, none late, at 400 streams"),
    "words": Kind("tagger-en-ewt-stream", 1 / 3, words, (1000,), "p99 20 ms at 1000 streams"),
    "rows": Kind("ecg-beats-stream", 0.1, rows, (100,), ""),
}


@dataclass(frozen=True)
class Result:
    """One load: what clients noticed, and seconds of processor time and bytes of memory of server and clients."""

    outcome: Outcome
    streams: int
    server_seconds: float
    client_seconds: float
    bytes_before: int
    bytes_under: int

    @property
    def blocks(self) -> int:
        """Messages that were answered in the measurement."""
        return len(self.outcome.delays)

    def delay(self, share: float) -> float:
        """The milliseconds within which a share of the answers came."""
        delays = sorted(self.outcome.delays)
        return 1e3 * delays[min(len(delays) - 1, int(share * len(delays)))]

    @property
    def late(self) -> int:
        """Answers that came late."""
        return sum(delay > LATE for delay in self.outcome.delays)


def main() -> None:
    """Print a table for each kind."""
    results: dict[str, list[Result]] = {}
    for name, kind in KINDS.items():
        print(heading(name, kind))
        for count in kind.streams:
            results.setdefault(name, []).append(measure(name, count))
            print(row(results[name][-1]), flush=True)
    if (folder := picture_folder()) is not None:
        draw(results["sound"], folder / "serve.png")


def draw(results: Sequence[Result], path: Path) -> None:
    """Draw delays and processor time by the number of streams."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    streams = [result.streams for result in results]
    for name, share in (("median", 0.5), ("p99", 0.99), ("worst", 1.0)):
        left.plot(streams, [result.delay(share) for result in results], marker="o", label=name)
    left.axhline(1e3 * LATE, color="grey", linestyle=":", label="late")
    left.set(xlabel="streams of sound", ylabel="ms from due to answer", yscale="log")
    left.legend()
    used = [100 * result.server_seconds / result.outcome.seconds for result in results]
    right.plot(streams, used, marker="o", label="server")
    used = [100 * result.client_seconds / result.outcome.seconds for result in results]
    right.plot(streams, used, marker="o", label="clients")
    right.set(xlabel="streams of sound", ylabel="% of a processor", ylim=(0, None))
    right.legend()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def heading(name: str, kind: Kind) -> str:
    """The head of a table."""
    title = f"streaming serve, {kind.model} int8, {name}, a message every {1e3 * kind.interval:.0f} ms; {kind.target}"
    columns = (
        "streams",
        "median",
        "p99",
        "most ms",
        "late",
        "lost",
        "server %",
        "us a message",
        "clients %",
        "KB each",
    )
    return f"{title}\n  " + " ".join(f"{column:>12}" for column in columns)


def row(result: Result) -> str:
    """A row of the table."""
    seconds = result.outcome.seconds
    values = (
        f"{result.streams}",
        f"{result.delay(0.5):.1f}",
        f"{result.delay(0.99):.1f}",
        f"{1e3 * max(result.outcome.delays):.1f}",
        f"{result.late}",
        f"{result.outcome.lost + result.outcome.errors}",
        f"{100 * result.server_seconds / seconds:.0f}",
        f"{1e6 * result.server_seconds / result.blocks:.0f}",
        f"{100 * result.client_seconds / seconds:.0f}",
        f"{(result.bytes_under - result.bytes_before) / 1024 / result.streams:.0f}",
    )
    return "  " + " ".join(f"{value:>12}" for value in values)


def measure(name: str, streams: int, seconds: float = 20.0, workers: int | None = None) -> Result:
    """Serve a model, and run so many streams."""
    kind = KINDS[name]
    raise_files()
    options = ["--max-connections", str(streams + 10), "--max-waiting", str(streams + 10)]
    options += ["--workers", str(workers)] if workers else []
    with serving(ROOT / "pretrained" / kind.model / "int8.tflite", *options) as (pid, host, port):
        warm = Crowd(host, port, 4, kind.pieces(), kind.interval)
        warm.run(1.0, 0.0)
        warm.close()
        time.sleep(0.5)
        before = memory(pid)
        crowd = Crowd(host, port, streams, kind.pieces(), kind.interval)
        crowd.run(0.5, 1.0)
        began, own = processor(pid), time.process_time()
        outcome = crowd.run(seconds, 0.0)
        used, client = processor(pid) - began, time.process_time() - own
        under = memory(pid)
        crowd.close()
    return Result(outcome, streams, used, client, before, under)


@contextmanager
def serving(model: Path, *options: str) -> Iterator[tuple[int, str, int]]:
    """`streaming serve` as a process: its number, host and port."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "streaming", "serve", str(model), "--key", f"{folder}/key", "--port", "0"]
        with subprocess.Popen([*command, *options], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr is not None
                line = process.stderr.readline()
                match = re.search(r"http://([\d.]+):(\d+)", line)
                assert match, line
                yield process.pid, match.group(1), int(match.group(2))
            finally:
                process.terminate()
                process.wait(60)


def family(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def processor(pid: int) -> float:
    """Seconds of processor time of a process and its children."""
    ticks = 0
    for each in family(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> int:
    """Bytes of memory of a process and its children, each page once."""
    total = 0
    for each in family(pid):
        for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += 1024 * int(line.split()[1])
    return total


def raise_files() -> None:
    """Allow as many open files as the system does."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=list(KINDS), default="sound")
    parser.add_argument("--streams", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--workers", type=int)
    given = parser.parse_args()
    print(heading(given.kind, KINDS[given.kind]))
    print(row(measure(given.kind, given.streams, given.seconds, given.workers)))
