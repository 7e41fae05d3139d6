"""Clients of a server that is soaked: those whose streams must come out right, and those who only do harm."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

import streaming
from benchmarks.soak.verdict import Verdict
from streaming.runtime.tasks import task_for
from streaming.server.tokens import TokenSigner, load_key

# Blocks of a session, blocks between two tokens, and samples of a block.
BLOCKS, SAVED, SAMPLES = 60, 10, 800
SIGNALS = 4
# Seconds between two blocks of a client, and to come back after a loss.
_PAUSE, _AGAIN = 0.05, 0.05
# Seconds within which a server must take a client again whose worker was killed.
_PATIENCE = 60.0
_LOST = (aiohttp.ClientError, ConnectionError, asyncio.TimeoutError, TypeError)


class Sessions:
    """What a quiet run gives: the events of each signal, and the bytes of its stream at the end."""

    def __init__(self, path: Path, key: Path) -> None:
        model = streaming.load(path)
        task = task_for(model)
        rng = np.random.default_rng(0)
        self.signals = [_signal(rng) for _ in range(SIGNALS)]
        self.events: list[list[dict[str, Any]]] = []
        self.ends: list[bytes] = []
        for blocks in self.signals:
            session, events = task.session(), []
            for block in blocks:
                events += [{"event": type(event).__name__, **event._asdict()} for event in session.feed(block)]
            self.events.append(json.loads(json.dumps(events)))
            self.ends.append(session.save())
        self.signer = TokenSigner(load_key(key), 86400.0, f"{model.fingerprint} {model.metadata.task['kind']}")


def _signal(rng: np.random.Generator) -> list[np.ndarray]:
    """Sounds with pauses, in blocks."""
    time_ = np.arange(BLOCKS * SAMPLES) / 8000
    pitch = 200 + 300 * rng.random() + 50 * np.sin(2 * np.pi * 3 * time_)
    voiced = np.sin(2 * np.pi * (1 + rng.random()) * time_) > 0
    wave = sum(np.sin(2 * np.pi * pitch * number * time_) / number for number in range(1, 6))
    signal = (0.2 * wave * voiced + 0.003 * rng.standard_normal(len(time_))).astype("<f4")
    return list(signal.reshape(BLOCKS, SAMPLES))


class Faithful:
    """A client that speaks a signal, loses its connection now and then, and goes on from its last token.

    Args:
        url: of the server.
        sessions: what its streams have to give.
        verdict: where counts and faults go.
        vanishes: the probability of leaving without a word after a block.
    """

    def __init__(self, url: str, sessions: Sessions, verdict: Verdict, vanishes: float) -> None:
        self._url, self._sessions, self._verdict, self._vanishes = url, sessions, verdict, vanishes
        self._token: str | None = None
        self._saved = 0
        self._events: list[list[dict[str, Any]]] = []

    async def run(self, until: float, number: int) -> None:
        """Speak one signal after the other."""
        while time.monotonic() < until:
            which = number % SIGNALS
            number += 1
            self._token, self._saved, self._events = None, 0, []
            if not await self._speak(which, until):
                return
            heard = [event for events in self._events for event in events]
            self._verdict.check(heard == self._sessions.events[which], f"signal {which} gives other events: {heard}")
            _, blobs = self._sessions.signer.read(self._token)
            self._verdict.check(blobs[0] == self._sessions.ends[which], f"signal {which} ends in another state")
            self._verdict.counts["signals bit for bit"] += 1

    async def _speak(self, which: int, until: float) -> bool:
        """One signal to its end; False where the time is over."""
        lost = time.monotonic()
        while self._saved < BLOCKS:
            if time.monotonic() > until:
                return False
            try:
                await self._connected(which)
                lost = time.monotonic()
            except _LOST:
                self._verdict.counts["connections lost or refused"] += 1
                if time.monotonic() - lost > _PATIENCE:
                    self._verdict.fault(f"a stream could not go on for {_PATIENCE:g} seconds")
                    return False
                await asyncio.sleep(_AGAIN)
        return True

    async def _connected(self, which: int) -> None:
        """Go on from the last token until the end, or until the connection is lost."""
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{self._url}/stream", max_msg_size=0) as socket,
        ):
            await socket.receive_json(timeout=30)
            if self._token is not None:
                await socket.send_json({"type": "resume", "token": self._token})
                answer = await socket.receive_json(timeout=30)
                self._verdict.counts["resumed"] += 1
                right = answer == {"type": "resumed", "position": self._saved * SAMPLES}
                self._verdict.check(right, f"a token of block {self._saved} gave {answer}")
            del self._events[self._saved :]
            for index in range(self._saved, BLOCKS):
                await socket.send_bytes(self._sessions.signals[which][index].tobytes())
                self._events.append(await self._answer(socket))
                self._verdict.counts["blocks"] += 1
                if (index + 1) % SAVED == 0:
                    await socket.send_json({"type": "save"})
                    self._token, self._saved = (await self._received(socket, "saved"))["token"], index + 1
                if random.random() < self._vanishes:
                    self._verdict.counts["vanished"] += 1
                    if socket._response.connection is not None and socket._response.connection.transport is not None:
                        socket._response.connection.transport.abort()
                    return
                await asyncio.sleep(_PAUSE)

    async def _answer(self, socket: Any) -> list[dict[str, Any]]:
        return list((await self._received(socket, "output"))["events"])

    async def _received(self, socket: Any, kind: str) -> dict[str, Any]:
        """The next message; a token that comes unasked, before the server closes, is taken."""
        answer: dict[str, Any] = await socket.receive_json(timeout=30)
        if answer["type"] != kind:
            self._verdict.check(answer["type"] == "saved", f"expected {kind}, got {answer}")
            self._token, self._saved = answer["token"], answer["position"] // SAMPLES
            self._verdict.counts["farewells"] += 1
            raise ConnectionError("the server says farewell")
        return answer


async def stall(host: str, port: int, verdict: Verdict) -> None:
    """Send long messages and read nothing, for a while."""
    reader, writer = await asyncio.open_connection(host, port, limit=1024)
    try:
        writer.write(_handshake())
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        payload = np.zeros(16_000, "<f4").tobytes()
        until = time.monotonic() + 5 * random.random()
        while time.monotonic() < until:
            writer.write(b"\x82\xff" + len(payload).to_bytes(8, "big") + bytes(4) + payload)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(writer.drain(), 0.5)
        verdict.counts["stalled"] += 1
    finally:
        writer.transport.abort()


async def garble(host: str, port: int, verdict: Verdict) -> None:
    """Send bytes that mean nothing: instead of a request, of frames, or of messages."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        kind = random.randrange(3)
        if kind:
            writer.write(_handshake())
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        for _ in range(random.randrange(1, 20)):
            data = os.urandom(random.randrange(1, 3000))
            if kind == 2:
                text = random.choice(
                    [data, b'{"type":"feed","x":[' + b"1," * 50 + b"null]}", b'{"type":"save"}', b"[" * 900]
                )
                head = bytes([0x80 | random.choice([1, 2])]) + b"\xfe" + len(text).to_bytes(2, "big") + bytes(4)
                data = head + text
            writer.write(data)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(writer.drain(), 1.0)
            await asyncio.sleep(0.01)
        verdict.counts["garbled"] += 1
    finally:
        writer.transport.abort()


async def again(act: Callable[[], Awaitable[None]], until: float, pause: float) -> None:
    """Do harm again and again."""
    while time.monotonic() < until:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, asyncio.LimitOverrunError):
            await act()
        await asyncio.sleep(pause * random.random())


def _handshake() -> bytes:
    return (
        b"GET /stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )


def tasks_of(
    url: str, sessions: Sessions, verdict: Verdict, until: float, faithful: int, vanishes: float
) -> Sequence[Awaitable[None]]:
    """All clients of a server."""
    host, port = url.removeprefix("http://").rsplit(":", 1)
    return [
        *(Faithful(url, sessions, verdict, vanishes).run(until, number) for number in range(faithful)),
        *(again(lambda: stall(host, int(port), verdict), until, 4.0) for _ in range(3)),
        *(again(lambda: garble(host, int(port), verdict), until, 2.0) for _ in range(3)),
    ]
