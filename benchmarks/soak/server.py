"""A server of two workers, killed at random and replaced, under clients that stall, vanish, garble and resume."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import aiohttp

from benchmarks.serve import ROOT, family, memory
from benchmarks.soak.clients import Sessions, tasks_of
from benchmarks.soak.verdict import Verdict

MODEL = ROOT / "pretrained" / "digits-kws-stream" / "int8.tflite"
FAITHFUL, VANISHES = 12, 0.01
# Seconds between two kills, and between two replacements of all workers, about.
KILL, REPLACE = 12.0, 45.0
# Bytes of log that a minute may leave.
_LOG = 20_000


def main(seconds: float, workers: int = 2, kills: bool = True) -> None:
    """Soak a server for so many seconds."""
    verdict = Verdict()
    with tempfile.TemporaryDirectory() as folder:
        key, log = Path(folder) / "key", Path(folder) / "log"
        command = [sys.executable, "-m", "streaming", "serve", str(MODEL), "--key", str(key), "--port", "0"]
        command += ["--workers", str(workers), "--send-timeout", "3", "--grace", "3"]
        with open(log, "w") as file, subprocess.Popen(command, cwd=ROOT, stderr=file) as server:
            try:
                url = address(log)
                asyncio.run(soak(url, server.pid, key, verdict, seconds, kills))
            finally:
                pids = family(server.pid) if server.poll() is None else []
                server.send_signal(signal.SIGTERM)
                began = time.monotonic()
                status = server.wait(60)
        verdict.check(status == 0, f"the server ended with status {status}")
        verdict.check(time.monotonic() - began < 15, "the server took more than 15 seconds to end")
        time.sleep(0.5)
        verdict.check(not any(Path(f"/proc/{pid}").exists() for pid in pids), "a worker outlives the server")
        text = log.read_text()
        verdict.check("Traceback" not in text, f"the log holds a traceback: {text[-2000:]}")
        verdict.check(len(text) < _LOG * (1 + seconds / 60), f"the log has {len(text):,} bytes")
    verdict.end()


def address(log: Path) -> str:
    """The address that a server announces."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        for line in log.read_text().splitlines():
            if "listening on " in line:
                return line.split("listening on ")[1].strip()
        time.sleep(0.1)
    raise SystemExit(f"the server does not start: {log.read_text()}")


async def soak(url: str, pid: int, key: Path, verdict: Verdict, seconds: float, kills: bool) -> None:
    """All clients, and whoever kills and measures."""
    sessions = Sessions(MODEL, key)
    until = time.monotonic() + seconds
    sizes: list[int] = []
    stop = threading.Event()
    measuring = threading.Thread(target=measure, args=(pid, sizes, stop))
    measuring.start()
    work = [asyncio.ensure_future(task) for task in tasks_of(url, sessions, verdict, until, FAITHFUL, VANISHES)]
    work.append(asyncio.ensure_future(kill(pid, verdict, until)) if kills else asyncio.ensure_future(asyncio.sleep(0)))
    for result in await asyncio.gather(*work, return_exceptions=True):
        verdict.check(result is None, f"a client failed: {result!r}")
    stop.set()
    measuring.join()
    verdict.check_flat("memory of the server", sizes)
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        text = await answer.text()
    for name in ("streaming_worker_restarts_total", "streaming_errors_total"):
        for line in text.splitlines():
            if line.startswith(name):
                verdict.counts[line.rsplit(" ", 1)[0]] = int(float(line.rsplit(" ", 1)[1]))


def measure(pid: int, sizes: list[int], stop: threading.Event) -> None:
    """Measure memory every second or so."""
    while not stop.wait(1.0):
        try:
            sizes.append(memory(pid))
        except (OSError, ValueError):  # a worker ended meanwhile
            continue


async def kill(pid: int, verdict: Verdict, until: float) -> None:
    """Kill workers, and replace all of them, at random times."""
    replaced = time.monotonic() + REPLACE * (0.5 + random.random())
    while True:
        await asyncio.sleep(KILL * (0.5 + random.random()))
        if time.monotonic() > until - 5:
            return
        if time.monotonic() > replaced:
            os.kill(pid, signal.SIGHUP)
            verdict.counts["replacements"] += 1
            replaced = time.monotonic() + REPLACE * (0.5 + random.random())
        elif len(family(pid)) > 1:
            os.kill(random.choice(family(pid)[1:]), signal.SIGKILL)
            verdict.counts["killed"] += 1


if __name__ == "__main__":
    main(float(sys.argv[1]))
