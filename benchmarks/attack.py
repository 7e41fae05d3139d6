"""A server under 1,100 silent peers, 300 long texts and 400 slow readers at once: what a well-behaved client notices.

The crowd is a process of its own. Run it on a machine that has nothing else to do: the server takes a core, the crowd
another, and the client, which the system runs as soon as it can (`run_sooner`), measures how late the answers come and
not how late it is itself.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from streaming.server.sooner import run_sooner

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "pretrained" / "tagger-en-ewt-stream" / "int8.tflite"
SILENT, LONG, SLOW = 1100, 300, 400
OPTIONS = ("--port", "0", "--max-connections", "1000", "--send-timeout", "5", "--grace", "5")
WORDS = "The quick brown fox jumps over the lazy dog .".split()
PAUSE, SECONDS, GATHER, SETTLE = 0.02, 20.0, 60.0, 10.0
MESSAGE = json.dumps({"type": "feed", "text": "a-" * 120_000}).encode()
# A text frame with a mask of zeros (RFC 6455), written once and sent by all.
FRAME = b"\x81\xff" + len(MESSAGE).to_bytes(8, "big") + bytes(4) + MESSAGE
HANDSHAKE = (
    b"GET /stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def main() -> None:
    """Print the table."""
    with server() as (process, url):
        asyncio.run(talk(url, 2.0))  # warm
        quiet, before = asyncio.run(talk(url, SECONDS)), memory(process.pid)
        crowd = subprocess.Popen([sys.executable, "-m", "benchmarks.attack", url], cwd=ROOT, stdout=subprocess.PIPE)
        assert crowd.stdout is not None
        there = crowd.stdout.readline().decode().strip()
        busy, most = asyncio.run(talk(url, SECONDS)), memory(process.pid)
        crowd.send_signal(signal.SIGKILL)
        crowd.wait()
        time.sleep(SETTLE)
        after, later = memory(process.pid), asyncio.run(talk(url, 2.0))
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
        ended = time.monotonic() - began
        assert process.stderr is not None
        log = process.stderr.read()
    print(f"streaming serve, {MODEL.parent.name}; a client sends a word every {1e3 * PAUSE:.0f} ms")
    print(f"  {'milliseconds to the answer':40} {'median':>9} {'p99':>9} {'most':>9}")
    for name, times in {"quiet": quiet, "under attack": busy, "afterwards": later}.items():
        print(f"  {name:40} {statistics.median(times):9.1f} {p99(times):9.1f} {max(times):9.1f}")
    print(f"  ratio of p99: {p99(busy) / p99(quiet):.2f}; connected: {there}")
    print(f"  memory: {before:.0f} MB before, {most:.0f} MB in it, {after:.0f} MB after ({after / before:.2f})")
    print(f"  SIGTERM: status {status} after {ended:.1f} s; {len(log)} bytes of log")


def p99(times: list[float]) -> float:
    """The time that 99 of 100 answers keep."""
    return sorted(times)[int(0.99 * len(times))]


@contextmanager
def server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`streaming serve` as a process, and its address."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "streaming", "serve", str(MODEL), "--key", f"{folder}/key", *OPTIONS]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr is not None
                match = re.search(r"http://\S+", process.stderr.readline())
                assert match
                yield process, match.group()
            finally:
                process.kill()


def memory(process: int) -> float:
    """Resident megabytes of a process."""
    status = Path(f"/proc/{process}/status").read_text()
    match = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert match
    return int(match.group(1)) / 1024


async def talk(url: str, seconds: float) -> list[float]:
    """Say a word from time to time; milliseconds to each answer."""
    import aiohttp

    times = []
    run_sooner()
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/stream") as socket:
        await socket.receive_json()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            word, began = WORDS[len(times) % len(WORDS)], time.perf_counter()
            await socket.send_json({"type": "feed", "words": [word]})
            answer = await socket.receive_json()
            assert answer["type"] == "output", answer
            times.append(1e3 * (time.perf_counter() - began))
            await asyncio.sleep(PAUSE)
    return times


async def crowd(url: str) -> None:
    """Attack until killed; prints who is there once all are, or a minute has passed."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    host, port = url.removeprefix("http://").rsplit(":", 1)
    counts = dict.fromkeys(("silent", "long", "slow"), 0)

    async def attack(kind: str, number: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            if kind != "silent":
                writer.write(HANDSHAKE)
                await reader.readuntil(b"\r\n\r\n")
            elif number % 2:  # half of them say a little
                writer.write(HANDSHAKE[:40])
            counts[kind] += 1
            try:
                if kind == "silent":
                    await reader.read()
                else:
                    await (read_all if kind == "long" else read_nothing)(reader, writer)
            finally:
                counts[kind] -= 1
        finally:
            writer.close()

    async def again(kind: str, number: int) -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await attack(kind, number)
            await asyncio.sleep(1.0)  # who was dropped comes again

    wanted = {"silent": SILENT, "long": LONG, "slow": SLOW}
    tasks = [asyncio.create_task(again(kind, number)) for kind, count in wanted.items() for number in range(count)]
    until = time.monotonic() + GATHER
    while counts["long"] + counts["slow"] < LONG + SLOW and time.monotonic() < until:
        await asyncio.sleep(0.2)
    await asyncio.sleep(2.0)
    print(json.dumps(counts), flush=True)
    await asyncio.gather(*tasks)


async def read_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a long text, read what comes of it, and send the next."""
    while True:
        writer.write(FRAME)
        last = b""
        while b'"done":true' not in last:
            piece = await reader.read(1 << 16)
            if not piece:
                return
            last = last[-32:] + piece


async def read_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send long texts, and read nothing, as soon as the buffers are full."""
    while True:
        writer.write(FRAME)
        await writer.drain()


if __name__ == "__main__":
    asyncio.run(crowd(sys.argv[1])) if len(sys.argv) > 1 else main()
